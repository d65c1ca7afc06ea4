"""System 2's balancing, counted by hand, inside the training fold and nowhere else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from zoobench.zoo import balancing
from zoobench.zoo.balancing import Balanced, balanced

LABELS = ("Atelectasis", "Hernia", "Mass", "Effusion")


@pytest.fixture(autouse=True)
def _floors(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the published fold had 80 rows: of 40 rows, labels under 8 are copied, and filled up to 5."""
    monkeypatch.setattr(balancing, "PUBLISHED_ROWS", 80)
    monkeypatch.setattr(balancing, "MIRRORED_BELOW", 16)
    monkeypatch.setattr(balancing, "FLOOR", 10)


def fold(**held: int) -> np.ndarray:
    """40 rows: each label alone as often as it says, both of "Both", and the rest without a label."""
    rows = []
    for name, many in held.items():
        rows += [[int(label == name or (name == "Both" and label in {"Hernia", "Mass"})) for label in LABELS]] * many
    return np.array(rows + [[0, 0, 0, 0]] * (40 - len(rows)), np.uint8)


def counted(targets: np.ndarray, found: Balanced) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, targets[found.rows].tolist()))


def test_the_published_order_counted_by_hand() -> None:
    # Hernia 2 (1 of them with a mass), Mass 4, Atelectasis 10, Effusion 9, and 16 without: 40 rows.
    targets = fold(Atelectasis=10, Hernia=1, Both=1, Mass=3, Effusion=9)
    found = balanced(targets, LABELS, seed=4, thinned=True)
    # Copies: of the hernia alone and the 3 masses alone. Then hernia has 3 rows and gets 2 more; mass has 7, or as many
    # more as of the 2 replicas hold one. Then 4 of the 16 empty rows and 5 of the 10 with atelectasis stay.
    by_label = targets[found.rows].sum(axis=0)
    assert by_label[0] == 5
    assert by_label[1] == 5
    assert by_label[2] in {7, 8}
    assert by_label[3] == 9
    assert counted(targets, found)[0, 0, 0, 0] == 4
    assert len(found.rows) == 40 + 4 + 2 - 12 - 5
    assert {10, 12, 13, 14} == set(found.rows[found.mirrored].tolist()), "rows with a rare label alone are mirrored"


def test_atelectasis_is_thinned_also_beside_other_findings() -> None:
    targets = fold(Effusion=20)
    targets[:20, 0] = 1
    found = balanced(targets, LABELS, seed=0, thinned=True)
    assert counted(targets, found) == {(1, 0, 0, 1): 10, (0, 0, 0, 0): 5}


def test_the_second_floor_replicates_evenly() -> None:
    targets = fold(Hernia=1, Mass=2, Effusion=20)
    found = balanced(targets, LABELS, seed=1, thinned=True)
    per_row = Counter(found.rows.tolist())
    assert per_row[0] == 5
    assert sorted((per_row[1], per_row[2])) == [2, 3]
    assert all(per_row[row] == 1 for row in range(3, 23))


def test_an_absent_label_stays_absent_and_draws_repeat() -> None:
    targets = fold(Effusion=20)
    found = balanced(targets, LABELS, seed=1, thinned=True)
    assert targets[found.rows].sum(axis=0).tolist() == [0, 0, 0, 20]
    assert len(found.rows) == 25
    again, other = balanced(targets, LABELS, seed=1, thinned=True), balanced(targets, LABELS, seed=2, thinned=True)
    np.testing.assert_array_equal(found.rows, again.rows)
    assert not np.array_equal(found.rows, other.rows)


def test_the_floors_of_the_published_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (balancing.MIRRORED_BELOW, balancing.FLOOR, balancing.PUBLISHED_ROWS) == (3000, 1500, 32829)
    targets = np.zeros((32829, 4), np.uint8)
    targets[:2999, 2] = 1
    targets[3000:3100, 1] = 1
    targets[4000:7000, 3] = 1
    found = balanced(targets, LABELS, seed=0, thinned=True)
    assert targets[found.rows].sum(axis=0).tolist() == [0, 1500, 5998, 3000]


def test_what_the_original_did_before_its_folds_is_done_inside_the_fold() -> None:
    labels = ("Infiltration", "Effusion", "Atelectasis", "Mass")
    targets = np.zeros((400, 4), np.uint8)
    targets[:100, 0] = targets[100:120, 1] = targets[120:140, 2] = targets[140:150, 3] = targets[140:145, 0] = 1
    # Kept first: 15 of 100 infiltrations alone, 10 and 10 of 20, all 10 masses, 25 of 250 empty rows: 70 rows.
    found = balanced(targets, labels, seed=3)
    first = set(found.grown.tolist())
    assert [len(first & set(rows)) for rows in (range(100), range(100, 120), range(120, 140), range(140, 150))] == [
        *(15, 10, 10, 10)
    ]
    assert len(first & set(range(150, 400))) == 25
    # Then as of a fold of 70 rows: floors of 14 and 9, a quarter of the empty rows, half of atelectasis.
    by_label = Counter(np.flatnonzero(targets[row])[-1] if targets[row].any() else -1 for row in found.rows)
    assert by_label[-1] == round(0.25 * 25)
    assert by_label[2] == 10, "20 with their mirror copies, of which half stay"
    assert by_label[1] == 20
    again = balanced(targets[np.sort(list(first))], labels, seed=3, thinned=True)
    assert len(again.rows) == len(found.rows)
    assert len(again.grown) == len(found.grown)
