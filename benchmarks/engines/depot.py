"""A place outside of the machines that run cells, named by a URL: a folder, a bucket, whatever fsspec opens."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from ...datasets.support.errors import UserError, first_line

_WHOLE = 10_000
"""Characters of an error, which is cut by nobody before what is secret in it is out."""
_USER = re.compile(r"(?<=://)[^/]+@")


class Depot:
    """Named byte strings below a URL, each written whole under its name or not at all.

    Parameters
    ----------
    url
        Such as ``s3://bucket/prefix``, ``gs://bucket/prefix`` or the path of a folder that all machines see.

    Raises
    ------
    UserError
        If nothing opens such a URL here.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise UserError(f"--cache {shown(url)}: fsspec is not installed: pip install 'zoobench[ray]'") from None
        self.url = url
        try:
            self._files, root = url_to_fs(url)
        except ImportError as error:
            raise UserError(f"--cache {shown(url)}: {_line(error, url)}") from None
        except (OSError, ValueError) as error:
            raise UserError(
                f"--cache {shown(url)} is no folder or URL that fsspec opens: {_line(error, url)}"
            ) from None
        self._root = root.rstrip("/")

    def check(self) -> None:
        """Refuse a place that cannot be written, by writing to it.

        Raises
        ------
        UserError
            Saying why.
        """
        name = f"probe-{secrets.token_hex(6)}"
        try:
            self.put(name, b"zoobench")
            found = self.get(name)
            self.remove(name)
        except Exception as error:  # each kind of storage has errors of its own
            raise UserError(f"--cache {shown(self.url)} cannot be written: {_line(error, self.url)}") from None
        if found != b"zoobench":
            raise UserError(f"--cache {shown(self.url)} does not give back what was written to it")

    def put(self, name: str, content: bytes) -> None:
        """Keep `content` under `name`."""
        with self._beside(name) as path:
            self._files.pipe_file(path, content)

    def put_file(self, name: str, path: Path, size: int) -> None:
        """Keep a file of `size` bytes under `name`, unless one of that size is there."""
        with contextlib.suppress(FileNotFoundError):
            if self._files.size(f"{self._root}/{name}") == size:
                return
        with self._beside(name) as there:
            self._files.put_file(str(path), there)

    @contextlib.contextmanager
    def _beside(self, name: str) -> Iterator[str]:
        """Yield a path to write to; what was written is moved to its own once it is whole."""
        path = f"{self._root}/{name}"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        temporary = f"{path}.{secrets.token_hex(6)}"
        try:
            yield temporary
            self._files.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._files.rm_file(temporary)
            raise

    def get(self, name: str) -> bytes | None:
        """Return what is kept under `name`; None where there is nothing."""
        with contextlib.suppress(FileNotFoundError):
            return self._files.cat_file(f"{self._root}/{name}")
        return None

    def blocks(self, name: str, size: int) -> Iterator[bytes]:
        """Yield what is kept under `name`, `size` bytes at a time; nothing where there is nothing."""
        with contextlib.suppress(FileNotFoundError), self._files.open(f"{self._root}/{name}", "rb") as stream:
            while block := stream.read(size):
                yield block

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        self._files.invalidate_cache()
        with contextlib.suppress(FileNotFoundError):
            return [str(path).rpartition("/")[2] for path in self._files.ls(f"{self._root}/{folder}", detail=False)]
        return []

    def remove(self, name: str) -> None:
        """Keep nothing under `name`."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")


def shown(url: str) -> str:
    """Return a URL without the name and password that may stand in it."""
    return _USER.sub("***@", url)


def _line(error: Exception, url: str) -> str:
    """Return the first line of an error, without what `shown` hides in the URL."""
    line = first_line(error, _WHOLE) or type(error).__name__
    for user in _USER.findall(url):
        password = user.partition(":")[2].removesuffix("@")
        line = line.replace(user, "***@").replace(password or user, "***")
    return line
