"""Whether BioRED's own archive can be had: decided once, and no fault of a download hides behind other data."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoobench.datasets import biored, litcoin
from zoobench.datasets import fetch as fetch_module
from zoobench.datasets.core import TASKS
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.tasks import biored_pairs

from .test_biored import write


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Exception | Path]:
    """What a download of BIORED.zip gives from now on, last first; nothing was decided or downloaded before."""
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    answers: list[Exception | Path] = []

    def fetch(file: object) -> Path:
        assert file is biored.ARCHIVE
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(biored_pairs, "fetch", fetch)
    monkeypatch.setattr(litcoin, "files", lambda: (tmp_path / "abstracts",))
    return answers


def test_whether_the_archive_can_be_had_is_decided_once(asked: list[Exception | Path], tmp_path: Path) -> None:
    asked.extend([tmp_path / "BIORED.zip", UnavailableError("no network")])
    for _ in range(2):
        assert biored_pairs.files() == (tmp_path / "abstracts",)
        assert biored_pairs._missing() == "no network"
    path = write(tmp_path / "cache" / "downloads" / "biored-pairs" / "BIORED.zip")
    assert path == fetch_module.local(biored.ARCHIVE)
    assert biored_pairs.files() == (tmp_path / "abstracts",)
    assert len(asked) == 1


def test_archive_that_can_be_downloaded_is_read(asked: list[Exception | Path], tmp_path: Path) -> None:
    path = write(tmp_path / "BIORED.zip")
    asked.extend([path] * 3)
    assert biored_pairs.files() == (path,)
    assert len(TASKS.get("biored-pairs").read()) == 4


@pytest.mark.parametrize("error", ["what came is another file", "the disk is full"])
def test_what_is_wrong_with_a_download_is_an_error_and_no_reason_for_litcoin(
    asked: list[Exception | Path], error: str
) -> None:
    asked.extend([UserError(error), UserError(error)])
    with pytest.raises(UserError, match=error):
        biored_pairs.files()
    with pytest.raises(UserError, match=error):
        TASKS.get("biored-pairs").read()
