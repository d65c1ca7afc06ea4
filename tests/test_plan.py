"""`zoobench plan`: what a run would do, what is stale and why, and how long it takes."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.history import expected_seconds, spread
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import Results, read_record
from zoobench.leaderboard import cli

from .conftest import write_models, zoobench_here
from .records import STRONG, TUNING
from .records import Cell as Made

MODELS = ("dummy-uniform", "dummy-stratified")


@pytest.fixture(scope="module")
def measured(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    run(task="tiny", model=MODELS, plugin=tiny, results=folder, quiet=True, threads=1)
    return folder


@pytest.fixture
def results(measured: Path, tmp_path: Path) -> Path:
    import shutil

    return shutil.copytree(measured, tmp_path / "results")


def plan(tiny: Path, results: Path, *words: str | Path, models: tuple[str, ...] = MODELS) -> dict[str, Any]:
    named = [word for model in models for word in ("--model", model)]
    done = zoobench_here(
        "plan", "--task", "tiny", *named, "--plugin", tiny, "--results", results, "--format", "json", *words
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def edit(results: Path, model: str, **changes: Any) -> None:
    """Change a record, as if its cell had been another one then: with another key."""
    [path] = results.glob(f"cells/tiny/{model}/*/record.json")
    values = json.loads(path.read_text()) | changes | {"key": "0" * 20}
    moved = path.parent.rename(path.parent.with_name("0" * 20)) / "record.json"
    moved.write_text(json.dumps(values))


def states(told: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["model"]: (each["state"], each["why"]) for each in told["cells"]}


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_what_stands_is_up_to_date_and_nothing_is_written(tiny: Path, results: Path) -> None:
    before = files(results)
    told = plan(tiny, results)
    assert states(told) == dict.fromkeys(MODELS, ("recorded", ""))
    assert (told["seconds"], told["untimed"]) == (0, 0)
    assert files(results) == before
    nowhere = results.with_name("nowhere")
    told = plan(tiny, nowhere)
    assert states(told) == dict.fromkeys(MODELS, ("new", "never measured"))
    assert told["untimed"] == 2
    assert not nowhere.exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data_fingerprint": "ab" * 32}, "data: abababab…, now "),
        ({"split_sha256": "ab" * 32}, "folds: abababab…, now "),
        ({"source_sha256": "ab" * 32}, "model source: abababab…, now "),
        ({"task_version": 0}, "task version: 0, now 1"),
        ({"primary_metric": "f1_micro"}, "primary metric: f1_micro, now f1_macro"),
        ({"config": {"gone": 1}}, "settings: gone=1, now none"),
        ({"folders": {"encoder": "ab"}}, "folders: they hold other files"),
        ({"data_fingerprint": "ab" * 32, "split_sha256": "cd" * 32}, "data: abababab…, now "),
    ],
)
def test_a_stale_record_says_why(changes: dict[str, Any], why: str, tiny: Path, results: Path) -> None:
    edit(results, "dummy-uniform", **changes)
    told = plan(tiny, results)
    found = states(told)
    assert found["dummy-stratified"] == ("recorded", "")
    state, said = found["dummy-uniform"]
    assert state == "stale"
    assert said.startswith(why)
    assert ("; folds: cdcdcdcd…, now " in said) == (len(changes) == 2)
    [cell] = [each for each in told["cells"] if each["model"] == "dummy-uniform"]
    assert cell["runs"]
    [record] = [read_record(path) for path in results.glob("cells/tiny/dummy-uniform/*/record.json")]
    assert cell["seconds"] == told["seconds"] == record.timings.wall


def test_of_several_records_the_nearest_says_why(tiny: Path, results: Path) -> None:
    edit(results, "dummy-uniform", source_sha256="ab" * 32)
    [path] = results.glob("cells/tiny/dummy-uniform/*/record.json")
    values = json.loads(path.read_text())
    far = path.parent.with_name("1" * 20)
    far.mkdir()
    changed = {"key": "1" * 20, "attempt": "1" * 12, "data_fingerprint": "cd" * 32, "created": "2999-01-01T00:00:00Z"}
    (far / "record.json").write_text(json.dumps(values | changed))
    assert states(plan(tiny, results))["dummy-uniform"][1].startswith("model source: abababab…")
    assert "data" not in states(plan(tiny, results))["dummy-uniform"][1]


def test_another_metric_version_is_stale_and_stays(tiny: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoobench.benchmarks.outlook.METRIC_VERSION", 7)
    told = plan(tiny, results)
    assert states(told)["dummy-uniform"] == ("stale", "metric version 1, now 7: a run keeps it, --fresh scores anew")
    assert not any(each["runs"] for each in told["cells"])


def test_other_hardware_is_no_reason_and_its_time_is_told_apart(tiny: Path, results: Path) -> None:
    edit(results, "dummy-uniform", hardware_class="a-faster-one")
    told = plan(tiny, results)
    assert states(told)["dummy-uniform"] == ("new", "measured on a-faster-one alone")
    assert (told["seconds"], told["untimed"]) == (0, 1)
    [cell] = [each for each in told["cells"] if each["runs"]]
    assert cell["timed"] == "elsewhere"
    assert cell["seconds"] > 0


def test_seeds_settings_and_fresh(tiny: Path, results: Path) -> None:
    told = plan(tiny, results, "--seed", "0", "--seed", "1", models=("dummy-uniform",))
    assert [(each["seed"], each["state"]) for each in told["cells"]] == [(0, "recorded"), (1, "new")]
    assert states(plan(tiny, results, "--fresh")) == dict.fromkeys(MODELS, ("again", "--fresh"))


def test_it_agrees_with_the_run(tiny: Path, tmp_path: Path) -> None:
    """What is said to run is run, and what is said to stand is not."""
    broken = write_models(
        tmp_path / "broken.py", {"planned-slow": "def fit(self, X, y):\n    time.sleep(9)\n    return self\n"}
    )
    results = tmp_path / "r"
    asked: dict[str, Any] = {"task": "tiny", "plugin": [tiny, broken], "results": results, "quiet": True}
    run(model=["planned-slow", "dummy-uniform"], timeout=1, **asked)
    both = ("dummy-uniform", "dummy-constant", "planned-slow")
    told = plan(tiny, results, "--plugin", broken, "--timeout", "1", models=both)
    assert states(told)["planned-slow"][0] == "recorded"
    told = plan(tiny, results, "--plugin", broken, "--timeout", "2", models=both)
    assert states(told)["planned-slow"] == ("again", "it ran out of time at 1 s, and has 2 s now")
    before = {path: read_record(path).attempt for path in Results(results).record_paths()}
    run(model=list(both), timeout=2, **asked)
    after = {path: read_record(path) for path in Results(results).record_paths()}
    made = {record.model for path, record in after.items() if before.get(path) != record.attempt}
    assert made == {each["model"] for each in told["cells"] if each["runs"]} == {"planned-slow", "dummy-constant"}


def test_what_cannot_run_is_said(tiny: Path, tmp_path: Path) -> None:
    told = plan(tiny, tmp_path, models=("dummy-uniform", "resnet18"))
    state, why = states(told)["resnet18"]
    assert (state, why) == ("cannot", "resnet18 reads image, tiny is text")


def test_the_table(tiny: Path, results: Path) -> None:
    edit(results, "dummy-uniform", source_sha256="ab" * 32)
    words = ("--task", "tiny", "--model", "dummy-uniform", "--model", "dummy-stratified", "--plugin", tiny)
    said = zoobench_here("plan", *words, "--results", results, "--jobs", "2").stdout
    assert "1 of 2 cells to run (1 stale, 1 recorded)" in said
    assert re.search(r"stale +tiny +dummy-uniform +0 +[\d.]+ s +model source: abababab…", said)
    assert re.search(r"about [\d.]+ s on \S+, 2 side by side\n$", said)
    edit(results, "dummy-stratified", hardware_class="a-faster-one")
    said = zoobench_here("plan", *words, "--model", "dummy-constant", "--results", results).stdout
    assert re.search(r"\n1 cell timed on other hardware alone, [\d.]+ s there\n1 cell never timed\n$", said)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--task", "tyni"), "unknown task 'tyni'"),
        (("--resplit",), "--resplit deals folds anew"),
        (("--format", "csv"), "unknown format 'csv'"),
        (("--set", "C"), "--set C is not KEY=VALUE"),
        (("--jobs", "0"), "--jobs 0: give how many cells"),
    ],
)
def test_bad_input(words: tuple[str, ...], told: str, tiny: Path, tmp_path: Path) -> None:
    done = zoobench_here("plan", "--plugin", tiny, "--results", tmp_path / "r", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_plan_takes_what_a_run_takes() -> None:
    commands = {
        command.name or getattr(command.callback, "__name__", ""): command for command in cli.app.registered_commands
    }
    taken = {name: set(inspect.signature(_callback(commands[name].callback)).parameters) for name in ("run", "plan")}
    assert taken["plan"] == taken["run"] | {"format"}


def _callback(found: Callable[..., Any] | None) -> Callable[..., Any]:
    assert found
    return found


def test_a_database_of_studies_is_left_alone(tunable: Path, tmp_path: Path) -> None:
    database = tmp_path / "studies.db"
    words = ("--task", "searched", "--model", "knows", "--plugin", tunable, "--trials", "3")
    asked = ("--storage", f"sqlite:///{database}", "--results", tmp_path / "r", "--format", "json")
    done = zoobench_here("plan", *words, *asked)
    assert done.returncode == 0, done.stderr
    assert [each["mode"] for each in json.loads(done.stdout)["cells"]] == ["default", "tuned"]
    assert not database.exists()
    assert not (tmp_path / "r").exists()


def record(wall: float, **more: Any) -> Record:
    timings = {"timings": {"wall": wall, "fit": 2.0, "tune": more.pop("tune", 0.0)}}
    return Made("pine", STRONG, changes={**timings, **more.pop("changes", {})}, **more).record()


def test_the_time_of_a_cell_is_that_of_the_newest_like_it() -> None:
    from zoobench.benchmarks.cell import Cell

    cell = Cell(
        task="made-up", protocol="", task_version=1, data_fingerprint="", split_sha256="", model="pine", preset="",
        config={"C": 1.0}, settings={}, seed=0, source_sha256="", primary_metric="f1_macro", folders={},
    )  # fmt: skip
    old, new = record(5, created="2025-01-01"), record(7, created="2025-02-01")
    other = record(90, created="2025-03-01", changes={"config": {"C": 100.0}})
    assert expected_seconds(cell, [old, new, other]) == 7, "of its own configuration, whatever came later"
    assert expected_seconds(cell, [other]) == 90
    assert expected_seconds(cell, [record(3, changes={"fraction": 0.5}), record(3, task="else")]) is None
    resumed = record(4, created="2025-04-01", changes={"timings": {"wall": 4, "fit": 60.0, "predict": 1.0}})
    assert expected_seconds(cell, [resumed]) == 61, "the last run of a fit that went on from a checkpoint took 4"
    failed = Made("pine", None, changes={"timings": {"wall": 1}}).record()
    assert expected_seconds(cell, [failed]) is None
    tuned = Cell(
        **{**{f: getattr(cell, f) for f in cell.__dataclass_fields__}, "tuning": {"trials": 10, "seconds": None}}
    )
    assert expected_seconds(tuned, [new]) == 77, "ten trials and a fit"
    study = record(9, tune=3.0, changes={"mode": "tuned", "tuning": TUNING})
    assert expected_seconds(tuned, [new, study]) == pytest.approx(10 * 3.0 / 4 + 2.0), "3 s for 4 trials"


def test_cells_side_by_side() -> None:
    assert spread([5, 1, 1, 1], 1) == 8
    assert spread([5, 1, 1, 1], 2) == 5
    assert spread([1, 1, 1, 5], 2) == 6, "in their order"
    assert spread([], 3) == 0


def test_what_a_run_could_not_write_to_is_refused(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    words = ["--task", "tiny", "--model", "dummy-uniform", "--plugin", tiny, "--results", tmp_path / "file"]
    done = zoobench_here("plan", *words)
    assert done.returncode == 2
    assert "is a file: name another with --results" in done.stderr


def test_a_record_that_does_not_read_is_named(tmp_path: Path, tiny: Path) -> None:
    run("quick", task="tiny", model="dummy-uniform", plugin=tiny, results=tmp_path, quiet=True)
    [path] = Results(tmp_path).record_paths()
    path.write_text(path.read_text()[:500])
    words = ["--task", "tiny", "--model", "dummy-uniform", "--plugin", tiny, "--results", tmp_path]
    done = zoobench_here("plan", *words)
    assert done.returncode == 0
    assert "is no record that this version reads (not whole JSON" in done.stderr
