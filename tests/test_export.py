"""`zoobench results export`: every record in one table, with the types that its figures have."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from zoobench.benchmarks.metrics import MAIN_METRICS, METRICS
from zoobench.benchmarks.store import Results, read_record
from zoobench.leaderboard.export import LONG, WIDE

from .conftest import zoobench_here
from .records import STRONG, WEAK, Cell, outcome


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    Cell("ash", STRONG, changes={"config": {"C": 2.0, "words": "all"}, "notes": ["a, note"]}).store(folder)
    Cell("birch", outcome(1.0, kind="multiclass"), task="sorts", protocol="random").store(folder)
    Cell("cedar", None, changes={"reason": 'it said "no",\nand ended'}).store(folder)
    Cell("ash", WEAK, seed=7).store(folder)
    return folder


def export(root: Path, *words: str | Path) -> str:
    done = zoobench_here("results", "export", root, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parquet_holds_every_record_with_its_types(root: Path, tmp_path: Path) -> None:
    assert export(root, "--out", tmp_path / "all.parquet") == ""
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.schema.equals(WIDE)
    records = {record.key: record for record in map(read_record, Results(root).record_paths())}
    rows = {row["key"]: row for row in table.to_pylist()}
    assert rows.keys() == records.keys()
    for key, record in records.items():
        row = rows[key]
        for name in ("fit_key", "attempt", "protocol", "model", "mode", "seed", "status", "reason", "hardware_class"):
            assert row[name] == getattr(record, name), name
        assert row["task"] == record.task_name
        assert row["created"].isoformat() == "2025-01-01T00:00:00+00:00"
        assert json.loads(row["config"]) == record.config
        assert json.loads(row["notes"]) == record.notes
        assert (row["labels"], row["train_rows"], row["validation_rows"]) == (record.labels, 400, 60)
        test = record.test.get(record.policy)
        for metric in METRICS:
            assert row[metric] == (test.values.get(metric) if test else None), metric
        for metric in MAIN_METRICS:
            bounds = (row[f"{metric}:low"], row[f"{metric}:high"])
            assert bounds == ((test.intervals.get(metric) if test else None) or (None, None)), metric
        assert row["fit_only_s"] == (record.timings.fit if test else None)


def test_csv_says_the_same(root: Path, tmp_path: Path) -> None:
    said = export(root, "--format", "csv")
    export(root, "--format", "csv", "--out", tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text() == said
    export(root, "--out", tmp_path / "all.parquet")
    frame = pd.read_csv(
        io.StringIO(said), dtype={"key": str, "fit_key": str, "attempt": str}, float_precision="round_trip"
    )
    table = pq.read_table(tmp_path / "all.parquet")
    assert list(frame) == table.column_names
    assert frame["f1_macro"].dropna().tolist() == [each for each in table["f1_macro"].to_pylist() if each is not None]
    assert frame["seed"].tolist() == table["seed"].to_pylist()
    assert frame["reason"].dropna().tolist() == ['it said "no",\nand ended']


def test_long_has_a_row_a_figure(root: Path, tmp_path: Path) -> None:
    export(root, "--long", "--out", tmp_path / "long.parquet")
    table = pq.read_table(tmp_path / "long.parquet")
    assert table.schema.equals(LONG)
    found = {(row["key"], row["fold"], row["policy"], row["label"], row["metric"]): row for row in table.to_pylist()}
    assert len(found) == len(table)
    for record in map(read_record, Results(root).record_paths()):
        for policy, evaluation in record.test.items():
            for metric, value in evaluation.values.items():
                row = found[record.key, "test", policy, "", metric]
                assert row["value"] == value
                assert (row["low"], row["high"]) == (evaluation.intervals.get(metric) or (None, None))


def test_a_task_alone_and_what_is_no_record(root: Path, tmp_path: Path) -> None:
    path = next(root.glob("cells/made-up/cedar/*/record.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"task_version": 10**30}))
    done = zoobench_here("results", "export", root, "--format", "csv")
    assert done.returncode == 0
    assert "out of range" in done.stderr
    path.write_text("{")
    done = zoobench_here("results", "export", root, "--format", "csv")
    assert done.returncode == 0
    assert "not whole JSON" in done.stderr
    assert len(pd.read_csv(io.StringIO(done.stdout))) == 3
    alone = pd.read_csv(io.StringIO(export(root, "--format", "csv", "--task", "sorts@random")))
    assert alone["model"].tolist() == ["birch"]
    export(root, "--task", "made-up", "--out", tmp_path / "some.parquet")
    assert set(pq.read_table(tmp_path / "some.parquet")["task"].to_pylist()) == {"made-up"}


def test_a_file_is_whole_or_not_there(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoobench.leaderboard.export.pq.ParquetWriter.write_table", full)
    out = tmp_path / "out" / "all.parquet"
    assert zoobench_here("results", "export", root, "--out", out).returncode == 2
    assert list(out.parent.iterdir()) == []


def test_bad_input(root: Path, tmp_path: Path) -> None:
    for words, told in (
        ((root, "--format", "xlsx"), "unknown format 'xlsx'"),
        ((root, "--task", "sort"), "did you mean"),
        ((tmp_path / "nowhere",), "does not exist"),
        ((root, "--out", tmp_path), "is a folder"),
    ):
        done = zoobench_here("results", "export", *words, cwd=tmp_path)
        assert done.returncode == 2
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_an_empty_table_takes_no_ones_place(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    before = tmp_path / "zoobench-records.parquet"
    before.write_text("of another folder")
    done = zoobench_here("results", "export", tmp_path / "none", cwd=tmp_path)
    assert done.returncode == 2
    assert "has no record" in done.stderr
    assert before.read_text() == "of another folder"


def test_a_file_is_not_called_what_it_is_not(tmp_path: Path) -> None:
    done = zoobench_here("results", "export", tmp_path, "--out", tmp_path / "x.csv")
    assert done.returncode == 2
    assert "add --format csv" in done.stderr
