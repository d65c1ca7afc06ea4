"""Downloads over HTTP that go on where they broke off, and place a file whole and verified, or not at all.

While it comes, a file lies in the folder ``.<name>.part`` beside its place: ``content`` holds what has come,
``state.json`` the address and the server's validator (RFC 9110, section 13.1.5), without which no two parts of
a file can be known to belong together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .files import read_json, write_json
from .progress import amount, progress

if TYPE_CHECKING:
    from requests import Response

Timeout = tuple[float, float]
"""Seconds to wait for a connection, and for the next bytes."""
CHUNK = 1 << 16


class DownloadError(Exception):
    """A file could not be had; the message is the reason in a few words."""


class _BrokenOffError(DownloadError):
    """The answer began and did not end; another try may go on from there."""


def download(url: str, path: Path, sha256: str, what: str, timeout: Timeout) -> None:
    """Download `url` to `path`; whoever calls holds a lock on `path`.

    Parameters
    ----------
    sha256
        What the file must have; empty where it is not known.
    what
        The file's name for people.

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses, or falls silent; what has come is kept for the next call.
    UserError
        If what came does not have the wanted SHA-256; it is removed.
    """
    import pooch

    staging = path.with_name(f".{path.name}.part")
    staging.mkdir(parents=True, exist_ok=True)
    _sweep(staging)

    def fill(_url: str, temporary: str, _pooch: Any) -> None:
        _receive(url, staging, what, timeout)
        (staging / "content").replace(temporary)

    downloader: Any = fill  # pooch's own type for it names the parameters otherwise than pooch calls it
    wanted = f"sha256:{sha256}" if sha256 else None
    with _quiet_pooch():
        try:
            found = pooch.retrieve(url, wanted, fname="whole", path=staging, downloader=downloader)
        except ValueError as error:
            shutil.rmtree(staging)
            reason = str(error).partition(". ")[0]
            raise UserError(f"{what} from {url} is not the published file; refused and removed: {reason}") from error
    Path(found).replace(path)
    shutil.rmtree(staging)


def _sweep(staging: Path) -> None:
    """Remove what a killed process left, but for what another can go on from."""
    for leftover in staging.iterdir():
        if leftover.name not in ("content", "state.json"):
            leftover.unlink()


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _receive(url: str, staging: Path, what: str, timeout: Timeout) -> None:
    """Fill ``content``, asking again for the rest as long as each try brings the file further than the last."""
    content = staging / "content"
    content.touch()
    while True:
        before = content.stat().st_size
        try:
            _try(url, staging, what, timeout)
        except _BrokenOffError:
            if content.stat().st_size <= before:
                raise
        else:
            return


def _try(url: str, staging: Path, what: str, timeout: Timeout) -> None:
    import requests

    content = staging / "content"
    try:
        response, offset = _ask(url, staging, timeout)
        with response:
            if response.status_code not in (200, 206) or (response.status_code == 206) != (offset > 0):
                raise DownloadError(f"HTTP {response.status_code} {response.reason or ''}".strip())
            if not offset:
                # In this order: a validator must never stand beside bytes that it does not speak for.
                os.truncate(content, 0)
                write_json(staging / "state.json", {"url": url, "validator": _validator(response)})
            _store(response, offset, content, what)
    except requests.RequestException as error:
        raise DownloadError(_reason(error, timeout)) from error


def _ask(url: str, staging: Path, timeout: Timeout) -> tuple[Response, int]:
    """Return the server's answer and the byte at which it begins: past 0 where the rest is all that is missing."""
    import requests

    # Compressed on the way, the file could not be counted or asked for in parts.
    headers = {"Accept-Encoding": "identity"}
    offset, validator = (staging / "content").stat().st_size, _kept_validator(url, staging)
    if offset and validator:
        asked = {"Range": f"bytes={offset}-", "If-Range": validator}
        response = requests.get(url, headers={**headers, **asked}, stream=True, timeout=timeout)
        if response.status_code not in (206, 416):
            return response, 0
        if response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            return response, offset
        response.close()
    return requests.get(url, headers=headers, stream=True, timeout=timeout), 0


def _kept_validator(url: str, staging: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        state = read_json(staging / "state.json")
        return state["validator"] if state["url"] == url else ""
    return ""


def _validator(response: Response) -> str:
    """Return what tells these bytes from others at the same address, "" where nothing does."""
    if _is_encoded(response):
        return ""
    # A weak tag speaks for files that mean the same, not for the same bytes.
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _is_encoded(response: Response) -> bool:
    return response.headers.get("Content-Encoding", "identity") != "identity"


def _total(response: Response, offset: int) -> int | None:
    """Return how long the whole file is, None where the server does not tell."""
    headers = response.headers
    told = headers["Content-Range"].rpartition("/")[2] if offset else headers.get("Content-Length", "")
    return int(told) if told.isdecimal() and not _is_encoded(response) else None


def _store(response: Response, offset: int, content: Path, what: str) -> None:
    import requests

    total = _total(response, offset)
    with content.open("ab") as stream, progress(f"downloading {what}", total, unit="bytes", done=offset) as advance:
        try:
            for chunk in response.iter_content(CHUNK):
                stream.write(chunk)
                advance(len(chunk))
        except requests.RequestException as error:
            raise _BrokenOffError(f"the server broke off or fell silent after {_come(stream.tell(), total)}") from error
        if total not in (None, stream.tell()):
            raise _BrokenOffError(f"the server broke off after {_come(stream.tell(), total)}")
        stream.flush()
        os.fsync(stream.fileno())


def _come(count: int, total: int | None) -> str:
    return amount(count, "bytes") + (f" of {amount(total, 'bytes')}" if total else "")


def _reason(error: Exception, timeout: Timeout) -> str:
    """Return what went wrong before an answer began, without the library's stack of causes."""
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {timeout[0]:g} s"
    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout[1]:g} s"
    if isinstance(error, requests.ConnectionError):
        cause = getattr(error.args[0], "reason", error) if error.args else error
        return f"no connection: {type(cause).__name__}"
    return " ".join(str(error).split())
