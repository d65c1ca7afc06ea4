"""Parts of the training rows: nested, whole groups, every label; and the cells that are fitted on them."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from zoobench.benchmarks import plan
from zoobench.benchmarks.cell import Cell
from zoobench.benchmarks.fractions import check_subset, nested_subset, parse_fractions
from zoobench.benchmarks.options import load_plugin
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets.core import TASKS
from zoobench.datasets.groups import train_groups
from zoobench.datasets.layout import load_training
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UserError

from .conftest import write_models, zoobench
from .test_datasets import Counted, make

COMMITTED = Path(__file__).parents[1] / "leaderboard" / "results"
FRACTIONS = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def fold(kind: str, rows: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Targets with rare labels, and groups of 1 to 20 rows."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(rows), rng.geometric(0.4, size=rows).clip(1, 20))[:rows]
    rng.shuffle(groups)
    shares = np.array([0.5, 0.3, 0.1, 0.05, 0.02, 0.01])
    if kind == "multiclass":
        return rng.choice(6, rows, p=shares / shares.sum()), groups
    targets = (rng.random((rows, 6)) < shares).astype(np.uint8)
    targets[:, 5] = 0
    targets[rng.choice(rows, 2, replace=False), 5] = 1
    return targets, groups


def hot(targets: np.ndarray) -> np.ndarray:
    return targets if targets.ndim == 2 else np.eye(targets.max() + 1, dtype=int)[targets]


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("seed", [0, 7])
def test_parts_are_nested_whole_groups_of_the_size_asked_that_keep_every_label(kind: str, seed: int) -> None:
    targets, groups = fold(kind)
    largest = np.bincount(groups).max()
    drawn = {part: nested_subset(targets, groups, part, seed, kind) for part in FRACTIONS}  # type: ignore[arg-type]
    for less, more in itertools.combinations(FRACTIONS, 2):
        assert set(drawn[less]) <= set(drawn[more]), (less, more)
    for part, rows in drawn.items():
        assert rows.tolist() == sorted(set(rows))
        assert not set(groups[rows]) & set(np.delete(groups, rows)), "a group is parted"
        assert abs(len(rows) - part * len(targets)) <= largest / 2 + 0.5
        assert hot(targets)[rows].any(axis=0).all(), "a label is lost"
        if part >= 0.1:
            expected = part * hot(targets).sum(axis=0)
            assert (np.abs(hot(targets)[rows].sum(axis=0) - expected) <= 2 + 0.12 * expected).all()
    np.testing.assert_array_equal(drawn[1.0], np.arange(len(targets)))
    again = nested_subset(targets, groups, 0.25, seed, kind)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again, drawn[0.25])
    assert set(nested_subset(targets, groups, 0.25, seed + 1, kind)) != set(again)  # type: ignore[arg-type]


def test_a_part_that_is_too_small_is_refused() -> None:
    targets, groups = np.eye(3, dtype=np.uint8)[np.arange(30) % 3], np.arange(30)
    labels = ("fever", "fracture", "nodule")
    rows = nested_subset(targets, groups, 2 / 30, 0, "multilabel")
    assert len(rows) == 2
    with pytest.raises(UserError, match=r"fraction x is 2 of 30 training rows, with none of (fever|fracture|nodule): "):
        check_subset(rows, targets, "multilabel", "fraction x", labels)
    with pytest.raises(UserError, match="is 1 of 30 training rows"):
        check_subset(rows[:1], np.ones((30, 1), np.uint8), "multilabel", "fraction x", labels)
    check_subset(nested_subset(targets, groups, 0.1, 0, "multilabel"), targets, "multilabel", "", labels)


def test_a_part_is_drawn_from_the_training_rows_alone(source: Path) -> None:
    """Other test targets draw the same rows; the groups are those that the task gives its training rows."""
    examples = dataclasses.replace(make(), groups=np.arange(300) // 3)
    dealt = np.repeat([0, 0, 0, 1, 2], 20)[np.arange(300) // 3]
    examples = dataclasses.replace(examples, folds=dealt)
    flipped = examples.targets.copy()
    flipped[dealt == 2] = 1 - flipped[dealt == 2]
    found = []
    for targets in (examples.targets, flipped):
        task = Counted(dataclasses.replace(examples, targets=targets), source).task
        prepared = prepare(task)
        np.testing.assert_array_equal(train_groups(task, prepared), examples.groups[dealt == 0])
        np.testing.assert_array_equal(train_groups(task, prepared), examples.groups[dealt == 0], "as kept")
        request = SimpleNamespace(seeds=(0, 1), fractions=(0.2, 0.5, 1.0))
        found.append(plan._subsets(request, task, prepared, lambda text: None))  # type: ignore[arg-type]
        source.write_text("other targets")
    assert found[0][0, 1.0] is None
    for place in ((0, 0.2), (0, 0.5), (1, 0.2)):
        np.testing.assert_array_equal(found[0][place], found[1][place])
    assert set(found[0][0, 0.2]) != set(found[0][1, 0.2]), "each seed has its own rows"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1", (1.0,)), (None, (1.0,)), ("0.5,0.1,0.50,1", (0.1, 0.5, 1.0)), (0.5, (0.5,)), ([0.5, 1], (0.5, 1.0)),
        ("0", "0 is not a part"), ("1.5,1", "1.5 is not a part"), ("-0.1", "-0.1 is not a part"), ("nan", "nan is not"),
        ("inf", "inf is not"), ("0.1,half", "'half' is no number"), ("", "a number is missing"),
        ("0.1,,1", "a number is missing"), ([], "names none"), ([None], "'None' is no number"),
    ],
)  # fmt: skip
def test_fractions_are_read_or_refused(given: object, expected: object) -> None:
    if isinstance(expected, tuple):
        assert parse_fractions(given) == expected
    else:
        with pytest.raises(UserError, match=expected):  # type: ignore[arg-type]
            parse_fractions(given)


def test_the_keys_of_stored_records_stand() -> None:
    records = [read_record(path) for path in Results(COMMITTED).record_paths()]
    assert len(records) > 20
    checked = 0
    for record in records:
        if record.mode != "default" or any(isinstance(value, str) and "/" in value for value in record.config.values()):
            continue  # found by a search; a local folder, whose content counts as well
        names = {field.name for field in dataclasses.fields(Cell)} - {"folders", "tuning", "tf32"}
        cell = Cell(**{name: getattr(record, name) for name in names}, folders={})
        assert (cell.fit_key, cell.key(record.hardware_class)) == (record.fit_key, record.key)
        part = dataclasses.replace(cell, fraction=cell.fraction / 2)
        assert part.fit_key != cell.fit_key
        assert part.derived_seed != cell.derived_seed
        checked += 1
    assert checked > 20


SEEING = """
def fit(self, X, y):
    import pathlib
    def compute(texts):
        with open(LOG + ".made", "a") as stream:
            stream.write(f"{len(texts)}\\n")
        yield range(len(texts)), list(texts), 0.0
    self.context.features.texts({"kind": "seen"}, X, compute)
    pathlib.Path(LOG + f".{len(X)}.{self.context.seed}").write_text("\\n".join(map(str, X)))
    return self

def predict_proba(self, X):
    return self.half(X)
"""


def test_a_cell_is_fitted_on_its_part_alone_and_shares_features(tmp_path: Path, tiny: Path) -> None:
    plugin = write_models(tmp_path / "seeing.py", {"seeing": SEEING.replace("LOG", repr(str(tmp_path / "seen")))})
    words = (
        "run",
        "--plugin",
        tiny,
        "--plugin",
        plugin,
        "--task",
        "tiny",
        "--model",
        "seeing",
        "--results",
        tmp_path / "r",
    )
    done = zoobench(*words, "--fractions", "0.25,1,0.5", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "3 cells to run" in done.stderr
    assert "seeing · fraction 0.25" in done.stderr
    load_plugin(tiny)
    X, _ = load_training(prepare(TASKS.get("tiny")).folder / "public", "train")
    records = {record.fraction: record for record in map(read_record, Results(tmp_path / "r").record_paths())}
    assert records.keys() == {0.25, 0.5, 1.0}
    assert records[1.0].rows["train"] == len(X)
    assert len({record.rows["test"] for record in records.values()}) == 1
    seen = {len(path.read_text().splitlines()): path.read_text().splitlines() for path in tmp_path.glob("seen.*.*")}
    assert sorted(seen) == sorted(record.rows["train"] for record in records.values())
    few, half, whole = (seen[count] for count in sorted(seen))
    assert whole == list(X)
    assert len(half) == round(len(X) / 2)
    for part in (few, half):
        places = iter(whole)
        assert all(text in places for text in part), "a part keeps the order of the rows"
    made = [int(line) for line in (tmp_path / "seen.made").read_text().split()]
    assert made == [len(set(few)), len(set(half)) - len(set(few)), len(set(whole)) - len(set(half))]
