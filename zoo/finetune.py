"""Fine-tuned transformers: texts to probabilities through an encoder that is trained with its head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.support.errors import unknown_name
from ..datasets.support.files import read_json, write_json
from ..datasets.support.texts import columns
from .cleaning import clean
from .core import Config, Context, Report, Scorer
from .losses import loss_of
from .pretrained import load as load_encoder
from .tokens import Layout, Tokens, add_markers, buckets, cut, frame_of, padded, padding_share, tokenise
from .training import Recipe, Trainer, answers, seeded

if TYPE_CHECKING:
    from torch import Tensor

    from .networks.transformer import TextClassifier

WEIGHTS, SETTINGS, ENCODER = "network.safetensors", "finetuned.json", "encoder"
PART_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Tokens computed at once, padding included: on a CPU 8 rows of 250 take 12 % less time each than 16, whose states
leave the caches; a GPU is filled."""
PAIR_COLUMNS = ("type_1", "type_2")
POOLED = ("mean", "max")
AUGMENTATIONS = {"none": "", "eda": "medical", "eda-wordnet": "wordnet"}
"""Where an augmentation takes its synonyms from."""


class TextData:
    """Rows of token ids with their targets: the data side of `training.Trainer`.

    Parameters
    ----------
    rows, owners
        See `tokens.Layout.rows`.
    pad
        The id of padding.
    tokens
        How many to compute at once.
    targets
        Of the texts, (texts, labels) or (texts,); None where there are none.
    redraw
        Epoch -> rows and owners, where an epoch has rows of its own (augmentation).
    """

    def __init__(
        self,
        rows: Tokens,
        owners: np.ndarray,
        pad: int,
        tokens: int,
        targets: np.ndarray | None = None,
        seed: int = 0,
        redraw: Callable[[int], tuple[Tokens, np.ndarray]] | None = None,
    ) -> None:
        import torch

        self.rows, self.owners, self._pad, self._tokens = rows, owners, pad, tokens
        self._seed, self._redraw = seed, redraw
        kept = np.zeros(0) if targets is None else targets
        self._by_text = torch.from_numpy(kept.astype(np.float32 if kept.ndim == 2 else np.int64))
        self.targets = self._by_text[owners] if targets is not None else self._by_text

    def plan(self, epoch: int, size: int) -> list[np.ndarray]:
        """Return shuffled batches of like length; an augmented epoch draws its rows first."""
        if self._redraw is not None:
            self.rows, self.owners = self._redraw(epoch)
            self.targets = self._by_text[self.owners]
        return buckets(self.rows.lengths, size, np.random.default_rng([self._seed, epoch]))

    def parts(self, rows: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut rows, longest first, by their number and their tokens."""
        return cut(rows, self.rows.lengths, size, self._tokens)

    def all(self) -> list[np.ndarray]:
        """Return batches of all rows, longest first: what does not fit into memory is found out at once."""
        return self.parts(np.argsort(-self.rows.lengths, kind="stable"), len(self.rows))

    def load(self, rows: np.ndarray) -> Mapping[str, Tensor]:
        """Return the padded ids of `rows`, and their mask where one is needed."""
        return padded(self.rows, rows, self._pad)


class FineTuned:
    """An encoder and a head, trained together.

    Parameters
    ----------
    config
        The settings of `models.finetuned`.

    Attributes
    ----------
    notes_
        Early stops, batches that did not fit, the share of padding.
    """

    notes_: tuple[str, ...] = ()

    def __init__(self, config: Config, context: Context) -> None:
        self._config, self._context = config, context
        if config["window_pooling"] not in POOLED:
            raise unknown_name("window_pooling", str(config["window_pooling"]), POOLED)
        self._markers: tuple[int, ...] = ()
        self._leads = False
        self._tokenizer: Any = None
        self._layout: Any = None
        self._network: Any = None
        self._adapters: Any = None

    def fit(
        self,
        X: Any,
        y: np.ndarray,
        *,
        X_val: Any = None,
        y_val: np.ndarray | None = None,
        seed: int = 0,
        scorer: Scorer | None = None,
        report: Report | None = None,
    ) -> FineTuned:
        """Fit on (n,) texts; with validation rows and a scorer the best epoch's weights are kept."""
        with seeded(seed, self._context.device):
            texts = clean(str(self._config["cleaning"]), list(X))
            self._leads = bool(self._config["pair_types"]) and set(PAIR_COLUMNS) <= set(columns(X))
            self._build(texts)
            data = self._training_data(texts, self._lead_tokens(X), y, seed)
            trainer = self._trainer(y)
            trainer.fit(data, None if X_val is None or scorer is None else self._judge(X_val, y_val, scorer), report)
            if self._adapters is not None:
                self._network.encoder, self._adapters = self._adapters.merge_and_unload(), None
        lengths = data.rows.lengths
        share = padding_share(lengths, buckets(lengths, trainer.rows_at_once, np.random.default_rng(seed)))
        self.notes_ = (*trainer.notes, f"padding was {share:.1%} of the tokens computed")
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (n, labels) float32 probabilities of (n,) texts."""
        if not len(X):
            return np.zeros((0, len(self._context.task.labels)), np.float32)
        return self._probabilities(self._data(X), len(X))

    @property
    def n_parameters(self) -> int:
        """The number of weights, encoder and head."""
        return sum(weight.numel() for weight in self._network.parameters())

    def save(self, folder: Path) -> None:
        """Write weights, the encoder's configuration, the tokenizer and what else the answers depend on."""
        from safetensors.torch import save_file

        state = {name: tensor.contiguous() for name, tensor in self._network.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        self._network.encoder.config.save_pretrained(folder / ENCODER)
        self._tokenizer.save_pretrained(folder / ENCODER)
        write_json(folder / SETTINGS, {"markers": self._markers, "leads": self._leads})

    def load(self, folder: Path) -> FineTuned:
        """Read what `save` wrote, without a model hub; nothing in it runs code."""
        from safetensors.torch import load_file
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        kept = read_json(folder / SETTINGS)
        self._markers, self._leads = tuple(kept["markers"]), bool(kept["leads"])
        self._tokenizer = AutoTokenizer.from_pretrained(folder / ENCODER)
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder / ENCODER))
        self._assemble(encoder)
        self._network.load_state_dict(load_file(folder / WEIGHTS))
        return self

    def _build(self, texts: Sequence[str]) -> None:
        """Load the encoder and give it markers and head."""
        from .networks.transformer import set_attention_dropout

        name = str(self._config["encoder"])
        self._tokenizer, encoder = load_encoder(name)
        self._markers = add_markers(self._tokenizer, texts)
        if len(self._tokenizer) > encoder.get_input_embeddings().num_embeddings:
            encoder.resize_token_embeddings(len(self._tokenizer), mean_resizing=False)
        set_attention_dropout(encoder, float(self._config["attention_dropout"]))
        self._assemble(encoder)

    def _assemble(self, encoder: Any) -> None:
        from .networks.heads import head_of
        from .networks.transformer import TextClassifier

        head = head_of(self._config, encoder, len(self._context.task.labels), self._markers[::2])
        self._network = TextClassifier(encoder.float(), head).to(self._context.device)
        window = min(self._tokenizer.model_max_length, getattr(encoder.config, "max_position_embeddings", 512))
        length = min(int(self._config["max_length"]), window)
        start, end = frame_of(self._tokenizer)
        self._layout = Layout(start, end, length, str(self._config["truncation"]), self._markers)

    def _trainer(self, y: np.ndarray) -> Trainer:
        from .networks.adapters import add_adapters
        from .networks.transformer import freeze, rates_by_layer

        config, task = self._config, self._context.task
        network: TextClassifier = self._network
        if rank := int(config["lora"]):
            self._adapters = add_adapters(network.encoder, rank, float(config["dropout"]))
        freeze(network.encoder, int(config["frozen_layers"]), bool(config["frozen_embeddings"]))
        recipe = Recipe(
            epochs=int(config["epochs"]),
            batch_size=int(config["batch_size"]),
            accumulation=int(config["accumulation"]),
            learning_rate=float(config["learning_rate"]),
            weight_decay=float(config["weight_decay"]),
            warmup=float(config["warmup"]),
            patience=int(config["patience"]),
            compile=bool(config["compile"]),
            rates=rates_by_layer(network, float(config["layer_decay"]), float(config["head_rate"])),
        )
        loss = loss_of(str(config["loss"]), task.kind, y, len(task.labels))
        return Trainer(network, loss, recipe, self._context.device)

    def _judge(self, X: Any, y: Any, scorer: Scorer) -> Callable[[], float]:
        """Return what scores the network as it is on labelled rows, which are tokenised once."""
        held = self._data(X)
        return lambda: scorer(y, self._probabilities(held, len(X)))

    def _training_data(self, texts: Sequence[str], leads: Tokens | None, y: np.ndarray, seed: int) -> TextData:
        tokens = self._tokens(texts)
        rows, owners = self._layout.rows(tokens, leads)
        name = str(self._config["augmentation"])
        if name not in AUGMENTATIONS:
            raise unknown_name("augmentation", name, AUGMENTATIONS)
        redraw = self._redraw(texts, tokens, leads, AUGMENTATIONS[name], seed) if AUGMENTATIONS[name] else None
        return self._rows(rows, owners, targets=y, seed=seed, redraw=redraw)

    def _redraw(
        self, texts: Sequence[str], tokens: Tokens, leads: Tokens | None, synonyms: str, seed: int
    ) -> Callable[[int], tuple[Tokens, np.ndarray]]:
        """Return what draws an epoch's texts; only those that it changes are tokenised anew."""
        from .augment import Eda

        eda = Eda(synonyms)

        def redraw(epoch: int) -> tuple[Tokens, np.ndarray]:
            drawn = eda.draw(texts, np.random.default_rng([seed, epoch, len(texts)]))
            changed = [at for at, text in enumerate(drawn) if text is not texts[at]]
            rows = list(tokens)
            for at, ids in zip(changed, tokenise(self._tokenizer, [drawn[at] for at in changed]), strict=True):
                rows[at] = ids
            return self._layout.rows(Tokens.of(rows), leads)

        return redraw

    def _data(self, X: Any) -> TextData:
        tokens = self._tokens(clean(str(self._config["cleaning"]), list(X)))
        return self._rows(*self._layout.rows(tokens, self._lead_tokens(X)))

    def _rows(self, rows: Tokens, owners: np.ndarray, **more: Any) -> TextData:
        return TextData(rows, owners, self._tokenizer.pad_token_id, PART_TOKENS[self._context.device], **more)

    def _tokens(self, texts: Sequence[str]) -> Tokens:
        return tokenise(self._tokenizer, texts, self._context.features.folder)

    def _lead_tokens(self, X: Any) -> Tokens | None:
        """Return the ids of the two entities' types and a separator, what every row of a pair begins with."""
        known = columns(X)
        if not (self._leads and set(PAIR_COLUMNS) <= set(known)):
            return None
        first, second = (known[name] for name in PAIR_COLUMNS)
        words = [f"{a} and {b}".replace("_", " ") for a, b in zip(first, second, strict=True)]
        separator = [self._tokenizer.sep_token_id]
        return Tokens.of([[*ids, *separator] for ids in self._tokens(words)])

    def _probabilities(self, data: TextData, texts: int) -> np.ndarray:
        """Return (texts, labels) probabilities: those of a text's windows pooled."""
        logits = answers(self._network, data, data.all(), self._context.device)
        found = _activated(logits, self._context.task.kind)
        if len(found) == texts:
            return found
        firsts = np.searchsorted(data.owners, np.arange(texts))
        if self._config["window_pooling"] == "max":
            pooled = np.maximum.reduceat(found, firsts)
        else:
            pooled = np.add.reduceat(found, firsts) / np.diff([*firsts, len(found)])[:, None]
        if self._context.task.kind == "multiclass":
            pooled /= pooled.sum(axis=1, keepdims=True)
        return pooled.astype(np.float32).clip(0, 1)


def _activated(logits: np.ndarray, kind: str) -> np.ndarray:
    """Return float32 probabilities of (rows, labels) logits."""
    from scipy.special import expit, softmax

    return expit(logits) if kind == "multilabel" else softmax(logits, axis=1)
