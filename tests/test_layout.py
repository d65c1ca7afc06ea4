"""What a prepared task holds beside inputs and targets: columns, parts of the test fold, images."""

from dataclasses import replace

import numpy as np
import pytest
from zoobench.datasets import folds
from zoobench.datasets.core import Protocol
from zoobench.datasets.images import PixelStore
from zoobench.datasets.layout import load_test_inputs, load_training
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.texts import Texts, columns

from .test_datasets import Counted, make


def test_columns_and_subsets_are_laid_out_and_the_unseen_found(source):
    examples = make()
    inputs = examples.inputs.copy()
    dealt = folds.default_folds(examples)
    train, test = np.flatnonzero(dealt == 0), np.flatnonzero(dealt == 2)
    inputs[test[:5]] = inputs[train[0]]
    examples = replace(
        examples,
        inputs=inputs,
        columns={"title": np.array([f"t{n}" for n in range(300)], dtype=object), "year": np.arange(300) / 2},
        subsets={"even": np.arange(300) % 2 == 0, "all": np.ones(300, bool)},
        folds=dealt,
    )
    with pytest.raises(UserError, match="1 inputs stand in more than one fold: group them, or declare the leak"):
        prepare(Counted(examples, source).task)
    declared = {"": Protocol(description="as published", leaks={"exact": "the source repeats itself"})}
    prepared = prepare(Counted(examples, source, protocols=declared).task)
    public, sealed = prepared.folder / "public", prepared.sealed_test()
    number = np.array([int(key.partition("-")[2]) for key in sealed.ids])
    assert set(sealed.subsets) == {"even", "unseen"}, "a part that is the whole is none"
    np.testing.assert_array_equal(sealed.subsets["even"], number % 2 == 0)
    np.testing.assert_array_equal(~sealed.subsets["unseen"], np.isin(number, test[:5]))
    for X, rows in ((load_training(public, "train")[0], train), (load_test_inputs(public), number)):
        assert isinstance(X, Texts)
        assert list(columns(X)["title"]) == [f"t{n}" for n in rows]
        np.testing.assert_array_equal(columns(X[::-2])["year"], rows[::-2] / 2)


def test_rows_of_groups_that_nobody_was_trained_on_are_a_part(source):
    examples = replace(make(), groups=np.arange(300) // 3)
    dealt = np.random.default_rng(0).choice(3, 300, p=[0.5, 0.2, 0.3])
    leaks = {"": Protocol(description="rows were dealt", leaks={"group": "rows were dealt, not groups"})}
    prepared = prepare(Counted(replace(examples, folds=dealt), source, protocols=leaks).task)
    sealed = prepared.sealed_test()
    others = set(examples.groups[dealt < 2])
    number = np.array([int(key.partition("-")[2]) for key in sealed.ids])
    strangers = sealed.subsets["unseen-group"]
    assert strangers.tolist() == [group not in others for group in examples.groups[number]]
    assert 0 < strangers.sum() < len(strangers)


def test_texts_take_their_columns_along_and_are_plain_arrays_elsewhere():
    texts = Texts(["a", "b", "c"], {"year": np.array([1, 2, 3])})
    for rows, expected in ((np.array([2, 0]), [3, 1]), (np.array([True, False, True]), [1, 3]), (slice(1, 2), [2])):
        assert columns(texts[rows])["year"].tolist() == expected
    assert texts[1] == "b"
    assert isinstance(texts[1], str)
    changed = texts.copy()
    changed.columns["year"][0], changed[0] = 9, "z"
    assert (texts[0], columns(texts)["year"][0]) == ("a", 1)
    assert columns(np.asarray(texts)) == columns(texts + "!") == columns(np.array(["a"])) == {}
    with pytest.raises(ValueError, match="so is every column"):
        Texts(["a", "b"], {"year": np.array([1])})


def test_image_task_hands_out_batches_of_its_store(source, tmp_path):
    store = tmp_path / "cache" / "pixels" / "key"
    store.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8), np.uint8)
    np.save(store / "pixels.npy", pixels)
    np.save(store / "digests.npy", np.random.default_rng(2).integers(0, 256, (300, 16), np.uint8))
    rows = np.random.default_rng(1).permutation(300)
    ages = np.where(np.arange(300) % 7, np.arange(300.0), np.nan)
    examples = replace(make(), inputs=rows, pixels=PixelStore(store), columns={"age": ages})
    prepared = prepare(Counted(examples, source, modality="image", image_size=8, tabular=("age",)).task)
    train, _ = load_training(prepared.folder / "public", "train")
    test, sealed = load_test_inputs(prepared.folder / "public"), prepared.sealed_test()
    number = np.array([int(key.partition("-")[2]) for key in sealed.ids])
    np.testing.assert_array_equal(test[3:9].load(), pixels[rows[number[3:9]]])
    np.testing.assert_array_equal(test.tabular[:, 0], ages[number].astype(np.float32))
    assert (len(train), train.names, len(train[np.array([4, 1])])) == (prepared.rows["train"], ("age",), 2)
    assert isinstance(train._store, np.memmap)
    assert train.side == 8
    (prepared.folder / "public" / "pixels.npy").unlink()
    assert prepare(Counted(examples, source, modality="image", image_size=8, tabular=("age",)).task) == prepared
