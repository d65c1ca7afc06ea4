"""The Keras text models: layers as published, padding that changes nothing, what is learnt from which fold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.benchmarks.check import text_task
from zoobench.datasets.core import TASKS, Kind
from zoobench.datasets.layout import load_training
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.texts import Texts
from zoobench.zoo import adapter
from zoobench.zoo.core import MODELS, Context
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.keras_classifier import KerasClassifier, log_loss
from zoobench.zoo.keras_inputs import Bags, Words
from zoobench.zoo.keras_text import SEQUENCE
from zoobench.zoo.ragged import buckets
from zoobench.zoo.sequences import UNKNOWN, Vocabulary, bigram_numbers, rounded, tokenise

from .test_ragged import padding_share

keras = pytest.importorskip("keras")

# The layers of the report's two summaries, in order; it printed them before a first batch, so that every output shape
# reads "?" and every count 0: the sizes are not published. The first row of the RNN's is cut off in its picture.
PUBLISHED = {
    "bilstm": ["Embedding", "Bidirectional", "LSTM", "Dropout", "Dense"],
    "birnn": ["Embedding", "Bidirectional", "SimpleRNN", "Dropout", "Dense"],
}
SIZES = {"embedding": 12, "units": 7, "dropout": 0.5, "embedding_dropout": 0.3, "filters": 5, "padding": "buckets"}
SIZES |= {"pooling": "last"}
KINDS = ("LSTM", "GRU", "SimpleRNN")


def built(name: str, kind: Kind = "multiclass", **settings: Any) -> KerasClassifier:
    model = MODELS.get(name)
    preset = settings.pop("preset", "")
    context = Context(text_task(kind)[0], 11, "cpu", 1, FeatureCache())
    return model.build(model.card.configure(preset, {"epochs": 1, **settings}), context)


def fitted(classifier: KerasClassifier, kind: Kind, scorer: Any = lambda y, p: 0.0, **named: Any) -> KerasClassifier:
    _, X, y = text_task(kind)
    return classifier.fit(X[:48], y[:48], X_val=X[48:60], y_val=y[48:60], seed=11, scorer=scorer, **named)


def networks() -> dict[str, Any]:
    from zoobench.zoo.networks.bag import bag
    from zoobench.zoo.networks.convolution import convolution
    from zoobench.zoo.networks.recurrent import recurrent

    cells = {kind: recurrent(kind, SIZES) for kind in KINDS}
    pooled = {f"LSTM {pooling}": recurrent("LSTM", {**SIZES, "pooling": pooling}) for pooling in ("max", "mean")}
    return {**cells, **pooled, "convolution": convolution, "bag": bag}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_presets_have_the_published_layers(name: str) -> None:
    from zoobench.zoo.networks.recurrent import recurrent

    config = MODELS.get(name).card.configure("published")
    kind, gates = ("LSTM", 4) if name == "bilstm" else ("SimpleRNN", 1)
    network = recurrent(kind, config)(8786, 8, "softmax", config)
    assert [type(layer).__name__ for layer in network.layers] == PUBLISHED[name]
    wide, h = int(config["embedding"]), int(config["units"])
    one = gates * h * (wide + h + 1)
    expected = [8786 * wide, 2 * one, gates * h * (2 * h + h + 1), 0, (h + 1) * 8]
    assert [layer.count_params() for layer in network.layers] == expected
    shapes = [(None, None, wide), (None, None, 2 * h), (None, h), (None, h), (None, 8)]
    assert [tuple(layer.output.shape) for layer in network.layers] == shapes
    assert config["batch_size"] == 32
    assert not config["patience"]


@pytest.mark.parametrize("name", [*KINDS, "LSTM max", "LSTM mean", "convolution", "bag"])
def test_padding_changes_no_probability(name: str) -> None:
    keras.utils.set_random_seed(3)
    network = networks()[name](50, 4, "softmax", SIZES | {"pooling": name.partition(" ")[2] or "last"})
    words = np.random.default_rng(3).integers(1, 50, (6, 16))
    plain = network.predict_on_batch(words)
    assert np.ptp(plain, axis=0).max() > 1e-3
    for zeros in (8, 40):
        padded = np.concatenate([np.zeros((6, zeros), int), words], axis=1)
        np.testing.assert_allclose(network.predict_on_batch(padded), plain, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_faster_form_computes_what_kerass_own_layers_do(kind: str) -> None:
    keras.utils.set_random_seed(3)
    ours = networks()[kind](50, 4, "softmax", SIZES)
    embedding = next(layer for layer in ours.layers if isinstance(layer, keras.layers.Embedding))
    names = ("forwards", "backwards", "second")
    inner, steps = [ours.get_layer(f"{name}_inputs") for name in names], [ours.get_layer(name) for name in names]
    own = getattr(keras.layers, kind)
    h, words = SIZES["units"], np.random.default_rng(3).integers(1, 50, (6, 16))

    number = keras.ops.convert_to_numpy

    def run(place: int, values: Any, *, sequences: bool = True) -> Any:
        layer = own(h, return_sequences=sequences)
        layer.build(values.shape)
        bias = number(inner[place].bias) + np.random.default_rng(place).normal(size=inner[place].bias.shape)
        inner[place].bias.assign(bias)
        if kind == "LSTM":
            bias = bias + np.repeat([0.0, 1.0, 0.0, 0.0], h)  # Keras starts its forget gates at 1
        bias = np.stack([bias, np.zeros_like(bias)]) if kind == "GRU" else bias
        layer.set_weights([number(inner[place].kernel), number(steps[place].cell.weight), bias])
        return number(layer(keras.ops.convert_to_tensor(values)))

    values = number(embedding(words))
    both = np.concatenate([run(0, values), run(1, values[:, ::-1].copy())[:, ::-1]], axis=-1)
    expected = number(ours.layers[-1](run(2, both, sequences=False)))
    np.testing.assert_allclose(number(ours(words, training=False)), expected, atol=1e-5)


def test_a_text_is_answered_alike_alone_and_beside_a_long_one() -> None:
    classifier = fitted(built("bigru"), "multiclass")
    alone = classifier.predict_proba(np.array(["fever today"], dtype=object))
    beside = classifier.predict_proba(np.array(["fever today", "the chest " * 60], dtype=object))
    np.testing.assert_allclose(beside[:1], alone, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), [("birnn", "multiclass"), ("fasttext-bag", "multilabel")])
def test_what_is_stored_answers_the_same(name: str, kind: Kind, tmp_path: Path) -> None:
    """The unmasked preset keeps its length; a weighted loss is no part of what is loaded."""
    settings = {"preset": "published"} if name == "birnn" else {"class_weight": "balanced"}
    classifier = fitted(built(name, kind, **settings), kind)
    X = np.array(["fever", "", "nodule seen", "no such words"], dtype=object)
    adapter.save(classifier, tmp_path)
    again = adapter.load(built(name, kind, **settings), tmp_path)
    np.testing.assert_allclose(again.predict_proba(X), classifier.predict_proba(X), atol=1e-6)
    assert {path.suffix for path in tmp_path.iterdir()} == {".keras", ".json"}


def test_the_vocabulary_is_the_training_folds() -> None:
    words = Words({**SEQUENCE, "min_count": 1, "vocabulary": 3})
    rows = words.fit(np.array(["a b b c", "b a [E1] rare"], dtype=object))
    # By frequency, then by first appearance; of five words three are kept.
    assert words.vocabulary.words == ("b", "a", "c")
    assert rows.batch(np.array([1]))[0, -4:].tolist() == [2, 3, UNKNOWN, UNKNOWN]
    later = words.transform(np.array(["validation a", ""], dtype=object))
    assert later.batch(np.array([0]))[0, -2:].tolist() == [UNKNOWN, 3]
    assert later.batch(np.array([1]))[0, -1] == UNKNOWN
    assert words.vocabulary.words == ("b", "a", "c")


def test_a_vocabulary_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="no word stands min_count=9 times in the 2 training texts: lower min_count"):
        Words({**SEQUENCE, "min_count": 9}).fit(np.array(["a b b c", "b a"], dtype=object))


def test_rare_words_are_unknown_and_numbers_agree() -> None:
    documents = [tokenise("one two two three three three"), tokenise("three four four")]
    vocabulary, rows = Vocabulary.learn(documents, 0, 2)
    assert vocabulary.words == ("three", "two", "four")
    np.testing.assert_array_equal(vocabulary.encode(documents).values, rows.values)
    np.testing.assert_array_equal(rows[0], [UNKNOWN, 3, 3, 2, 2, 2])


def test_entity_markers_are_words() -> None:
    assert tokenise("The [E1] IL-2 [/E1] of [E2] COX [/E2], [E3].") == [
        "the", "[e1]", "il", "2", "[/e1]", "of", "[e2]", "cox", "[/e2]", "e3",
    ]  # fmt: skip


def test_a_long_pair_keeps_the_words_of_both_entities_and_their_types() -> None:
    """As many mentions as there is room for markers: what the entities are called stays all the same."""
    near = "[E1] acetyl salicylic acid [/E1] [E2] tension headache [/E2]"
    text = f"{'[E1] it [/E1] ' * 40}{'before ' * 300}{near}{' after' * 300}{' [E2] them [/E2]' * 40}"
    words = Words({**SEQUENCE, "min_count": 1, "max_length": 12})
    X = Texts([near, text], {"type_1": np.array(["Chemical"] * 2), "type_2": np.array(["Disease"] * 2)})
    rows = words.fit(X).rows
    read = [("", "", *words.vocabulary.words)[number] for number in rows[1]]
    assert " ".join(tokenise(near)) in " ".join(read)
    assert read[-2:] == ["type_1=Chemical", "type_2=Disease"]
    alone = words.transform(np.array([text, "after " * 50], dtype=object)).rows
    assert [len(row) for row in alone] == [12, 12]


@pytest.mark.usefixtures("real_data")
def test_batches_of_like_length_waste_little_padding() -> None:
    X, _ = load_training(prepare(TASKS.get("litcoin-relations")).folder / "public", "train")
    lengths = np.array([len(tokenise(text)) for text in X])
    found = buckets(rounded(lengths), 64, np.random.default_rng(0))
    assert 1 - lengths.sum() / sum(len(batch) * rounded(lengths)[batch].max() for batch in found) < 0.06
    order = np.random.default_rng(0).permutation(len(X))
    assert padding_share(lengths, [order[at : at + 64] for at in range(0, len(X), 64)]) > 0.3
    assert len({rounded(lengths)[batch].max() for batch in found}) < 40


def test_the_weighted_loss_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    from zoobench.zoo.keras_classifier import _weighted_binary

    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(9, 3)), (rng.random((9, 3)) < 0.4).astype(np.float32)
    weights = np.array([0.5, 2.0, 7.0])
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))
    p = (1 / (1 + np.exp(-logits))).astype(np.float32)
    tensors = keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(p)
    ours = keras.ops.convert_to_numpy(_weighted_binary(weights.astype(np.float32))(*tensors))
    assert ours.shape == (9,)
    assert ours.mean() == pytest.approx(float(loss(torch.tensor(logits), torch.tensor(y).double())), abs=1e-5)
    assert log_loss(y, p) == pytest.approx(float(torch.nn.BCELoss()(torch.tensor(p), torch.tensor(y))), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_gradients_do_not_grow_in_padding(kind: str, pooling: str) -> None:
    """Four words behind 396 of padding, and weights that would double a gradient there at each step."""
    tf = pytest.importorskip("tensorflow")
    from zoobench.zoo.networks.recurrent import recurrent

    network = recurrent(kind, SIZES | {"pooling": pooling})(50, 4, "softmax", SIZES | {"pooling": pooling})
    for weight in network.trainable_weights:
        if "recurrent_kernel" in weight.path:
            weight.assign(weight * 8)
    words = np.zeros((1, 400), np.int32)
    words[0, -4:] = [3, 7, 11, 2]

    @tf.function
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.math.log(network(words)[:, 0]))
        return [tf.convert_to_tensor(each) for each in tape.gradient(loss, network.trainable_weights)]

    sizes = [float(tf.norm(each)) for each in gradients()]
    assert np.isfinite(sizes).all()
    assert min(sizes) > 0


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_the_loss_of_an_epoch_is_the_mean_over_all_its_rows(kind: Kind) -> None:
    told: list[float] = []
    settings = {"learning_rate": 1e-30, "dropout": 0.0, "embedding_dropout": 0.0, "batch_size": 20}
    classifier = built("bilstm", kind, **settings)
    fitted(classifier, kind, report=lambda step, total, **values: told.extend(values[k] for k in values if k == "loss"))
    _, X, y = text_task(kind)
    assert told == [pytest.approx(log_loss(y[:48], classifier.predict_proba(X[:48])), abs=1e-5)]


def test_training_stops_early_and_the_best_weights_come_back() -> None:
    scores, answers, reported = iter([0.2, 0.7, 0.4, 0.3, 0.9]), [], []

    def scorer(y: np.ndarray, probabilities: np.ndarray) -> float:
        answers.append(probabilities.copy())
        return next(scores)

    classifier = built("fasttext-bag", epochs=5, patience=2, learning_rate=0.05)
    fitted(classifier, "multiclass", scorer, report=lambda *step, **values: reported.append((step, values)))
    scored = [(step, values["val_score"]) for step, values in reported if values]
    steps = scored[0][0][0]  # of an epoch
    assert scored == [((epoch * steps, 5 * steps), score) for epoch, score in enumerate([0.2, 0.7, 0.4, 0.3], start=1)]
    np.testing.assert_allclose(classifier.predict_proba(text_task("multiclass")[1][48:60]), answers[1], atol=1e-6)
    assert np.abs(answers[3] - answers[1]).max() > 1e-3


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="torch traces nothing")
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_batches_of_any_shape_share_one_graph(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[str] = []

    def counted(name: str) -> Any:
        step = getattr(keras.Model, name)
        return lambda network, data: traced.append(name) or step(network, data)

    for name in ("train_step", "predict_step"):
        monkeypatch.setattr(keras.Model, name, counted(name))
    classifier = fitted(built("fasttext-bag", kind, batch_size=20, epochs=2), kind)
    for texts in (["fever"], ["fever " * 40, "nodule", ""]):
        classifier.predict_proba(np.array(texts, dtype=object))
    assert sorted(traced) == ["predict_step", "train_step"]


def test_the_same_seed_gives_the_same_weights_to_the_last_bit() -> None:
    X = text_task("multiclass")[1]
    first, again = (fitted(built("birnn", epochs=2), "multiclass").predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_loss_that_is_not_finite_stops_with_its_step() -> None:
    classifier = built("fasttext-bag", learning_rate=1e38, batch_size=16)
    with pytest.raises(FloatingPointError, match=r"loss nan at epoch 1, step \d: try a lower learning_rate"):
        fitted(classifier, "multiclass")


class Cramped:
    """A network in front of which memory ends at `room` rows, as tensorflow says it."""

    def __init__(self, network: Any, room: int) -> None:
        self._network, self._room = network, room
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def _try(self, act: str, *given: Any) -> Any:
        self.sizes.append(len(given[0]))
        if len(given[0]) > self._room:
            raise type("ResourceExhaustedError", (RuntimeError,), {})("OOM when allocating tensor")
        return getattr(self._network, act)(*given)

    def train_on_batch(self, *given: Any) -> Any:
        return self._try("train_on_batch", *given)

    def predict_on_batch(self, *given: Any) -> Any:
        return self._try("predict_on_batch", *given)


def test_a_batch_that_does_not_fit_is_halved_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made, compiled = [], KerasClassifier._compiled

    def cramped(self: KerasClassifier, y: np.ndarray) -> Any:
        made.append(Cramped(compiled(self, y), 5))
        return made[-1]

    monkeypatch.setattr(KerasClassifier, "_compiled", cramped)
    classifier = fitted(built("fasttext-bag", batch_size=24), "multiclass")
    X = text_task("multiclass")[1][:20]
    assert len(classifier.predict_proba(X)) == 20
    assert made[0].sizes[:3] == [24, 12, 6]
    assert made[0].sizes.count(24) == 1  # what is known of one batch holds for the next
    said = [
        (24, 12, "trained on"),
        (12, 6, "trained on"),
        (6, 3, "trained on"),
        (12, 6, "answered"),
        (6, 3, "answered"),
    ]
    assert classifier.notes_ == tuple(
        f"a batch of {rows} did not fit into memory: {half} at most are {what} at once" for rows, half, what in said
    )
    made[0]._room = 0
    with pytest.raises(RuntimeError, match="OOM"):
        classifier.predict_proba(X[:1])


def test_sparse_rows_are_made_dense_a_batch_at_a_time() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    texts = np.array(["fever nodule", "fever fever", "chest"], dtype=object)
    rows = Bags(CountVectorizer()).fit(texts)
    assert not isinstance(rows.values, np.ndarray)
    batch = rows.batch(np.array([1, 0]))
    assert batch.dtype == np.float32
    assert batch.tolist() == [[0, 2, 0], [0, 1, 1]]


def test_pairs_of_words_hash_into_their_buckets() -> None:
    rng = np.random.default_rng(0)
    found = bigram_numbers(rng.integers(2, 5000, 20_000).astype(np.int32), 5000, 1000)
    assert (found.min(), found.max()) == (5000, 5999)
    counts = np.bincount(found - 5000, minlength=1000)
    assert counts.std() < 2 * np.sqrt(20)  # spread like Poisson's
    assert (
        bigram_numbers(np.array([7, 8, 7]), 10, 1000).tolist() != bigram_numbers(np.array([8, 7, 8]), 10, 1000).tolist()
    )
    assert len(bigram_numbers(np.array([7]), 10, 1000)) == 0


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_no_setting_of_the_form_with_padding_is_without_effect(pooling: str) -> None:
    from zoobench.zoo.networks.recurrent import recurrent

    config = {**SIZES, "padding": "longest", "pooling": pooling, "embedding_dropout": 0.4}
    network = recurrent("SimpleRNN", config)(20, 4, "softmax", config)
    words = np.random.default_rng(0).integers(1, 20, (3, 9))
    dropout = next(layer for layer in network.layers if isinstance(layer, keras.layers.SpatialDropout1D))
    assert dropout.rate == 0.4
    states = keras.Model(network.inputs, network.layers[3].output).predict_on_batch(words)
    pooled = keras.Model(network.inputs, network.layers[-2].input).predict_on_batch(words)
    expected = states if pooling == "last" else getattr(states, pooling)(axis=1)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_the_stored_vocabulary_is_plain_json(tmp_path: Path) -> None:
    words = Words({**SEQUENCE, "min_count": 1})
    words.fit(np.array(["Φλεγμονή 肺炎 line"], dtype=object))
    words.save(tmp_path)
    kept = json.loads((tmp_path / "vocabulary.json").read_text())
    assert kept == {"length": 0, "types": [], "words": ["φλεγμονή", "肺炎", "line"]}


def test_types_are_read_as_they_were_in_training() -> None:
    texts, types = ["a b", "c d"], {f"type_{number}": np.array(["Gene", "Gene"], object) for number in (1, 2)}
    plain, typed = Texts(texts, {}), Texts(texts, types)
    for known, other in ((plain, typed), (typed, plain)):
        words = Words({**SEQUENCE, "min_count": 1})
        own = words.fit(known).rows
        assert [len(row) for row in own] == [2 + 2 * (known is typed)] * 2
        assert [list(row) for row in words.transform(other).rows] == [list(row[:2]) for row in own]
