"""Measure the site of 200 models on 10 tasks: python tests/performance/site.py [FOLDER TO KEEP RECORDS AND SITE IN].

Records are as a run leaves them: scored by the harness from stored probabilities, with resamples, and the tasks are
prepared in the cache, so that the pages of models have all their diagrams. Twenty sets of answers go by ten names each.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import browsing
from records import STRONG, Cell

TASKS, MODELS, ANSWERS = 10, 200, 20
ROWS, LABELS = 2000, tuple(f"finding {place}" for place in range(14))
SECONDS, BYTES, LOAD = 30.0, 1_000_000, 1.5
"""The limits: of a build in both languages, of a page beside the bundle of plotly, and of its load."""
LOADS = 3


def tasks() -> list[Any]:
    """Prepare the tasks, which ask the same of the same rows."""
    from zoobench.datasets.core import Examples, Task, TaskCard
    from zoobench.datasets.prepare import prepare

    rng = np.random.default_rng(3)
    targets = (rng.random((ROWS, len(LABELS))) < np.linspace(0.05, 0.5, len(LABELS))).astype(np.uint8)
    texts = np.array([f"text {row}" for row in range(ROWS)], dtype=object)
    ids = np.array([f"r{row}" for row in range(ROWS)], dtype=object)
    folds = rng.choice(3, ROWS, p=(0.7, 0.1, 0.2))
    found = []
    for number in range(TASKS):
        card = TaskCard(
            name=f"task-{number:02}", title="Made up", description="Made up.", version=1, kind="multilabel",
            modality="text", labels=LABELS, primary_metric="f1_macro", group="none", licence="CC0-1.0",
            source="generated", citation="none",
        )  # fmt: skip
        found.append(prepare(Task(card, lambda: Examples(ids, texts, targets, np.arange(ROWS), folds=folds))))
    return found


def answered(prepared: Any, skill: float, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray], np.ndarray, Any]:
    """Return the fields of a record of answers with this signal-to-noise ratio, the answers, their rows, and resamples."""
    from scipy.special import expit
    from zoobench.benchmarks.metrics import METRIC_VERSION
    from zoobench.benchmarks.scoring import evaluate
    from zoobench.datasets.truth import Truth

    rng, truth = np.random.default_rng(seed), Truth.of(prepared)
    found = {
        fold: expit(skill * (2.0 * targets - 1) + rng.normal(size=targets.shape)).astype(np.float32)
        for fold, targets in truth.targets.items()
    }
    test = np.arange(truth.rows["test"])
    scored = evaluate("multilabel", LABELS, "f1_macro", truth.targets, found, test, {})
    fields = {
        **Cell("any", STRONG)._scored(),
        **{"status": "ok", "reason": "", "metric_version": METRIC_VERSION, "temperature": scored.temperature},
        **{"policy": scored.policy, "test": scored.folds["test"], "validation": scored.folds["validation"]},
    }
    return fields, found, np.concatenate(list(truth.ids.values())), scored.resamples


def fill(root: Path) -> None:
    """Store 10 tasks x 200 models, one of them failed."""
    from zoobench.benchmarks.outputs import write_columns, write_probabilities
    from zoobench.benchmarks.store import PROBABILITIES, RESAMPLES, Results, hash_files

    known, results = tasks(), Results(root)
    results.ensure_writable()
    every = [answered(known[0], skill, seed) for seed, skill in enumerate(np.linspace(0.2, 2.0, ANSWERS))]
    for number in range(MODELS):
        fields, found, ids, resamples = every[number % ANSWERS]
        for prepared in known:
            place = {"data_fingerprint": prepared.fingerprint, "split_sha256": prepared.split_sha256}
            shared = {**place, "labels": list(LABELS), "rows": dict(prepared.rows)}
            cell = Cell(f"architecture-{number:03}", task=prepared.task, changes=shared)
            if number == MODELS - 1:
                results.commit(cell.record(), None)
                continue
            staged = results.scratch()
            write_probabilities(staged / PROBABILITIES, found, ids, LABELS)
            write_columns(staged / RESAMPLES, resamples)
            cell.changes |= {**fields, "files": hash_files(staged)}
            results.commit(cell.record(), staged)


def build(root: Path, out: Path) -> tuple[float, float]:
    """Build the site in a process of its own, and return the seconds that it took, and those of the processor."""
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", "site", "build", "--out", str(out)]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--results", str(root)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def weights(out: Path) -> Iterator[tuple[int, Path]]:
    """Yield the bytes that each page makes a browser read, without the bundle."""
    shared = sum(path.stat().st_size for path in (out / "assets").iterdir() if path.name != "plotly.min.js")
    for path in out.rglob("*.html"):
        yield path.stat().st_size + shared, path


def loads(out: Path, pages: list[Path]) -> Iterator[tuple[float, Path]]:
    """Yield the seconds until each page has loaded and its scripts have run, cold, the best of a few."""
    with browsing() as browser:
        for path in pages:
            taken = []
            for _ in range(LOADS):
                context = browser.new_context()
                page = context.new_page()
                page.goto(f"file://{path}")
                taken.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
                context.close()
            yield min(taken), path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where to keep records and site (default: nowhere)")
    with tempfile.TemporaryDirectory() as scratch:
        home = (parser.parse_args().folder or Path(scratch)).absolute()
        records, out = home / "records", home / "site"
        os.environ["ZOOBENCH_CACHE"] = str(home / "cache")
        if not (records / "cells").is_dir():
            start = time.perf_counter()
            fill(records)
            print(f"storing {TASKS * MODELS:,} records: {time.perf_counter() - start:.1f} s")
        shutil.rmtree(records / ".index", ignore_errors=True)
        for what in ("nothing kept", "figures kept"):
            wall, busy = build(records, out)
            print(
                f"build, {what:15} {wall:6.1f} s ({busy:.1f} s of the processor)   limit {SECONDS:g} s: {_verdict(wall <= SECONDS)}"
            )
        heaviest = sorted(weights(out), reverse=True)
        kinds = {path.relative_to(out).parts[-2:][0]: (size, path) for size, path in reversed(heaviest)}
        for size, path in sorted(kinds.values(), reverse=True):
            print(f"{size / 1e6:6.3f} MB   {path.relative_to(out)}")
        print(f"heaviest of {len(heaviest)} pages: limit {BYTES / 1e6:g} MB: {_verdict(heaviest[0][0] <= BYTES)}")
        slowest = sorted(loads(out, [path for _, path in kinds.values()]), reverse=True)
        for seconds, path in slowest:
            print(f"{seconds:6.2f} s    {path.relative_to(out)}")
        print(f"slowest to load: limit {LOAD:g} s: {_verdict(slowest[0][0] <= LOAD)}")


def _verdict(kept: bool) -> str:
    return "kept" if kept else "MISSED"


if __name__ == "__main__":
    main()
