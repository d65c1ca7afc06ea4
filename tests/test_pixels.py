"""Decoded images: every format and fault, one order that tells nothing, and builds that die half-way."""

import io
import os
import signal
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from zoobench.datasets import pixels
from zoobench.datasets.pixels import ImageFile, keep_array, keep_images
from zoobench.datasets.support.errors import UserError

SIDE = 32
# Grey as 8 bits: a ramp along both axes, so that a transposed or shifted image is not equal.
RAMP = (np.add.outer(np.arange(SIDE) * 5, np.arange(SIDE) * 2)).astype(np.uint8)
RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (SIDE, SIDE, 1), np.uint8)
DEEP = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) * 60).astype(np.uint16)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return ImageFile(path)


def decoded(file, size=SIDE):
    store, rows = keep_images([file], size)
    return np.array(store.pixels[rows[0]])


def luma(colour):
    """ITU-R 601-2, as fixed-point numbers."""
    return (colour @ np.array([19595, 38470, 7471]) + 0x8000) >> 16


EXACT = {
    "grey.png": (RAMP, None, RAMP),
    "colour.png": (COLOUR, None, luma(COLOUR)),
    "alpha.png": (np.concatenate([COLOUR, ALPHA], axis=2), None, luma(COLOUR)),
    "grey-alpha.png": (np.concatenate([RAMP[..., None], ALPHA], axis=2), None, RAMP),
    "palette.png": (np.repeat(RAMP[..., None], 3, axis=2), "P", None),
    "bits.png": (np.where(RAMP > 100, 255, 0).astype(np.uint8), "1", np.where(RAMP > 100, 255, 0)),
    "deep.png": (DEEP, None, np.rint(DEEP / 257)),
    "deep.tiff": (DEEP, None, np.rint(DEEP / 257)),
    "deep.ppm": (DEEP, None, np.rint(DEEP / 257)),
    "colour.bmp": (COLOUR, None, luma(COLOUR)),
    "grey.tiff": (RAMP, None, RAMP),
    "grey.gif": (RAMP, None, RAMP),
    "grey.pgm": (RAMP, None, RAMP),
}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_formats_become_grey(tmp_path, name):
    array, mode, expected = EXACT[name]
    file = save(tmp_path / name, array, mode)
    if expected is None:
        expected = luma(np.asarray(Image.open(file.path).convert("RGB")).astype(int))
    np.testing.assert_array_equal(decoded(file), expected)


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", None), ("cmyk.jpg", "CMYK"), ("a.webp", "RGB"), ("a.jp2", None)])
def test_lossy_formats_become_grey(tmp_path, name, mode):
    options = {} if name.endswith("jp2") else {"quality": 98}
    found = decoded(save(tmp_path / name, RAMP, mode, **options))
    assert np.abs(found.astype(int) - RAMP).max() <= 8


def test_a_wrong_name_does_not_matter(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "x", "PNG")
    (tmp_path / "x").rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(decoded(ImageFile(tmp_path / "x.jpg")), RAMP)


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.fromarray(np.full_like(RAMP, grey)) for grey in (40, 90, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert Image.open(tmp_path / "a.gif").n_frames == 3
    assert (decoded(ImageFile(tmp_path / "a.gif")) == 40).all()


def test_nothing_is_scaled_up(tmp_path):
    small, large = save(tmp_path / "s.png", RAMP), save(tmp_path / "l.png", np.kron(RAMP, np.ones((2, 2), np.uint8)))
    assert keep_images([small], 256)[0].pixels.shape == (1, 32, 32)
    assert keep_images([small, large], 256)[0].pixels.shape == (2, 64, 64)
    assert keep_images([small, large], 48)[0].pixels.shape == (2, 48, 48)


def test_an_oblong_image_is_scaled_to_the_square_and_not_cropped(tmp_path):
    halves = np.zeros((32, 96), np.uint8)
    halves[:, 48:] = 200
    found = decoded(save(tmp_path / "wide.png", halves), 32)
    assert found.shape == (32, 32)
    assert (found[:, :12] == 0).all()
    assert (found[:, 20:] == 200).all()


@pytest.mark.parametrize("name", ["board.png", "board.jpg"])
def test_reduction_is_antialiased(tmp_path, name):
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = decoded(save(tmp_path / name, board), 32)
    assert found.shape == (32, 32)
    assert np.abs(found.astype(int) - 127).max() <= 6  # taking every eighth pixel would give 0 or 255


def png_of(width, height):
    """A PNG of a few bytes that declares any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def encoded(array, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


FAULTS = {
    "truncated.png": (encoded(COLOUR, "PNG")[:-900], "truncated|broken"),
    "truncated.jpg": (encoded(COLOUR, "JPEG")[:700], "truncated"),
    "headless.png": (encoded(COLOUR, "PNG")[:20], "cannot be read|no image"),
    "text.png": (b"id,label\n1,2\n", "is no image"),
    "empty.png": (b"", "is no image"),
    "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n", "is no image"),
    "dot.png": (encoded(RAMP[:1, :1], "PNG"), "1 by 1 pixels"),
    "thin.png": (encoded(RAMP[:7], "PNG"), "32 by 7 pixels"),
    "large.png": (png_of(10_000, 10_000), "89,478,485 pixels.*bomb"),
    "bomb.png": (png_of(60_000, 60_000), "89,478,485 pixels.*bomb"),
    "whole32.tiff": (encoded(DEEP.astype(np.int32), "TIFF"), "32 bits"),
    "real32.tiff": (encoded(DEEP.astype(np.float32), "TIFF"), "32 bits"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_image_is_named_in_one_line(tmp_path, name):
    content, reason = FAULTS[name]
    (tmp_path / name).write_bytes(content)
    files = [save(tmp_path / "good.png", RAMP), ImageFile(tmp_path / name)]
    with pytest.raises(UserError, match=reason) as caught:
        keep_images(files, SIDE, lambda index: f"cases.csv, row {index + 1}, column scan")
    told = str(caught.value)
    assert str(tmp_path / name) in told
    assert "(cases.csv, row 2, column scan)" in told
    assert "\n" not in told
    assert not list((tmp_path / "cache").rglob("store.json"))


def test_a_missing_image_a_folder_and_a_missing_member_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/1.png", encoded(RAMP, "PNG"))
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and no more")
    for file, reason in (
        (ImageFile(tmp_path / "none.png"), r"none.png \(row 0\) is missing"),
        (ImageFile(tmp_path), "cannot be read"),
        (ImageFile(tmp_path / "none.zip", "1.png"), "none.zip: 1.png .* is missing"),
        (ImageFile(tmp_path / "a.zip", "in/2.png"), "in/2.png"),
        (ImageFile(tmp_path / "b.zip", "1.png"), "b.zip: 1.png .*not a zip"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            keep_images([file], SIDE, lambda index: f"row {index}")
        assert "\n" not in str(caught.value)


@pytest.fixture
def many(tmp_path):
    """300 images: a third of them in each of two archives, the others loose; `grey` k lights every pixel but two."""
    files = []
    with zipfile.ZipFile(tmp_path / "0.zip", "w") as first, zipfile.ZipFile(tmp_path / "1.zip", "w") as second:
        for index in range(300):
            content = encoded(content_of(index), "PNG")
            if index % 3 == 2:
                (tmp_path / f"{index}.png").write_bytes(content)
                files.append(ImageFile(tmp_path / f"{index}.png"))
            else:
                (first, second)[index % 3].writestr(f"deep/{index}.png", content)
                files.append(ImageFile(tmp_path / f"{index % 3}.zip", f"deep/{index}.png"))
    return files


def content_of(index):
    array = np.full((16, 16), index % 256, np.uint8)
    array[0, 0], array[0, 1] = index // 256, 255
    return array


def test_each_row_holds_its_image_in_an_order_that_tells_nothing(many):
    store, rows = keep_images(many, 16)
    assert store.pixels.shape == (300, 16, 16)
    assert isinstance(store.pixels, np.memmap)
    for index in range(300):
        np.testing.assert_array_equal(store.pixels[rows[index]], content_of(index))
    assert sorted(rows) == list(range(300))
    assert abs(np.corrcoef(rows, np.arange(300))[0, 1]) < 0.2
    contents = store.contents(rows)
    assert len(set(contents)) == 300
    assert len(contents[0]) == 32


def test_equal_pixels_have_equal_digests_whatever_the_file(tmp_path):
    files = [save(tmp_path / "a.png", RAMP), save(tmp_path / "b.bmp", RAMP), save(tmp_path / "c.png", RAMP[::-1])]
    store, rows = keep_images(files, SIDE)
    first, second, third = store.contents(rows)
    assert first == second != third


def test_a_store_is_found_again_and_made_anew_when_a_file_changes(many, monkeypatch):
    store, rows = keep_images(many, 16)
    square = pixels._square
    monkeypatch.setattr(pixels, "_square", None)
    again, same = keep_images(many, 16)
    assert again.folder == store.folder
    np.testing.assert_array_equal(rows, same)
    monkeypatch.setattr(pixels, "_square", square)
    assert keep_images(many, 8)[0].folder != store.folder
    os.utime(many[2].path, (1, 1))
    assert keep_images(many, 16)[0].folder != store.folder


def script(many, body):
    """Run Python that has `files`, the images of `many`, and the module `pixels`, in a process of its own."""
    lines = [f"files.append(pixels.ImageFile(pixels.Path({str(file.path)!r}), {file.member!r}))" for file in many]
    head = "import os, signal, sys, time\nfrom zoobench.datasets import pixels\nfiles = []\n"
    return [sys.executable, "-c", head + "\n".join(lines) + "\n" + textwrap.dedent(body)]


KILLED = """
real, pixels._BATCH = pixels._square, 20
calls = []
def square(image, side):
    calls.append(1)
    if len(calls) == 130:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(image, side=side)
pixels._square = square
pixels.keep_images(files, 16)
"""


def test_a_killed_build_leaves_no_store_and_goes_on_where_it_stopped(many, monkeypatch, tmp_path):
    killed = subprocess.run(script(many, KILLED), check=False)
    assert killed.returncode == -signal.SIGKILL
    (folder,) = (path for path in (tmp_path / "cache" / "pixels").iterdir() if path.is_dir())
    assert not (folder / "store.json").exists()
    digests = np.load(folder / "digests.npy")
    kept = np.flatnonzero(digests.any(axis=1))
    assert 100 <= len(kept) < 130
    # A row whose pixels were lost (a power cut) is not taken for whole.
    half = np.load(folder / "pixels.npy", mmap_mode="r+")
    half[kept[0]] = 0
    half.flush()
    calls, square = [], pixels._square
    monkeypatch.setattr(pixels, "_square", lambda image, side: calls.append(1) or square(image, side))
    store, rows = keep_images(many, 16)
    assert len(calls) == 300 - (len(kept) - 1)
    assert store.folder == folder
    for index in range(300):
        np.testing.assert_array_equal(store.pixels[rows[index]], content_of(index))


def test_two_builders_do_the_work_once(many, tmp_path):
    body = f"""
    real = pixels._square
    def square(image, side):
        with open({str(tmp_path / "calls")!r}, "a") as log:
            log.write("x")
        time.sleep(0.002)
        return real(image, side=side)
    pixels._square = square
    store, rows = pixels.keep_images(files, 16)
    print(store.pixels.sum())
    """
    builders = [subprocess.Popen(script(many, body), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {builder.communicate(timeout=120)[0] for builder in builders}
    assert [builder.returncode for builder in builders] == [0, 0]
    assert sums == {f"{sum(int(content_of(index).sum()) for index in range(300))}\n"}
    assert len((tmp_path / "calls").read_text()) == 300


def test_a_full_disk_is_told_in_one_line(many):
    body = """
    import resource
    from zoobench.datasets.support.errors import UserError
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        pixels.keep_images(files, 16)
    except UserError as error:
        print(error)
    """
    told = subprocess.run(script(many, body), capture_output=True, text=True, check=True).stdout
    assert "cannot be written" in told
    assert "ZOOBENCH_CACHE" in told
    assert told.count("\n") == 1


def test_a_rebuilt_store_leaves_links_to_the_old_one_alone(tmp_path, many):
    store, _ = keep_images(many, 16)
    linked = tmp_path / "linked.npy"
    os.link(store.folder / "pixels.npy", linked)
    before = linked.read_bytes()
    np.save(store.folder / "digests.npy", np.zeros((3, 16), np.uint8))
    keep_images(many, 16)
    assert linked.read_bytes() == before
    assert (store.folder / "pixels.npy").stat().st_ino != linked.stat().st_ino


def chunks_of(count, side, size=100):
    for start in range(0, count, size):
        numbers = np.arange(start, min(start + size, count))
        chunk = np.zeros((len(numbers), side, side), np.uint8)
        chunk[:, 0, 0], chunk[:, 0, 1] = numbers % 256, numbers // 256
        yield chunk


def test_an_array_is_kept_in_chunks_and_read_once():
    store, rows = keep_array(lambda: chunks_of(750, 8), 750, 8, "a")
    images = store.pixels[rows]
    np.testing.assert_array_equal(images[:, 0, 0].astype(int) + images[:, 0, 1].astype(int) * 256, np.arange(750))
    assert list(rows) != list(range(750))

    def unread():
        raise AssertionError("read again")

    assert keep_array(unread, 750, 8, "a")[0].folder == store.folder
    assert keep_array(lambda: chunks_of(750, 8), 750, 8, "b")[0].folder != store.folder


@pytest.mark.parametrize(("count", "side"), [(700, 8), (800, 8), (750, 9)])
def test_an_array_of_another_shape_is_no_store(tmp_path, count, side):
    with pytest.raises(ValueError, match="image"):
        keep_array(lambda: chunks_of(750, 8), count, side, "a")
    assert not list((tmp_path / "cache").rglob("store.json"))


def test_no_more_than_a_batch_of_pixels_is_in_memory():
    count, side = 4000, 128  # 65 MB
    tracemalloc.start()
    try:
        store, rows = keep_array(lambda: chunks_of(count, side), count, side, "a")
        store.contents(rows[:10])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


def test_modules_that_list_tasks_import_no_pil():
    probe = "import sys, zoobench.datasets.pixels; print('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "False\n"


def test_path_and_member_name_an_image():
    assert str(ImageFile(Path("a/b.zip"), "c/d.png")) == f"{Path('a/b.zip')}: c/d.png"
