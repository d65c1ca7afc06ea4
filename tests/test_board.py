"""The board: ranks, ties, pooling, the index beside the records, and the four formats."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from zoobench.benchmarks.metrics import METRICS
from zoobench.benchmarks.store import RECORD, RESAMPLES
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board, index, rank
from zoobench.leaderboard.frame import COLUMNS, load_board
from zoobench.leaderboard.tables import FORMATS, render, show

from .records import Cell, outcome

STRONG, WEAK = outcome(1.5, seed=1), outcome(0.2, seed=2)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Four models on one task: a strong one and its twin, a weak one, and one that failed."""
    for name, found in (("strong", STRONG), ("twin", STRONG), ("weak", WEAK), ("broken", None)):
        Cell(name, found).store(tmp_path)
    return tmp_path


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
    Cell("model", STRONG, created=fine, changes={"zoobench": "0.1.0"}).store(tmp_path)
    Cell("model", None, created=failed, changes={"zoobench": "0.2.0"}).store(tmp_path)
    row = rows(tmp_path).loc["model"]
    assert row["status"] == ("failed" if failed_last else "ok")
    assert row["seeds"] == ("0 of 1" if failed_last else "1")


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


@pytest.mark.parametrize("damage", [b"", b"PAR1 and then nothing", b'{"foreign": true}', None])
def test_a_damaged_index_is_rebuilt(results: Path, damage: bytes | None) -> None:
    first = board(results=results)
    for path in (files := [index.index_folder(results) / f"{name}.parquet" for name in ("records", "intervals")]):
        path.unlink() if damage is None else path.write_bytes(damage)
    pd.testing.assert_frame_equal(board(results=results), first)
    assert [pq.read_metadata(path).num_rows for path in files] == [4, 3]


def test_an_index_of_another_make_is_not_believed(results: Path) -> None:
    first = board(results=results)
    path = index.index_folder(results) / "records.parquet"
    table = pq.read_table(path)
    lie = table.set_column(table.schema.get_field_index("model"), "model", [["liar"] * len(table)])
    pq.write_table(lie.replace_schema_metadata({b"zoobench": b"[0]"}), path)
    pd.testing.assert_frame_equal(board(results=results), first)


def test_without_a_writable_index_the_board_is_the_same(results: Path) -> None:
    index.index_folder(results).write_text("a file where the folder would be")
    assert rows(results)["rank"].tolist()[:3] == [1, 1, 3]
    assert rows(results).loc["twin", "tied"]
    assert index.index_folder(results).read_text() == "a file where the folder would be"


def test_boards_at_once_agree(results: Path) -> None:
    code = f"from zoobench.leaderboard import board; print(board(results={str(results)!r}).to_csv())"
    many = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {process.communicate(timeout=120)[0] for process in many}
    assert [process.returncode for process in many] == [0, 0, 0]
    assert len(printed) == 1
    assert board(results=results).to_csv() in {each.removesuffix("\n") for each in printed}


def foreign(results: Path, text: str, cell: str = "0" * 20) -> Path:
    path = results / "cells" / "made-up" / "strong" / cell / RECORD
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


BAD = {
    "": "empty",
    '{"key": "0000': "not whole JSON",
    '{"name": "someone else\'s"}': "not a zoobench record",
    "[1, 2]": "not a zoobench record",
    '{"schema_version": 99, "key": "x"}': "written by a newer zoobench (schema 99",
}


@pytest.mark.parametrize(("text", "reason"), BAD.items())
def test_a_file_that_is_no_record_is_named_each_time_and_kept(results: Path, text: str, reason: str) -> None:
    path = foreign(results, text)
    for _ in range(2):
        loaded = load_board(results)
        assert len(loaded.problems) == 1
        assert loaded.problems[0].startswith(f"skipped {path}: {reason}")
        assert "\n" not in loaded.problems[0]
        assert len(loaded.frame) == 4
    assert path.read_text() == text
    with pytest.warns(UserWarning, match="skipped"):
        board(results=results)


def test_a_copied_record_does_not_count_twice(results: Path) -> None:
    path = foreign(results, next((results / "cells").glob(f"*/strong/*/{RECORD}")).read_text())
    loaded = load_board(results)
    assert loaded.problems[0].startswith(f"skipped {path}: holds the record of another cell")
    assert len(loaded.frame) == 4


def test_a_stray_file_and_a_truncated_record_are_named(results: Path) -> None:
    board(results=results)
    stray = results / "cells" / "made-up" / "notes.json"
    stray.write_text("{}")
    path = next((results / "cells").glob(f"*/weak/*/{RECORD}"))
    os.truncate(path, path.stat().st_size // 2)
    loaded = load_board(results)
    assert sorted(problem.split(": ")[0] for problem in loaded.problems) == sorted(
        [f"skipped {stray}", f"skipped {path}"]
    )
    assert "weak" not in set(loaded.frame["model"])


def test_what_there_is_no_board_of(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist: `zoobench run"):
        board(results=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no record yet: `zoobench run"):
        board(results=tmp_path / "empty")
    foreign(tmp_path / "bad", "")
    with pytest.raises(UserError, match=r"no readable record; 1 not read, the first: skipped .*empty"):
        board(results=tmp_path / "bad")
    with pytest.raises(UserError, match=r"task 'made-down' has no record in .*; tasks that have: made-up$"):
        board("made-down", results=results)
    with pytest.raises(UserError, match="unknown metric 'f1-macro': did you mean 'f1_macro'"):
        board(results=results, sort="f1-macro")
    with pytest.raises(UserError, match="does not rank"):
        board(results=results, sort="label_cardinality_true")
    with pytest.raises(UserError, match="unknown format 'yaml'"):
        render(board(results=results), "yaml")


@pytest.fixture
def motley(results: Path) -> Path:
    """What a full board holds: two kinds of task, two machines, long settings, a reason full of marks."""
    Cell("strong", outcome(1.2, kind="multiclass"), task="topics", changes={"beside": 1}).store(results)
    Cell("near", outcome(1.45, seed=3)).store(results)
    Cell("strong", WEAK, hardware="Big GPU", changes={"device": "cuda", "mode": "tuned", "preset": "large"}).store(
        results
    )
    Cell("weak", STRONG, changes={"settings": {f"setting_{n}": 0.123456789 * n for n in range(9)}}).store(results)
    reason = "ValueError: a | b <script>\n\x1b[31m[bold]é[/bold]" + " and so on" * 30
    Cell("angry", None, changes={"reason": reason}).store(results)
    return results


def test_csv_and_json_hold_the_frame(motley: Path) -> None:
    frame = board(results=motley)
    back = pd.read_csv(
        io.StringIO(render(frame, "csv")), keep_default_na=False, na_values={c: [""] for c in ("value", "rank")}
    )
    assert list(back.columns) == COLUMNS
    assert back["reason"].tolist() == frame["reason"].tolist()
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


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_table_fits_its_width_and_wraps_no_figure(motley: Path, width: int) -> None:
    frame = board(results=motley)
    text = render(frame, width=width)
    assert max(map(len, text.splitlines())) <= width
    ranked = frame[frame["rank"].notna()]
    for value, low, high in zip(ranked["value"], ranked["low"], ranked["high"], strict=True):
        assert f"{value:.3f} [{low:.2f}, {high:.2f}]" in text
    assert "Not shown at this width" in text or width == 160
    assert "angry" in text
    assert "and so on" in text
    assert all(character.isprintable() for character in text.replace("\n", ""))


def test_a_table_explains_its_marks_and_its_machines(results: Path, request: pytest.FixtureRequest) -> None:
    alone = render(board(results=results), width=160)
    assert "Hardware: Test CPU, 2 cores\n" in alone
    assert " On\n" not in alone
    text = render(board(results=request.getfixturevalue("motley")), width=160)
    for needed in (
        *("1 *  strong ", "4 =  near", "* best", "= cannot be told", "strong@large, tuned", "+ measured while"),
        *("H1: Big GPU (cuda)\n", "H2: Test CPU, 2 cores (cpu)\n", "only within one hardware class"),
    ):
        assert needed in text


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
