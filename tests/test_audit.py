"""The leakage audit: planted leaks are found and counted, clean folds have none, and every task passes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoobench.datasets import fetch
from zoobench.datasets.audit import Audit, Overlap, audit, hot_targets
from zoobench.datasets.core import FOLDS, TASKS, Examples, Leak, Protocol, TaskCard
from zoobench.datasets.images import DIGESTS, PixelStore
from zoobench.datasets.near import near_identical
from zoobench.datasets.prepare import deal
from zoobench.datasets.support.errors import UnavailableError, UserError

from .test_near import all_pairs

LABELS = ("fever", "fracture", "nodule")
CARD = TaskCard(
    name="made-up",
    title="Made up",
    description="For tests",
    version=1,
    kind="multilabel",
    modality="text",
    labels=LABELS,
    primary_metric="f1_macro",
    group="number",
    licence="CC0-1.0",
    source="generated",
    citation="none",
)
ROWS = 120
TRAIN, VALIDATION, TEST = range(3)


def clean() -> tuple[Examples, np.ndarray]:
    """Return rows whose texts have no two words in common, and folds with the same label shares."""
    texts = [" ".join(f"word{row}x{place}" for place in range(20)) for row in range(ROWS)]
    fold = np.array([TRAIN] * 7 + [VALIDATION] + [TEST] * 2)
    targets = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=np.uint8)
    examples = Examples(
        ids=np.array([f"row-{row:03}" for row in range(ROWS)], dtype=object),
        inputs=np.array(texts, dtype=object),
        targets=targets[np.arange(ROWS) // 10 % 3],
        groups=np.arange(ROWS),
    )
    return examples, fold[np.arange(ROWS) % 10]


def rows_of(folds: np.ndarray, fold: int) -> np.ndarray:
    return np.flatnonzero(folds == fold)


def counts(found: Audit) -> dict[tuple[str, str, str], int]:
    return {(each.kind, each.earlier, each.later): each.count for each in found.findings}


def with_texts(examples: Examples, texts: dict[int, str]) -> Examples:
    inputs = examples.inputs.copy()
    for row, text in texts.items():
        inputs[row] = text
    return replace(examples, inputs=inputs)


def nearly(text: str) -> str:
    """Return a text that shares 19 of the 20 words: a cosine of about 0.95."""
    return " ".join([*text.split()[:-1], "another"])


def test_clean_folds_share_nothing() -> None:
    examples, folds = clean()
    found = audit(CARD, "", examples, folds)
    assert found.ok
    assert (found.findings, found.duplicates, found.conflicts, found.left_out) == ((), 0, 0, 0)
    assert len(found.overlaps) == 9
    assert found.rows == {"train": 84, "validation": 12, "test": 24}
    assert found.deviation.points == pytest.approx(0)
    assert found.absent == dict.fromkeys(FOLDS, ())
    assert found.near_threshold == 0.9
    assert found.fingerprint == examples.fingerprint()


def test_groups_in_two_folds_are_counted_once_each() -> None:
    examples, folds = clean()
    train, validation, test = (rows_of(folds, fold) for fold in range(3))
    groups = examples.groups.copy()
    groups[test[:4]] = groups[train[0]]
    groups[test[4]] = groups[validation[0]] = groups[train[1]]
    found = audit(CARD, "", replace(examples, groups=groups), folds)
    assert counts(found) == {
        ("group", "train", "validation"): 1,
        ("group", "train", "test"): 2,
        ("group", "validation", "test"): 1,
    }
    assert not found.ok
    assert found.findings[1].examples == (
        (examples.ids[train[0]], examples.ids[test[0]]),
        (examples.ids[train[1]], examples.ids[test[4]]),
    )


def test_equal_inputs_are_counted_by_row_and_to_the_letter() -> None:
    examples, folds = clean()
    train, _, test = (rows_of(folds, fold) for fold in range(3))
    text = examples.inputs[train[0]]
    planted = {test[0]: text, test[1]: text, train[5]: text, test[2]: examples.inputs[train[1]].upper()}
    found = audit(CARD, "", with_texts(examples, planted), folds)
    assert counts(found) == {("exact", "train", "test"): 2, ("near", "train", "test"): 1}
    assert found.duplicates == 3
    exact = next(each for each in found.findings if each.kind == "exact")
    assert exact.examples == tuple((examples.ids[train[0]], examples.ids[row]) for row in test[:2])


def test_near_identical_texts_are_counted_beyond_the_equal_ones() -> None:
    examples, folds = clean()
    train, validation, test = (rows_of(folds, fold) for fold in range(3))
    text = examples.inputs[train[0]]
    planted = {test[0]: nearly(text), validation[0]: nearly(text), test[1]: text}
    found = audit(CARD, "", with_texts(examples, planted), folds)
    assert counts(found) == {
        ("near", "train", "validation"): 1,
        ("exact", "train", "test"): 1,
        ("near", "train", "test"): 1,
        ("exact", "validation", "test"): 1,  # both changed alike
        ("near", "validation", "test"): 1,
    }
    pairs = {(each.kind, each.earlier, each.later): each.examples for each in found.findings}
    assert pairs["near", "train", "test"] == ((examples.ids[train[0]], examples.ids[test[0]]),)
    assert pairs["near", "validation", "test"] == ((examples.ids[validation[0]], examples.ids[test[1]]),)


def test_a_few_examples_are_shown_of_many() -> None:
    examples, folds = clean()
    train, _, test = (rows_of(folds, fold) for fold in range(3))
    planted = {row: nearly(examples.inputs[other]) for row, other in zip(test, train, strict=False)}
    (near,) = audit(CARD, "", with_texts(examples, planted), folds).findings
    assert (near.kind, near.count) == ("near", len(test))
    assert near.examples == tuple(
        (examples.ids[other], examples.ids[row]) for row, other in list(zip(test, train, strict=False))[:3]
    )


def test_declared_leaks_pass_and_stale_declarations_are_told() -> None:
    examples, folds = clean()
    train, test = rows_of(folds, TRAIN), rows_of(folds, TEST)
    leaky = with_texts(examples, {test[0]: examples.inputs[train[0]]})
    leaks: dict[Leak, str] = {"exact": "as published", "group": "to show it"}
    card = replace(
        CARD, protocols={"": Protocol(description="honest"), "random": Protocol(description="r", leaks=leaks)}
    )
    found = audit(card, "random", leaky, folds)
    assert found.ok
    assert [(each.kind, each.count, each.reason) for each in found.findings] == [("exact", 1, "as published")]
    assert found.stale == ("group",)
    honest = audit(card, "", leaky, folds)
    assert not honest.ok
    assert honest.stale == ()
    with pytest.raises(UserError, match="unknown protocol of made-up 'randon': did you mean 'random'"):
        audit(card, "randon", leaky, folds)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_conflicting_labels_are_counted_without_the_test_targets(kind: str) -> None:
    examples, folds = clean()
    train, validation, test = (rows_of(folds, fold) for fold in range(3))
    targets = np.zeros((ROWS, 3), dtype=np.uint8) if kind == "multilabel" else np.zeros(ROWS, dtype=np.int64)
    targets[train[1]] = targets[test[0]] = 1
    texts = examples.inputs
    planted = {
        train[1]: texts[train[0]],  # the same text with other labels
        validation[0]: texts[train[0]],  # and once more, with the first ones
        train[3]: texts[train[2]],  # the same text with the same labels
        test[0]: texts[train[4]],  # other labels, but only the test fold knows
    }
    found = audit(replace(CARD, kind=kind), "", replace(with_texts(examples, planted), targets=targets), folds)
    assert found.conflicts == 3
    assert found.conflicting == ((examples.ids[train[0]], examples.ids[train[1]]),)
    assert found.duplicates == 4


def test_label_shares_absent_labels_and_the_largest_deviation() -> None:
    examples, folds = clean()
    targets = np.zeros((ROWS, 3), dtype=np.uint8)
    targets[rows_of(folds, TRAIN)[:42], 0] = 1
    targets[rows_of(folds, TEST), 0] = 1
    targets[:, 1] = np.arange(ROWS) // 10 % 2
    targets[rows_of(folds, VALIDATION)[:3], 2] = 1
    found = audit(CARD, "", replace(examples, targets=targets), folds)
    assert found.overall["fever"] == pytest.approx(66 / 120)
    assert [found.shares[fold]["fever"] for fold in FOLDS] == pytest.approx([0.5, 0, 1])
    assert found.absent == {"train": ("nodule",), "validation": ("fever",), "test": ("nodule",)}
    assert (found.deviation.fold, found.deviation.label) == ("validation", "fever")
    assert found.deviation.points == pytest.approx(55)


def test_classes_are_shared_like_labels() -> None:
    examples, folds = clean()
    classes = np.where(folds == TEST, 2, np.arange(ROWS) // 10 % 2)
    found = audit(replace(CARD, kind="multiclass"), "", replace(examples, targets=classes), folds)
    assert found.shares["test"] == {"fever": 0, "fracture": 0, "nodule": 1}
    assert found.absent == {"train": ("nodule",), "validation": ("nodule",), "test": ("fever", "fracture")}
    assert sum(found.overall.values()) == pytest.approx(1)


def test_near_texts_that_were_found_before_are_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, folds = clean()
    train, test = rows_of(folds, TRAIN), rows_of(folds, TEST)
    order = np.random.default_rng(1).permutation(ROWS)
    leaky = with_texts(examples, {test[0]: nearly(examples.inputs[train[0]])})
    parts = {name: getattr(leaky, name)[order] for name in ("ids", "inputs", "targets", "groups")}
    shuffled, dealt = Examples(**parts), folds[order]
    expected, known = audit(CARD, "", shuffled, dealt), near_identical(shuffled.inputs)
    monkeypatch.delattr("zoobench.datasets.audit.near_identical")
    assert audit(CARD, "", shuffled, dealt, known) == expected
    assert counts(expected) == {("near", "train", "test"): 1}


def test_targets_of_either_kind_become_hot() -> None:
    assert hot_targets(np.array([1, 0]), 3).tolist() == [[False, True, False], [True, False, False]]
    assert hot_targets(np.array([[0, 1]], dtype=np.uint8), 2).tolist() == [[False, True]]


def test_rows_left_out_leak_nothing() -> None:
    examples, folds = clean()
    train, test = rows_of(folds, TRAIN), rows_of(folds, TEST)
    leaky = with_texts(examples, {test[0]: examples.inputs[train[0]]})
    folds[train[0]] = -1
    found = audit(CARD, "", leaky, folds)
    assert (found.findings, found.duplicates, found.left_out, found.rows["train"]) == ((), 0, 1, 83)


def test_images_are_compared_by_their_pixels_and_not_for_nearness(tmp_path: Path) -> None:
    examples, folds = clean()
    train, test = rows_of(folds, TRAIN), rows_of(folds, TEST)
    digests = np.arange(ROWS * 16, dtype=np.int64).reshape(ROWS, 16)
    digests = np.random.default_rng(0).integers(0, 256, digests.shape, dtype=np.uint8)
    digests[test[0]] = digests[train[0]]
    np.save(tmp_path / DIGESTS, digests)
    images = replace(examples, inputs=np.arange(ROWS), pixels=PixelStore(tmp_path))
    card = replace(CARD, modality="image", image_size=8)
    found = audit(card, "", images, folds)
    assert counts(found) == {("exact", "train", "test"): 1}
    assert found.near_threshold is None
    assert {each.kind for each in found.overlaps} == {"group", "exact"}
    near: dict[Leak, str] = {"near": "claimed"}
    card = replace(card, protocols={"": Protocol(description="d", leaks=near)})
    assert audit(card, "", images, folds).stale == ("near",)


def test_audit_is_plain_json() -> None:
    examples, folds = clean()
    leaky = replace(examples, groups=np.zeros(ROWS, dtype=np.int64))
    value = audit(CARD, "", leaky, folds).as_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["ok"] is False
    assert value["overlaps"][0] == {
        "kind": "group",
        "earlier": "train",
        "later": "validation",
        "count": 1,
        "examples": [["row-000", "row-007"]],
        "reason": None,
    }
    assert value["deviation"]["points"] == pytest.approx(0)


def test_empty_folds_and_impossible_records_are_refused() -> None:
    examples, folds = clean()
    with pytest.raises(UserError, match="task made-up: 120 examples leave the validation fold empty: deal them"):
        audit(CARD, "", examples, np.zeros(ROWS, dtype=np.int64))
    with pytest.raises(ValueError, match="0 overlaps with 1 examples"):
        Overlap("near", "train", "test", 0, (("a", "b"),), None)
    with pytest.raises(ValueError, match="between 'test' and 'train'"):
        Overlap("near", "test", "train", 0, (), None)
    found = audit(CARD, "", examples, folds)
    with pytest.raises(ValueError, match="each kind of leak in each pair of folds"):
        replace(found, overlaps=found.overlaps[:-1])


WORDS = st.lists(st.sampled_from(["lung", "heart", "clear", "no", "change", "!"]), max_size=5).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, st.integers(0, 5), st.integers(-1, 2)), min_size=1, max_size=25), st.randoms())
def test_counts_are_those_of_all_pairs_and_the_order_of_rows_changes_nothing(drawn, random) -> None:
    drawn = [*drawn, ("train", 6, 0), ("validation", 7, 1), ("test", 8, 2)]
    texts, groups, folds = (list(values) for values in zip(*drawn, strict=True))
    size = len(drawn)
    rng = np.random.default_rng(random.randrange(2**32))
    examples = Examples(
        ids=np.array([str(row) for row in range(size)], dtype=object),
        inputs=np.array(texts, dtype=object),
        targets=rng.integers(0, 2, (size, 3)).astype(np.uint8),
        groups=np.array(groups),
    )
    dealt = np.array(folds)
    found = audit(CARD, "", examples, dealt)
    near = all_pairs(texts, 0.9)
    for each in found.overlaps:
        earlier, later = (rows_of(dealt, FOLDS.index(fold)) for fold in (each.earlier, each.later))
        known = {texts[row] for row in earlier}
        expected = {
            "group": len({groups[row] for row in earlier} & {groups[row] for row in later}),
            "exact": sum(texts[row] in known for row in later),
            "near": sum(texts[row] not in known and near[row, earlier].any() for row in later),
        }
        assert each.count == expected[each.kind]
        for one, other in (map(int, pair) for pair in each.examples):
            assert (dealt[one], dealt[other]) == (FOLDS.index(each.earlier), FOLDS.index(each.later))
            alike = {
                "group": groups[one] == groups[other],
                "exact": texts[one] == texts[other],
                "near": near[one, other],
            }
            assert alike[each.kind]
    order = rng.permutation(size)
    parts = {name: getattr(examples, name)[order] for name in ("ids", "inputs", "targets", "groups")}
    shuffled = audit(CARD, "", Examples(**parts), dealt[order])
    assert replace(shuffled, fingerprint=found.fingerprint) == found


BIG = {"padchest-reports", "litcoin-relations@mention-tail", "biored-pairs"}
EVERY = [
    f"{name}@{protocol}" if protocol else name
    for name, task in TASKS.entries().items()
    for protocol in task.card.protocols
]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in BIG else ()) for name in EVERY])
def test_every_protocol_of_every_task_passes(name: str, real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    base, _, protocol = name.partition("@")
    task = TASKS.get(base)
    fetch._compare.cache_clear()  # what is said once a process is to be said here
    try:
        task.sources()
        examples = task.read(protocol)
    except UnavailableError as error:
        pytest.skip(f"the data are not here: {error}")
    found = audit(task, protocol, examples, deal(task, protocol, examples))
    leaks = [(each.kind, each.earlier, each.later, each.count) for each in found.findings if not each.declared]
    assert leaks == []
    pinned = task.card.protocols[protocol]
    published = "the published one" not in caplog.text
    if pinned.fingerprint and published:
        assert found.fingerprint == pinned.fingerprint
    if found.fingerprint == pinned.fingerprint:
        assert found.split == pinned.split
        assert found.stale == (), "the card declares leaks that are not there"
        assert found.absent["train"] == ()
