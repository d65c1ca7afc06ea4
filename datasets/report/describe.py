"""Statistics that describe the rows of a task, as plain numbers, lists and mappings: what JSON can hold.

Functions are pure: arrays in, values out. A value that is not defined (the deviation of one number) is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Values = dict[str, Any]
_BINS = 40


def summary(values: np.ndarray) -> Values:
    """Return count, mean, std (of the sample), min, quartiles (linear interpolation) and max of (n,) numbers.

    NaN counts as missing. These are the definitions of `pandas.Series.describe`.
    """
    known = _known(values)
    if not len(known):
        return {"count": 0, **dict.fromkeys(("mean", "std", "min", "q25", "median", "q75", "max"))}
    low, q25, median, q75, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
    return {
        "count": len(known),
        "mean": float(known.mean()),
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
        "min": float(low),
        "q25": float(q25),
        "median": float(median),
        "q75": float(q75),
        "max": float(high),
    }


def box(values: np.ndarray) -> Values:
    """Return what a box plot of (n,) numbers draws: quartiles, mean, whiskers, and the number of outliers.

    A whisker ends at the last value within 1.5 interquartile ranges of its quartile (Tukey 1977, "Exploratory
    Data Analysis"); values beyond are outliers.
    """
    known, found = _known(values), summary(values)
    if not len(known):
        return {**found, "lower": None, "upper": None, "outliers": 0}
    reach = 1.5 * (found["q75"] - found["q25"])
    inside = known[(known >= found["q25"] - reach) & (known <= found["q75"] + reach)]
    # A quartile may lie between two values: the whisker never ends inside the box.
    lower, upper = min(inside.min(), found["q25"]), max(inside.max(), found["q75"])
    return {**found, "lower": float(lower), "upper": float(upper), "outliers": int(len(known) - len(inside))}


def histogram(values: np.ndarray, bins: int = _BINS, like: Values | None = None) -> Values:
    """Return edges (k + 1) and counts (k, at most `bins`) of (n,) numbers.

    Numbers that come in steps of 1, 0.1 or 0.01 get bins of whole steps.

    Where the top half per cent would stretch the bins to more than twice the range of all others, it is counted in
    the last bin, as are all values beyond the bins; ``clipped`` says how many.

    Parameters
    ----------
    like
        Another histogram, whose edges are taken.
    """
    known = _known(values)
    edges = np.array(like["edges"]) if like else _edges(known, bins)
    if not len(edges):
        return {"edges": [], "counts": [], "clipped": 0}
    last = len(edges) - 2
    index = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, last)
    return {
        "edges": edges.tolist(),
        "counts": np.bincount(index, minlength=last + 1).tolist(),
        "clipped": int((known > edges[-1]).sum()),
    }


def _edges(known: np.ndarray, bins: int) -> np.ndarray:
    if not len(known):
        return np.zeros(0)
    low, top, high = np.quantile(known, [0, 0.995, 1])
    end = top if high - low > 2 * (top - low) > 0 else high
    # Bins that hold now two, now three of the steps in which values come would draw a comb.
    step = next(
        (step for step in (1.0, 0.1, 0.01) if np.allclose(known, np.round(known / step) * step, rtol=0, atol=1e-9)), 0
    )
    if not step:
        return np.linspace(low, end if end > low else low + 1, bins + 1)
    steps = round((end - low) / step) + 1
    width = -(-steps // bins)
    # Half a step down: no value lies on an edge.
    return low + step * (width * np.arange(-(-steps // width) + 1) - 0.5)


def _known(values: np.ndarray) -> np.ndarray:
    numbers = np.asarray(values, dtype=float)
    return numbers[~np.isnan(numbers)]


def label_counts(hot: np.ndarray, folds: np.ndarray, names: Mapping[int, str]) -> dict[str, list[int]]:
    """Return how many rows of each fold carry each label.

    Parameters
    ----------
    hot
        (n, labels) bool.
    folds
        (n,) int; `names` says what each number is called.
    """
    return {name: hot[folds == number].sum(axis=0).tolist() for number, name in names.items()}


def labels_per_row(hot: np.ndarray) -> dict[str, int]:
    """Return how many rows of (n, labels) bool carry 0, 1, 2, … labels, up to the most that one carries."""
    return {str(count): int(rows) for count, rows in enumerate(np.bincount(hot.sum(axis=1))) if len(hot)}


def combinations(hot: np.ndarray, labels: Sequence[str], top: int = 20) -> Values:
    """Return the `top` most frequent label combinations of (n, labels) bool rows, and what is left.

    Ties stand in the order of the labels. The combination without a label is a combination too.
    """
    found = Counter(map(bytes, np.packbits(hot, axis=1)))
    order = sorted(found.items(), key=lambda item: (-item[1], [-byte for byte in item[0]]))
    shown = [
        {"labels": [labels[int(index)] for index in np.flatnonzero(_unpack(packed, len(labels)))], "rows": rows}
        for packed, rows in order[:top]
    ]
    rest = order[top:]
    return {
        "distinct": len(order),
        "top": shown,
        "rest": {"combinations": len(rest), "rows": sum(rows for _, rows in rest)},
    }


def _unpack(packed: bytes, width: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=width)


def co_occurrence(hot: np.ndarray, labels: Sequence[str], top: int = 30) -> Values:
    """Return how many rows carry both of two labels, for the `top` most frequent of them.

    Returns
    -------
    ``labels`` (k names, most frequent first), ``rows`` (k lists of k counts; the diagonal counts each label) and
    ``share`` (of the rows with the label of the line, how many also carry the label of the column; None for none).
    """
    chosen = np.argsort(-hot.sum(axis=0), kind="stable")[:top]
    part = hot[:, chosen].astype(np.int64)
    both = part.T @ part
    share = [[int(count) / int(line[at]) if line[at] else None for count in line] for at, line in enumerate(both)]
    return {"labels": [labels[int(index)] for index in chosen], "rows": both.tolist(), "share": share}


def cross(hot: np.ndarray, values: np.ndarray, shown: Sequence[str]) -> list[list[int]]:
    """Return for each label of (n, labels) bool how many rows have each of the values `shown`, named as by `tally`."""
    place = {name: at for at, name in enumerate(shown)}
    column = np.array([place.get(_word(value), -1) for value in values.tolist()], dtype=np.int64)
    return [np.bincount(column[held & (column >= 0)], minlength=len(shown)).tolist() for held in hot.T]


def duplicates(contents: np.ndarray) -> dict[str, int]:
    """Return how (n,) contents repeat: distinct ones, rows whose content stands in another row, the most alike."""
    times = np.fromiter(Counter(contents.tolist()).values(), dtype=np.int64)
    return {
        "distinct": len(times),
        "rows in a set of equals": int(times[times > 1].sum()),
        "largest set": int(times.max(initial=0)),
    }


def group_sizes(groups: np.ndarray) -> Values:
    """Return how many groups (n,) int64 names, a summary of their sizes, and how many have each size.

    Sizes up to 10 are told apart; above, they are counted from one to the next of 20, 50, 100, 200, 500, …
    """
    sizes = np.unique(groups, return_counts=True)[1]
    tops = list(range(1, 11))
    while tops[-1] < sizes.max(initial=1):
        tops.append(tops[-1] * 5 // 2 if str(tops[-1]).startswith("2") else tops[-1] * 2)
    within = np.bincount(np.searchsorted(tops, sizes), minlength=len(tops)).tolist()
    names = [str(top) if top <= 10 else f"{low + 1} to {top}" for low, top in zip([0, *tops], tops, strict=False)]
    last = max((at for at, count in enumerate(within) if count), default=-1) + 1
    return {"groups": len(sizes), "summary": summary(sizes), "sizes": dict(zip(names[:last], within, strict=False))}


def tally(values: np.ndarray, top: int = 40) -> Values:
    """Return how often each of (n,) values stands there: all of them if at most `top`, else the most frequent.

    Whole numbers are named without a decimal point and stand in their own order.
    """
    found = Counter(_word(value) for value in values.tolist())
    numeric = all(_is_number(name) for name in found if name)
    order = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    shown = sorted(order[:top], key=lambda item: float(item[0] or "-inf")) if numeric else order[:top]
    rest = order[top:]
    return {
        "values": [name for name, _ in shown],
        "rows": [rows for _, rows in shown],
        "rest": {"values": len(rest), "rows": sum(rows for _, rows in rest)},
    }


def _word(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def text_lengths(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) numbers of words (between white space) and (n,) numbers of characters of (n,) strings."""
    words = np.fromiter((len(text.split()) for text in texts), dtype=np.int64, count=len(texts))
    return words, np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def missing(values: np.ndarray) -> int:
    """Return how many of (n,) values are NaN, None, or a text of nothing but white space."""
    if values.dtype.kind == "f":
        return int(np.isnan(values).sum())
    return sum(value is None or (isinstance(value, str) and not value.strip()) for value in values.tolist())
