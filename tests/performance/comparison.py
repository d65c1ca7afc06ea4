"""Measure how long models take to compare: python tests/performance/comparison.py [--quick].

a  the paired bootstrap of 20 models with all metrics that `zoobench compare` shows, all pairs, Holm's correction and
   McNemar's test included, from probabilities to p-values
b  a plain loop that repeats rows and scores them anew for each resample, against it; both must give the same figures
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

import numpy as np
from figures import Figure, head, show
from spine import GENRES
from spine import ROWS as GENRE_ROWS
from zoobench.benchmarks import paired
from zoobench.benchmarks.bootstrap import ResampleWeights, resample_weights
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.reread import Answers, Measured, measure, side_by_side

MODELS, ROWS, RESAMPLES = 20, 5_000, 1_000
LOOPED = 3  # resamples of the plain loop: it takes seconds each


def made_up(models: int, rows: int) -> tuple[np.ndarray, list[Answers]]:
    """Return targets (rows, 24) with the shares of movie-genres, and what models of growing skill answer."""
    rng = np.random.default_rng(0)
    share = np.array([*GENRES.values()]) / GENRE_ROWS
    truth = (rng.random((rows, len(share))) < share).astype(np.uint8)
    prior, common = np.log(share / (1 - share)), rng.normal(size=truth.shape)
    answers = []
    for skill in np.linspace(1, 2, models):
        logit = prior + skill * truth + (common + rng.normal(size=truth.shape)) / np.sqrt(2)
        found = (1 / (1 + np.exp(-logit))).astype(np.float32)
        answers.append(Answers(found, (found >= 0.3).astype(np.uint8)))
    return truth, answers


def compare(truth: np.ndarray, answers: list[Answers], weights: ResampleWeights) -> list[Measured]:
    """Do what `compare_entrants` does once the records are read."""
    names = paired.metric_names("multilabel")
    jobs = [partial(measure, "multilabel", truth, each, weights, names) for each in answers]
    found = side_by_side(jobs, lambda: None)
    for name in names:
        paired.differences(name, [each.values[name] for each in found], [each.resamples[name] for each in found])
    paired.disagreements([each.right for each in found])
    return found


def looped(truth: np.ndarray, answers: Answers, weights: ResampleWeights, count: int) -> list[dict[str, float | None]]:
    """Score the first resamples with their rows repeated."""
    rows = [np.repeat(np.arange(len(truth)), weights.counts[number][weights.cluster]) for number in range(count)]
    return [
        dict(score("multilabel", truth[each], answers.probabilities[each], answers.predictions[each]).values)
        for each in rows
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows and models, to try the script out")
    quick = parser.parse_args().quick
    models, rows = (3, 200) if quick else (MODELS, ROWS)
    head("python tests/performance/comparison.py" + (" --quick" if quick else ""))
    truth, answers = made_up(models, rows)
    start = time.perf_counter()
    found = compare(truth, answers, resample_weights(np.arange(rows), RESAMPLES))
    seconds = time.perf_counter() - start
    shape = (
        f"{models} models x {RESAMPLES:,} resamples on {rows:,} x {truth.shape[1]}, {len(found[0].resamples)} metrics"
    )
    figures = [Figure("a  all models compared, seconds", seconds, 10, shape, at_most=True)]
    weights = resample_weights(np.arange(rows), RESAMPLES)
    start = time.perf_counter()
    plain = looped(truth, answers[0], weights, LOOPED)
    each = (time.perf_counter() - start) / LOOPED
    off = max(
        abs(float(samples[number]) - (values[name] or 0.0))
        for name, samples in found[0].resamples.items()
        for number, values in enumerate(plain)
    )
    how = f"{each:.3f} s a resample x {models * RESAMPLES:,}; the two differ by {off:.0e} at most"
    figures.append(Figure("b  a plain loop / this, seconds", each * models * RESAMPLES / seconds, None, how))
    for figure in figures:
        show(figure)
    if off > 1e-5:
        sys.exit("the vectorised resamples are not those of the plain loop: this measures nothing")
    return int(not quick and any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
