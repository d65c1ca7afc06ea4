"""Ensembles of recorded cells: what they take, what they cost, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from zoobench.benchmarks.ensemble import Made, Recipe, assemble
from zoobench.benchmarks.members import Costs, Member, member_of, summed
from zoobench.benchmarks.record import Memory, Record, Speed, Timings
from zoobench.benchmarks.store import PROBABILITIES, Results, Stored
from zoobench.datasets.prepare import Prepared
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard.answers import answer

from .ensembles import cells, columns, members, pool, probabilities, rewrite


@pytest.fixture
def make(five: Path, knowing: list[Path]) -> Callable[..., Made]:
    """Make an ensemble of members of `five`, all without any."""

    def made(found: list[Member] | None = None, how: Any = "greedy", **options: Any) -> Made:
        fresh = options.pop("fresh", False)
        recipe = Recipe(how, **options)
        return assemble(pool(found or members(five), knowing), Results(five), recipe, fresh=fresh)

    return made


def weights(made: Made) -> dict[str, float]:
    return {share.key: share.weight for share in made.stored.record.members}


def test_together_they_know_more_than_each(make: Callable[..., Made], five: Path) -> None:
    record = make().stored.record
    alone = {cell.record.key: cell.record for cell in cells(five)}
    best = max(cell.value or 0 for cell in alone.values())
    assert record.value == 1.0 > best + 0.1
    taken = {alone[key].model for key, weight in weights(make()).items() if weight}
    assert taken == {"knows-one", "knows-two"}
    grown = [entry["validation"] for entry in record.history]
    assert len(grown) == 50
    assert grown[0] < max(grown) == 1.0
    assert record.validation[record.policy].values["f1_macro"] == 1.0
    assert not record.train
    low, high = record.test[record.policy].intervals["f1_macro"] or (0, 0)
    assert low == high == 1.0


def test_what_is_stored_is_the_weighted_mean_of_what_the_members_answered(
    make: Callable[..., Made], five: Path
) -> None:
    found = {cell.record.key: probabilities(cell) for cell in cells(five)}
    for how in ("greedy", "mean"):
        made = make(how=how)
        wanted = sum(weight * found[key].astype(float) for key, weight in weights(made).items())
        np.testing.assert_allclose(probabilities(made.stored), wanted, rtol=1e-6)
    np.testing.assert_allclose(probabilities(made.stored), np.mean([*found.values()], axis=0, dtype=float), rtol=1e-6)
    ids = columns(made.stored.attempt / PROBABILITIES)["id"]
    assert ids.tolist() == columns(cells(five)[0].attempt / PROBABILITIES)["id"].tolist()
    assert {"resamples.parquet", "metrics.csv", "thresholds.json", "config.json", "history.csv"} <= set(
        made.stored.record.files
    )


@pytest.mark.parametrize("how", ["greedy", "mean"])
def test_an_ensemble_of_one_is_that_one(how: str, make: Callable[..., Made], five: Path) -> None:
    (alone,) = cells(five, "knows-none")
    found = make([member_of(alone)], how).stored
    assert found.record.test == alone.record.test
    assert found.record.validation == alone.record.validation
    assert found.record.parts == alone.record.parts
    np.testing.assert_array_equal(probabilities(found), probabilities(alone))


def test_test_labels_move_no_weight(
    make: Callable[..., Made], five: Path, knowing: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither labels in another order, nor a member that has the test labels for its test probabilities."""
    honest = make()
    sealed = Prepared.sealed_test
    targets = {
        key: row
        for test in [sealed(pool(members(five), knowing).prepared)]
        for key, row in zip(test.ids, test.targets, strict=True)
    }

    def plant(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        test = found["fold"] == "test"
        labels = [name for name in found if name.startswith("p:")]
        for index, name in enumerate(labels):
            truth = np.array([targets[key][index] for key in found["id"][test]], dtype=np.float32)
            found[name] = np.concatenate([found[name][~test], truth])
        return found

    (none,) = cells(five, "knows-none")
    planted = member_of(rewrite(none, plant))
    found = [planted if each.key == planted.key else each for each in members(five)]
    assert weights(make(found, fresh=True)) == weights(honest)
    monkeypatch.setattr(
        Prepared,
        "sealed_test",
        lambda self: dataclasses.replace(sealed(self), targets=np.roll(sealed(self).targets, 1, axis=0)),
    )
    moved = make(found, fresh=True)
    assert weights(moved) == weights(honest)
    assert moved.stored.record.history == honest.stored.record.history
    assert moved.stored.record.value != honest.stored.record.value


def test_order_of_members_and_of_their_rows_does_not_matter(make: Callable[..., Made], five: Path) -> None:
    first = make()
    again = make(members(five)[::-1] + members(five), fresh=True)
    assert again.stored.path == first.stored.path
    assert again.stored.record.members == first.stored.record.members
    assert again.stored.record.test == first.stored.record.test
    turned = [rewrite(cell, lambda found: {name: each[::-1] for name, each in found.items()}) for cell in cells(five)]
    assert weights(make([member_of(cell) for cell in turned])) == weights(first)


def test_a_record_stands_while_its_members_do(make: Callable[..., Made], five: Path) -> None:
    first = make()
    assert first.new
    standing = make()
    assert not standing.new
    assert standing.stored == first.stored
    assert make(fresh=True).stored.record.attempt != first.stored.record.attempt
    assert make(size=20).stored.record.key != first.stored.record.key
    assert make(members(five)[1:]).stored.record.key != first.stored.record.key
    changed = dataclasses.replace(members(five)[0], sha256="")
    again = make([changed, *members(five)[1:]])
    assert again.new, "the probabilities of a member are others now"
    assert again.stored.path == first.stored.path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_fingerprint": "f" * 64}, "differ in data: "),
        ({"split_sha256": "e" * 64}, "differ in folds: "),
        ({"task": "tiny@random"}, "differ in task or protocol: "),
        ({"labels": ("fever", "fracture", "mass")}, "differ in labels: 3 and 3, such as mass, nodule"),
        ({"labels": ("nodule", "fracture", "fever")}, "differ in labels: 3 and 3, in another order"),
        ({"task_version": 2}, "differ in version of the task: "),
        ({"hardware_class": "another-machine"}, "differ in hardware class"),
    ],
)
def test_members_of_another_kind_are_refused(
    change: dict[str, Any], words: str, five: Path, knowing: list[Path]
) -> None:
    one, other, *rest = members(five)
    odd = dataclasses.replace(other, place=dataclasses.replace(other.place, **change))
    with pytest.raises(UserError, match=words) as refused:
        pool([one, odd, *rest], knowing)
    assert odd.key in str(refused.value)
    assert "\n" not in str(refused.value)
    if "hardware_class" not in change:
        with pytest.raises(UserError, match=f"{odd.key}.* was recorded (for another version|on other data)"):
            pool([odd], knowing)


@pytest.mark.parametrize("fold", ["validation", "test"])
@pytest.mark.parametrize("place", [0, 2])
def test_members_of_other_rows_are_refused(
    fold: str, place: int, five: Path, make: Callable[..., Made], knowing: list[Path]
) -> None:
    def rename(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        ids = found["id"].copy()
        ids[np.flatnonzero(found["fold"] == fold)[0]] = "nobody"
        return {**found, "id": ids}

    several = cells(five)
    several.sort(key=lambda cell: cell.record.key)
    several[place] = rewrite(several[place], rename)
    with pytest.raises(UserError, match=rf"cannot go with .*: it has other {fold} rows .*nobody") as refused:
        make([member_of(cell) for cell in several])
    assert several[place].record.key in str(refused.value)
    assert not list(five.glob("cells/tiny/ensemble-*/*"))


def damaged(stored: Stored, how: str) -> Stored:
    path = stored.attempt / PROBABILITIES
    if how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
        return Stored(stored.record.model_copy(update={"files": {}}), stored.path)
    if how == "missing":
        path.unlink()
        return stored
    if how == "changed":
        rewrite(stored, lambda found: {**found, "p:fever": found["p:fever"] * np.float32(0.5)})
        return stored
    if how == "columns":
        return rewrite(stored, lambda found: {name: each for name, each in found.items() if name != "p:nodule"})
    if how == "words":
        return rewrite(stored, lambda found: {**found, "p:fever": found["id"]})
    return rewrite(stored, lambda found: {**found, "p:fever": found["p:fever"] * np.float32("nan")})


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", "cannot be read"),
        ("missing", "is missing"),
        ("changed", "is not the file that"),
        ("columns", "has other columns than fold, id and its 3 labels"),
        ("words", "cannot be read"),
        ("nan", "answered NaN"),
    ],
)
def test_damaged_probabilities_are_one_line(how: str, words: str, five: Path, make: Callable[..., Made]) -> None:
    one, other, *_ = cells(five)
    with pytest.raises(UserError, match=words) as refused:
        make([member_of(one), member_of(damaged(other, how))])
    assert str(other.attempt / PROBABILITIES) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(five.glob("cells/tiny/ensemble-*/*"))
    assert not list(five.glob(".work/*~*"))


def costs(seconds: float, *, gpu: float | None = None, parameters: int | None = 10) -> Costs:
    timings = Timings(prepare=3, warmup=1, features=seconds, tune=2, fit=10 * seconds, predict=0.5, wall=100)
    speed = Speed(latency_p50_ms=2 * seconds, latency_p95_ms=3 * seconds, rows_per_second=100 / seconds)
    return Costs(timings, speed, Memory(added_gb=seconds, baseline_gb=0.1 * seconds, gpu_gb=gpu), parameters)


def test_costs_add_up() -> None:
    found = summed([costs(1), costs(3, gpu=4)], [costs(5)], own_s=0.25)
    assert found.timings == Timings(
        prepare=3, warmup=2, features=4, tune=2 + 2 + (5 + 2 + 50) + 0.25, fit=40, predict=1, wall=300.25
    )
    assert found.timings.total == sum(each.timings.total for each in (costs(1), costs(3), costs(5))) + 0.25
    assert found.speed == Speed(latency_p50_ms=8, latency_p95_ms=12, rows_per_second=25)
    assert found.memory.model_dump() == pytest.approx({"added_gb": 4, "baseline_gb": 0.3, "gpu_gb": 4})
    assert found.parameters == 20
    assert summed([costs(1), costs(1, parameters=None)], [], 0).parameters is None


def test_a_record_of_an_ensemble_has_members_and_no_other_has(make: Callable[..., Made], five: Path) -> None:
    record = make().stored.record
    alone = cells(five)[0].record
    for fields in (
        record.model_dump() | {"members": []},
        record.model_dump() | {"members": record.model_dump()["members"][:1]},
        alone.model_dump() | {"mode": "ensemble"},
        alone.model_dump() | {"members": record.model_dump()["members"]},
    ):
        with pytest.raises(ValidationError, match="an ensemble has members whose weights sum to 1"):
            Record.model_validate(fields)


def test_an_ensemble_answers_as_the_mean_of_its_members(
    make: Callable[..., Made], five: Path, knowing: list[Path]
) -> None:
    texts = (["the fever and a nodule", "no change is seen"], None, "text")

    def asked(model: str) -> tuple[list[dict[str, float]], str]:
        shown, remarks = answer("tiny", model, texts, five, knowing, "json")
        return [row["probabilities"] for row in json.loads(shown)], remarks[0]

    chosen = [cell for cell in cells(five) if cell.record.seed == 0]
    make([member_of(cell) for cell in chosen], "mean")
    (found, remark), alone = asked("ensemble-mean"), []
    assert remark.startswith("answered by ensemble-mean, mean of 3 cells, f1_macro")
    for cell in cells(five):
        if cell.record.seed:
            shutil.rmtree(cell.path.parent)
    alone = [asked(cell.record.model)[0] for cell in chosen]
    for row, each in enumerate(found):
        for label, value in each.items():
            assert value == pytest.approx(np.mean([one[row][label] for one in alone]), abs=1e-6)
    shutil.rmtree(chosen[0].attempt / "artefact")
    with pytest.raises(
        UserError, match=r"its member knows-none, seed 0 .* keeps no model: run that again with --fresh"
    ):
        asked("ensemble-mean")
    with pytest.raises(
        UserError, match=r"no stored ensemble-greedy for tiny in .*: run `zoobench ensemble tiny` first"
    ):
        asked("ensemble-greedy")
