"""Published tables are read row by row, and a fault is named by file, line and column."""

from __future__ import annotations

import gzip
import math
import zipfile
from pathlib import Path

import pytest
from zoobench.datasets.published import Row, table
from zoobench.datasets.support.errors import UserError


def written(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.csv", content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.zip"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_rows_are_read_with_the_line_on_which_they_start(tmp_path: Path, name: str, mark: bytes) -> None:
    path = written(tmp_path / name, mark + 'id,x,y\r\n1,"año\n ""z"", é",a\n\n2,b,c\n'.encode())
    rows = list(table(path, ("y", "id", "x"), key="id"))
    assert [row.line for row in rows] == [2, 5]
    assert [dict(row.cells) for row in rows] == [
        {"id": "1", "x": 'año\n "z", é', "y": "a"},
        {"id": "2", "x": "b", "y": "c"},
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.zip"])
def test_latin_1_is_decided_for_the_whole_file(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    plain = "".join(f"{number},plain\n" for number in range(200_000))
    path = written(tmp_path / name, f"id,x\na,Ã©\n{plain}z,été né à\n".encode("latin-1"))
    list(table(path, ("id",)))
    rows = list(table(path, ("id", "x"), key="id"))
    assert (rows[0].cells["x"], rows[-1].cells["x"], rows[-1].line) == ("Ã©", "été né à", 200_003)
    assert caplog.messages == [f"{path} is not UTF-8: it was read as Latin-1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"id,x\n", "a header and no row"),
        (b"id;x\n1;a\n", r"line 1: no column 'id' between separators ',' in the header 'id;x'"),
        (b"id,y\n1,a\n", "line 1: no column 'x'"),
        (b"id,x,x\n1,a,b\n", "line 1: 2 column 'x'"),
        (b"id,x\n1,a\n2,b,c\n", "line 3: 3 cells, but the header names 2"),
        ("id,x\n1,a\n".encode("utf-16"), "line 1: is written as UTF-16: save it as UTF-8"),
        ("id,x\n1,a\n".encode("utf-16-be"), "line 1: is UTF-16 or no text"),
        (b"id,x\n1,a\n2,caf\xe9 \x93b\x94\n", r"line 3: is neither UTF-8 \(at byte 14\) nor Latin-1, but Windows-1252"),
        (b"id,x\n1,caf\xe9\n2,b\x01\n", "line 3: is neither UTF-8 .* but no text"),
        ("id,x\n1,ééé\n2,é".encode()[:-1], "line 3: is UTF-8 with a broken character"),
        (b"id,x\n" + "1,ééé\n".encode() * 200_000 + b"2,\xff\n", "line 200002: is UTF-8 with a broken character"),
        (b"id,x\n1,a\n2,b\0c\n", "line 3: holds a NUL"),
        (b'id,x\n1,"a\n2,b\n', "line 3: no CSV"),
        (b"id,x\n1," + b"a" * 200_000 + b"\n", "line 2: no CSV .* field larger than field limit"),
        (b"id,x\n1,a\n2,b\n1,c\n", "line 4, column 'id': '1' stands on line 2 already"),
        (b"id,x\n1,a\n ,b\n", "line 3, column 'id': is empty"),
    ],
)
def test_fault_is_one_line_that_names_the_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path / "bad.csv", content)
    with pytest.raises(UserError, match=rf"bad\.csv.*{message}") as caught:
        list(table(path, ("id", "x"), key="id"))
    assert "\n" not in str(caught.value)


def test_broken_or_foreign_archives_are_refused(tmp_path: Path) -> None:
    for name in ("cut.gz", "cut.zip"):
        path = written(tmp_path / name, b"id,x\n" + bytes(range(48, 58)) * 5000)
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(UserError, match=rf"{name} cannot be read"):
            list(table(path, ("id",)))
    (tmp_path / "no.gz").write_bytes(b"id,x\n1,a\n")
    with pytest.raises(UserError, match=r"no\.gz cannot be read"):
        list(table(tmp_path / "no.gz", ("id",)))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "id\n1\n")
        archive.writestr("b.csv", "id\n1\n")
    with pytest.raises(UserError, match=r"two\.zip holds 2 files"):
        list(table(tmp_path / "two.zip", ("id",)))
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../a.csv", "id\n1\n")
    with pytest.raises(UserError, match=r"out\.zip: member '\.\./a\.csv' has a path that leads out"):
        list(table(tmp_path / "out.zip", ("id",)))
    with pytest.raises(UserError, match=r"gone\.csv cannot be read"):
        list(table(tmp_path / "gone.csv", ("id",)))


def test_cells() -> None:
    row = Row(
        Path("f.csv"),
        7,
        {"list": "['War', 'Sci-Fi']", "bad": "[1]", "code": "f()", "n": "1930.0", "none": " ", "w": "x9"},
    )
    assert row.strings("list") == ("War", "Sci-Fi")
    assert row.number("n") == 1930
    assert math.isnan(row.number("none"))
    assert row.known("list", ["b", "a", "b"], ("a", "b")) == ("b", "a")
    for fault, message in [
        (lambda: row.strings("bad"), r"f\.csv, line 7, column 'bad': '\[1\]' is no list"),
        (lambda: row.strings("code"), "column 'code'"),
        (lambda: row.number("w"), "column 'w': 'x9' is no number"),
        (lambda: row.text("none"), "column 'none': is empty"),
        (lambda: row.known("w", ["x9"], ("a", "b")), "column 'w': unknown label 'x9'; the labels are a, b"),
        (lambda: row.known("w", [], ("a", "b")), "column 'w': gives no label"),
    ]:
        with pytest.raises(UserError, match=message):
            fault()
    for huge in ("inf", "nan", "1e999"):
        with pytest.raises(UserError, match="is no number"):
            Row(Path("f.csv"), 7, {"n": huge}).number("n")
