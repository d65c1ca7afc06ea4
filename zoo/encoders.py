"""Frozen text encoders: a transformer's pooled last hidden state, as a scikit-learn transformer."""

from __future__ import annotations

import functools
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.files import sha256_json
from .cleaning import clean
from .core import Config, Context
from .features import Batch, FeatureCache, objects
from .identity import installed, sources
from .import_order import without_triton_beside_tensorflow
from .memory import out_of_memory
from .number_format import measured_format
from .pretrained import PACKAGED, beyond_window, check_ids, load, locate, pad_id, window
from .processes import spread
from .ragged import Rows, cut
from .text import ENCODER_CHOICES
from .tokens import readable

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS, FORMATS = ENCODER_CHOICES["pooling"], ENCODER_CHOICES["number_format"]
BATCH_TOKENS = {"cpu": 1024, "cuda": 262144}
"""Tokens of a batch to begin with, padding included: few enough for a processor's caches (1024 of MiniLM's: 1.2 x as
many texts a second as 4096); on a GPU more than most hold, which halves until it fits."""
BATCHES_A_PROCESS = 4
"""Texts are spread over processes where each gets that many batches: a fork costs about as much as one."""


class _Loaded(NamedTuple):
    tokenizer: Any
    network: Any
    window: int
    pad: int
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
        One of `FORMATS`; "auto" is the `measured_format` of the device, "int8" has linear layers quantised (weights
        before, activations as they come) and needs a CPU.
    context
        Device, threads, and the cache that vectors are kept in and charged from; so is the time of loading weights,
        imports apart.

    Attributes
    ----------
    format_
        The number format that "auto" came to; an artefact keeps it, for other formats give other vectors.
    notes_
        Batches that did not fit into memory.
    """

    format_: str = ""
    notes_: tuple[str, ...] = ()
    _budget: int = 0

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
        return {name: value for name, value in self.__dict__.items() if name not in {"context", "_loaded", "_budget"}}

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
                raise unknown_name(what, value, map(str, known))
        settings = {
            "feature": "frozen-encoder",
            "weights": sha256_json(locate(self.encoder)[1]),
            "number_format": self._format(),
            "libraries": [installed(name) for name in ("torch", "transformers", "tokenizers")],
        }
        self._features.charge(settings, self._loading)
        self._note(*beyond_window(self.max_length, self._window(settings)))
        settings |= {"pooling": self.pooling, "max_length": self.max_length}
        settings["code"] = sources("encoders", "pretrained", "ragged", "tokens")
        # Vectors are kept by what the network reads: whatever changes the cleaning parts them by itself.
        texts = np.array(clean(self.cleaning, list(X)), dtype=object)
        return self._features.matrix(settings, texts, self._embed)

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
        if not self.format_:
            self.format_ = measured_format(self._features, self._device)
        return self.format_

    def _loading(self) -> float:
        """Load the weights; return its seconds, less those of importing libraries, which are the process's."""
        without_triton_beside_tensorflow()
        import torch  # noqa: F401
        import transformers.modeling_utils  # noqa: F401

        start = time.perf_counter()
        self._model()
        return time.perf_counter() - start

    def _model(self) -> _Loaded:
        loaded = self.__dict__.get("_loaded")
        if loaded is None:
            tokenizer, network = load(self.encoder)
            parameters = sum(weight.numel() for weight in network.parameters())
            length, pad = window(tokenizer, network), pad_id(tokenizer, network)
            network = _in_format(network, self._format(), self._device)
            loaded = self._loaded = _Loaded(tokenizer, network, length, pad, parameters)
        return loaded

    def _embed(self, texts: list[str]) -> Generator[Batch, None, None]:
        loaded = self._model()
        start = time.perf_counter()
        encoded = loaded.tokenizer(readable(texts), truncation=True, max_length=min(self.max_length, loaded.window))
        tokens = Rows.of(encoded["input_ids"])
        check_ids(self.encoder, tokens.values, loaded.network)
        before = (time.perf_counter() - start) / len(texts)
        lengths = tokens.lengths
        if not lengths.all():
            empty = np.flatnonzero(lengths == 0)
            yield empty, np.zeros((len(empty), loaded.network.config.hidden_size), np.float32), before * len(empty)
        order = np.argsort(-lengths, kind="stable")
        batches = cut(order[: np.count_nonzero(lengths)], lengths, len(texts), BATCH_TOKENS[self._device])
        start = time.perf_counter()
        work = functools.partial(self._batch, tokens)
        for number, (vectors, notes) in spread(batches, work, self._processes(len(batches))):
            self._note(*notes)
            now = time.perf_counter()
            yield batches[number], vectors, now - start + before * len(vectors)
            start = time.perf_counter()

    def _window(self, settings: dict[str, Any]) -> int:
        """Return the encoder's window, kept so that a cell whose vectors are kept need not load it."""

        def compute(names: list[str]) -> Generator[Batch, None, None]:
            yield [0], [str(self._model().window)], 0.0

        return int(self._features.texts({"window": settings}, objects(["once"]), compute)[0])

    def _note(self, *notes: str) -> None:
        self.notes_ = tuple(dict.fromkeys((*self.notes_, *notes)))

    def _processes(self, batches: int) -> int:
        if self.context is None or self._device != "cpu":
            return 1
        return min(self.context.threads, batches // BATCHES_A_PROCESS)

    def _batch(self, tokens: Rows, rows: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the (k, d) float32 vectors of k `rows`, longest first, and notes of what did not fit.

        What a batch was halved to is where the next one begins.
        """
        lengths, notes, found = tokens.lengths, [], []
        budget = self._budget or BATCH_TOKENS[self._device]
        # Linear layers in int8 share a scale among the rows of a batch: beside others a text has another vector.
        size = 1 if self._format() == "int8" else len(rows)
        waiting = cut(rows, lengths, size, budget)[::-1]
        while waiting:
            part = waiting.pop()
            try:
                found.append(self._vectors(tokens, part))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or len(part) < 2:
                    raise
                budget = self._budget = len(part) * int(lengths[part[0]]) // 2
                notes.append(f"encoder: {len(part)} texts of up to {lengths[part[0]]} tokens did not fit: halved")
                waiting += cut(part, lengths, (len(part) + 1) // 2, budget)[::-1]
        return np.concatenate(found), tuple(notes)

    def _vectors(self, tokens: Rows, rows: np.ndarray) -> np.ndarray:
        """Return the (k, d) float32 vectors of k rows of token ids."""
        import torch

        loaded = self._model()
        lengths = tokens.lengths[rows]
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(self._device)
        ids = torch.from_numpy(tokens.padded(rows, pad=loaded.pad).astype(np.int64)).to(self._device)
        with torch.inference_mode():
            hidden = loaded.network(input_ids=ids, attention_mask=mask.long())
            return _pool(hidden.last_hidden_state.float(), mask, self.pooling).cpu().numpy()


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


def _in_format(network: Any, number_format: str, device: str) -> Any:
    import torch

    if number_format == "int8":
        if device != "cpu":
            raise UserError("number_format=int8 is quantised for a CPU: use auto on a GPU, or --device cpu")
        return torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8)
    return network.to(device, torch.bfloat16 if number_format == "bf16" else torch.float32)


def _pool(hidden: Tensor, kept: Tensor, pooling: str) -> Tensor:
    """Pool (batch, tokens, d) to (batch, d) over the tokens that `kept` (batch, tokens) holds."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "max":
        return hidden.masked_fill(~kept.unsqueeze(-1), -float("inf")).amax(1)
    weights = kept.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
