"""What a report tells of a task, as one mapping of plain values: the JSON file, and what the pages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np

from ..audit import audit, hot_targets
from ..core import FOLDS, Examples, Task, TaskCard, as_mapping
from ..near import THRESHOLD, NearTexts, near_identical
from . import describe
from .corpus import corpus_facts
from .describe import Values
from .words import label_words, sampled_rows

INPUT = "text"
"""What a report calls the input of a text task; further text columns have names of their own."""
_NAMES = 10
_CATEGORIES = 40  # a column of strings with more distinct values is a text, or a name of each row


def facts(task: Task, protocol: str, examples: Examples, folds: np.ndarray) -> Values:
    """Return everything that a report tells.

    What ties an input, or another label, to a label is computed on the train and validation folds alone (``seen``),
    so that whoever designs a model by the report has not looked at the test fold; that fold's targets enter as
    counts of each label, and of how many labels a row carries.

    Parameters
    ----------
    folds
        (n,) int64 index into ``FOLDS``, -1 for a row that is left out.
    """
    card = task.card.under(protocol)
    hot = hot_targets(examples.targets, len(card.labels))
    fields = _text_fields(card, examples)
    columns = {
        name: _column(values, examples.subsets) for name, values in examples.columns.items() if name not in fields
    }
    seen = (folds >= 0) & (folds != FOLDS.index("test"))
    near = near_identical(examples.inputs) if examples.pixels is None else None
    audited = audit(task, protocol, examples, folds, near).as_json()
    found = {
        "zoobench": version("zoobench"),
        "task": card.name,
        "protocol": protocol,
        "card": as_mapping(card),
        **_identity(card, protocol, audited),
        "rows": len(examples),
        "folds": _folds(hot, folds, examples.groups),
        "labels_per_row": describe.labels_per_row(hot),
        "label_cardinality": float(hot.sum(axis=1).mean()) if len(hot) else 0.0,
        "groups": describe.group_sizes(examples.groups),
        "fields": {name: _field(texts) for name, texts in fields.items()},
        "columns": columns,
        "subsets": {name: int(mask.sum()) for name, mask in examples.subsets.items()},
        "duplicates": _duplicates(examples, near),
        "audit": audited,
        "seen": _seen(card, examples, hot, seen) | {"columns": _crossed(columns, examples, hot, seen)},
    }
    if corpus := corpus_facts(task):
        found["corpus"] = corpus
    if examples.pixels is not None:
        shape = examples.pixels.pixels.shape
        found["images"] = {"side": int(shape[1]), "stored": int(shape[0])}
    return found


def _identity(card: TaskCard, protocol: str, audited: Values) -> Values:
    """Return the hashes of the data and the folds beside the published ones; ``same`` is None where none is known."""
    pinned = card.protocols[protocol]
    told = {
        "fingerprint": (audited["fingerprint"], pinned.fingerprint),
        "split": (audited["split"], pinned.split),
    }
    return {
        name: {"found": found, "published": published, "same": found == published if published else None}
        for name, (found, published) in told.items()
    }


def _folds(hot: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Values:
    names = {**dict(enumerate(FOLDS)), **({-1: "left out"} if (folds < 0).any() else {})}
    return {
        "rows": {name: int((folds == number).sum()) for number, name in names.items()},
        "groups": {name: len(np.unique(groups[folds == number])) for number, name in names.items()},
        "labels": describe.label_counts(hot, folds, names),
        "all": hot.sum(axis=0).tolist(),
    }


def _text_fields(card: TaskCard, examples: Examples) -> dict[str, np.ndarray]:
    """Return the (n,) texts by name: the input, the columns that read as texts, and what follows one in the input."""
    columns = {name: values for name, values in examples.columns.items() if _is_text(values)}
    if card.modality != "text":
        return columns
    fields = {INPUT: examples.inputs, **columns}
    for name, values in columns.items():
        pairs = list(zip(examples.inputs, values, strict=True))
        if all(text.startswith(value) for text, value in pairs):
            rest = [text[len(value) :].removeprefix(".").strip() for text, value in pairs]
            fields[f"{INPUT} after {name}"] = np.array(rest, dtype=object)
    return fields


def _is_text(values: np.ndarray) -> bool:
    """Tell a column of texts from one of categories or names: many distinct values, mostly of several words."""
    if values.dtype.kind != "O" or len(set(values.tolist())) <= _CATEGORIES:
        return False
    return float(np.mean([len(str(value).split()) for value in values])) >= 2


def _field(texts: np.ndarray) -> Values:
    words, characters = describe.text_lengths(texts)
    return {
        "missing": describe.missing(texts),
        "distinct": len(set(texts.tolist())),
        "total_words": int(words.sum()),
        "words": describe.summary(words),
        "characters": describe.summary(characters),
        "histogram": describe.histogram(words),
        "box": describe.box(words),
    }


def _column(values: np.ndarray, subsets: Mapping[str, np.ndarray]) -> Values:
    """Return what a column that is no text holds: numbers, categories, or names of rows."""
    known = [value for value in values.tolist() if value == value]  # noqa: PLR0124 - NaN is no value
    found: Values = {"missing": describe.missing(values), "distinct": len(set(known))}
    if values.dtype.kind != "O" and found["distinct"] > _CATEGORIES:
        kind = {"kind": "number", "summary": describe.summary(values), "histogram": describe.histogram(values)}
        return found | kind
    few = found["distinct"] <= _CATEGORIES
    told = describe.tally(values, _CATEGORIES + 1 if few else _NAMES)
    names = [_name(value, values, subsets) for value in told["values"]]
    return found | {"kind": "category" if few else "name", "tally": told, "names": names}


def _name(value: str, values: np.ndarray, subsets: Mapping[str, np.ndarray]) -> str:
    """Return what a value of a column is called: a number that stands for a subset has the subset's name."""
    if values.dtype.kind == "O" or not value:
        return value or "missing"
    rows = values == float(value)
    named = [name for name, mask in subsets.items() if np.array_equal(mask, rows)]
    return f"{named[0]} ({value})" if named else value


def _crossed(columns: Mapping[str, Values], examples: Examples, hot: np.ndarray, rows: np.ndarray) -> Values:
    """Return how each column goes with each label on the (n,) bool `rows`: counts of categories, boxes of numbers."""
    found: Values = {}
    for name, told in columns.items():
        values, part = examples.columns[name][rows], hot[rows]
        if told["kind"] == "number":
            found[name] = {"boxes": [describe.box(values[held]) for held in part.T]}
        elif told["kind"] == "category" and told["distinct"] > 1:
            found[name] = {"rows": describe.cross(part, values, told["tally"]["values"])}
    return found


def _duplicates(examples: Examples, near: NearTexts | None) -> Values:
    """Return how inputs repeat: exactly and, for texts, nearly (joined directly or through others)."""
    found: Values = {"exact": describe.duplicates(examples.contents())}
    if near is not None:
        found["near"] = {**describe.duplicates(near.groups()), "threshold": THRESHOLD}
    return found


def _seen(card: TaskCard, examples: Examples, hot: np.ndarray, rows: np.ndarray) -> Values:
    """Return what is computed on the train and validation folds alone, (n,) bool `rows`."""
    part = hot[rows]
    found: Values = {"rows": int(rows.sum())}
    if card.kind == "multilabel":
        found["combinations"] = describe.combinations(part, card.labels)
        found["co_occurrence"] = describe.co_occurrence(part, card.labels)
    if card.modality == "text":
        found |= _seen_texts(card, examples.inputs[rows], part)
    return found


def _seen_texts(card: TaskCard, texts: np.ndarray, hot: np.ndarray) -> Values:
    words = describe.text_lengths(texts)[0]
    bins = describe.histogram(words)
    counted = sampled_rows(texts)
    return {
        "lengths": [describe.box(words[column]) for column in hot.T],
        "histograms": [describe.histogram(words[column], like=bins) for column in hot.T],
        "words": {
            "rows": len(counted),
            "labels": label_words(texts[counted], hot[counted], card.language),
        },
    }
