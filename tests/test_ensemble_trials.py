"""A model tuned and ensembled: the trials of its study as members, with nothing fitted anew."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks import runner
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import Results, Stored, read_record
from zoobench.benchmarks.trial_members import trials_of
from zoobench.datasets.support.errors import UserError

from tests.conftest import zoobench


@pytest.fixture(scope="module")
def made(tunable: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The plug-in, the results with a study and its ensembles, and what the command said."""
    plugin = tunable
    results = tmp_path_factory.mktemp("results")
    asked = {"task": "searched", "model": ["knows", "tfidf-logreg"], "trials": 5, "set": {"kind": "plain", "C": "3"}}
    runner.run_suite("quick", {**asked, "plugin": plugin, "results": results, "quiet": True})  # type: ignore[typeddict-item]
    done = zoobench("ensemble", "searched", "--model", "knows", "--trials", "--plugin", plugin, "--results", results)
    assert done.returncode == 0, done.stderr
    return plugin, results, done.stdout


def record(results: Path, how: str) -> tuple[Record, Path]:
    [path] = results.glob(f"cells/searched/ensemble-{how}/*/record.json")
    return read_record(path), path


def test_every_finished_trial_is_offered(made: tuple[Path, Path, str]) -> None:
    _, results, said = made
    mean, path = record(results, "mean")
    assert [share.weight for share in mean.members] == pytest.approx([0.2] * 5)
    assert sorted(share.label for share in mean.members) == [
        f"knows, tuned, seed 0, trial {number}" for number in range(5)
    ]
    trials = [
        pq.read_table(each) for each in sorted(results.glob("studies/searched/knows/*/trials/*/probabilities.parquet"))
    ]
    [own] = path.parent.glob("*/probabilities.parquet")
    for label in mean.labels:
        expected = np.mean([table[f"p:{label}"].to_numpy() for table in trials], axis=0)
        assert pq.read_table(own)[f"p:{label}"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert "trial " in said
    assert "ensemble-greedy" in said


def test_the_best_trial_is_the_least_that_greedy_reaches(made: tuple[Path, Path, str]) -> None:
    greedy, _ = record(made[1], "greedy")
    [tuned] = [
        each for path in made[1].glob("cells/searched/knows/*/record.json") if (each := read_record(path)).tuning
    ]
    assert tuned.tuning
    assert max(entry["validation"] for entry in greedy.history) >= tuned.tuning.value - 0.02


def test_the_seconds_are_those_of_the_study(made: tuple[Path, Path, str]) -> None:
    _, results, _ = made
    [path] = results.glob("cells/searched/knows/*/*/trials.csv")
    spent = sum(float(row["seconds"]) for row in csv.DictReader(path.open()))
    for how in ("greedy", "mean"):
        timings = record(results, how)[0].timings
        assert spent <= timings.fit + timings.tune < spent + 5  # and the choice itself


def test_the_same_trials_stand_and_others_are_refused(made: tuple[Path, Path, str], tmp_path: Path) -> None:
    plugin, results, _ = made
    common = ("--plugin", plugin, "--results", results)
    again = zoobench("ensemble", "searched", "--model", "knows", "--trials", *common)
    assert "recorded already" in again.stdout
    asked = zoobench("predict", "--task", "searched", "--model", "ensemble-mean", "--text", "a nodule", *common)
    assert asked.returncode == 2
    assert "an ensemble of cells answers, one of trials does not" in asked.stderr
    both = zoobench("ensemble", "searched", "--trials", *common)
    assert both.returncode == 0, both.stderr
    members = json.loads(
        max(results.glob("cells/searched/ensemble-mean/*/record.json"), key=lambda p: p.stat().st_mtime).read_text()
    )
    assert len(members["members"]) == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [("trial", "none"), ("trial", "-1"), ("seconds", "soon"), ("seconds", ""), ("seconds", "nan"), ("seconds", "-1")],
)
def test_a_damaged_list_of_trials_is_bad_input(
    name: str, value: str, made: tuple[Path, Path, str], tmp_path: Path
) -> None:
    results = Results(Path(shutil.copytree(made[1], tmp_path / "results")))
    [path] = results.root.glob("cells/searched/knows/*/*/trials.csv")
    rows = list(csv.DictReader(path.open()))
    rows[-1][name] = value
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    stored = Stored(read_record(path.parents[1] / "record.json"), path.parents[1] / "record.json")
    with pytest.raises(UserError, match=r"trials.csv cannot be read: run the tuned cell again with --fresh"):
        trials_of(stored, results)
    path.write_text("trial,state,seconds\n0,complete\n")
    with pytest.raises(UserError, match="cannot be read"):
        trials_of(stored, results)


def test_without_tuned_cells_there_are_no_trials(tmp_path: Path, made: tuple[Path, Path, str]) -> None:
    plugin = made[0]
    asked = {
        "task": "searched",
        "model": ["knows", "dummy-uniform"],
        "plugin": plugin,
        "results": tmp_path,
        "quiet": True,
    }
    runner.run_suite("quick", asked)  # type: ignore[arg-type]
    done = zoobench("ensemble", "searched", "--trials", "--plugin", plugin, "--results", tmp_path)
    assert done.returncode == 2
    assert "none of these cells is tuned" in done.stderr
    assert len(done.stderr.splitlines()) == 1
