"""The site's model pages, from real runs of two tiny tasks: what they draw, what they say is missing, in a browser."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from zoobench.benchmarks import run
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.rows import Rows, beside, read_answers
from zoobench.benchmarks.store import PROBABILITIES, Stored, read_record
from zoobench.datasets.prepare import find_prepared
from zoobench.datasets.truth import Truth
from zoobench.leaderboard.known_rows import TruthsHere
from zoobench.leaderboard.site.build import build_site
from zoobench.leaderboard.site.evidence import DRAWN, Evidence, Missing, held_against
from zoobench.leaderboard.site.model_parts import best_trials
from zoobench.leaderboard.site.reproduce import command

from .conftest import zoobench_here

TASKS = ("searched", "searched-classes")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tunable: Path, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("results") / "r"
    options: dict[str, Any] = {"plugin": tunable, "results": folder, "quiet": True}
    run(task=TASKS, model="knows", set={"skill": "0.4"}, seed=[0, 1], **options)
    run(task="searched", model="knows", trials=3, **options)
    done = zoobench_here("ensemble", "searched", "--how", "greedy", "--plugin", tunable, "--results", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "out"
    build_site(results, out)
    return out


def cells(results: Path, task: str = "*") -> list[Stored]:
    return [Stored(read_record(path), path) for path in sorted(results.glob(f"cells/{task}/knows/*/record.json"))]


def untuned(results: Path) -> Record:
    return next(stored.record for stored in cells(results, "searched") if not stored.record.tuning)


def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "kept.json", TruthsHere())


def drawn(page: Path) -> Any:
    """Return what the script of a page draws, task by task."""
    found = re.search(r'<script type="application/json" id="json-model">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def truth_and_scores(stored: Stored) -> tuple[np.ndarray, np.ndarray]:
    record = stored.record
    prepared = find_prepared(record.task_name, record.data_fingerprint, record.split_sha256)
    assert prepared is not None
    truth = Truth.of(prepared)
    targets, scores = truth.targets["test"], read_answers(stored)["test"].in_order(truth.ids["test"])
    assert scores is not None
    return (targets.astype(bool) if targets.ndim == 2 else np.eye(scores.shape[1], dtype=bool)[targets]), scores


@pytest.mark.parametrize("task", TASKS)
def test_the_diagrams_are_those_of_the_cell(results: Path, task: str, tmp_path: Path) -> None:
    stored = cells(results, task)[0]
    record, (truth, scores) = stored.record, truth_and_scores(stored)
    found = evidence(tmp_path).of(stored)
    assert not isinstance(found, Missing)
    evaluation = record.test[record.policy]
    assert found["drawn"] == [0, 1, 2]
    for label in found["drawn"]:
        roc, recall = (
            {name: np.array(of[label][name]) / 1000 for name in "xy"} for of in (found["roc"], found["recall"])
        )
        area = sk.roc_auc_score(truth[:, label], scores[:, label])
        assert evaluation.per_label["roc_auc"][label] == pytest.approx(area)
        assert sk.auc(roc["x"], roc["y"]) == pytest.approx(area, abs=0.01)
        precise = (np.diff(recall["x"], prepend=0) * recall["y"]).sum()
        assert precise == pytest.approx(evaluation.per_label["average_precision"][label], abs=0.03)
    micro = {name: np.array(found["micro"]["roc"][name]) / 1000 for name in "xy"}
    assert sk.auc(micro["x"], micro["y"]) == pytest.approx(evaluation.values["roc_auc_micro"], abs=0.01)
    assert [each[0] for each in found["sure"]] == evaluation.per_label["support"]
    assert found["reliability"]["before"]["error"] == pytest.approx(evaluation.values["expected_calibration_error"])
    assert found["reliability"]["temperature"] == record.temperature
    assert sum(found["reliability"]["after"]["counts"]) == (truth.size if record.kind == "multilabel" else len(truth))


def test_the_sweep_passes_through_the_scores_of_the_fixed_policy(results: Path, tmp_path: Path) -> None:
    stored = cells(results, "searched")[0]
    found = evidence(tmp_path).of(stored)
    assert not isinstance(found, Missing)
    values = stored.record.test["fixed-0.5"].values
    sweep = found["sweeps"]["test"]
    at = sweep["thresholds"].index(500)
    assert sweep["first"][at] == round(1000 * values["f1_weighted"])
    assert sweep["second"][at] == round(1000 * values["hamming_loss"])
    assert found["sweeps"]["validation"] != sweep


def test_no_row_of_the_test_fold_stands_in_a_page(site: Path, results: Path) -> None:
    ids = {str(name) for stored in cells(results) for name in read_answers(stored)["test"].ids}
    text = (site / "models" / "knows.html").read_text()
    assert len(ids) > 20
    assert not {name for name in ids if re.search(rf"\b{name}\b", text)}


# --- what is missing ---------------------------------------------------------------------------------------------------


def test_without_the_task_the_page_says_so_and_shows_the_record(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "r"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns(".index"))
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "nothing"))
    build_site(copy, tmp_path / "out", ["en"])
    page = tmp_path / "out" / "models" / "knows.html"
    tasks = drawn(page)
    assert [each["figures"] for each in tasks] == [{}, {}]
    assert all(each["confusion"] and each["scores"]["f1"] for each in tasks)
    text = page.read_text()
    assert text.count("<code>zoobench data prepare searched</code>") == 1
    assert "chart-roc" not in text
    assert "chart-scores-0" in text, "the history is the record's own"
    assert not (tmp_path / "nothing" / "tasks").exists(), "nothing was prepared or downloaded for a page"


@pytest.mark.parametrize("change", ["gone", "damaged", "other rows"])
def test_probabilities_that_are_not_those_recorded_draw_nothing(results: Path, tmp_path: Path, change: str) -> None:
    shutil.copytree(results, tmp_path / "r")
    stored = cells(tmp_path / "r", "searched")[0]
    path = stored.attempt / PROBABILITIES
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(
            path.read_bytes()[:-200]
            if change == "damaged"
            else (cells(results, TASKS[1])[0].attempt / PROBABILITIES).read_bytes()
        )
    assert evidence(tmp_path).of(stored) == Missing("no-probabilities")


def test_a_record_that_claims_other_counts_draws_nothing(results: Path) -> None:
    for stored in (cells(results, task)[0] for task in TASKS):
        record = stored.record
        prepared = find_prepared(record.task_name, record.data_fingerprint, record.split_sha256)
        assert prepared is not None
        rows = beside(stored, read_answers(stored), Truth.of(prepared))
        assert not isinstance(held_against(record, rows), Missing)
        told = json.loads(record.model_dump_json())
        told["test"][record.policy]["confusion"][0][0] += 1
        assert held_against(Record.model_validate(told), rows) == Missing("disagrees")


def test_a_failed_cell_is_shown_with_its_reason_and_nothing_else(results: Path, tunable: Path, tmp_path: Path) -> None:
    run(task="searched", model="knows", set={"kind": "breaks"}, plugin=tunable, results=tmp_path / "r", quiet=True)
    build_site(tmp_path / "r", tmp_path / "out", ["en"])
    page = tmp_path / "out" / "models" / "knows.html"
    assert "this kind never fits" in page.read_text()
    assert drawn(page) == []
    assert "--set kind=breaks" in page.read_text()


def test_a_task_is_found_in_the_cache_by_what_it_holds(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = cells(results, "searched")[0].record
    place = (record.task_name, record.data_fingerprint, record.split_sha256)
    found = find_prepared(*place)
    assert found is not None
    assert (found.fingerprint, found.split_sha256, found.rows["test"]) == (*place[1:], record.rows["test"])
    assert find_prepared(place[0], "0" * 64, place[2]) is None
    assert find_prepared(place[0], place[1], "0" * 64) is None
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    assert find_prepared(*place) is None


# --- what is kept ------------------------------------------------------------------------------------------------------


def test_figures_are_computed_once_and_anew_where_a_record_changed(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(results, tmp_path / "r")
    stored = cells(tmp_path / "r", "searched")[0]
    first = evidence(tmp_path)
    found = first.of(stored)
    first.save()
    monkeypatch.setattr("zoobench.leaderboard.site.evidence.held_against", lambda record, rows: pytest.fail("again"))
    assert evidence(tmp_path).of(stored) == found
    warmer = Stored(changed(stored.record, temperature=2.5), stored.path)
    with pytest.raises(pytest.fail.Exception, match="again"):
        evidence(tmp_path).of(warmer)
    monkeypatch.undo()
    for damaged in ("", "[]", "{", '{"x": {}}', "[" * 10**5):
        (tmp_path / "kept.json").write_text(damaged)
        assert evidence(tmp_path).of(stored) == found


def test_figures_of_cells_that_are_gone_are_dropped(results: Path, tmp_path: Path) -> None:
    one, other = (cells(results, task)[0] for task in TASKS)
    first = evidence(tmp_path)
    first.of(one)
    first.of(other)
    first.save()
    again = evidence(tmp_path)
    again.of(one)
    again.save()
    assert len(json.loads((tmp_path / "kept.json").read_text())) == 1


def test_where_nothing_can_be_kept_the_figures_are_the_same(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = Evidence(tmp_path / "file" / "kept.json", TruthsHere())
    stored = cells(results, "searched")[0]
    assert blocked.of(stored) == evidence(tmp_path).of(stored)
    blocked.save()


# --- weight ------------------------------------------------------------------------------------------------------------


def as_rows(seed: int, rows: int, labels: int) -> Rows:
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, labels)) < rng.uniform(0.01, 0.4, labels)).astype(np.uint8)
    scores = np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1).astype(np.float32)
    return Rows(np.array([f"r{at}" for at in range(rows)], dtype=object), scores, truth)


@pytest.mark.parametrize(("labels", "most"), [(24, 75_000), (134, 90_000)])
def test_a_task_of_many_rows_and_labels_stays_small(results: Path, labels: int, most: int) -> None:
    record = cells(results, "searched")[0].record
    test, validation = as_rows(1, 5000, labels), as_rows(2, 3000, labels)
    predicted = test.probabilities >= 0.5
    counts = [
        [int((~t & ~p).sum()), int((~t & p).sum()), int((t & ~p).sum()), int((t & p).sum())]
        for t, p in zip(test.targets.astype(bool).T, predicted.T, strict=True)
    ]
    told = json.loads(record.model_dump_json())
    told["labels"] = [f"label {at}" for at in range(labels)]
    told["test"] = {record.policy: told["test"][record.policy] | {"confusion": counts, "thresholds": [0.5] * labels}}
    found = held_against(Record.model_validate(told), {"validation": validation, "test": test})
    assert not isinstance(found, Missing)
    assert len(json.dumps(found, separators=(",", ":"))) < most
    assert len(found["drawn"]) == min(labels, DRAWN)
    support = test.targets.sum(axis=0)
    assert support[found["drawn"]].min() >= np.sort(support)[-len(found["drawn"])]


# --- how to make it again ----------------------------------------------------------------------------------------------


def test_the_command_plans_the_very_cell(results: Path, tunable: Path, tmp_path: Path) -> None:
    stored = cells(results)
    assert {each.record.mode for each in stored} == {"default", "tuned"}
    for record in (each.record for each in stored):
        words = shlex.split(command(record))
        assert words[:2] == ["zoobench", "run"]
        done = zoobench_here("plan", *words[2:], "--plugin", tunable, "--results", tmp_path, "--format", "json")
        assert done.returncode == 0, done.stderr
        planned = {(each["mode"], each["fit_key"]) for each in json.loads(done.stdout)["cells"]}
        assert (record.mode, record.fit_key) in planned


def changed(record: Record, **fields: Any) -> Record:
    return Record.model_validate({**json.loads(record.model_dump_json()), **fields})


def test_the_command_says_all_that_was_asked_for(results: Path) -> None:
    record = untuned(results)
    asked = changed(
        record, protocol="random", preset="big", seed=7, fraction=0.25, timeout_s=12.5, device="cuda",
        config={**record.config, "encoder": "/somewhere/else", "path": "a b"},
        settings={"encoder": "/somewhere/else", "path": "a b", "tf32": False}, folders={"encoder": "0" * 64},
    )  # fmt: skip
    assert command(asked) == (
        "zoobench run --task searched@random --model knows@big --seed 7 --set encoder=FOLDER --set 'path=a b' --no-tf32 "
        "--fractions 0.25 --timeout 12.5 --device cuda"
    )
    tuned = next(each.record for each in cells(results) if each.record.tuning)
    budget = {**json.loads(tuned.model_dump_json())["tuning"], "budget": 30, "tune_time_s": 600, "pruner": "none"}
    assert command(changed(tuned, tuning=budget)).endswith("--trials 30 --tune-time 600 --pruner none")


def test_the_command_of_an_ensemble_names_its_members(results: Path) -> None:
    record = untuned(results)
    members = [{"key": str(at) * 20, "label": "m", "weight": 0.5} for at in (1, 2)]
    made = changed(
        record,
        model="ensemble-greedy",
        mode="ensemble",
        members=members,
        settings={"size": 9, "name": "best"},
        hardware_class="some-cpu",
    )
    assert command(made) == (
        "zoobench ensemble searched --how greedy --hardware some-cpu --size 9 --name best "
        f"--cell {'1' * 20} --cell {'2' * 20}"
    )
    mean = command(changed(made, model="ensemble-mean", settings={"trials": "all"}))
    assert mean == "zoobench ensemble searched --how mean --hardware some-cpu --trials"


def test_the_command_of_a_recorded_ensemble_makes_the_same_mean(
    results: Path, site: Path, tunable: Path, tmp_path: Path
) -> None:
    (path,) = results.glob("cells/searched/ensemble-greedy/*/record.json")
    record = read_record(path)
    page = site / "models" / "ensemble-greedy.html"
    assert f"--cell {record.members[0].key}" in page.read_text()
    assert "Members" in page.read_text()
    assert drawn(page)[0]["figures"]["roc"], "an ensemble has probabilities like any other cell"
    shutil.copytree(results, tmp_path / "r", ignore=shutil.ignore_patterns("ensemble-greedy"))
    done = zoobench_here(*shlex.split(command(record))[1:], "--plugin", tunable, "--results", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "r").glob("cells/searched/ensemble-greedy/*/record.json")
    made = read_record(again)
    assert made.files[PROBABILITIES] == record.files[PROBABILITIES]
    assert [share.weight for share in made.members] == [share.weight for share in record.members]


def test_no_place_of_the_machine_stands_on_a_page(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "r"
    shutil.copytree(results, copy)
    for stored in cells(copy):
        told = json.loads(stored.path.read_text())
        told["config"]["encoder"] = told["settings"]["encoder"] = "/srv/private/models/tiny"
        told["folders"] = {"encoder": "0" * 64}
        stored.path.write_text(json.dumps(told))
    build_site(copy, tmp_path / "out", ["en"])
    text = (tmp_path / "out" / "models" / "knows.html").read_text()
    assert "/srv/private" not in text
    assert str(tmp_path) not in text
    assert "FOLDER/tiny" in text


def test_the_best_trials_come_best_first(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "r")
    stored = next(each for each in cells(tmp_path / "r") if each.record.tuning)
    found = best_trials(stored)
    assert found is not None
    assert stored.record.tuning is not None
    values = [row[1] for row in found.rows]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(stored.record.tuning.value)
    assert "skill" in found.settings
    (stored.attempt / "trials.csv").write_text("trial,state\n1,complete\n")
    assert best_trials(stored) is None
    (stored.attempt / "trials.csv").unlink()
    assert best_trials(stored) is None
