"""Folds: how examples are dealt to train, validation and test, and the files that fix the deal.

``python -m zoobench.datasets.folds TASK[@PROTOCOL]`` makes the folds of a task, writes their file and prints the
SHA-256 and the fingerprint that belong on the task's card.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .core import FOLDS, TASKS, Examples
from .support.errors import UnavailableError, UserError
from .support.files import write_text

SPLITS = Path(__file__).parent / "splits"
SHARES = (0.7, 0.1, 0.2)
_SEED = 0
_HEADER = ["id", "fold"]


def grouped_iterative_split(
    targets: np.ndarray, groups: np.ndarray, shares: Sequence[float] = SHARES, seed: int = _SEED
) -> np.ndarray:
    """Deal whole groups to folds so that each fold gets its share of the rows and of every label.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011, "On the Stratification of Multi-Label
    Data", ECML PKDD, LNCS 6913) deals rows: the label with the fewest rows left goes first, and each of its
    rows goes to the fold that still wants most of that label, then most rows. Here the unit is the group. A
    group carries the union of its rows' labels, and weighs what it holds: it takes its number of rows, and
    of rows with each label, off what its fold still wants. Heavy groups of a label are dealt before light
    ones, so that the light ones even out what the heavy ones upset; `seed` orders the groups that weigh the
    same. The package iterative-stratification deals rows alone; handed one row a group, it would count a
    group of 58 like one of 1 (on openi-reports the row shares then miss by 7 points).

    Parameters
    ----------
    targets
        (n, labels) of 0 and 1, or (n,) class numbers, which are taken as one label a class.
    groups
        (n,) int; rows with the same number stay together.
    shares
        Share of the rows wanted in each fold; they sum to 1.
    seed
        Same seed, same folds.

    Returns
    -------
    (n,) int64 index into `shares` (into ``FOLDS``, for the three folds of a task).
    """
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares {tuple(shares)} must be positive and sum to 1")
    weights, member = _weights(targets, groups)
    return _deal(weights, np.asarray(shares, dtype=float), np.random.default_rng(seed))[member]


def evened(targets: np.ndarray, groups: np.ndarray, dealt: np.ndarray, shares: Sequence[float] = SHARES) -> np.ndarray:
    """Return `dealt` with groups moved, one by one and the best move first, while the shares come nearer.

    Few and large groups leave a deal that places each once, as `grouped_iterative_split` does, off by several
    points. What is made small is the sum over folds of the squared misses in the share of each label, and in
    the share of the rows, which weigh as much as all labels together.

    Parameters
    ----------
    targets, groups
        As for `grouped_iterative_split`.
    dealt
        (n,) int64 index into `shares`; no group is parted.
    """
    weights, member = _weights(targets, groups)
    folds = np.zeros(len(weights), dtype=np.int64)
    folds[member] = dealt
    totals = np.maximum(weights.sum(axis=0), 1).astype(float)
    scale = np.sqrt(np.append(np.ones(len(totals) - 1), len(totals) - 1)) / totals
    scaled, rows = weights * scale, np.arange(len(weights))
    for _ in range(10 * len(weights)):
        missed = np.stack([scaled[folds == fold].sum(axis=0) for fold in range(len(shares))])
        missed -= np.outer(shares, scaled.sum(axis=0))
        pull = scaled @ missed.T
        gain = pull - pull[rows, folds][:, None] + (scaled**2).sum(axis=1)[:, None]
        gain[rows, folds] = 0
        # Rounded, so that the last bits of a sum choose nothing.
        group, fold = divmod(int(np.round(gain, 12).argmin()), len(shares))
        if gain[group, fold] > -1e-9:
            break
        folds[group] = fold
    return folds[member]


def _weights(targets: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (groups, labels + 1) rows with each label and all rows of each group, and the (n,) group of each row."""
    labels = targets if targets.ndim == 2 else np.eye(int(targets.max(initial=0)) + 1, dtype=np.int64)[targets]
    names, member = np.unique(groups, return_inverse=True)
    # The row count rides along as a last column, so that one subtraction keeps both accounts.
    weights = np.zeros((len(names), labels.shape[1] + 1), dtype=np.int64)
    np.add.at(weights, member, np.column_stack([labels, np.ones(len(labels), dtype=np.int64)]))
    return weights, member


def _deal(weights: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each group; `weights` is (groups, labels + 1): rows with each label, all rows."""
    wanted = np.outer(shares, weights.sum(axis=0))
    folds = np.full(len(weights), -1, dtype=np.int64)
    shuffled = rng.permutation(len(weights))
    while (folds < 0).any():
        left = weights[folds < 0].sum(axis=0)
        # Groups without any label are dealt last, by their rows alone.
        rarest = int(np.where(left[:-1] > 0, left[:-1], np.inf).argmin()) if left[:-1].any() else -1
        waiting = shuffled[(folds[shuffled] < 0) & (weights[shuffled, rarest] > 0)]
        for group in waiting[np.argsort(-weights[waiting, rarest], kind="stable")]:
            fold = np.lexsort((wanted[:, -1], wanted[:, rarest]))[-1]
            folds[group] = fold
            wanted[fold] -= weights[group]
    return folds


def shared_groups(folds: np.ndarray, groups: np.ndarray) -> int:
    """Return how many groups stand in more than one fold; `folds` and `groups` are (n,) int."""
    pairs = np.unique(np.column_stack([groups, folds]), axis=0)
    return int((np.unique(pairs[:, 0], return_counts=True)[1] > 1).sum())


def split_path(task: str, protocol: str = "") -> Path:
    """Return where the committed folds of a task lie."""
    return SPLITS / (f"{task}@{protocol}.csv" if protocol else f"{task}.csv")


def split_text(ids: np.ndarray, folds: np.ndarray) -> str:
    """Return the canonical text of a fold file: columns ``id,fold``, sorted by id, LF line ends.

    Rows that are left out (fold -1) do not stand in it.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(sorted((str(key), FOLDS[fold]) for key, fold in zip(ids, folds, strict=True) if fold >= 0))
    return stream.getvalue()


def split_sha256(ids: np.ndarray, folds: np.ndarray) -> str:
    """Return the SHA-256 of the canonical text: that of the fold file, whether or not there is one."""
    return hashlib.sha256(split_text(ids, folds).encode()).hexdigest()


def write_split(path: Path, ids: np.ndarray, folds: np.ndarray) -> str:
    """Write a fold file atomically and return its SHA-256, which belongs on the task's card."""
    write_text(path, split_text(ids, folds))
    return split_sha256(ids, folds)


def read_split(path: Path, sha256: str, ids: np.ndarray) -> np.ndarray:
    """Return the (n,) int64 fold index of each of `ids`, as the file at `path` fixes it; -1 if it is not there.

    Raises
    ------
    UserError
        If the file is missing or is not the one with this SHA-256.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"fold file {path} cannot be read ({error.strerror}): reinstall zoobench") from error
    if (found := hashlib.sha256(raw).hexdigest()) != sha256:
        raise UserError(
            f"fold file {path} was changed: its SHA-256 is {found[:12]}…, but {sha256[:12]}… on the card of "
            "its task; restore the file"
        )
    fixed = {row["id"]: FOLDS.index(row["fold"]) for row in csv.DictReader(io.StringIO(raw.decode()))}
    return np.array([fixed.get(str(key), -1) for key in ids], dtype=np.int64)


def default_folds(examples: Examples) -> np.ndarray:
    """Return the (n,) int64 folds of the honest protocol: 70/10/20, stratified, no group parted."""
    return grouped_iterative_split(examples.targets, examples.groups)


def main(arguments: Sequence[str]) -> int:
    """Write the folds of the task named in `arguments`; print their SHA-256, the data's fingerprint and the file."""
    if len(arguments) != 1:
        print("usage: python -m zoobench.datasets.folds TASK[@PROTOCOL]", file=sys.stderr)
        return 2
    name, _, protocol = arguments[0].partition("@")
    try:
        examples = TASKS.get(name).read(protocol)
    except (UserError, UnavailableError) as error:
        print(error, file=sys.stderr)
        return 2
    path = split_path(name, protocol)
    dealt = default_folds(examples) if examples.folds is None else examples.folds
    print(f"split       {write_split(path, examples.ids, dealt)}")
    print(f"fingerprint {examples.fingerprint()}\nwritten to  {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
