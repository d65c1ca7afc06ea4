"""Measure the site of 200 models on 10 tasks: python tests/performance/site.py [FOLDER TO KEEP RECORDS AND SITE IN]."""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import browsing
from records import Cell, outcome

TASKS, MODELS, RESAMPLES = 10, 200, 1000
SECONDS, BYTES, LOAD = 30.0, 1_000_000, 1.5
"""The limits: of a build in both languages, of a page beside the bundle of plotly, and of its load."""
LOADS = 3


def fill(root: Path) -> None:
    """Store 10 tasks x 200 models, one of them failed, with the resamples of a real run."""
    for number, skill in enumerate(np.linspace(0.0, 2.0, MODELS)):
        found = outcome(float(skill), seed=number, resamples=RESAMPLES)
        for task in range(TASKS):
            failed = number == MODELS - 1
            Cell(f"architecture-{number:03}", None if failed else found, f"task-{task:02}").store(root)


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
        if not (records / "cells").is_dir():
            start = time.perf_counter()
            fill(records)
            print(f"storing {TASKS * MODELS:,} records: {time.perf_counter() - start:.1f} s")
        shutil.rmtree(records / ".index", ignore_errors=True)
        for what in ("nothing indexed", "index there"):
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
