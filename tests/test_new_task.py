"""`zoobench new task`: what it guesses of tables, and that what it writes loads at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from zoobench.datasets import own
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard.new_task import write_task

from .test_own_tasks import WORDS, notes


def guessed(folder: Path, frame: pd.DataFrame, name: str = "data.csv", **how: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the keys that were written for a table, and what was told; the task is read."""
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, **how)
    told = write_task(path, folder, {"openi-reports"})
    target = folder / f"{path.stem}.toml"
    own.load_task(target).read()
    return tomllib.loads(target.read_text(encoding="utf-8")), told


def test_labels_in_one_cell(tmp_path: Path) -> None:
    frame = notes()[["nr", "note", "findings", "patient"]]
    keys, told = guessed(tmp_path, frame, sep=";", encoding="latin-1")
    assert keys == {
        "name": "data",
        "path": "data.csv",
        "delimiter": ";",
        "text": "note",
        "labels": "findings",
        "separator": "|",
        "kind": "multilabel",
        "empty_is_no_label": True,
        "id": "nr",
        "group": "patient",
        "shares": [0.7, 0.1, 0.2],
        "metric": "f1_macro",
    }
    assert "wrote data.toml" in told[0]
    assert "cells parted by ';'" in told[0]
    assert told[-1] == "  zoobench run --task data.toml"
    empty = int((frame["findings"] == "").sum())
    assert empty
    assert f"{empty} rows without a label are taken to have none of them: delete them if nobody looked" in told


def test_one_class_a_row(tmp_path: Path) -> None:
    frame = notes()[["first", "note"]].rename(columns={"first": "category"})
    keys, _ = guessed(tmp_path, frame, "data.tsv", sep="\t")
    assert (keys["kind"], keys["labels"], keys["text"]) == ("multiclass", "category", "note")
    assert not {"id", "group", "separator", "delimiter", "empty_is_no_label"} & set(keys)


def test_one_column_a_label(tmp_path: Path) -> None:
    keys, _ = guessed(tmp_path, notes().drop(columns=["first", "findings"]))
    assert keys["labels"] == [f"has {word}" for word in WORDS]
    assert keys["kind"] == "multilabel"


def test_lists_of_labels(tmp_path: Path) -> None:
    frame = notes()[["note", "findings", "nr"]]
    frame["tags"] = [text.split("|") if text else [] for text in frame.pop("findings")]
    for name in ("data.jsonl", "table.parquet"):
        keys, _ = guessed(tmp_path, frame, name)
        assert (keys["labels"], keys["kind"], keys["id"]) == ("tags", "multilabel", "nr")


def test_a_split_column(tmp_path: Path) -> None:
    frame = notes()[["note", "first"]].assign(split=np.array(["train", "train", "test"])[np.arange(240) % 3])
    keys, told = guessed(tmp_path, frame)
    assert (keys["split"], keys["validation"]) == ("split", 0.1)
    assert "shares" not in keys
    assert "  folds   column split, validation cut from train" in told


def test_binary_labels_and_numbers_beside_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = notes()[["note"]].assign(
        age=rng.integers(18, 90, 240), weight=rng.random(240), spam=rng.integers(2, size=240)
    )
    keys, _ = guessed(tmp_path, frame)
    assert (keys["labels"], keys["kind"]) == ("spam", "multiclass")


def test_a_comma_parts_labels_and_no_sentences(tmp_path: Path) -> None:
    frame = notes()[["note", "findings"]]
    frame["note"] = frame["note"] + ", and so on, as before"
    frame["genre"] = frame.pop("findings").str.replace("|", ", ").replace("", "none")
    keys, _ = guessed(tmp_path, frame)
    assert (keys["text"], keys["labels"], keys["separator"]) == ("note", "genre", ",")


def test_a_column_called_group_may_hold_the_labels(tmp_path: Path) -> None:
    frame = notes()[["note", "findings"]].rename(columns={"findings": "group"}).assign(patient_id=np.arange(240) // 3)
    keys, _ = guessed(tmp_path, frame)
    assert (keys["labels"], keys["separator"], keys["group"]) == ("group", "|", "patient_id")


def test_nothing_is_made_of_columns_that_are_no_texts(tmp_path: Path) -> None:
    notes()[["first", "patient", "nr"]].to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(UserError, match="no column of 'first', 'patient', 'nr' looks like labels beside a text"):
        write_task(tmp_path / "data.csv", tmp_path, ())
    assert not (tmp_path / "data.toml").exists()


def test_names_are_made_fit(tmp_path: Path) -> None:
    frame = notes()[["note", "first"]]
    assert guessed(tmp_path, frame, "Openi Reports.csv")[0]["name"] == "my-openi-reports"
    assert guessed(tmp_path, frame, "наши.csv")[0]["name"] == "task"
    keys, _ = guessed(tmp_path, frame.rename(columns={"note": 'the "note"'}), "quotes.csv")
    assert keys["text"] == 'the "note"'


def test_what_does_not_load_yet_is_said(tmp_path: Path) -> None:
    frame = notes()[["note", "first"]]
    frame.loc[0, "first"] = "rare"
    frame.to_csv(tmp_path / "data.csv", index=False)
    told = write_task(tmp_path / "data.csv", tmp_path, ())
    assert any(line.startswith("but it does not load yet: data.csv, label 'rare'") for line in told)


def test_a_table_elsewhere_and_a_toml_that_is_there(tmp_path: Path) -> None:
    data, here = tmp_path / "data", tmp_path / "here"
    data.mkdir()
    here.mkdir()
    notes()[["note", "first"]].to_csv(data / "rows.csv", index=False)
    write_task(data / "rows.csv", here, ())
    assert tomllib.loads((here / "rows.toml").read_text())["path"] == "../data/rows.csv"
    assert len(own.load_task(here / "rows.toml").read()) == 240
    assert sorted(path.name for path in data.iterdir()) == ["rows.csv"]
    mine = (here / "rows.toml").read_bytes()
    with pytest.raises(UserError, match=r"rows\.toml is there already"):
        write_task(data / "rows.csv", here, ())
    assert (here / "rows.toml").read_bytes() == mine
