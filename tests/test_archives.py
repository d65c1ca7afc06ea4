"""Archives from elsewhere: what leads out of them, is no plain file, is too large or damaged is refused in one line."""

from __future__ import annotations

import io
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from zoobench.datasets.support.archives import members, open_member
from zoobench.datasets.support.errors import UserError

TABLE = "a,b\n1,2\n" * 5000


def a_zip(path: Path, contents: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def refusal(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return a_zip(
        tmp_path / "good.zip", {"images/": b"", "images/1.PNG": b"one", "images/2.jpg": b"two", "t.csv": TABLE}
    )


def test_members_are_listed_in_order_and_by_suffix(good: Path) -> None:
    assert members(good) == ["images/1.PNG", "images/2.jpg", "t.csv"]
    assert members(good, (".png", ".csv")) == ["images/1.PNG", "t.csv"]


def test_a_member_is_read_as_a_stream(good: Path) -> None:
    with open_member(good, "t.csv") as stream:
        assert pd.read_csv(stream).shape == (9999, 2)
    with open_member(good, "t.csv") as stream:
        assert stream.read(3) == b"a,b"
        stream.seek(-4, io.SEEK_END)
        assert stream.read() == b"1,2\n"[-4:]


def test_a_missing_member_is_named_with_what_there_is(good: Path) -> None:
    with pytest.raises(
        UserError, match=r"no member 'x\.csv'; it holds images/, images/1\.PNG, images/2\.jpg and 1 more"
    ):
        open_member(good, "x.csv").__enter__()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "a/..", "/etc/x", "C:/x", "c:x", "..\\x", "a\\..\\x", "\\\\host\\x", "a\0b"]
)
def test_a_path_out_of_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    archive = a_zip(tmp_path / "bad.zip", {"good.txt": "x", name: "x"})
    shown = repr(name)
    for act in (lambda: members(archive), lambda: members(archive, (".txt",))):
        with pytest.raises(UserError, match="leads out of the archive") as error:
            act()
        assert shown in refusal(error)
        assert str(archive) in refusal(error)


def test_a_name_with_dots_that_leads_nowhere_is_fine(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "good.zip", {"..x": "x", "a..b/c...": "x"})
    assert members(archive) == ["..x", "a..b/c..."]
    with open_member(archive, "a..b/c...") as stream:
        assert stream.read() == b"x"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_in_a_zip_is_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    for act in (members, lambda path: open_member(path, "link").__enter__()):
        with pytest.raises(UserError, match="'link' is a link or a device"):
            act(tmp_path / "bad.zip")


def test_an_encrypted_member_is_refused(good: Path) -> None:
    content = bytearray(good.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(signature) + offset] |= 1
    good.write_bytes(content)
    with pytest.raises(UserError, match=r"'t\.csv' is encrypted"):
        open_member(good, "t.csv").__enter__()


def test_a_member_that_says_it_is_too_large_is_refused(tmp_path: Path) -> None:
    bomb = a_zip(tmp_path / "bomb.zip", {"zeros": bytes(20_000_000)})
    assert bomb.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"'zeros' would unpack to more than the 10\.0 MB") as error:
        open_member(bomb, "zeros", limit=10_000_000).__enter__()
    assert str(bomb) in refusal(error)
    with open_member(bomb, "zeros", limit=20_000_000) as stream:
        assert len(stream.read()) == 20_000_000


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    bomb = a_zip(tmp_path / "bomb.zip", {"zeros": bytes(20_000_000)})
    bomb.write_bytes(bomb.read_bytes().replace(struct.pack("<L", 20_000_000), struct.pack("<L", 1000)))
    with open_member(bomb, "zeros", limit=5000) as stream, pytest.raises(UserError, match="cannot be read") as error:
        stream.read()
    assert str(bomb) in refusal(error)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: b"PK",
        lambda content: b"<html>not found</html>",
        lambda content: content[: len(content) // 2],
        lambda content: content[: len(content) // 2] + b"spoilt" + content[len(content) // 2 + 6 :],
    ],
    ids=["empty", "two bytes", "a page", "cut", "changed"],
)
def test_a_damaged_archive_is_told_in_one_line(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = a_zip(tmp_path / "bad.zip", {"noise": random.Random(0).randbytes(40_000)})  # noqa: S311
    path.write_bytes(spoil(path.read_bytes()))
    with (
        pytest.raises(UserError, match="cannot be read as an archive") as error,
        open_member(path, "noise") as stream,
    ):
        stream.read()
    assert str(path) in refusal(error)


def test_damage_shows_through_a_reader_as_one_line(good: Path) -> None:
    content = good.read_bytes()
    at = content.rindex(b"t.csv", 0, content.index(b"PK\x01\x02")) + 20
    good.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    assert members(good)
    with pytest.raises(UserError, match="cannot be read as an archive"), open_member(good, "t.csv") as stream:
        pd.read_csv(stream)


def test_an_error_of_the_reader_stays_its_own(good: Path) -> None:
    with pytest.raises(UnicodeDecodeError), open_member(good, "t.csv"):
        b"\xff".decode()


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    for act in (members, lambda path: open_member(path, "x").__enter__()):
        with pytest.raises(UserError, match=r"none\.zip"):
            act(tmp_path / "none.zip")
