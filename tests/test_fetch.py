"""Raw files are found where somebody laid them, hashed once, and told from the published ones."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from zoobench.datasets import fetch as fetching
from zoobench.datasets.fetch import RawFile, fetch, sha256_of
from zoobench.datasets.support.errors import UnavailableError

CONTENT = b"as published"
# Nobody listens at the address: to ask there is an UnavailableError.
RAW = RawFile("demo", "raw.bin", "http://127.0.0.1:9/raw.bin", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh cache; what is returned is where the files of the task "demo" go."""
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "downloads" / "demo"


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_file_in_the_data_folder_is_taken_from_there_and_nothing_is_downloaded(
    downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path / "data"))
    with pytest.raises(UnavailableError) as error:
        fetch(RAW)
    wanted = tmp_path / "data" / "demo" / "raw.bin"
    assert str(wanted) in one_line(error)
    assert RAW.url in one_line(error)
    assert "ZOOBENCH_DATA" in one_line(error)
    wanted.parent.mkdir(parents=True)
    wanted.write_bytes(CONTENT)
    assert fetch(RAW) == wanted
    assert not downloads.exists()


def test_a_file_without_an_address_says_where_to_get_it(downloads: Path) -> None:
    with pytest.raises(UnavailableError) as error:
        fetch(RawFile("demo", "raw.bin", home="https://example.org/data"))
    assert "https://example.org/data" in one_line(error)
    assert str(downloads) in one_line(error)


def test_other_data_are_taken_and_said_once(
    downloads: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads.mkdir(parents=True)
    path = downloads / "raw.bin"
    path.write_bytes(b"a sample")
    hashed: list[Path] = []
    real = fetching.sha256_file
    monkeypatch.setattr(fetching, "sha256_file", lambda path: hashed.append(path) or real(path))
    with caplog.at_level(logging.WARNING):
        assert [fetch(RAW), fetch(RAW)] == [path, path]
    assert len(caplog.records) == len(hashed) == 1
    found = hashlib.sha256(b"a sample").hexdigest()
    assert f"SHA-256 {found[:12]}… instead of {RAW.sha256[:12]}…" in caplog.text
    assert "scores stand apart" in caplog.text
    path.write_bytes(CONTENT)
    caplog.clear()
    fetch(RAW)
    assert not caplog.records


def test_a_hash_is_kept_until_the_file_changes(downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads.mkdir(parents=True)
    path = downloads / "raw.bin"
    path.write_bytes(b"one")
    os.utime(path, (time.time() - 60, time.time() - 60))
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "sha256_file", lambda _: pytest.fail("read again"))
        assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    assert sha256_of(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_just_changed_is_read_again(downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads.mkdir(parents=True)
    path = downloads / "raw.bin"
    path.write_bytes(b"one")
    read: list[Path] = []
    monkeypatch.setattr(fetching, "sha256_file", lambda path: read.append(path) or "")
    sha256_of(path)
    sha256_of(path)
    assert read == [path, path]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../raw.bin"},
        {"name": "/raw.bin"},
        {"name": ""},
        {"folder": ".."},
        {"sha256": "abc"},
        {"url": "file:///etc/passwd"},
    ],
)
def test_a_raw_file_refuses_what_cannot_be(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="raw file"):
        RawFile(**{"folder": "demo", "name": "raw.bin", **fields})


def test_listing_imports_no_downloader() -> None:
    code = (
        "import sys, zoobench.datasets.fetch, zoobench.datasets.support.archives;"
        "print(*{'pooch', 'requests', 'rich'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""
