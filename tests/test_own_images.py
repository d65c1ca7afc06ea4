"""A table of images becomes a task: pixels, numbers beside them, and identical images kept together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from zoobench.datasets import own
from zoobench.datasets.layout import load_training
from zoobench.datasets.prepare import prepare
from zoobench.leaderboard.new_task import write_task

from .conftest import zoobench
from .test_own_tasks import CLASSES, notes, read, refused, write

Image = pytest.importorskip("PIL.Image")

KEYS = {"name": "my-scans", "path": "notes.csv", "image": "scan", "labels": "side", "kind": "multiclass", "size": 16}


def scans(folder: Path, rows: int = 60, home: str = "scans") -> pd.DataFrame:
    """Images whose left or right half is bright; the last is the same as the first to the pixel."""
    rng = np.random.default_rng(4)
    (folder / home).mkdir(parents=True, exist_ok=True)
    side = np.arange(rows) % 2
    side[-1] = side[0]
    names = [f"{home}/{n}.png" for n in range(rows)]
    for name, bright in zip(names, side, strict=True):
        pixels = rng.integers(0, 80, (16, 16), dtype=np.uint8)
        pixels[:, 8 * bright : 8 * bright + 8] += 120
        Image.fromarray(pixels).save(folder / name)
    (folder / names[-1]).write_bytes((folder / names[0]).read_bytes())
    return pd.DataFrame({"scan": names, "side": np.array(["left", "right"])[side], "age": rng.integers(20, 80, rows)})


def test_images_are_read_with_the_numbers_beside_them(tmp_path: Path) -> None:
    frame = scans(tmp_path)
    frame["age"] = frame["age"].astype(object)
    frame.loc[2, "age"] = ""
    task, examples = read(write(tmp_path, frame, KEYS, numeric=["age"]))
    assert (task.card.modality, task.card.tabular, task.card.image_size) == ("image", ("age",), 16)
    assert task.card.group == "identical image"
    assert examples.pixels is not None
    pixels = examples.pixels.pixels[examples.inputs]
    assert pixels.shape == (60, 16, 16)
    assert np.array_equal(
        pixels[:, :, :8].mean(axis=(1, 2)) > pixels[:, :, 8:].mean(axis=(1, 2)), examples.targets == 0
    )
    assert examples.groups[0] == examples.groups[-1]
    assert len(set(examples.groups)) == 59
    assert np.isnan(examples.columns["age"][2])
    assert examples.columns["age"][3] == frame["age"][3]
    prepared = prepare(task)
    X, y = load_training(prepared.folder / "public", "train")
    assert len(X) == len(y) == prepared.rows["train"]


def test_a_worker_is_kept_from_the_images_and_not_from_the_results(tmp_path: Path) -> None:
    task = own.load_task(write(tmp_path, scans(tmp_path), KEYS))
    assert task.sources()[3:] == ((tmp_path / "scans").resolve(),)
    beside = tmp_path / "beside"
    task = own.load_task(write(beside, scans(beside, home="."), KEYS))
    assert {path.suffix for path in task.sources()[3:]} == {".png"}
    assert len(task.sources()[3:]) == 60


def test_faults_name_the_row(tmp_path: Path) -> None:
    frame = scans(tmp_path)
    path = write(tmp_path, frame, KEYS)
    (tmp_path / "scans" / "7.png").write_bytes((tmp_path / "scans" / "7.png").read_bytes()[:60])
    assert "notes.csv, row 8, column 'scan'" in refused(path)
    (tmp_path / "scans" / "7.png").unlink()
    assert "notes.csv, row 8, column 'scan'" in refused(path)
    frame.loc[7, "scan"] = ""
    assert "notes.csv, row 8, column 'scan': is empty: give each row the path" in refused(write(tmp_path, frame, KEYS))
    frame = scans(tmp_path)
    frame["age"] = frame["age"].astype(object)
    for value, message in {"old": "'old' is no number", "inf": "'inf' is not finite"}.items():
        frame.loc[3, "age"] = value
        path = write(tmp_path, frame, KEYS, numeric=["age"])
        assert f"notes.csv, row 4, column 'age': {message}" in refused(path)


def test_new_task_sees_images(tmp_path: Path) -> None:
    scans(tmp_path).to_csv(tmp_path / "table.csv", index=False)
    told = write_task(tmp_path / "table.csv", tmp_path, ())
    task, _ = read(tmp_path / "table.toml")
    assert (task.card.modality, task.card.labels) == ("image", ("left", "right"))
    assert "  image   scan" in told
    assert '# numeric = ["age"]' in (tmp_path / "table.toml").read_text()


def test_a_damaged_image_does_not_keep_other_tasks_from_running(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    damaged = write(tmp_path / "scans", scans(tmp_path / "scans"), KEYS)
    (tmp_path / "scans" / "scans" / "7.png").write_bytes(b"PNG")
    (tmp_path / "notes").mkdir()
    whole = write(tmp_path / "notes", notes(), CLASSES)
    wanted = ("--task", str(damaged), "--task", str(whole), "--model", "dummy-constant", "--results", "results")
    done = zoobench("run", *wanted, cwd=tmp_path)
    assert done.returncode == 2
    line = f"image {damaged.parent / 'scans' / '7.png'} (notes.csv, row 8, column 'scan') is no image"
    assert f"left out: {line}" in done.stderr, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f"zoobench: {line}")
    assert "dummy-constant" in done.stdout
    alone = zoobench("run", *wanted[:2], *wanted[4:6], "--results", "none", cwd=tmp_path)
    assert (alone.returncode, len(alone.stderr.strip().splitlines())) == (2, 1)
    assert not list((tmp_path / "none").rglob("record.json"))
