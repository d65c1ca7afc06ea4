"""Raw files: found in a folder laid out by hand, or downloaded once, checked, and kept."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from .core import TaskCard
from .support.errors import UnavailableError, UserError
from .support.files import lock, read_json, sha256_file, sha256_json, write_json
from .support.folders import cache_root

DATA = "ZOOBENCH_DATA"
TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

_SETTLED = 2.0
_log = logging.getLogger(__name__)
_looking: ContextVar[bool] = ContextVar("looking", default=False)


@dataclass(frozen=True)
class RawFile:
    """A file of a published data set.

    Attributes
    ----------
    folder, name
        Where it lies in a data folder: ``<data folder>/<folder>/<name>``; the folder is the task's name.
    url
        Where it is published; empty if it cannot be downloaded by address.
    sha256
        Of the published file; empty where it is not known.
    home
        The page where a person can have it.
    """

    folder: str
    name: str
    url: str = ""
    sha256: str = ""
    home: str = ""

    def __post_init__(self) -> None:
        for part in (self.folder, self.name):
            path = PurePosixPath(part)
            if not path.parts or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"raw file: {part!r} must be a path below the data folder")
        if self.url and not self.url.startswith(("https://", "http://")):
            raise ValueError(f"raw file {self.name}: {self.url!r} is no address of the web")
        if self.sha256 and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"raw file {self.name}: {self.sha256!r} is no SHA-256 in lower-case hexadecimal")

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


class NotHereError(UserError):
    """A raw file is not on this machine, and nobody tried to get it (see `only_looking`)."""

    def __init__(self, file: RawFile, path: Path) -> None:
        super().__init__(f"{path} is not there")
        self.file, self.path = file, path


@contextlib.contextmanager
def only_looking() -> Iterator[None]:
    """Let `fetch` say where files lie, or raise `NotHereError`: within the block it downloads and reads nothing."""
    before = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(before)


def data_folder() -> Path | None:
    """Return the folder that ``ZOOBENCH_DATA`` names, or None."""
    named = os.environ.get(DATA)
    return Path(named).expanduser().absolute() if named else None


def raw_folders(tasks: Iterable[str]) -> list[Path]:
    """Return the folders that may hold raw files of any of `tasks`, there or not: no model opens them.

    One task's files may hold another's targets: LitCoin's are BioRED's, and the metadata of NIH are ChestMNIST's.
    """
    inside, data = _inside_package(), data_folder()
    laid_out = [data / name for name in (*tasks, "chestmnist")] if data else []
    return [cache_root() / "downloads", *([inside] if inside else []), *laid_out]


def packaged(card: TaskCard, name: str) -> Path:
    """Return the path of a file that ships inside torchxrayvision, without importing that package (and torch with it).

    Raises
    ------
    UnavailableError
        If the package is not installed.
    """
    inside = _inside_package()
    if inside is None:
        raise UnavailableError(f"task {card.name} needs torchxrayvision: pip install 'zoobench[{card.extra}]'")
    return inside / name


def _inside_package() -> Path | None:
    package = importlib.util.find_spec("torchxrayvision")
    return Path(package.origin).with_name("data") if package and package.origin else None


def local(file: RawFile) -> Path | None:
    """Return where a file lies on this machine, in the data folder or among the downloads; None if nowhere."""
    path = _place(file)
    return path if path.exists() else None


def fetch(file: RawFile, timeout: tuple[float, float] = TIMEOUT) -> Path:
    """Return a file's path, downloading it if it is not on this machine.

    With ``ZOOBENCH_DATA`` set nothing is downloaded. A file that somebody laid there and that is not the published
    one is another data set: it is taken, and said. Processes that want the same file at once take turns.

    Parameters
    ----------
    timeout
        Seconds to wait for a connection, and for the next bytes.

    Raises
    ------
    UserError
        If what came from the address is not the published file, or it cannot be written.
    UnavailableError
        If the file cannot be had: missing under ``ZOOBENCH_DATA``, no address, no network, no such page, a server
        that falls silent.
    """
    found = local(file)
    if _looking.get():
        if found is None:
            raise NotHereError(file, _place(file))
        return found
    if found is None:
        if data_folder() is not None:
            raise _missing(file)
        return _download(file, timeout)
    if file.sha256 and found.is_file():
        changed = found.stat()
        _compare(found, file.sha256, changed.st_size, changed.st_mtime_ns)
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read once as long as its size and time of change stay the same."""
    status = path.stat()
    seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    note = cache_root() / "sha256" / f"{sha256_json(str(path.absolute()))[:32]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = read_json(note)
        if kept["seen"] == seen:
            return str(kept["sha256"])
    found = sha256_file(path)
    # A file changed a moment ago may change once more within what the file system takes for the same time.
    if time.time() - status.st_mtime > _SETTLED:
        with contextlib.suppress(OSError):
            write_json(note, {"path": str(path.absolute()), "seen": seen, "sha256": found})
    return found


def compare_counts(card: TaskCard, found: Mapping[str, int]) -> None:
    """Say so when the data are not the published ones: other data, another fingerprint, no error.

    Raises
    ------
    KeyError
        If the card has no figure of one of these names.
    """
    wrong = {name: count for name, count in found.items() if card.counts[name] != count}
    if wrong:
        told = ", ".join(f"{count:,} {name} (published: {card.counts[name]:,})" for name, count in wrong.items())
        _log.warning("%s: other data than the published ones: %s; their scores stand apart", card.name, told)


def _place(file: RawFile) -> Path:
    return (data_folder() or cache_root() / "downloads") / file.folder / file.name


@cache
def _compare(path: Path, wanted: str, size: int, changed_ns: int) -> None:
    """Say, once a process, that a file is not the published one."""
    del size, changed_ns  # what makes it another file to look at
    try:
        found = sha256_of(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    if found != wanted:
        _log.warning(
            "%s: another data set than the published one (SHA-256 %s… instead of %s…): taken as it is; "
            "where its rows differ, its scores stand apart", path, found[:12], wanted[:12],
        )  # fmt: skip


def _missing(file: RawFile) -> UnavailableError:
    origin = file.url or file.home
    get = f"put the file from {origin} there" if origin else "put the file there"
    unset = f", or unset {DATA} to have it downloaded" if file.url else ""
    return UnavailableError(f"{_place(file)} is missing, and with {DATA} set nothing is downloaded: {get}{unset}")


def _download(file: RawFile, timeout: tuple[float, float]) -> Path:
    from .support.download import DownloadError, download

    path = _place(file)
    by_hand = f"put the file into {path.parent} or set {DATA} to a folder that holds {file}"
    if not file.url:
        told = f"it is published at {file.home}; " if file.home else ""
        raise UnavailableError(f"{file} cannot be downloaded by address: {told}{by_hand}")
    try:
        with _turn(path, str(file)):
            if not path.exists():
                download(file.url, path, file.sha256, str(file), timeout)
    except DownloadError as error:
        raise UnavailableError(f"{file} could not be had from {file.url} ({error}): {by_hand}") from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}): make room there, or set ZOOBENCH_CACHE") from error
    return path


@contextlib.contextmanager
def _turn(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file that is to be placed at `path`."""
    from filelock import Timeout

    turn = lock(path.with_name(f".{path.name}.lock"))
    try:
        turn.acquire(timeout=1)
    except Timeout:
        _log.warning("%s: another process downloads it: waiting", what)
        turn.acquire()
    try:
        yield
    finally:
        turn.release()
