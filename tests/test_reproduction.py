"""The published numbers beside ours: digits as published, figures out of records, and what is missing with its command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.options import check_names
from zoobench.benchmarks.rows import Rows
from zoobench.benchmarks.thresholds import fit_thresholds, policies_for
from zoobench.datasets.core import TASKS
from zoobench.leaderboard import leaks, reproduction
from zoobench.leaderboard.originals import Entry, Original, Reading, originals
from zoobench.leaderboard.reproduction import NO_TARGETS, Boards, reproduce
from zoobench.leaderboard.reproduction_tables import leaks_markdown, reproduction_markdown
from zoobench.zoo.core import MODELS, split_name

from .conftest import zoobench_here
from .records import STRONG, WEAK, Cell

TASK = "biomedical-abstracts"
ROOT = Path(__file__).parents[1]


def original(title: str) -> Original:
    return next(each for each in originals()[0] if each.title == title)


VARIANTS = original("Biomedical abstracts: regularised variants")


@pytest.mark.parametrize("table", originals()[0], ids=lambda table: f"{table.title}, {table.where}")
def test_what_answers_to_a_published_number_exists(table: Original) -> None:
    tasks = {reading.task for column in table.columns for reading in column} | {table.task}
    for name in tasks:
        base, protocol = split_name(name)
        card = TASKS.get(base).card.under(protocol)
        assert table.policy in policies_for(card.kind)
        assert {entry.label for entry in table.entries} <= {*card.labels, ""}
    for entry in table.entries:
        for model in filter(None, (entry.model, entry.stands_in)):
            name, preset = split_name(model)
            MODELS.get(name).card.configure(preset, entry.settings)
        check_names(sorted(tasks), [entry.model], {})


def test_numbers_keep_the_digits_that_were_published() -> None:
    assert [str(value) for value in original("Biomedical abstracts: the floor").entries[3].values] == ["0.0000"] * 3 + [
        "0.3352",
        "0.0000",
    ]
    everything = [value for table in originals()[0] for entry in table.entries for value in entry.values]
    assert len(everything) == 146
    assert all(value >= 0 for value in everything)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"values": (Decimal("NaN"),)}, "no finite"), ({"values": ()}, "no finite")],
)
def test_an_entry_refuses_what_is_no_number(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Entry(**{"name": "a", "model": "b", "values": (Decimal("0.5"),), **changes})
    with pytest.raises(ValueError, match="is no measure"):
        Reading("task", "f1_macros")


def store(root: Path, model: str, preset: str = "", **changes: Any) -> Path:
    outcome = None if changes.get("status") else changes.pop("outcome", STRONG)
    changes = {"preset": preset, "primary_metric": "f1_weighted", **changes}
    return Cell(model, outcome, TASK, "published", changes=changes).store(root).path


def line_of(root: Path, name: str, measure: str = "f1_weighted") -> reproduction.Line:
    found = reproduce(Boards(root), VARIANTS)
    return next(line for line in found.lines if line.name == name and line.reading.measure == measure)


def test_a_published_number_stands_beside_the_record_of_its_model(tmp_path: Path) -> None:
    # Of the policy that records are decided by, here and in the table.
    evaluation = {"values": STRONG.values, "intervals": STRONG.intervals()}
    decided = {"policy": "global", "test": {"global": evaluation}}
    path = store(tmp_path, "pubmedbert", "ensemble", **decided)
    store(tmp_path, "pubmedbert", "moderate", status="unavailable", reason="no hub here")
    store(tmp_path, "minilm", "moderate", **decided)
    record = json.loads(path.read_text())
    line = line_of(tmp_path, "For the ensemble")
    assert (line.missing, line.by, line.theirs) == ("", "pubmedbert@ensemble", Decimal("0.9437"))
    assert line.ours == record["test"]["global"]["values"]["f1_weighted"]
    assert [line.low, line.high] == record["test"]["global"]["intervals"]["f1_weighted"]
    assert line.difference == pytest.approx(line.ours - 0.9437)
    assert line.fit_s == sum(record["timings"][name] for name in ("features", "tune", "fit"))
    assert line_of(tmp_path, "For the ensemble", "fit_s").difference is None
    other = line_of(tmp_path, "Moderate")
    assert (other.missing, other.by, other.ours) == ("unavailable", "minilm@moderate", line.ours)
    assert line_of(tmp_path, "Aggressive").missing == "not run"
    best = reproduce(Boards(tmp_path), VARIANTS).best
    assert best is not None
    assert best.ours == line.ours


def test_what_is_missing_names_the_command_that_fills_it(tmp_path: Path) -> None:
    store(tmp_path, "pubmedbert", "moderate", status="unavailable", reason="no hub here")
    gaps = reproduce(Boards(tmp_path), VARIANTS).gaps
    asked = {(gap.missing, gap.encoders): gap.command for gap in gaps}
    hub = ("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",)
    end = "--results leaderboard/results"
    assert asked["unavailable", hub] == f"zoobench run --task {TASK}@published --model pubmedbert@moderate {end}"
    assert "pubmedbert@moderate" not in asked["not run", hub]
    assert all(f"--model minilm@{each.name.lower()}" in asked["not run", ()] for each in VARIANTS.entries[:3])
    text = reproduction_markdown(tmp_path)
    assert "| Moderate | F1 weighted | 0.9241 | unavailable |" in text
    assert asked["unavailable", hub] in text


def test_a_row_with_the_settings_of_the_original_is_taken_before_others(tmp_path: Path) -> None:
    store(tmp_path, "minilm", "ensemble", settings={"max_length": 64}, config={"max_length": 64})
    rows = Boards(tmp_path).rows(f"{TASK}@published")
    assert reproduction.find_row(rows, "minilm@ensemble", {})[0] is not None
    assert reproduction.find_row(rows, "minilm@ensemble", {"dropout": "0.4"}) == (None, "not run")
    store(tmp_path, "minilm", "ensemble", outcome=WEAK)
    rows = Boards(tmp_path).rows(f"{TASK}@published")
    found = reproduction.find_row(rows, "minilm@ensemble", {})[0]
    assert found is not None
    assert found["settings"] == ""


def test_figures_by_label_and_of_training_are_those_of_the_record(tmp_path: Path) -> None:
    labels = ["neurological", "cardiovascular", "hepatorenal", "oncological"]
    evaluation = {
        "values": STRONG.values,
        "per_label": {name: [0.1, 0.2, 0.3, 0.4] for name in ("precision", "recall", "f1", "specificity")},
    }
    scored = {
        "labels": labels,
        "policy": "global",
        "test": {"global": evaluation},
        "train": {"global": {"values": WEAK.values}},
    }
    store(tmp_path, "pubmedbert", "ensemble", **scored)
    store(tmp_path, "pubmedbert", "conservative", settings={"accumulation": 1}, **scored)
    lines = reproduce(Boards(tmp_path), original("Biomedical abstracts: the chosen model, by field")).lines
    assert {line.ours for line in lines if line.name == "Hepatorenal"} == {0.3}
    trained = reproduce(Boards(tmp_path), original("Biomedical abstracts: training against validation")).lines
    assert {line.reading.measure: line.ours for line in trained}["train:f1_macro"] == WEAK.values["f1_macro"]
    sure = reproduce(Boards(tmp_path), original("Biomedical abstracts: how sure, by field")).lines
    assert {line.missing for line in sure} == {NO_TARGETS}


def made_up(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random((80, 4)) < 0.35).astype(np.uint8)
    return truth, np.clip(0.3 * truth + rng.random(truth.shape) * 0.7, 0, 1).astype(np.float32)


CUTS = np.arange(10, 91) / 100


def weighted(truth: np.ndarray, scores: np.ndarray, cut: Any) -> float:
    found = score("multilabel", truth, scores, (scores >= cut).astype(np.uint8)).values["f1_weighted"]
    assert found is not None
    return found


@pytest.mark.parametrize("policy", [leaks.SINGLE, "youden", "precision-constrained", "dynamic"])
def test_thresholds_chosen_on_test_are_chosen_there_and_honest_ones_are_not(policy: str, tmp_path: Path) -> None:
    (test, scores), (validation, other) = made_up(1), made_up(2)
    cheating = leaks.score_with_thresholds_chosen_on_the_rows_it_scores(
        "multilabel", test, scores, policy, "f1_weighted"
    )
    if policy == leaks.SINGLE:
        assert cheating == max(weighted(test, scores, cut) for cut in CUTS)
    label = ["a", "b", "c", "d"]
    path = store(tmp_path, "tfidf-lightgbm", labels=label)
    folds = {
        "test": Rows(np.arange(80).astype(str), scores, test),
        "validation": Rows(np.arange(80).astype(str), other, validation),
    }

    boards = Boards(tmp_path)
    boards.answers = lambda stored: folds  # type: ignore[method-assign, assignment]
    tuned = leaks.Tuned(1, "", f"{TASK}@published", ("minilm", "tfidf-lightgbm"), policy, "f1_weighted")
    gap = leaks.threshold_gap(boards, tuned)
    if policy == leaks.SINGLE:
        by_hand = [weighted(validation, other, cut) for cut in CUTS]
        assert gap.on_validation == weighted(test, scores, CUTS[by_hand.index(max(by_hand))])
    else:
        chosen = fit_thresholds(policy, "multilabel", validation, other, "weighted")
        assert gap.on_validation == weighted(test, scores, np.array(chosen.values))
    assert (gap.by, gap.on_test) == ("tfidf-lightgbm", cheating)
    # Other test targets move what cheats, and leave the honest thresholds where they were.
    folds["validation"] = folds["test"]
    assert leaks.threshold_gap(boards, tuned).on_validation == cheating
    assert path.is_file()


def test_what_cheats_serves_the_demonstration_alone() -> None:
    name = leaks.score_with_thresholds_chosen_on_the_rows_it_scores.__name__
    held = [
        path
        for room in ("datasets", "zoo", "benchmarks", "leaderboard")
        for path in (ROOT / room).rglob("*.py")
        if name in path.read_text()
    ]
    assert [path.name for path in sorted(held)] == ["leaks.py", "reproduction_tables.py"]
    assert (ROOT / "leaderboard" / "leaks.py").read_text().count(f"{name}(") == 2


def test_a_leaky_split_stands_beside_the_honest_one(tmp_path: Path) -> None:
    for protocol, outcome in (("", WEAK), ("random", STRONG)):
        for model in ("tfidf-logreg", "tfidf-mlp", "bilstm"):
            Cell(model, outcome, "litcoin-relations", protocol).store(tmp_path)
    Cell("kim-cnn", WEAK, "litcoin-relations").store(tmp_path)
    split = leaks.Split("", "litcoin-relations@random", "litcoin-relations", "f1_macro")
    gaps = leaks.split_gaps(Boards(tmp_path), split)
    assert {gap.name for gap in gaps} == {"tfidf-logreg", "bilstm"}  # the best of each family that both have
    assert gaps[0].gap == pytest.approx(STRONG.values["f1_macro"] - WEAK.values["f1_macro"])
    text = leaks_markdown(tmp_path)
    assert "no model has records of both `nih-chest-xray14@published` and `nih-chest-xray14`" in text
    assert len(re.findall(r"\| not run \| not run \| - \|", text)) == 4


def test_marks_write_both(tmp_path: Path) -> None:
    store(tmp_path / "r", "minilm", "ensemble")
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- reproduction: all -->\n<!-- end reproduction -->\n\n<!-- leaks: all -->\nx\n<!-- end leaks -->\n"
    )
    done = zoobench_here("site", "tables", page, "--results", tmp_path / "r")
    assert (done.returncode, done.stdout) == (0, f"{page}: written anew\n"), done.stderr
    headings = re.findall(r"^### (.+)$", page.read_text(), re.MULTILINE)
    assert headings[:-3] == [table.title for table in originals()[0]]
    assert headings[-3:] == [*(split.title for split in leaks.SPLITS), "Thresholds chosen on test, or on validation"]
    page.write_text("<!-- leaks: some -->\n<!-- end leaks -->\n")
    done = zoobench_here("site", "tables", page, "--results", tmp_path / "r")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "unknown name of leaks 'some'" in done.stderr
