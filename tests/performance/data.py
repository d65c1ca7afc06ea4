"""Measure preparation, audit and the near-duplicate search: python tests/performance/data.py [--only a|b|c|d].

a  `zoobench data audit padchest-reports`, whole process: seconds and peak memory
b  `zoobench data prepare padchest-reports` into an empty cache, whole process: seconds and peak memory
c  the near-duplicate search over ever more of those reports: time a text, against the fewest texts (it would stay
   1 if the search were linear, and grow as the texts do, 8 times in all, if it were quadratic)
d  the same search over the fewest texts, against the cosines of all pairs

The reports ship inside torchxrayvision. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

TASK = "padchest-reports"
SIZES = (8_000, 16_000, 32_000, 66_000)
BLOCK = 500  # rows of the dense product at once


@dataclass(frozen=True)
class Figure:
    """One line of the table; `reached` and `most` in the same unit."""

    name: str
    reached: float
    most: float
    unit: str
    how: str = ""


def whole_process(*words: str) -> tuple[float, float]:
    """Run ``zoobench data`` with an empty cache; return the seconds and the peak memory in GB."""
    with tempfile.TemporaryDirectory(prefix="data-") as cache, tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        command = [sys.executable, "-m", "zoobench.leaderboard.cli", "data", *words]
        process = subprocess.Popen(command, env={**os.environ, "ZOOBENCH_CACHE": cache}, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            sys.exit(f"{' '.join(words)} ended with {process.returncode}\n{log.read().decode()}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return seconds, used.ru_maxrss * unit / 1e9


def process_figures(letter: str, verb: str, most: float, repeats: int) -> list[Figure]:
    found = [whole_process(verb, TASK) for _ in range(repeats)]
    seconds, memory = (statistics.median(values) for values in zip(*found, strict=True))
    name = f"{letter}  {verb} {TASK}"
    return [Figure(f"{name}, time", seconds, most, "s"), Figure(f"{name}, peak memory", memory, 2.0, "GB")]


def texts() -> np.ndarray:
    """Return the distinct reports in an order that tells nothing of the corpus."""
    from zoobench.datasets.core import TASKS

    distinct = np.unique(TASKS.get(TASK).read().inputs.astype(object))
    return np.random.default_rng(0).permutation(distinct)


def timed(job: Callable[[], int], repeats: int) -> tuple[float, int]:
    """Return the median of the seconds, and what the job answered."""
    seconds, answer = [], 0
    for _ in range(repeats):
        start = time.perf_counter()
        answer = job()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), answer


def search(chosen: np.ndarray) -> int:
    """Return how many pairs of these texts are near-identical."""
    from zoobench.datasets.near import near_identical

    found = near_identical(chosen)
    sizes = np.bincount(found.member)
    return int((sizes * (sizes - 1) // 2).sum() + (sizes[found.links[:, 0]] * sizes[found.links[:, 1]]).sum())


def brute_force(chosen: np.ndarray) -> int:
    """Return the same number by the cosines of all pairs, a block of rows at a time."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from zoobench.datasets.near import THRESHOLD

    vectors = TfidfVectorizer().fit_transform(chosen)
    near = -np.count_nonzero(np.diff(vectors.indptr))  # each text with a word meets itself
    for start in range(0, len(chosen), BLOCK):
        near += int(((vectors[start : start + BLOCK] @ vectors.T).toarray() >= THRESHOLD - 1e-9).sum())
    return near // 2


def scaling(chosen: np.ndarray, sizes: Sequence[int], repeats: int) -> list[Figure]:
    figures, first = [], 0.0
    for size in sizes:
        part = chosen[:size]
        seconds, pairs = timed(lambda part=part: search(part), repeats)
        each = 1e6 * seconds / len(part)
        first = first or each
        how = f"{len(part):,} texts in {seconds:.2f} s, {pairs:,} pairs"
        figures.append(Figure("c  search, time a text / that of the fewest texts", each / first, 2.0, "x", how))
    return figures


def against_brute_force(chosen: np.ndarray, repeats: int) -> Figure:
    ours, found = timed(lambda: search(chosen), repeats)
    theirs, expected = timed(lambda: brute_force(chosen), 1)
    if found != expected:
        sys.exit(f"the search finds {found:,} pairs among {len(chosen):,} texts, and all cosines {expected:,}")
    how = f"{len(chosen):,} texts: {ours:.2f} s / {theirs:.2f} s, the same {found:,} pairs"
    return Figure("d  search / cosines of all pairs", ours / theirs, 0.5, "x", how)


def show(figures: Sequence[Figure]) -> None:
    print(f"{'figure':<52}{'target':>10}{'reached':>10}")
    for figure in figures:
        target, mark = f"<= {figure.most:g} {figure.unit}", "" if figure.reached <= figure.most else "  MISSED"
        print(f"{figure.name:<52}{target:>10}{figure.reached:>7.2f} {figure.unit:<2}  {figure.how}{mark}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices="abcd", help="one of the figures")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; the median counts")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="texts in c; the first also in d")
    given = parser.parse_args()
    wanted = given.only or "abcd"
    figures: list[Figure] = []
    if "a" in wanted:
        figures += process_figures("a", "audit", 120.0, given.repeats)
    if "b" in wanted:
        figures += process_figures("b", "prepare", 60.0, given.repeats)
    if {"c", "d"} & set(wanted):
        chosen = texts()
        search(chosen[: given.sizes[0]])  # imports
        figures += scaling(chosen, given.sizes, given.repeats) if "c" in wanted else []
        figures += [against_brute_force(chosen[: given.sizes[0]], given.repeats)] if "d" in wanted else []
    show(figures)
    return int(any(figure.reached > figure.most for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
