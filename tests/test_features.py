"""Embeddings: computed once, right whatever the batch, and charged to every cell that uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.zoo.features import FeatureCache

TEXTS = np.array(["a", "bb", "ccc", "bb"], dtype=object)


class Counter:
    """A feature that costs a second a letter, and counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str], progress: object) -> tuple[np.ndarray, np.ndarray]:
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], np.float32), np.array([float(len(t)) for t in texts])


def test_each_text_is_computed_once_and_charged_once_a_cell(tmp_path: Path) -> None:
    compute, first = Counter(), FeatureCache(tmp_path, {"data": "x"})
    assert first.matrix({"f": 1}, TEXTS, compute).tolist() == [[1, 1], [2, 1], [3, 1], [2, 1]]
    assert compute.asked == ["a", "bb", "ccc"]
    assert first.charged == 6
    first.matrix({"f": 1}, TEXTS[::-1], compute)
    assert first.charged == 6
    second = FeatureCache(tmp_path, {"data": "x"})
    assert second.matrix({"f": 1}, np.array(["ccc", "dddd"], dtype=object), compute).tolist() == [[3, 1], [4, 1]]
    assert compute.asked == ["a", "bb", "ccc", "dddd"], "the other cell computes only what is new"
    assert second.charged == 7, "and pays for what it uses, cached or not"
    assert second.spent < 7


def test_settings_and_scope_part_caches(tmp_path: Path) -> None:
    compute = Counter()
    for scope, settings in (({"data": "x"}, {"f": 1}), ({"data": "y"}, {"f": 1}), ({"data": "x"}, {"f": 2})):
        FeatureCache(tmp_path, scope).matrix(settings, TEXTS[:1], compute)
    assert compute.asked == ["a"] * 3


def test_bypass_computes_and_charges_nothing(tmp_path: Path) -> None:
    compute, cache = Counter(), FeatureCache(tmp_path)
    cache.matrix({}, TEXTS, compute)
    with cache.bypass():
        cache.matrix({}, TEXTS[:1], compute)
    assert compute.asked[-1] == "a"
    assert cache.charged == 6


def test_the_encoder_pools_the_tokens_of_each_text_alone() -> None:
    """Against the plain way: one text at a time, no padding, mean over the last hidden state."""
    torch = pytest.importorskip("torch")
    from zoobench.zoo.encoders import FrozenEncoder, load

    texts = np.array(["Lungs are clear.", "", "No acute disease. " * 60, "Heart size is normal."], dtype=object)
    found = FrozenEncoder(batch_size=3, max_length=64).transform(texts)
    tokenizer, network = load("packaged-minilm")
    for text, row in zip(texts, found, strict=True):
        with torch.inference_mode():
            plain = network(**tokenizer(text, return_tensors="pt", truncation=True, max_length=64))
        np.testing.assert_allclose(row, plain.last_hidden_state[0].mean(0).numpy(), atol=1e-5)
    first = FrozenEncoder(pooling="cls", max_length=64).transform(texts[:1])[0]
    with torch.inference_mode():
        plain = network(**tokenizer(texts[0], return_tensors="pt")).last_hidden_state[0, 0]
    np.testing.assert_allclose(first, plain.numpy(), atol=1e-5)


def test_a_local_folder_is_the_same_encoder_and_a_missing_one_says_so(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from zoobench.zoo.encoders import PACKAGED, FrozenEncoder, locate

    folder = Path(locate(PACKAGED)[0])
    texts = TEXTS[:2]
    assert np.array_equal(FrozenEncoder(str(folder)).transform(texts), FrozenEncoder(PACKAGED).transform(texts))
    assert locate(str(folder))[1] == locate(PACKAGED)[1], "known by its weights, not by its place"
    with pytest.raises(UnavailableError, match="is not there"):
        locate(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"holds no config\.json"):
        locate(str(tmp_path))
    with pytest.raises(UserError, match="pooling 'max' is unknown"):
        FrozenEncoder(pooling="max").transform(texts)


def test_a_local_encoder_is_known_by_what_its_folder_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoobench.benchmarks.plan import _with_folders
    from zoobench.zoo.core import MODELS

    card = MODELS.get("embedding-logreg").card
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    config, hashes = _with_folders(card, card.configure("", {"encoder": "mine"}))
    assert config["encoder"] == str(tmp_path / "mine"), "a cell runs in a folder of its own"
    (tmp_path / "mine" / "config.json").write_text("{ }")
    assert _with_folders(card, card.configure("", {"encoder": "mine"}))[1] != hashes, "trained again in place"
    assert _with_folders(card, card.configure())[1] == {}


@pytest.mark.slow
def test_cells_share_embeddings_and_each_is_charged(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three frameworks of the zoo on one cache; the Keras MLP on both of its backends."""
    pytest.importorskip("keras")
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    options = {"task": "tiny", "plugin": tiny, "results": tmp_path / "r", "quiet": True}
    run(**options, model=["embedding-logreg", "embedding-mlp"], set={"epochs": 30})  # type: ignore[arg-type]
    run(**options, model="embedding-mlp", set={"epochs": 30, "backend": "torch"})  # type: ignore[arg-type]
    records = [read_record(path) for path in Results(tmp_path / "r").record_paths()]
    assert [record.status for record in records] == ["ok"] * 3, [record.reason for record in records]
    charged = [record.timings.features for record in records]
    assert charged == pytest.approx([charged[0]] * 3), "the same texts cost the same in every cell"
    assert charged[0] > 0
    shards = list((tmp_path / "cache" / "features").glob("*/*.npz"))
    assert len({shard.parent for shard in shards}) == 1
    backends = {record.config.get("backend"): record for record in records}
    assert "tensorflow" in backends["tensorflow"].software
    assert "tensorflow" not in backends["torch"].software
    assert backends["tensorflow"].history
    assert {"loss", "val_loss", "step"} == set(backends["tensorflow"].history[0])
    assert len({record.config.get("backend") for record in records}) == 3
    for record in records:
        assert (record.parameters or 0) > 22_000_000, "the encoder's weights count"
        assert (record.value or 0) > 0.5
