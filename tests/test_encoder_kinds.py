"""Frozen encoders of any kind: numbers of positions, tokenizers that lack tokens, memory that does not suffice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from zoobench.benchmarks.check import text_task
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.core import Context
from zoobench.zoo.features import FeatureCache

torch = pytest.importorskip("torch")

from transformers import (  # noqa: E402
    AlbertConfig,
    AlbertModel,
    AutoTokenizer,
    GPT2Config,
    GPT2Model,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)
from zoobench.zoo import encoders, pretrained  # noqa: E402
from zoobench.zoo import number_format as number_format_module  # noqa: E402
from zoobench.zoo.encoders import FrozenEncoder  # noqa: E402

pytestmark = pytest.mark.usefixtures("fp32")

TEXTS = np.array(
    ["Lungs are clear.", "", "No acute disease. " * 60, "\ud800 lone", "Heart size is normal."], dtype=object
)
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def context(threads: int = 1, folder: Path | None = None) -> Context:
    return Context(text_task("multilabel")[0], 0, "cpu", threads, FeatureCache(folder))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_encoder(tmp_path_factory.mktemp("tiny")))


def roberta(size: int) -> Any:
    return RobertaModel(RobertaConfig(vocab_size=size, max_position_embeddings=66, **SMALL))


def albert(size: int) -> Any:
    return AlbertModel(AlbertConfig(vocab_size=size, embedding_size=16, max_position_embeddings=64, **SMALL))


def gpt2(size: int) -> Any:
    return GPT2Model(GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=64))


@pytest.mark.parametrize("build", [roberta, albert, gpt2])
def test_an_encoder_of_any_kind_reads_a_text_alone_as_beside_others(
    build: Callable[[int], Any], tiny: Path, tmp_path: Path
) -> None:
    """Each by 64 positions at most: RoBERTa's table has two more, which are no positions of tokens."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    torch.manual_seed(1)
    build(len(tokenizer)).save_pretrained(tmp_path)
    if build is gpt2:
        tokenizer.pad_token = tokenizer.sep_token = tokenizer.cls_token = None
    tokenizer.save_pretrained(tmp_path)
    assert pretrained.window(*pretrained.load(str(tmp_path))) == 64
    encoder = FrozenEncoder(str(tmp_path), max_length=512, number_format="fp32", context=context())
    together = encoder.transform(TEXTS)
    assert np.isfinite(together).all()
    for row, text in zip(together, TEXTS, strict=True):
        np.testing.assert_allclose(encoder.transform(np.array([text], dtype=object))[0], row, atol=1e-5)


def test_padding_is_a_row_of_the_network() -> None:
    def found(own: int | None, network: int | None) -> int:
        table = SimpleNamespace(weight=np.zeros((5, 2)))
        config = SimpleNamespace(pad_token_id=network)
        return pretrained.pad_id(
            SimpleNamespace(pad_token_id=own), SimpleNamespace(config=config, get_input_embeddings=lambda: table)
        )

    assert [found(3, 1), found(None, 1), found(None, None), found(None, -1), found(7, 2)] == [3, 1, 0, 0, 2]


def test_an_encoder_with_a_decoder_is_refused(tiny: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5Model(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="an encoder with a decoder"):
        pretrained.load(str(tmp_path))


@pytest.mark.parametrize("number_format", ["fp32", "int8"])
def test_a_text_alone_has_the_vector_that_it_has_in_a_batch(number_format: str, tiny: Path) -> None:
    encoder = FrozenEncoder(str(tiny), number_format=number_format, context=context())
    together = encoder.transform(TEXTS)
    for row, text in zip(together, TEXTS, strict=True):
        np.testing.assert_allclose(encoder.transform(np.array([text], dtype=object))[0], row, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("CUDA")],
)
def test_a_batch_that_does_not_fit_is_halved(
    error: Exception, threads: int, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = np.array(["of the heart " * (n % 9 + 1) for n in range(40)], dtype=object)
    monkeypatch.setitem(encoders.BATCH_TOKENS, "cpu", 128)
    whole = FrozenEncoder(str(tiny), max_length=128, context=context(threads))
    plain, vectors = whole.transform(texts), FrozenEncoder._vectors
    assert whole.notes_ == ()
    tried: list[int] = []

    def small(self: FrozenEncoder, tokens: Any, rows: np.ndarray) -> np.ndarray:
        tried.append(len(rows))
        if tokens.lengths[rows].max() * len(rows) > 64:
            raise error
        return vectors(self, tokens, rows)

    monkeypatch.setattr(FrozenEncoder, "_vectors", small)
    encoder = FrozenEncoder(str(tiny), max_length=128, context=context(threads))
    np.testing.assert_allclose(encoder.transform(texts), plain, atol=1e-6)
    assert "did not fit: halved" in encoder.notes_[0]
    if threads == 1:
        assert len(encoder.notes_) == 1, "what fits is remembered"
    monkeypatch.setattr(FrozenEncoder, "_vectors", lambda *given: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        FrozenEncoder(str(tiny), context=context()).transform(texts[:1])


def test_an_artefact_keeps_the_number_format_that_was_measured(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from zoobench.zoo import adapter

    monkeypatch.setattr(number_format_module, "fastest_format", lambda device: "bf16")
    encoder = FrozenEncoder(str(tiny), context=context())
    found = encoder.transform(TEXTS)
    assert encoder.number_format == "auto"
    adapter.save(encoder, tmp_path)
    monkeypatch.setattr(number_format_module, "fastest_format", lambda device: "fp32")
    np.testing.assert_array_equal(adapter.load(FrozenEncoder(), tmp_path).transform(TEXTS), found)


def test_vectors_are_kept_by_the_text_that_is_read(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleaning whose code changes parts its vectors by itself; two that agree share them."""
    texts = np.array(["fever"], dtype=object)
    before = [
        FrozenEncoder(str(tiny), cleaning=name, context=context(folder=tmp_path)).transform(texts)
        for name in ("none", "clinical")
    ]
    np.testing.assert_array_equal(*before)
    assert len(list(tmp_path.glob("*/index"))) == 4
    monkeypatch.setattr(encoders, "clean", lambda name, given: [f"no {text}" for text in given])
    changed = FrozenEncoder(str(tiny), cleaning="clinical", context=context(folder=tmp_path)).transform(texts)
    assert np.abs(changed - before[0]).max() > 1e-3


@pytest.mark.parametrize("name", ["vocab.txt", "merges.txt", "spiece.model", "special_tokens_map.json", "vocab.json"])
def test_a_folder_is_known_by_its_tokenizer_too(name: str, tiny: Path, tmp_path: Path) -> None:
    for path in tiny.iterdir():
        (tmp_path / path.name).symlink_to(path)
    before = pretrained.locate(str(tmp_path))[1]
    (tmp_path / name).write_text("{}")
    assert pretrained.locate(str(tmp_path))[1] != before
