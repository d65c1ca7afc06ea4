"""How a `PixelStore` is made: images are decoded once, to one size, in grey, and kept as a memory map.

A store is a folder of the cache, ``pixels/<key>/``, whose key holds all that could change it. ``store.json`` is
written last: a folder without it is an interrupted build, and the next one goes on there, since the digest beside
each row tells whether the row is whole. Neither a build nor a reader holds more than a batch of pixels in memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np

from .images import DIGESTS, PIXELS, PixelStore
from .support.errors import UserError
from .support.files import lock, read_json, sha256_json, write_json
from .support.folders import cache_root
from .support.progress import progress

if TYPE_CHECKING:
    from PIL import Image

VERSION = 1
"""Raised whenever the same files would become other pixels."""
SMALLEST = 8
"""Pixels; an image with a shorter side is a mistake (a placeholder, a tracking pixel), not a picture."""
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
"""What is decoded. PIL knows more, among them formats that hand the file to another program."""

SENT = ("PNG", "JPEG", "WEBP")
"""What is decoded of strangers: a decoder less is a hole less."""

_DONE = "store.json"
_DIGEST = 16
_BATCH = 128
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")

T = TypeVar("T")


@dataclass(frozen=True)
class ImageFile:
    """An image: a file, or the `member` of the zip archive at `path`, which is never unpacked to disk."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)


def keep_images(
    files: Sequence[ImageFile], size: int, where: Callable[[int], str] = lambda index: ""
) -> tuple[PixelStore, np.ndarray]:
    """Decode images into a store, or find the store that was made of them before.

    Each becomes a square in 8-bit grey. An oblong one is scaled to the square, as torchvision's
    ``Resize((size, size))`` does, and not cropped: nothing at the border is lost, and proportions change. Colour is
    weighted by ITU-R 601-2 (PIL's "L"), transparency is dropped (the colours stand as they are stored), 16 bits are
    scaled to 8 as 65,535 to 255, and of an animation the first frame is taken. Sizes are reduced with an
    antialiasing Lanczos filter (Pillow's `reducing_gap` of 2).

    Parameters
    ----------
    files
        The n images, in the order of the examples.
    size
        Side of the squares in pixels; smaller where every image is: the longest side of them all.
    where
        Says where the image with a given index is named ("cases.csv, row 12, column scan"), for messages.

    Returns
    -------
    The store, and the (n,) int64 row of each image in it. Rows are in an order that tells nothing about `files`.

    Raises
    ------
    UserError
        Naming the first image that is missing, truncated, no image, of 32 bits a pixel value, shorter than
        `SMALLEST` on a side or a decompression bomb (Pillow's ``MAX_IMAGE_PIXELS``); or the cache, if it cannot
        be written.
    """
    key = sha256_json({"version": VERSION, "size": size, "files": _stamps(files, where)})

    def build(folder: Path, rows: np.ndarray) -> None:
        with _Decoder(files, where) as decoder:
            side = decoder.largest_side(size)
            with _Draft(folder, len(files), side) as draft:
                _decode(decoder, draft, rows, np.flatnonzero(~draft.kept()[rows]))

    return _made(key, len(files), build)


def keep_array(
    chunks: Callable[[], Iterable[np.ndarray]], count: int, side: int, key: str
) -> tuple[PixelStore, np.ndarray]:
    """Keep images that are decoded already; `chunks` is called only if there is no such store yet.

    Parameters
    ----------
    chunks
        Gives (any, side, side) uint8 arrays in grey, `count` images in all.
    key
        Tells this array from any other: a hash of its file, or the file's name, size and time.

    Returns
    -------
    The store, and the (count,) int64 row of each image in it.
    """
    key = sha256_json({"version": VERSION, "array": key, "shape": [count, side, side]})

    def build(folder: Path, rows: np.ndarray) -> None:
        start = 0
        with _Draft(folder, count, side) as draft, progress("keeping images", count) as advance:
            for chunk in chunks():
                if chunk.shape[1:] != (side, side) or chunk.dtype != np.uint8 or start + len(chunk) > count:
                    raise ValueError(f"{chunk.dtype} {chunk.shape} at image {start} of {count} of side {side}")
                draft.put(rows[start : start + len(chunk)], chunk)
                start += len(chunk)
                advance(len(chunk))
            if start < count:
                raise ValueError(f"{start} images instead of {count}")

    return _made(key, count, build)


def _made(key: str, count: int, build: Callable[[Path, np.ndarray], None]) -> tuple[PixelStore, np.ndarray]:
    """Return the store called `key`, built under a lock if it is not there, and the rows of its images."""
    if not count:
        raise ValueError("a store needs one image or more")
    folder = cache_root() / "pixels" / key[:32]
    # Seeded by the key: to undo the order, one must know the files, and those a worker does not see.
    rows = np.random.default_rng(int(key, 16)).permutation(count)
    try:
        with lock(folder.with_suffix(".lock")):
            if not _is_whole(folder, count):
                folder.mkdir(exist_ok=True)
                (folder / _DONE).unlink(missing_ok=True)
                build(folder, rows)
    except OSError as error:
        raise UserError(
            f"pixel cache {folder} cannot be written ({error.strerror or error}): make room, or set ZOOBENCH_CACHE"
        ) from error
    return PixelStore(folder), rows


def _is_whole(folder: Path, count: int) -> bool:
    try:
        side = int(read_json(folder / _DONE)["side"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return all(_has_shape(folder / name, shape) for name, shape in _shapes(count, side).items())


def _shapes(count: int, side: int) -> dict[str, tuple[int, ...]]:
    return {PIXELS: (count, side, side), DIGESTS: (count, _DIGEST)}


def _has_shape(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).shape == shape
    except (OSError, ValueError, EOFError):
        return False


class _Draft:
    """The two arrays of a store under construction; leaving its block without an error makes it a store.

    Rows are written to the files and not through a memory map: a full disk is then an error that can be told,
    and not a signal that kills the process.
    """

    def __init__(self, folder: Path, count: int, side: int) -> None:
        self._folder, self._count, self.side = folder, count, side
        self._files: dict[str, IO[bytes]] = {}
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> _Draft:
        shapes = _shapes(self._count, self.side)
        if not all(_has_shape(self._folder / name, shape) for name, shape in shapes.items()):
            for name, shape in shapes.items():
                # Not overwritten: a prepared task may hold a link to the old file.
                (self._folder / name).unlink(missing_ok=True)
                np.lib.format.open_memmap(self._folder / name, "w+", np.uint8, shape)
        for name in shapes:
            path = self._folder / name
            self._offsets[name] = path.stat().st_size - int(np.prod(shapes[name]))
            self._files[name] = path.open("r+b")
        return self

    def kept(self) -> np.ndarray:
        """Return (images,) bool: rows whose digest stands and is that of their pixels."""
        pixels, digests = (np.load(self._folder / name, mmap_mode="r", allow_pickle=False) for name in self._files)
        kept = digests.any(axis=1)
        for row in np.flatnonzero(kept):
            kept[row] = _digest(pixels[row].tobytes()) == digests[row].tobytes()
        return kept

    def put(self, rows: np.ndarray, images: Iterable[np.ndarray]) -> None:
        """Write (side, side) uint8 `images` to `rows`."""
        for row, image in zip(rows.tolist(), images, strict=True):
            content = image.tobytes()
            self._write(PIXELS, row, content)
            self._write(DIGESTS, row, _digest(content))
        for file in self._files.values():
            file.flush()

    def _write(self, name: str, row: int, content: bytes) -> None:
        self._files[name].seek(self._offsets[name] + row * len(content))
        self._files[name].write(content)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for file in self._files.values():
            if kind is None:
                file.flush()
                os.fsync(file.fileno())
            file.close()
        if kind is None:
            write_json(self._folder / _DONE, {"images": self._count, "side": self.side, "version": VERSION})


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def _stamps(files: Sequence[ImageFile], where: Callable[[int], str]) -> list[list[Any]]:
    """Return what tells whether the images changed: of each its name, and the size and time of its file."""
    stamps: dict[Path, list[Any]] = {}
    for index, file in enumerate(files):
        if file.path not in stamps:
            with _told(file, where(index)):
                status = file.path.stat()
            stamps[file.path] = [file.path.name, status.st_size, status.st_mtime_ns]
    return [[*stamps[file.path], file.member] for file in files]


def _decode(decoder: _Decoder, draft: _Draft, rows: np.ndarray, indices: np.ndarray) -> None:
    done = len(rows) - len(indices)
    with progress("decoding images", len(rows), done=done) as advance:
        for start in range(0, len(indices), _BATCH):
            batch = indices[start : start + _BATCH]
            draft.put(rows[batch], decoder.each(batch, partial(_square, side=draft.side)))
            advance(len(batch))


class _Decoder(AbstractContextManager["_Decoder"]):
    """Threads that read images: PIL lets go of the interpreter while it decodes and scales."""

    def __init__(self, files: Sequence[ImageFile], where: Callable[[int], str]) -> None:
        self._files, self._where = files, where
        self._closing = ExitStack()
        # A ZipFile is not made for several threads that open its members at once.
        self._own = threading.local()

    def __enter__(self) -> _Decoder:
        from PIL import Image

        Image.init()
        self._closing.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        self._pool = self._closing.enter_context(ThreadPoolExecutor(min(16, os.cpu_count() or 1)))
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._closing.close()

    def each(self, indices: Iterable[int], work: Callable[[Image.Image], T]) -> list[T]:
        """Return what `work` makes of the images with these indices."""
        return list(self._pool.map(partial(self._one, work), indices))

    def largest_side(self, enough: int) -> int:
        """Return the longest side of all images, or `enough` as soon as one is that long."""
        longest = 0
        for start in range(0, len(self._files), _BATCH):
            indices = range(start, min(start + _BATCH, len(self._files)))
            longest = max(longest, *self.each(indices, _longest))
            if longest >= enough:
                return enough
        return longest

    def _one(self, work: Callable[[Image.Image], T], index: int) -> T:
        from PIL import Image

        file = self._files[index]
        with _told(file, self._where(index)), self._open(file) as stream, Image.open(stream, formats=FORMATS) as image:
            if min(image.size) < SMALLEST:
                raise ValueError(f"it has {image.width} by {image.height} pixels, and {SMALLEST} a side are the least")
            return work(image)

    def _open(self, file: ImageFile) -> IO[bytes]:
        if not file.member:
            if file.path.exists() and not file.path.is_file():
                raise ValueError("it is no file")  # to open a pipe would wait for ever
            return file.path.open("rb")
        opened = vars(self._own)
        name = str(file.path)
        if name not in opened:
            opened[name] = self._closing.enter_context(zipfile.ZipFile(file.path))
        return opened[name].open(file.member)


@contextmanager
def _told(file: ImageFile, place: str) -> Iterator[None]:
    """Turn whatever goes wrong with `file` into one line that names it."""
    from PIL import Image, UnidentifiedImageError

    what = f"image {file} ({place})" if place else f"image {file}"
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{what} is missing") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{what} is no image, or none of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{Image.MAX_IMAGE_PIXELS:,}" if Image.MAX_IMAGE_PIXELS else "any"
        raise TooLargeError(f"{what} is refused: more than {limit} pixels may be a decompression bomb") from error
    except Exception as error:  # what PIL's plug-ins raise on a broken file is not to be foreseen
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{what} cannot be read: {reason}") from error


def read_image(path: Path, side: int) -> np.ndarray:
    """Return the image in a file as the store would hold it: (side, side) uint8 in grey.

    Raises
    ------
    UserError
        In one line, where it is missing, damaged or no image.
    """
    with _Decoder([ImageFile(path)], lambda index: "") as decoder:
        return decoder.each([0], lambda image: _square(image, side))[0]


class TooLargeError(UserError):
    """An image has more pixels than whoever asked, or Pillow, lets decode."""


def decode_image(content: bytes, side: int, most_pixels: int) -> np.ndarray:
    """Return an image that somebody sent as the store would hold it: (side, side) uint8 in grey.

    Of formats only `SENT` are looked at, and nothing is decoded before its size is known.

    Raises
    ------
    UserError
        In one line, where it is damaged or no image; `TooLargeError` where it has more than `most_pixels`.
    """
    from PIL import Image

    with _told(ImageFile(Path("sent")), ""), Image.open(io.BytesIO(content), formats=SENT) as image:
        pixels = image.width * image.height
        if min(image.size) < SMALLEST:
            raise ValueError(f"it has {image.width} by {image.height} pixels, and {SMALLEST} a side are the least")
        if pixels <= most_pixels:
            return _square(image, side)
    raise TooLargeError(f"the image has {pixels:,} pixels, and {most_pixels:,} are the most: send a smaller one")


def _longest(image: Image.Image) -> int:
    return max(image.size)


def _square(image: Image.Image, side: int) -> np.ndarray:
    """Return (side, side) uint8."""
    from PIL.Image import Resampling

    image.draft("L", (2 * side, 2 * side))  # JPEG is decoded at a fraction of its size; others take no notice
    grey = _grey(image)
    if grey.size != (side, side):
        grey = grey.resize((side, side), Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(grey)


def _grey(image: Image.Image) -> Image.Image:
    """Return an image in 8-bit grey ("L")."""
    from PIL import Image

    # PNG and PGM of 16 bits may arrive as 32-bit integers; other files of 32 bits do not tell their range.
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode.startswith(("I", "F")):
        raise ValueError("its values have 32 bits and no stated range: convert it to 8 or 16 bits")
    return image.convert("L")
