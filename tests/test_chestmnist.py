"""ChestMNIST, on files that the tests write in MedMNIST's layout."""

import logging
import subprocess
import sys
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from zoobench.datasets.core import FOLDS, TASKS
from zoobench.datasets.layout import load_test_inputs, load_training
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.tasks import chestmnist

COUNTS = {"train": 300, "val": 40, "test": 80}


def arrays_of(size, counts=COUNTS):
    rng = np.random.default_rng(size)
    arrays = {}
    for part, count in counts.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, size, size), np.uint8)
        arrays[f"{part}_labels"] = (rng.random((count, 14)) < 0.2).astype(np.uint8)
    return arrays


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "chestmnist"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    return folder


def test_what_the_package_tells_is_what_the_cards_say():
    told = chestmnist.info()
    for size in chestmnist.SIZES:
        card, file = TASKS.get(f"chestmnist-{size}").card, chestmnist.file_of(size)
        assert tuple(told["label"].values()) == card.labels
        assert [112_120, *told["n_samples"].values()] == list(card.counts.values())
        assert told["license"] == card.licence
        assert (card.image_size, card.tabular) == (size, ())
        assert file.url.startswith("https://zenodo.org/records/10519652/files/chestmnist")
        assert f"/{file.name}?" in file.url
    assert [chestmnist.file_of(size).name for size in chestmnist.SIZES] == [
        "chestmnist.npz", "chestmnist_64.npz", "chestmnist_128.npz", "chestmnist_224.npz",
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "save"), [(28, np.savez_compressed), (64, np.savez), (128, np.savez)])
def test_parts_become_the_folds(place, size, save, caplog):
    arrays = arrays_of(size)
    save(place / chestmnist.file_of(size).name, **arrays)
    with caplog.at_level(logging.WARNING):
        examples = TASKS.get(f"chestmnist-{size}").read()
    assert "another data set than the published one (MD5" in caplog.text
    assert "300 train images (published: 78,468)" in caplog.text
    stored, start = examples.pixels.pixels, 0
    assert stored.shape == (420, size, size)
    for fold, (part, count) in enumerate(COUNTS.items()):
        rows = slice(start, start := start + count)
        assert (examples.folds[rows] == fold).all()
        np.testing.assert_array_equal(stored[examples.inputs[rows]], arrays[f"{part}_images"])
        np.testing.assert_array_equal(examples.targets[rows], arrays[f"{part}_labels"])
        assert examples.ids[rows][[0, -1]].tolist() == [f"{part}-0", f"{part}-{count - 1}"]
    assert len(set(examples.groups)) == 420
    examples.check_against(TASKS.get(f"chestmnist-{size}").card)


def test_a_task_is_prepared_and_its_test_part_is_not_in_order(place):
    arrays = arrays_of(28)
    np.savez_compressed(place / "chestmnist.npz", **arrays)
    prepared = prepare(TASKS.get("chestmnist-28"))
    assert dict(prepared.rows) == dict(zip(FOLDS, COUNTS.values(), strict=True))
    images, targets = load_training(prepared.folder / "public", "train")
    np.testing.assert_array_equal(images.load(), arrays["train_images"])
    np.testing.assert_array_equal(targets, arrays["train_labels"])
    shown, sealed = load_test_inputs(prepared.folder / "public").load(), prepared.sealed_test()
    order = [int(key.partition("-")[2]) for key in sealed.ids]
    np.testing.assert_array_equal(shown, arrays["test_images"][order])
    np.testing.assert_array_equal(sealed.targets, arrays["test_labels"][order])
    assert any(second < first for first, second in pairwise(order))


def faulty(arrays, fault):
    if fault == "no test_labels":
        del arrays["test_labels"]
    elif fault == "64 pixels":
        arrays["val_images"] = np.zeros((40, 64, 64), np.uint8)
    elif fault == "13 labels":
        arrays["train_labels"] = arrays["train_labels"][:, :13]
    elif fault == "a label of 2":
        arrays["train_labels"][7, 3] = 2
    elif fault == "an image too many":
        arrays["test_images"] = np.concatenate([arrays["test_images"], arrays["test_images"][:1]])
    elif fault == "colour as floats":
        arrays["train_images"] = arrays["train_images"].astype(np.float32)
    elif fault == "by column":
        arrays["train_images"] = np.asfortranarray(arrays["train_images"])
    elif fault == "no image":
        arrays["val_images"], arrays["val_labels"] = arrays["val_images"][:0], arrays["val_labels"][:0]
    return arrays


FAULTS = {
    "no test_labels": "test_labels",
    "64 pixels": r"val_images is uint8 \(40, 64, 64\)",
    "13 labels": r"train_labels is uint8 \(300, 13\)",
    "a label of 2": "train_labels",
    "an image too many": "test_images are 81",
    "colour as floats": "train_images is float32",
    "by column": "train_images",
    "no image": r"val_labels is uint8 \(0, 14\)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_no_chestmnist_is_refused(place, fault, tmp_path):
    np.savez(place / "chestmnist.npz", **faulty(arrays_of(28), fault))
    with pytest.raises(UserError, match=FAULTS[fault]) as caught:
        TASKS.get("chestmnist-28").read()
    assert "chestmnist.npz" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("store.json"))


def test_a_damaged_or_missing_file_is_told(place):
    with pytest.raises(UnavailableError, match=r"chestmnist.npz is missing.*zenodo"):
        TASKS.get("chestmnist-28").read()
    path = place / "chestmnist.npz"
    np.savez(path, **arrays_of(28))
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"chestmnist\.npz"):
        TASKS.get("chestmnist-28").read()
    whole[5000] ^= 255  # one bit pattern of a picture: the checksum tells
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"chestmnist.npz.*CRC"):
        TASKS.get("chestmnist-28").read()


def test_pixels_are_never_in_memory_as_a_whole(place):
    counts = {"train": 12_000, "val": 100, "test": 100}  # 50 MB
    np.savez(place / "chestmnist_64.npz", **arrays_of(64, counts))
    task = TASKS.get("chestmnist-64")
    tracemalloc.start()
    try:
        task.read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000


def test_reading_imports_neither_medmnist_nor_torch(place):
    np.savez(place / "chestmnist.npz", **arrays_of(28))
    probe = (
        "import sys; from zoobench.datasets.core import TASKS; print(len(TASKS.get('chestmnist-28').read()));"
        "print({'medmnist', 'torch', 'PIL'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert told == "420\nset()\n"
