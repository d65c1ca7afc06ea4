"""The short form of tests/faults/campaign.py: a few faults of each kind, after which nothing is lost."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from .faults import clock, hostile, kills, many, space
from .faults.scene import Scene, cells, losses

pytestmark = pytest.mark.slow
KILLS = 5


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Scene:
    del cache  # of the whole session
    return Scene.small(tmp_path_factory.mktemp("faults"), ["searched"], ["naps", "knows"])


def test_kills_lose_nothing(scene: Scene) -> None:
    said: list[str] = []
    assert kills.kills(scene, KILLS, random.SystemRandom().randrange(10**6), said.append) == []
    assert len(said) == KILLS


def test_a_limit_on_files_stops_the_run_and_loses_nothing(scene: Scene) -> None:
    assert space.file_limit(scene, 20_000) == []


def test_hostile_models_affect_their_cells_alone(scene: Scene) -> None:
    assert hostile.hostile(scene, 20) == []


def test_a_clock_that_jumps_back(scene: Scene) -> None:
    assert clock.clock_back(scene) == []


def test_many_cells_leave_nothing_behind(tmp_path: Path, cache: Path) -> None:
    del cache
    assert many.many(tmp_path, 40, 10)[0] == []


def _drop(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    probabilities = path.parent / json.loads(path.read_text())["attempt"] / "probabilities.parquet"
    probabilities.write_bytes(probabilities.read_bytes()[:-1])


def _alter(path: Path) -> None:
    record = json.loads(path.read_text())
    record["test"][record["policy"]]["values"]["f1_micro"] /= 2
    path.write_text(json.dumps(record))


def _double(path: Path) -> None:
    shutil.copytree(path.parent / json.loads(path.read_text())["attempt"], path.parent / "0123456789ab")


@pytest.mark.parametrize(
    ("damage", "line"),
    [(_drop, "no record"), (_cut, "not whole"), (_alter, "test differs"), (_double, "stands beside the record")],
)
def test_losses_are_seen(scene: Scene, tmp_path: Path, damage: object, line: str) -> None:
    """What the faults are judged by sees each kind of damage."""
    damaged = tmp_path / "damaged"
    shutil.copytree(scene.unbroken, damaged)
    assert losses(damaged, scene.unbroken) == []
    damage(next(path for name, path in cells(damaged).items() if "/naps/" in name))  # type: ignore[operator]
    assert any(line in each for each in losses(damaged, scene.unbroken))
