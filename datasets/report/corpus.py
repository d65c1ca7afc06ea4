"""What a report tells of the corpus behind the LitCoin family: abstracts, entity mentions and relations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .. import biored, litcoin
from ..core import Task
from . import describe, plots
from .blocks import HEAD, Plot, Section, Table
from .describe import Values

_TABLES = {
    "entity_types": "Entity mentions by type",
    "relation_types": "Relations by type",
    "novelty": "Relations by novelty",
}


def corpus_facts(task: Task) -> Values:
    """Return what the corpus that `task` is made of holds; nothing for a task that is not of the family.

    The corpus is told by its files, so that a task that somebody adds to the family has this part as well.
    """
    paths = task.sources()
    names = [path.name for path in paths]
    if names == [file.name for file in litcoin.FILES]:
        return _facts(litcoin.corpus(paths))
    if names == [biored.ARCHIVE.name]:
        return _facts(biored.read_archive(paths[0])[0])
    return {}


def _facts(found: litcoin.Corpus) -> Values:
    texts = {name: [getattr(each, name) for each in found.abstracts.values()] for name in ("title", "abstract")}
    lengths = {name: describe.text_lengths(np.array(held, dtype=object))[0] for name, held in texts.items()}
    starts = np.array([mention.start for mention in found.mentions])
    types = np.array([mention.type for mention in found.mentions], dtype=object)
    bins = describe.histogram(starts)
    mentioned = Counter(mention.abstract_id for mention in found.mentions)
    per_abstract = {
        "mentions of an abstract": mentioned,
        "entities of an abstract": {key: len(held) for key, held in found.entities.items()},
        "relations of an abstract": Counter(relation.abstract_id for relation in found.relations),
    }
    return {
        "counts": {
            "abstracts": len(found.abstracts),
            "mentions": len(found.mentions),
            "relations": len(found.relations),
            **{f"left out: {fault}": len(ids) for fault, ids in found.left_out.items()},
        },
        "entity_types": describe.tally(types),
        "relation_types": describe.tally(np.array([each.type for each in found.relations], dtype=object)),
        "novelty": describe.tally(np.array([each.novel for each in found.relations], dtype=object)),
        "per_abstract": {
            name: describe.summary(np.array([counts.get(key, 0) for key in found.abstracts]))
            for name, counts in per_abstract.items()
        },
        "lengths": {
            name: {"words": describe.summary(held), "histogram": describe.histogram(held)}
            for name, held in lengths.items()
        },
        "offsets": {
            kind: {"box": describe.box(starts[rows]), "histogram": describe.histogram(starts[rows], like=bins)}
            for kind in describe.tally(types)["values"]
            for rows in [types == kind]
        },
        "all_offsets": bins,
    }


def corpus_section(facts: Values) -> Section:
    """Return the section on the corpus, without a block where the task has none."""
    found = facts.get("corpus")
    if not found:
        return Section("corpus", "Corpus", "", [])
    counts = Table("Counts", ("What", "Count"), list(found["counts"].items()))
    lead = "The abstracts, mentions and relations that the rows are made of; counts over all folds."
    return Section("corpus", "Corpus", lead, [counts, *_kinds(found), *_lengths(found), *_offsets(found)])


def _kinds(found: Values) -> list[Plot]:
    told = {
        "entity_types": "Where one or two types hold most mentions, models see little of the others.",
        "relation_types": "The lowest bars are too few to tell models apart on that type.",
        "novelty": "'Novel' is a finding of the article itself, 'No' is background.",
    }
    return [
        Plot(
            name.replace("_", "-"),
            title,
            told[name],
            plots.bars(found[name]["values"], found[name]["rows"], sum(found[name]["rows"]), counted="count"),
        )
        for name, title in _TABLES.items()
    ]


def _lengths(found: Values) -> list[Plot | Table]:
    rows: list[Sequence[str | float | None]] = [
        (f"words of the {name}", *(held["words"][key] for key in HEAD)) for name, held in found["lengths"].items()
    ]
    rows += [(name, *(held[key] for key in HEAD)) for name, held in found["per_abstract"].items()]
    drawn = [
        Plot(
            f"corpus-{name}",
            f"Length of {name}s",
            f"Words in the {name} of each abstract, without marks.",
            plots.histogram(held["histogram"], "words", "abstracts"),
        )
        for name, held in found["lengths"].items()
    ]
    return [Table("Abstracts", ("What", *HEAD), rows), *drawn]


def _offsets(found: Values) -> list[Plot | Table]:
    held = found["offsets"]
    histograms = [found["all_offsets"], *(each["histogram"] for each in held.values())]
    return [
        Plot(
            "offsets",
            "Where mentions start",
            "Characters from the start of the title. The first peak is the title; a model that reads only the first "
            "tokens of a text misses what lies to the right. Choose a type to see it alone.",
            plots.histogram(histograms[0], "characters", "mentions"),
            ["all types", *held],
            plots.histogram_choices(histograms, "mentions"),
        ),
        Plot(
            "offset-boxes",
            "Where mentions of each type start",
            "The box holds the middle half of the mentions, the line is the median, the dashes the mean; whiskers end "
            "at the last value within 1.5 box lengths.",
            plots.boxes(list(held), [each["box"] for each in held.values()], "characters from the start of the title"),
        ),
        Table(
            "Start of mentions by type",
            ("Type", *HEAD),
            [(kind, *(each["box"][key] for key in HEAD)) for kind, each in held.items()],
            folded=True,
        ),
    ]
