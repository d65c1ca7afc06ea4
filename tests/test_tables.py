"""Tables are read strictly: every format the same, every fault one line that names file, row and column."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zoobench.datasets import tables
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.tables import CELL, encoding_of, read_table

ROWS = {"id": ["1", "2", "3"], "text": ["plain", 'a "quoted", odd\ncell', "naïve 肺炎"], "label": ["a", "b", ""]}


def write(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(dict(row), ensure_ascii=False) for _, row in frame.iterrows()) + "\n\n")
    else:
        frame.to_csv(path, sep="," if path.suffix == ".csv" else "\t", index=False)
    return path


def refused(path: Path, wanted: tuple[str, ...] | None = ("text",), delimiter: str = "") -> str:
    with pytest.raises(UserError) as caught:
        read_table(path, wanted, delimiter)
    assert len(str(caught.value).splitlines()) == 1, "one line"
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_holds_the_same(suffix: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path / f"rows{suffix}", pd.DataFrame(ROWS)))
    assert table.names == ("id", "text", "label")
    assert {name: list(cells) for name, cells in table.columns.items()} == ROWS
    assert len(table) == 3
    some = read_table(table.path, ["label"])
    assert list(some.columns) == ["label"]
    assert some.names == table.names


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=30)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=20), st.sampled_from([".csv", ".tsv", ".jsonl"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_whatever_is_written_comes_back(tmp_path: Path, rows: list[tuple[str, str]], suffix: str) -> None:
    frame = pd.DataFrame([("x", *row) for row in rows], columns=["x", "text", "more"])
    table = read_table(write(tmp_path / f"any{suffix}", frame), ["more", "text"])
    assert [list(table.columns[name]) for name in ("text", "more")] == [list(part) for part in zip(*rows, strict=True)]


@pytest.mark.parametrize("value", ["half \ud83d", ["whole", "\udc00"]])
def test_half_a_character_is_refused(value: object, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    whole = json.dumps({"text": "\U0001f600", "more": value})
    path.write_text(f"{whole}\n{json.dumps({'text': value, 'more': ''})}\n", encoding="ascii")
    message = refused(path)
    assert "rows.jsonl, row 2, column 'text': holds half a character, a lone surrogate (" in message
    assert message.isascii()
    assert "rows.jsonl, row 1, column 'more'" in refused(path, ("more",))
    path.write_text('{"a": "b", "\\ud800": 1}\n')
    assert r"rows.jsonl: the name of its column '\ud800' holds half a character" in refused(path, ("a",))


def test_cells_are_what_the_file_says(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"n": pd.array([1, None], dtype="Int64"), "l": [["a"], ["b"]], "t": [True, False], "s": [None, "x"]}
    )
    frame["c"] = pd.Categorical(["u", "v"])
    found = read_table(write(tmp_path / "rows.parquet", frame)).columns
    assert {name: list(column) for name, column in found.items()} == {
        "n": [1, None],
        "l": [["a"], ["b"]],
        "t": [True, False],
        "s": [None, "x"],
        "c": ["u", "v"],
    }
    (tmp_path / "rows.jsonl").write_text('{"n": 1, "l": ["a", "b"]}\n{"l": ["c", "d"], "n": null, "z": 5}\n')
    found = read_table(tmp_path / "rows.jsonl").columns
    assert {name: list(column) for name, column in found.items()} == {
        "n": [1, None],
        "l": [["a", "b"], ["c", "d"]],
        "z": [None, 5],
    }
    (tmp_path / "rows.csv").write_text("id,when\n007,2020-01-01\nNA,null\n")
    assert list(read_table(tmp_path / "rows.csv", ["id"]).columns["id"]) == ["007", "NA"], "nothing is guessed"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "latin-1"])
def test_three_encodings_are_read(codec: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for suffix, content in {".csv": "id,text\n1,naïve «ö»\n", ".jsonl": '{"id": "1", "text": "naïve «ö»"}\n'}.items():
        path = tmp_path / f"{codec}{suffix}"
        path.write_bytes(content.encode(codec))
        with caplog.at_level(logging.WARNING):
            table = read_table(path, ["text", "id"])
        assert table.columns["text"][0].startswith("naïve «")
        assert table.encoding == ("latin-1" if codec == "latin-1" else "utf-8")
        assert (f"{path.name} is not UTF-8: it was read as Latin-1" in caplog.text) == (codec == "latin-1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n1,é\n".encode("utf-16"), "is written as UTF-16"),
        ("id,text\n1,é\n".encode("utf-16-be"), "is UTF-16 or no text"),
        ("id,text\n1,é\n".encode("utf-32"), "is written as UTF-"),
        ("id,text\n1,“smart”\n".encode("cp1252"), "Windows-1252 or another encoding (byte 0x93)"),
        ("id,text\n1,é\0\n".encode("latin-1"), "no text (byte 0x00)"),
        (bytes(range(256)) * 8, "no text"),
        ("id,text\n1,ééé".encode()[:-1], "UTF-8 with a broken character at about byte 1"),
        (("id,text\n" + "1,ééé\n" * 300_000).encode() + b"2,\xff\n", "UTF-8 with a broken character"),
    ],
)
def test_no_other_encoding_is_guessed(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    assert message in refused(path)
    assert "rows.csv" in refused(path)


def test_latin_1_is_told_from_broken_utf_8_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text\n" + b"x" * ((1 << 20) - 6) + "é".encode() * 9)
    assert encoding_of(path) == "utf-8", "a character that two blocks share"
    path.write_bytes("text\nÀ É» et «Ô» à côté\n".encode("latin-1"))
    assert encoding_of(path) == "latin-1", "a few pairs that look like UTF-8"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "", "rows.csv is empty"),
        ("rows.jsonl", "\n\n", "no row with a value"),
        ("rows.csv", "\n\n", "has no header"),
        ("rows.csv", "id,text\n", "has columns and no row"),
        ("rows.csv", "id;text\n1;a\n", 'write delimiter = ";"'),
        ("rows.tsv", "id,text\n1,a\n", 'write delimiter = ","'),
        ("rows.csv", "id,txt\n1,a\n", "unknown column of rows.csv 'text': did you mean 'txt'?"),
        ("rows.csv", "text,text\n1,a\n", "2 columns 'text'"),
        ("rows.csv", "id,text\n1,a\n2\n3,c\n", "rows.csv, row 2: it has 1 cells, the header has 2"),
        ("rows.csv", "id,text\n1,a\n2,b, or c\n", "rows.csv, row 2: it has 3 cells, the header has 2: quote a cell"),
        ("rows.csv", 'id,text\n1,"a\nb"\n2\n', "rows.csv, row 2: it has 1 cells"),
        ("rows.csv", 'id,text\n1,a\n2,"b\n3,c\n', "rows.csv, row 2, column 'text': a quote is opened and never closed"),
        ("rows.csv", 'text,id\n"a,1\nb,2\n', "rows.csv, row 1: it has 1 cells"),
        ("rows.csv", "id,text\n1,a\n2,b\0c\n", "rows.csv, row 2, column 'text': holds a NUL character"),
        ("rows.jsonl", '{"text": "a"}\n{"text": "b\\u0000"}\n', "rows.jsonl, row 2, column 'text': holds a NUL"),
        ("rows.jsonl", '{"text": ["a"]}\n{"text": ["a", "b\\u0000"]}\n', "rows.jsonl, row 2, column 'text': holds a NUL"),
        ("rows.csv", f"id,text\n1,a\n2,{'x' * CELL}\n", "row 2, column 'text': is 1,000,000 characters long"),
        ("rows.jsonl", '{"text": "a"}\n{"text":\n', "rows.jsonl, row 2: it is no JSON"),
        ("rows.jsonl", '{"text": "a"}\n["b"]\n', "rows.jsonl, row 2: it is no JSON object"),
        ("rows.jsonl", "[" * 100_000, "rows.jsonl, row 1: it is no JSON"),
        ("rows.jsonl", '{"txt": "a"}\n', "did you mean 'txt'?"),
        ("rows.parquet", "PAR1 no", "rows.parquet is no Parquet file"),
        ("rows.xlsx", "PK", "rows.xlsx has no known format: a table is one of .csv, .tsv"),
        ("rows.csv.gz", "PK", "has no known format"),
    ],
)  # fmt: skip
def test_each_fault_is_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert message in refused(path)
    assert len(refused(path)) < 250


def test_a_row_that_is_never_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS_BLOCK", 4096)
    path = tmp_path / "rows.csv"
    path.write_text('id,text,label\n1,"' + "a line of text\n" * 5000 + "\n")
    assert "rows.csv cannot be read as a table: a row is longer than 64 MiB: a quote is opened and" in refused(path)


def test_a_missing_file_suggests_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "tickets.csv", pd.DataFrame(ROWS))
    assert "did you mean 'tickets.csv'?" in refused(tmp_path / "ticket.csv")
    assert "is not there" in refused(tmp_path / "nowhere" / "tickets.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "folder.csv is not there" in refused(tmp_path / "folder.csv")


def test_columns_that_are_not_read_may_be_odd(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(",text,text2,twice,twice\n0,a,b,c,d\n")
    assert list(read_table(path, ["text"]).columns["text"]) == ["a"]
    assert "2 columns 'twice'" in refused(path, None)
    path.write_text(f"text,blob\na,{'x' * CELL}\n")
    assert list(read_table(path, ["text"]).columns["text"]) == ["a"]


def test_windows_line_ends_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\r\nid,text\r\n1,a\r\n\r\n2,b\r\n")
    assert list(read_table(path, ["text"]).columns["text"]) == ["a", "b"]


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_a_named_delimiter(delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(delimiter.join(["id", "text"]) + "\n" + delimiter.join(["1", "a, b"]) + "\n")
    table = read_table(path, ["text"], delimiter)
    assert (table.columns["text"][0], table.delimiter) == ("a, b", delimiter)
