"""Frozen text encoders: a transformer's pooled last hidden state, as a scikit-learn transformer."""

from __future__ import annotations

import time
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.files import sha256_json
from . import cleaning as cleanings
from .core import Config, Context
from .features import Batch, FeatureCache
from .number_format import fastest_format
from .pretrained import PACKAGED, file_sha256, load, locate
from .processes import spread

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS = ("mean", "cls", "max")
FORMATS = ("auto", "fp32", "bf16", "int8")
BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}
"""Tokens of a batch, padding included: few enough for a processor's caches (1024 of MiniLM's: 1.2 x as many texts a
second as 4096), many enough to fill a GPU."""
BATCHES_A_PROCESS = 4
"""Texts are spread over processes where each gets that many batches: a fork costs about as much as one."""


class _Loaded(NamedTuple):
    tokenizer: Any
    network: Any
    window: int
    parameters: int


class FrozenEncoder(TransformerMixin, BaseEstimator):
    """Texts to (n, d) float32: the last hidden state pooled over the tokens of a text; zeros for one without any.

    Texts are sorted by length and batched with dynamic padding, under ``inference_mode``; on a CPU, batches are
    dealt to processes of one thread each.

    Parameters
    ----------
    encoder
        See `locate`.
    pooling
        One of `POOLINGS`: the mean or the maximum over the tokens that are not padding, or the first token.
    max_length
        Tokens kept of a text.
    cleaning
        What is done to the texts first: one of `cleaning.CLEANINGS`.
    number_format
        One of `FORMATS`; "auto" is the `fastest_format` of the device, "int8" has linear layers quantised (weights
        before, activations as they come) and needs a CPU.
    context
        Device, threads, and the cache that vectors are kept in and charged from.
    """

    def __init__(
        self,
        encoder: str = PACKAGED,
        pooling: str = "mean",
        max_length: int = 256,
        cleaning: str = "none",
        number_format: str = "auto",
        context: Context | None = None,
    ) -> None:
        self.encoder, self.pooling, self.max_length = encoder, pooling, max_length
        self.cleaning, self.number_format, self.context = cleaning, number_format, context

    def __getstate__(self) -> dict[str, Any]:
        # Weights, cache and device belong to the machine, not to the artefact.
        return {name: value for name, value in self.__dict__.items() if name not in {"context", "_loaded"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, context=None)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> FrozenEncoder:
        # There is nothing fitted in it, and a copy of the cache would charge nobody.
        return self

    def fit(self, X: Any, y: Any = None) -> FrozenEncoder:
        """Do nothing: the encoder is frozen."""
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return (n, d) float32 embeddings of (n,) texts.

        Raises
        ------
        UserError, UnavailableError
            If a setting is unknown, or the encoder cannot be loaded.
        """
        for what, value, known in (("pooling", self.pooling, POOLINGS), ("number format", self.number_format, FORMATS)):
            if value not in known:
                raise unknown_name(what, value, known)
        settings = {
            "feature": "frozen-encoder",
            "weights": sha256_json(locate(self.encoder)[1]),
            "pooling": self.pooling,
            "max_length": self.max_length,
            "cleaning": self.cleaning,
            "number_format": self._format(),
            "code": [_source(module) for module in (__file__, *([cleanings.__file__] * (self.cleaning != "none")))],
            "libraries": [version(name) for name in ("torch", "transformers", "tokenizers")],
        }
        return self._features.matrix(settings, np.asarray(X, dtype=object), self._embed)

    @property
    def n_parameters(self) -> int:
        """The number of weights of the encoder."""
        return self._model().parameters

    @property
    def _device(self) -> str:
        return self.context.device if self.context else "cpu"

    @property
    def _features(self) -> FeatureCache:
        return self.context.features if self.context else FeatureCache()

    def _format(self) -> str:
        """Return the number format; what was measured once on a machine stays, or vectors would change with noise."""
        if self.number_format != "auto":
            return self.number_format

        def measure(devices: list[str]) -> Generator[Batch, None, None]:
            start = time.perf_counter()
            yield [0], [fastest_format(devices[0])], time.perf_counter() - start

        return self._features.texts({"measured": "number format"}, np.array([self._device], dtype=object), measure)[0]

    def _model(self) -> _Loaded:
        loaded = self.__dict__.get("_loaded")
        if loaded is None:
            tokenizer, network = load(self.encoder)
            parameters = sum(weight.numel() for weight in network.parameters())
            network = _in_format(network, self._format(), self._device)
            loaded = self._loaded = _Loaded(tokenizer, network, _window(tokenizer, network), parameters)
        return loaded

    def _embed(self, texts: list[str]) -> Generator[Batch, None, None]:
        loaded = self._model()
        start = time.perf_counter()
        cleaned = cleanings.clean(self.cleaning, texts)
        encoded = loaded.tokenizer(cleaned, truncation=True, max_length=min(self.max_length, loaded.window))
        tokens: list[list[int]] = encoded["input_ids"]
        before = (time.perf_counter() - start) / len(texts)
        lengths = np.array([len(row) for row in tokens])
        if not lengths.all():
            empty = np.flatnonzero(lengths == 0)
            yield empty, np.zeros((len(empty), loaded.network.config.hidden_size), np.float32), before * len(empty)
        batches = _batches(lengths, BATCH_TOKENS[self._device])

        def work(batch: np.ndarray) -> np.ndarray:
            return self._vectors([tokens[row] for row in batch])

        start = time.perf_counter()
        for number, vectors in spread(batches, work, self._processes(len(batches))):
            now = time.perf_counter()
            yield batches[number], vectors, now - start + before * len(vectors)
            start = time.perf_counter()

    def _processes(self, batches: int) -> int:
        if self.context is None or self._device != "cpu":
            return 1
        return min(self.context.threads, batches // BATCHES_A_PROCESS)

    def _vectors(self, tokens: list[list[int]]) -> np.ndarray:
        """Return the (k, d) float32 vectors of k rows of token ids."""
        import torch

        loaded = self._model()
        ids = np.full((len(tokens), max(map(len, tokens))), loaded.tokenizer.pad_token_id or 0)
        mask = np.zeros_like(ids)
        for row, kept in enumerate(tokens):
            ids[row, : len(kept)], mask[row, : len(kept)] = kept, 1
        with torch.inference_mode():
            kept = torch.from_numpy(mask).to(self._device)
            hidden = loaded.network(input_ids=torch.from_numpy(ids).to(self._device), attention_mask=kept)
            return _pool(hidden.last_hidden_state.float(), kept.bool(), self.pooling).cpu().numpy()


def frozen_encoder(config: Config, context: Context) -> FrozenEncoder:
    """Return the encoder that the settings of `zoo.text.ENCODER` describe, on the cell's device and cache."""
    return FrozenEncoder(
        encoder=str(config["encoder"]),
        pooling=str(config["pooling"]),
        max_length=int(config["max_length"]),
        cleaning=str(config["cleaning"]),
        number_format=str(config["number_format"]),
        context=context,
    )


def _source(path: str) -> str:
    return file_sha256(Path(path), Path(path).stat().st_mtime_ns)


def _batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Return the rows of each batch, longest texts first; a row without tokens is in none."""
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    found, start = [], 0
    while start < len(order):
        size = max(1, budget // int(lengths[order[start]]))
        found.append(order[start : start + size])
        start += size
    return found


def _in_format(network: Any, number_format: str, device: str) -> Any:
    import torch

    if number_format == "int8":
        if device != "cpu":
            raise UserError("number_format=int8 is quantised for a CPU: use auto on a GPU, or --device cpu")
        return torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8)
    return network.to(device, torch.bfloat16 if number_format == "bf16" else torch.float32)


def _window(tokenizer: Any, network: Any) -> int:
    """Return the longest input that both have positions for."""
    # RoBERTa counts its positions from behind that of the padding.
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    positions = int(getattr(network.config, "max_position_embeddings", 512)) - (0 if padding is None else padding + 1)
    return min(positions, int(tokenizer.model_max_length))


def _pool(hidden: Tensor, kept: Tensor, pooling: str) -> Tensor:
    """Pool (batch, tokens, d) to (batch, d) over the tokens that `kept` (batch, tokens) holds."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "max":
        return hidden.masked_fill(~kept.unsqueeze(-1), -float("inf")).amax(1)
    weights = kept.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
