"""The board amid faults: damaged indexes, foreign and impossible files among the records, folders without any."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks.store import RECORD, RESAMPLES
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board, index
from zoobench.leaderboard.frame import load_board
from zoobench.leaderboard.recommend_data import shelf_of
from zoobench.leaderboard.tables import render

from .records import STRONG, Cell, store_four


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return store_four(tmp_path)


def rows(results: Path) -> pd.DataFrame:
    return board(results=results).set_index("model")


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
    "[" * 100_000: "not whole JSON",
    '{"\\u001b[31m\\n": 1}': "not a zoobench record",
    '{"schema_version": 99, "key": "x"}': "written by a newer zoobench (schema 99",
}


@pytest.mark.parametrize(("text", "reason"), BAD.items(), ids=range(len(BAD)))
def test_a_file_that_is_no_record_is_named_each_time_and_kept(results: Path, text: str, reason: str) -> None:
    path = foreign(results, text)
    for _ in range(2):
        loaded = load_board(results)
        assert len(loaded.problems) == 1
        assert loaded.problems[0].startswith(f"skipped {path}: {reason}")
        assert loaded.problems[0].isprintable()
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


def put(results: Path, what: str) -> Path:
    """Put something that is no record where a task, a cell or a record would be; return its path."""
    cells = results / "cells"
    cell = cells / "made-up" / "strong" / ("0" * 20)
    path = cells / "x" if "task" in what else cell if "cell" in what else cell / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    if "loop" in what:
        path.symlink_to(path.name)
    elif "dangling" in what:
        path.symlink_to("nowhere")
    elif "pipe" in what:
        os.mkfifo(path)
    else:
        path.mkdir()
    return path


PLACES = {
    "a loop for a task": "Too many levels",
    "a loop for a cell": "Too many levels",
    "a loop for a record": "Too many levels",
    "a dangling task": "a link to a file that does not exist",
    "a dangling cell": "a link to a file that does not exist",
    "a dangling record": "a link to a file that does not exist",
    "a folder for a record": "not a file",
    "a pipe for a record": "not a file",
}


@pytest.mark.parametrize(("what", "reason"), PLACES.items())
def test_what_stands_in_a_record_s_place_is_named_and_the_rest_shown(results: Path, what: str, reason: str) -> None:
    path = put(results, what)
    for _ in range(2):
        loaded = load_board(results)
        assert [problem[: len(f"skipped {path}: {reason}")] for problem in loaded.problems] == [
            f"skipped {path}: {reason}"
        ]
        assert len(loaded.frame) == 4


def test_a_folder_of_any_name_is_named_in_one_line(results: Path) -> None:
    text = next((results / "cells").glob(f"*/strong/*/{RECORD}")).read_text()
    folder = results / "cells" / os.fsdecode(b"caf\xe9\n") / "strong" / ("0" * 20)
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(text)
    (problem,) = load_board(results).problems
    assert problem.isprintable()
    assert "holds the record of another cell" in problem


@pytest.mark.parametrize("name", ["threads", "beside", "parameters", "metric_version", "test_rows", "seed", "tune_s"])
def test_a_figure_that_no_index_holds_is_refused_and_the_index_stays_whole(results: Path, name: str) -> None:
    cell = Cell("huge", STRONG)
    stored = cell.store(results)
    record, huge = stored.record, 10**30
    changes = {
        "test_rows": {"rows": {"test": huge}},
        "tune_s": {"timings": record.timings.model_copy(update={"fit": 1e308, "tune": 1e308})},
    }
    changed = record.model_copy(update=changes.get(name, {name: huge}))
    stored.path.write_text(changed.model_dump_json())
    for _ in range(2):
        loaded = load_board(results)
        assert len(loaded.problems) == 1
        assert loaded.problems[0].startswith(f"skipped {stored.path}: not a zoobench record")
        assert name in loaded.problems[0]
        assert set(loaded.frame["model"]) == {"strong", "twin", "weak", "broken"}
    assert pq.read_metadata(index.index_folder(results) / "records.parquet").num_rows == 4


@pytest.mark.parametrize(
    "error", [OverflowError("int too big"), pa.ArrowNotImplementedError("no"), OSError(28, "full")]
)
def test_an_index_that_cannot_be_written_leaves_the_board(
    results: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(index.pq, "write_table", refuse)
    for _ in range(2):
        assert rows(results)["rank"].tolist()[:3] == [1, 1, 3]
        assert rows(results).loc["twin", "tied"]
        assert [path.name for path in index.index_folder(results).iterdir() if path.suffix == ".parquet"] == []
    assert "strong" in render(board(results=results))


def test_resamples_that_are_none_say_nothing_about_ties(results: Path) -> None:
    (path,) = (results / "cells").glob(f"*/twin/*/*/{RESAMPLES}")
    for table in (pa.table({"f1_macro": ["a", "b"]}), pa.table({"f1_macro": pa.nulls(200)})):
        pq.write_table(table, path)
        assert pd.isna(rows(results).loc["twin", "tied"])
        assert not rows(results).loc["weak", "tied"]


def test_the_default_folder_is_that_of_the_command_line(
    results: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOBENCH_RESULTS", str(results))
    assert len(board()) == 4
    folder = tmp_path_factory.mktemp("current")
    Cell("alone", STRONG).store(folder / "zoobench-results")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ZOOBENCH_RESULTS")
    assert board()["model"].tolist() == ["alone"]


def test_resamples_of_another_record_are_not_believed(results: Path) -> None:
    """They are well-formed and pair: only the record says that they are not its own."""
    [weak], [strong] = (list(results.glob(f"cells/*/{name}/*/*/{RESAMPLES}")) for name in ("weak", "strong"))
    shutil.copyfile(weak, strong)
    shown = rows(results)
    assert shown.loc["strong", "value"] > shown.loc["weak", "value"]
    assert shown.loc[["twin", "weak"], "tied"].isna().all(), "without the best row's own nobody can say"
    assert shelf_of(results).of(shown.loc["strong", "records"], "f1_macro") is None
    assert shelf_of(results).of(shown.loc["weak", "records"], "f1_macro") is not None
