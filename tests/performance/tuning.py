"""Measure a study against separate runs: python tests/performance/tuning.py [--trials 30] [--model embedding-mlp].

A study of `--trials` trials by `zoobench run --trials` as it is by default, which gives up trials that lag behind, and
then as many `zoobench run` commands, each of the configuration of one of those trials, one after another; the
embeddings of movie-genres are cached before either begins. Both try the same configurations with the same seeds, and
the best validation score must be the same: had the pruner given up the best, the script would say so and fail.

The line gives how many times faster the study was, what is asked, and the seconds of both; `MISSED` marks what is
less, and the exit status is then 1. It needs the published files (ZOOBENCH_DATA) and some 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from figures import Figure, head, show

TARGET = 2.0
NO_SETTING = ("trial", "state", "value", "seconds", "reason", "sha256")


def zoobench(*words: str | Path) -> float:
    """Run a command in a process of its own and return its seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return time.monotonic() - start


def records(results: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("cells/*/*/*/record.json"))]


def validation(record: dict) -> float:
    return record["validation"][record["policy"]]["values"][record["primary_metric"]]


def measure(common: Sequence[str | Path], trials: int, pruner: str, folder: Path) -> Figure:
    zoobench(*common, "--results", folder / "warm")  # features and prepared data, for both
    study, apart = folder / "study", folder / "apart"
    together = zoobench(*common, "--results", study, "--trials", str(trials), "--pruner", pruner)
    [path] = study.glob("cells/*/*/*/*/trials.csv")
    rows = list(csv.DictReader(path.open()))
    separate = 0.0
    for row in rows:
        settings = [f"{name}={value}" for name, value in row.items() if name not in NO_SETTING and value]
        separate += zoobench(*common, "--results", apart, *(word for each in settings for word in ("--set", each)))
    tuned = next(record for record in records(study) if record["mode"] == "tuned")
    best = max(validation(record) for record in records(apart))
    if abs(best - validation(tuned)) > 1e-4:
        raise SystemExit(f"the best of the study is {validation(tuned):.6f}, that of the separate runs {best:.6f}")
    whole = sum(row["state"] == "complete" for row in rows)
    how = f"{len(rows)} trials ({whole} to their end) {together:.0f} s, {len(rows)} runs {separate:.0f} s, both best {best:.4f}"
    return Figure("separate runs / study, seconds", separate / together, TARGET, how)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--pruner", default="median", help="none: no trial is given up")
    parser.add_argument("--model", default="embedding-mlp")
    parser.add_argument("--task", default="movie-genres")
    parser.add_argument("--plugin", type=Path)
    options = parser.parse_args()
    head(" ".join(["python tests/performance/tuning.py", *sys.argv[1:]]))
    plugin = ["--plugin", options.plugin] if options.plugin else []
    with tempfile.TemporaryDirectory(prefix="zoobench.tuning.") as folder:
        common = ("run", "--task", options.task, "--model", options.model, *plugin)
        figure = measure(common, options.trials, options.pruner, Path(folder))
    show(figure)
    return int(figure.missed)


if __name__ == "__main__":
    sys.exit(main())
