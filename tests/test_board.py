"""The board: ranks, ties, pooling, what the index saves, and the four formats."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from zoobench.benchmarks.metrics import METRICS
from zoobench.benchmarks.store import RECORD, RESAMPLES
from zoobench.leaderboard import board, index, rank
from zoobench.leaderboard.frame import COLUMNS
from zoobench.leaderboard.sheet_notes import table_notes, told_apart
from zoobench.leaderboard.tables import FORMATS, render, show

from .records import STRONG, WEAK, Cell, outcome, store_four


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return store_four(tmp_path)


def rows(results: Path, **options: str) -> pd.DataFrame:
    return board(results=results, **options).set_index("model")


def test_ranks_by_hand() -> None:
    values = np.array([0.5, 0.7, 0.5, np.nan, 0.1])
    np.testing.assert_array_equal(rank.ranks(values, higher_is_better=True), [2, 1, 2, np.nan, 4])
    np.testing.assert_array_equal(rank.ranks(values, higher_is_better=False), [2, 4, 2, np.nan, 1])


def test_an_interval_holds_the_middle_of_the_replicates() -> None:
    assert rank.interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
    assert rank.interval(np.array([2.0, np.nan, 4.0]), level=1.0) == (2.0, 4.0)
    assert np.isnan(rank.interval(np.array([2.0, np.nan, np.nan]))).all()
    assert np.isnan(rank.interval(np.array([]))).all()


def test_pairing_cancels_what_both_share() -> None:
    """Two models 0.01 apart on every resample differ, however far both swing from one resample to the next."""
    swing = np.random.default_rng(0).normal(size=500)
    low, high = rank.difference_interval(swing + 0.01, swing)
    assert [low, high] == pytest.approx([0.01, 0.01])
    assert rank.difference_interval(swing, swing) == (0.0, 0.0)
    assert np.isnan(rank.difference_interval(swing, swing[:-1])).all()
    tied = rank.tied_with_best(np.array([-1.0, 0.0, 0.1, -0.2, np.nan]), np.array([1.0, 0.0, 0.2, -0.1, np.nan]))
    assert tied.tolist() == [True, True, False, False, False]


def test_twins_tie_a_clearly_worse_model_does_not_and_a_failure_comes_last(results: Path) -> None:
    found = rows(results)
    assert found["rank"].tolist()[:3] == [1, 1, 3]
    assert found.loc["twin", "tied"]
    assert not found.loc["weak", "tied"]
    assert found.loc["strong", "value"] == STRONG.values["f1_macro"]
    assert (found.loc["strong", "low"], found.loc["strong", "high"]) == STRONG.intervals()["f1_macro"]
    assert found["low"].iloc[0] < found["value"].iloc[0] < found["high"].iloc[0]
    assert found.index[-1] == "broken"
    assert found.loc["broken", ["status", "reason"]].tolist() == ["failed", "ValueError: no rows left"]
    assert found.loc["broken", ["rank", "value", "tied"]].isna().all()


def test_columns_are_those_that_are_documented(results: Path) -> None:
    frame = board(results=results)
    assert list(frame.columns) == COLUMNS
    assert set(METRICS) <= set(COLUMNS)
    documented = (Path(__file__).parents[1] / "leaderboard" / "README.md").read_text(encoding="utf-8")
    assert [name for name in COLUMNS if name not in METRICS and f"`{name}`" not in documented] == []
    parts = frame[["features_s", "tune_s", "fit_only_s"]].sum(axis=1)
    assert parts[frame["status"] == "ok"].tolist() == pytest.approx(frame["fit_s"].dropna().tolist())


def test_another_metric_ranks_by_its_own_direction_where_a_task_has_it(results: Path) -> None:
    found = rows(results, sort="hamming_loss")
    assert found.index[-2:].tolist() == ["weak", "broken"]
    assert found.loc["weak", ["rank", "ranked_by", "primary"]].tolist() == [3, "hamming_loss", "f1_macro"]
    assert found.loc["strong", "value"] < found.loc["weak", "value"]
    assert not found.loc["weak", "tied"]
    Cell("strong", outcome(1.0, kind="multiclass"), task="topics").store(results)
    frame = board(results=results, sort="balanced_accuracy").drop_duplicates("task").set_index("task")
    assert frame["ranked_by"].to_dict() == {"made-up": "f1_macro", "topics": "balanced_accuracy"}


def test_a_metric_without_resamples_ranks_and_claims_no_tie(tmp_path: Path) -> None:
    for model, brier in (("a", 0.2), ("b", 0.1)):
        Cell(model, dataclasses.replace(STRONG, values=STRONG.values | {"brier": brier})).store(tmp_path)
    found = rows(tmp_path, sort="brier")
    assert found["rank"].to_dict() == {"b": 1, "a": 2}
    assert pd.isna(found.loc["a", "tied"])
    assert found[["low", "high"]].isna().all(axis=None)


def test_a_row_without_resamples_says_nothing_about_ties(results: Path) -> None:
    for path in (results / "cells").glob(f"*/twin/*/*/{RESAMPLES}"):
        path.unlink()
    assert pd.isna(rows(results).loc["twin", "tied"])
    assert not rows(results).loc["weak", "tied"]


def test_fingerprints_splits_and_protocols_never_share_a_table(results: Path) -> None:
    for change in ({"data_fingerprint": "e" * 64}, {"split_sha256": "f" * 64}):
        Cell("weak", WEAK, changes=change).store(results)
    Cell("weak", WEAK, protocol="random").store(results)
    frame = board(results=results)
    assert frame.loc[frame["model"] == "weak", "rank"].tolist() == [3, 1, 1, 1]
    assert set(board("made-up@random", results=results)["task"]) == {"made-up@random"}
    assert set(board("made-up", results=results)["task"]) == {"made-up"}
    text = render(frame)
    assert "data eeeeeeee" in text
    assert "split ffffffff" in text


def test_hardware_classes_and_settings_have_rows_of_their_own(results: Path) -> None:
    Cell("weak", WEAK, hardware="Another CPU").store(results)
    Cell("weak", STRONG, changes={"settings": {"C": 2.0, "a": True}}).store(results)
    frame = board(results=results)
    weak = frame[frame["model"] == "weak"]
    assert sorted(weak["hardware"]) == ["Another CPU", "Test CPU, 2 cores", "Test CPU, 2 cores"]
    assert sorted(weak["settings"]) == ["", "", "C=2.0, a=True"]


def test_seeds_are_pooled_and_their_interval_is_that_of_the_mean(tmp_path: Path) -> None:
    found = [outcome(0.8, seed=seed) for seed in range(3)]
    for seed, each in enumerate(found):
        Cell("model", each, seed=seed).store(tmp_path)
    row = rows(tmp_path).loc["model"]
    assert row["seeds"] == "3"
    assert row["f1_micro"] == pytest.approx(np.mean([each.values["f1_micro"] for each in found]))
    means = np.mean([each.replicates["f1_macro"].astype(np.float32) for each in found], axis=0, dtype=float)
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist())
    assert len(row["records"].split(";")) == 3
    assert all((tmp_path / path).is_file() for path in row["records"].split(";"))


def test_a_failed_seed_is_told_beside_the_good_ones(tmp_path: Path) -> None:
    Cell("model", STRONG, seed=0).store(tmp_path)
    Cell("model", seed=1, changes={"status": "timeout", "reason": "longer than 60 s"}).store(tmp_path)
    row = rows(tmp_path).loc["model"]
    assert (row["status"], row["seeds"], row["rank"]) == ("ok", "1 of 2", 1)
    assert row["reason"] == "seed 1 timeout: longer than 60 s"
    assert "1 of 2 seeds ok" in render(board(results=tmp_path))


@pytest.mark.parametrize("failed_last", [True, False])
def test_the_latest_record_of_a_seed_counts(tmp_path: Path, failed_last: bool) -> None:
    dates = ("2025-01-02T00:00:00Z", "2025-01-01T00:00:00Z")
    failed, fine = dates if failed_last else dates[::-1]
    Cell("model", STRONG, created=fine, changes={"key": "a" * 20}).store(tmp_path)
    Cell("model", None, created=failed, changes={"key": "b" * 20}).store(tmp_path)
    row = rows(tmp_path).loc["model"]
    assert row["superseded"] == 1
    assert row["status"] == ("failed" if failed_last else "ok")
    assert row["seeds"] == ("0 of 1" if failed_last else "1")


OLD, NEW = "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"


@pytest.mark.parametrize(
    "change",
    [{"source_sha256": "e" * 64}, {"config": {"C": 2.0}}, {"task_version": 2}, {"metric_version": 2}, {"threads": 1}],
)
def test_seeds_that_ran_otherwise_than_the_newest_record_are_not_pooled(tmp_path: Path, change: dict[str, Any]) -> None:
    for seed in range(3):
        Cell("model", STRONG, seed=seed, created=OLD, changes={"key": f"{seed:020}"}).store(tmp_path)
    Cell("model", WEAK, created=NEW, changes=change | {"key": "e" * 20}).store(tmp_path)
    row = rows(tmp_path).loc["model"]
    assert row["value"] == WEAK.values["f1_macro"]
    assert (row["low"], row["high"]) == WEAK.intervals()["f1_macro"]
    assert (row["seeds"], row["superseded"], row["records"].count(";")) == ("1", 3, 0)
    for each in ("table", "md"):
        assert "3 records of earlier code or settings are not shown" in render(board(results=tmp_path), each)
    assert json.loads(render(board(results=tmp_path), "json"))[0]["superseded"] == 3
    Cell("model", WEAK, seed=1, created=NEW, changes=change | {"key": "f" * 20}).store(tmp_path)
    assert rows(tmp_path).loc["model", ["seeds", "superseded"]].tolist() == ["2", 3]


def test_a_seed_that_fails_last_leaves_the_scored_ones_of_its_code(results: Path) -> None:
    failure = {"status": "timeout", "reason": "longer than 60 s"}
    Cell("weak", None, seed=1, created=NEW, changes=failure).store(results)
    row = rows(results).loc["weak"]
    assert (row["seeds"], row["status"], row["superseded"]) == ("1 of 2", "ok", 0)
    assert "not shown" not in render(board(results=results), width=160)
    Cell("weak", None, seed=1, created="2025-01-03T00:00:00Z", changes=failure | {"source_sha256": "e" * 64}).store(
        results
    )
    row = rows(results).loc["weak"]
    assert (row["seeds"], row["status"], row["superseded"]) == ("0 of 1", "timeout", 2)
    assert set(rows(results).drop(index="weak")["superseded"]) == {0}
    Cell("strong", STRONG, created=NEW, changes={"source_sha256": "e" * 64}).store(results)
    assert "3 records of earlier" in render(board(results=results))


def test_one_superseded_record_is_told_in_the_singular(tmp_path: Path) -> None:
    for created, source in ((OLD, "a"), (NEW, "b")):
        Cell("model", STRONG, created=created, changes={"source_sha256": source * 64}).store(tmp_path)
    assert "\n1 record of earlier code or settings is not shown\n" in render(board(results=tmp_path))


def test_the_order_of_records_on_disk_does_not_matter(tmp_path: Path) -> None:
    cells = [Cell(f"model-{n % 3}", outcome(n % 3, seed=n), seed=n // 3) for n in range(9)]
    for name, order in (("forth", cells), ("back", cells[::-1])):
        for cell in order:
            cell.store(tmp_path / name)
    pd.testing.assert_frame_equal(board(results=tmp_path / "forth"), board(results=tmp_path / "back"))


def test_the_second_board_is_the_first_and_opens_no_record(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = board(results=results)

    def refuse(*_: object) -> None:
        raise AssertionError("a record or its resamples were read again")

    monkeypatch.setattr(index, "read_record", refuse)
    monkeypatch.setattr("zoobench.leaderboard.frame._Evidence._replicates", refuse)
    pd.testing.assert_frame_equal(board(results=results), first)


def test_a_replaced_record_is_read_again_and_a_removed_one_leaves(results: Path) -> None:
    assert rows(results).loc["weak", "rank"] == 3
    Cell("weak", outcome(3.0), created="2025-02-01T00:00:00Z").store(results)
    found = rows(results)
    assert found["rank"].tolist()[:3] == [1, 2, 2]
    assert not found.loc["strong", "tied"]
    next((results / "cells").glob(f"*/weak/*/{RECORD}")).unlink()
    assert "weak" not in rows(results).index


LONG = "ValueError: a | b <script>\n\x1b[31m[bold]é[/bold]" + " and so on" * 30
CUT = ("ValueError: a | b <script> [31m[bold]é[/bold]" + " and so on" * 30)[:157] + "..."


@pytest.fixture
def motley(results: Path) -> Path:
    """What a full board holds: two kinds of task, two machines, long settings, a reason full of marks."""
    Cell(
        "strong", outcome(1.2, kind="multiclass"), task="topics", changes={"beside": 1, "overlap": "weights=chest"}
    ).store(results)
    Cell("near", outcome(1.45, seed=3)).store(results)
    Cell("strong", WEAK, hardware="Big GPU", changes={"device": "cuda", "mode": "tuned", "preset": "large"}).store(
        results
    )
    Cell("weak", STRONG, changes={"settings": {f"setting_{n}": 0.123456789 * n for n in range(9)}}).store(results)
    Cell("angry", None, changes={"reason": LONG}).store(results)
    return results


def test_csv_and_json_hold_the_frame(motley: Path) -> None:
    frame = board(results=motley)
    back = pd.read_csv(
        io.StringIO(render(frame, "csv")), keep_default_na=False, na_values={c: [""] for c in ("value", "rank")}
    )
    assert list(back.columns) == COLUMNS
    assert back["reason"].tolist() == frame["reason"].tolist()
    assert LONG in frame["reason"].tolist()
    assert back["value"].tolist() == pytest.approx(frame["value"].tolist(), nan_ok=True)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    objects = json.loads(render(frame, "json"), parse_constant=refuse)
    assert [list(each) for each in objects] == [COLUMNS] * len(frame)
    assert [each["rank"] for each in objects] == [None if pd.isna(each) else int(each) for each in frame["rank"]]
    assert [each["value"] for each in objects] == [None if pd.isna(each) else each for each in frame["value"]]
    assert {type(each["tied"]) for each in objects} <= {bool, type(None)}


def test_markdown_tables_have_whole_rows(motley: Path) -> None:
    frame = board(results=motley)
    text = render(frame, "md")
    assert text.count("### ") == 2
    for block in (block.splitlines() for block in text.split("\n\n") if block.startswith("|")):
        cells = [line.replace("\\|", "").count("|") for line in block]
        assert len(set(cells)) == 1
        assert set(block[1]) <= set("|-: ")
    assert "| 1 \\* | strong |" in text
    assert "\\<script\\>" in text
    assert "\x1b" not in text
    assert CUT in text.replace("\\", "")


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_table_fits_its_width_and_wraps_no_figure(motley: Path, width: int) -> None:
    frame = board(results=motley)
    text = render(frame, width=width)
    assert max(map(len, text.splitlines())) <= width
    ranked = frame[frame["rank"].notna()]
    for value, low, high in zip(ranked["value"], ranked["low"], ranked["high"], strict=True):
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in text
    assert "Not shown at this width" in text or width == 160
    assert "angry" in text
    assert " ".join(CUT.split()) in " ".join(text.split())
    assert all(character.isprintable() for character in text.replace("\n", ""))


def test_a_table_explains_its_marks_and_its_machines(results: Path, request: pytest.FixtureRequest) -> None:
    alone = render(board(results=results), width=160)
    assert "Hardware: Test CPU, 2 cores\n" in alone
    assert " On\n" not in alone
    text = render(board(results=request.getfixturevalue("motley")), width=160)
    for needed in (
        *("1 *  strong ", "4 =  near", "* best", "= cannot be told", "strong@large, tuned", "+ measured while"),
        "! its weights were trained before on rows of this task",
        *("H1: Big GPU (cuda)\n", "H2: Test CPU, 2 cores (cpu)\n", "only within one hardware class"),
        "Fit: features of the training and validation texts, tuning and fit.",
    ):
        assert needed in text


def test_of_a_folder_the_end_of_its_path_is_shown(results: Path) -> None:
    long = "/disks/someone/with/a/long/way/to/"
    for name in ("a/final", "b/final"):
        Cell(f"tuned-{name[0]}", STRONG, changes={"settings": {"encoder": long + name, "epochs": 3}}).store(results)
    text = render(board(results=results), "md")
    assert "(encoder=.../a/final)" in text.replace("\\", "")
    assert "(encoder=.../b/final)" in text.replace("\\", "")
    assert "all with epochs=3" in text
    assert long not in text


def test_of_a_shared_folder_the_end_of_its_path_is_shown(results: Path) -> None:
    for name in ("a", "b"):
        Cell(f"tuned-{name}", STRONG, changes={"settings": {"encoder": "/disks/with/a/long/way/final"}}).store(results)
    text = render(board(results=results), "md").replace("\\", "")
    assert "all with encoder=.../way/final, where a model has that" in text


def test_colour_only_on_a_terminal(results: Path) -> None:
    frame = board(results=results)
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system="standard")
        show(frame, console=console)
        assert ("\x1b[" in console.file.getvalue()) is terminal
    assert render(frame).isascii()
    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    show(frame, "csv", console)
    assert console.file.getvalue() == render(frame, "csv")


def test_every_format_shows_a_board_of_failures_alone(tmp_path: Path) -> None:
    Cell("broken").store(tmp_path)
    for name in FORMATS:
        assert "no rows left" in render(board(results=tmp_path), name)


def test_a_board_needs_no_framework_and_its_import_nothing(results: Path) -> None:
    code = (
        "import sys, zoobench.leaderboard as room\n"
        "assert not {'pandas', 'numpy', 'pyarrow', 'rich', 'pydantic'} & set(sys.modules)\n"
        f"from zoobench.leaderboard.tables import render; render(room.board(results={str(results)!r}))\n"
        "assert not {'torch', 'tensorflow', 'keras', 'optuna', 'sklearn', 'scipy', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_settings_that_tell_no_row_from_another_stand_below() -> None:
    def row(model: str, settings: str, task: str = "t") -> dict[str, str]:
        return {"task": task, "model": model, "settings": settings}

    rows = [
        row("a", "loss=focal, size=64, weights=none"),
        row("a", "size=64, weights=none"),
        row("b", "epochs=1, size=64, weights=none"),
        row("c", ""),
        row("d", "depth=3"),
        row("d", "depth=3, weights=path"),
        row("a", "size=64", task="other"),
    ]
    found = told_apart(rows)
    assert [each["settings"] for each in found] == [
        *("loss=focal, weights=none", "weights=none", "epochs=1, weights=none", "", "", "weights=path"),
        "size=64",
    ], "one weights is another's, and a task of one row shares nothing"
    assert table_notes(found) == ["t: all with depth=3, size=64, where a model has that"]
    assert rows[0]["settings"].startswith("loss"), "the frame's own rows stay"
