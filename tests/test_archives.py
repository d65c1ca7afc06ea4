"""Archives from elsewhere: what leads out of them, is no plain file, is too large or damaged is refused in one line."""

from __future__ import annotations

import io
import random
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from zoobench.datasets.support.archives import members, open_member, unpack
from zoobench.datasets.support.errors import UserError

TABLE = "a,b\n1,2\n" * 5000


def a_zip(path: Path, contents: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def a_tar(path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def refusal(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".part-" in path.name]


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
    for act in (
        lambda: members(archive),
        lambda: members(archive, (".txt",)),
        lambda: unpack(archive, tmp_path / "out" / "folder"),
    ):
        with pytest.raises(UserError, match="leads out of the archive") as error:
            act()
        assert shown in refusal(error)
        assert str(archive) in refusal(error)
    assert list((tmp_path / "out").glob("[!.]*")) == leftovers(tmp_path / "out") == []
    assert not (tmp_path / "x").exists()


def test_a_name_with_dots_that_leads_nowhere_is_fine(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "good.zip", {"..x": "x", "a..b/c...": "x"})
    assert members(archive) == ["..x", "a..b/c..."]
    assert (unpack(archive, tmp_path / "folder") / "a..b" / "c...").read_text() == "x"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_in_a_zip_is_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    for act in (members, lambda path: open_member(path, "link").__enter__()):
        with pytest.raises(UserError, match="'link' is a link or a device"):
            act(tmp_path / "bad.zip")
    with pytest.raises(UserError, match="'link' is a link or a device"):
        unpack(tmp_path / "bad.zip", tmp_path / "folder")


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
    with pytest.raises(UserError, match=r"10\.0 MB"):
        unpack(bomb, tmp_path / "folder", limit=10_000_000)
    with open_member(bomb, "zeros", limit=20_000_000) as stream:
        assert len(stream.read()) == 20_000_000


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    bomb = a_zip(tmp_path / "bomb.zip", {"zeros": bytes(20_000_000)})
    bomb.write_bytes(bomb.read_bytes().replace(struct.pack("<L", 20_000_000), struct.pack("<L", 1000)))
    with open_member(bomb, "zeros", limit=5000) as stream, pytest.raises(UserError, match="cannot be read") as error:
        stream.read()
    assert str(bomb) in refusal(error)
    with pytest.raises(UserError, match="cannot be read"):
        unpack(bomb, tmp_path / "folder", limit=5000)
    assert not (tmp_path / "folder").exists()


def test_the_limit_counts_all_members_together(tmp_path: Path) -> None:
    content = {f"part{number}": bytes(400) for number in range(3)}
    archives = [
        a_zip(tmp_path / "many.zip", dict(content)),
        a_tar(tmp_path / "many.tar.gz", [(tarfile.TarInfo(name), data) for name, data in content.items()]),
    ]
    for archive in archives:
        with pytest.raises(UserError, match="'part2' would unpack to more than"):
            unpack(archive, tmp_path / "folder", limit=1000)
        assert not (tmp_path / "folder").exists()
        assert leftovers(tmp_path) == []


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
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_damaged_archive_is_told_in_one_line(tmp_path: Path, spoil, kind: str) -> None:
    path, noise = tmp_path / f"bad.{kind}", random.Random(0).randbytes(40_000)  # noqa: S311
    a_zip(path, {"noise": noise}) if kind == "zip" else a_tar(path, [(tarfile.TarInfo("noise"), noise)])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match="cannot be read as an archive") as error:
        unpack(path, tmp_path / "folder")
    assert str(path) in refusal(error)
    assert not (tmp_path / "folder").exists()
    assert leftovers(tmp_path) == []


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
    for act in (
        members,
        lambda path: open_member(path, "x").__enter__(),
        lambda path: unpack(path, tmp_path / "folder"),
    ):
        with pytest.raises(UserError, match=r"none\.zip"):
            act(tmp_path / "none.zip")


def test_a_tar_is_unpacked_whole_and_once(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("deep")
    folder.type = tarfile.DIRTYPE
    inner = a_zip(tmp_path / "inner.zip", {"x": "x"}).read_bytes()
    entries = [(folder, b""), (tarfile.TarInfo("deep/1.txt"), b"one"), (tarfile.TarInfo("inner.zip"), inner)]
    archive = a_tar(tmp_path / "good.tar.gz", entries)
    out = unpack(archive, tmp_path / "out" / "folder")
    assert (out / "deep" / "1.txt").read_bytes() == b"one"
    assert (out / "inner.zip").read_bytes() == inner
    assert leftovers(tmp_path / "out") == []
    archive.unlink()
    assert unpack(archive, out) == out


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../x", tarfile.REGTYPE, ""),
        ("/tmp/zoobench-must-not-appear", tarfile.REGTYPE, ""),  # noqa: S108
        ("a/../../x", tarfile.REGTYPE, ""),
        ("a\\..\\x", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "/etc"),
        ("link", tarfile.SYMTYPE, "good.txt"),
        ("link", tarfile.LNKTYPE, "../good.txt"),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("device", tarfile.CHRTYPE, ""),
    ],
)
def test_a_tar_that_reaches_out_is_refused(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    archive = a_tar(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("good.txt"), b"x"), (info, b"")])
    with pytest.raises(UserError, match="refused") as error:
        unpack(archive, tmp_path / "out" / "folder")
    assert repr(name) in refusal(error)
    assert str(archive) in refusal(error)
    assert list((tmp_path / "out").glob("[!.]*")) == leftovers(tmp_path / "out") == []
    assert not (tmp_path / "x").exists()
    assert not Path("/tmp/zoobench-must-not-appear").exists()  # noqa: S108


def test_a_plain_tar_that_ends_in_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = a_zip(tmp_path / "inner.zip", {"x": "x"})
    with tarfile.open(tmp_path / "outer.tar", "w") as outer:
        outer.add(inner, "inner.zip")
    assert [path.name for path in unpack(tmp_path / "outer.tar", tmp_path / "folder").iterdir()] == ["inner.zip"]


def test_a_plain_tar_with_a_spoilt_header_is_not_cut_short(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for name in ("one", "two"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
    content = (tmp_path / "bad.tar").read_bytes()
    (tmp_path / "bad.tar").write_bytes(content.replace(b"two", b"2wo"))
    with pytest.raises(UserError, match="cannot be read as an archive"):
        unpack(tmp_path / "bad.tar", tmp_path / "folder")


def test_what_a_killed_process_left_is_swept(good: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from zoobench.datasets.support import archives\n"
        "archives._spend = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "archives.unpack(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    folder = tmp_path / "out" / "folder"
    assert subprocess.run([sys.executable, "-c", code, good, folder], check=False).returncode == -9
    assert not folder.exists()
    assert len(leftovers(tmp_path / "out")) == 1
    assert (unpack(good, folder) / "images" / "1.PNG").read_bytes() == b"one"
    assert leftovers(tmp_path / "out") == []
