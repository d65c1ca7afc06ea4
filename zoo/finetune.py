"""Fine-tuned transformers: texts to probabilities through an encoder that is trained with its head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.support.errors import UserError
from ..datasets.support.files import read_json, write_json
from ..datasets.support.texts import columns
from .cleaning import clean
from .core import Config, Context, Report, Scorer
from .entity_window import PAIR_COLUMNS
from .import_order import without_triton_beside_tensorflow
from .losses import loss_of
from .memory import Halving
from .number_format import measured_format
from .pretrained import beyond_window, check_ids, pad_id, window
from .pretrained import load as load_encoder
from .ragged import Rows
from .recipe import Recipe
from .text_data import TextData
from .tokens import Layout, add_markers, frame_of, tokenise
from .training import Trainer, activated, answers, seeded

if TYPE_CHECKING:
    from .networks.transformer import TextClassifier

WEIGHTS, SETTINGS, ENCODER = "network.safetensors", "finetuned.json", "encoder"
PART_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Tokens computed at once, padding included: on a CPU 8 rows of 250 take 12 % less time each than 16, whose states
leave the caches; a GPU is filled."""
MARKER_WORDS = ("first entity", "end of the first entity", "second entity", "end of the second entity")
"""What the markers' rows of the embeddings begin as: the mean of these words'."""
AUGMENTATIONS = {"none": "", "eda": "medical", "eda-wordnet": "wordnet"}
"""Where an augmentation takes its synonyms from."""


class FineTuned:
    """An encoder and a head, trained together.

    Parameters
    ----------
    config
        The settings of `models.finetuned`.

    Attributes
    ----------
    notes_
        Early stops, batches that did not fit, the share of padding, the number format.
    losses_
        The loss of each step.
    """

    notes_: tuple[str, ...] = ()
    losses_: Sequence[float] | None = None

    def __init__(self, config: Config, context: Context) -> None:
        without_triton_beside_tensorflow()
        self._config, self._context = config, context
        if config["number_format"] == "int8" and context.device != "cpu":
            raise UserError("number_format=int8 is quantised for a CPU: use auto on a GPU, or --device cpu")
        self._markers: tuple[int, ...] = ()
        self._leads = False
        self._tokenizer: Any = None
        self._layout: Any = None
        self._network: Any = None
        self._adapters: Any = None
        self._format = ""
        self._quantised: Any = None
        self._asking = Halving("answered")

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
        """Fit on (n,) texts; with validation rows and a scorer the best epoch's weights are kept.

        Raises
        ------
        UserError, UnavailableError
            Before the first step: for an encoder that does not load, whose tokenizer is not its own, or whose
            architecture a setting does not fit.
        FloatingPointError
            If a loss is not finite; it names the epoch and the step.
        """
        self._forget()
        with seeded(seed, self._context.device):
            texts = clean(str(self._config["cleaning"]), list(X))
            self._leads = bool(self._config["pair_types"]) and set(PAIR_COLUMNS) <= set(columns(X))
            self._build(texts)
            data = self._training_data(texts, self._lead_tokens(X), y, seed)
            trainer = self._trainer(y)
            trainer.keep_in(self._context.checkpoints, (data, ("read", "computed")), (self._asking, ("rows", "notes")))
            trainer.fit(data, None if X_val is None or scorer is None else self._judge(X_val, y_val, scorer), report)
            if self._adapters is not None:
                self._network.encoder, self._adapters = self._adapters.merge_and_unload(), None
        share = 1 - data.read / max(1, data.computed)
        self.losses_ = trainer.losses
        self._note(*trainer.notes, f"padding was {share:.1%} of the tokens computed", f"trained in {self._trained_in}")
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (n, labels) float32 probabilities of (n,) texts.

        Pairs whose texts come without the columns of their types, which the training texts had, are answered by the
        text alone; types that the training texts lacked are not read.
        """
        if not len(X):
            return np.zeros((0, len(self._context.task.labels)), np.float32)
        if self._format == "int8" and self._quantised is None:
            self._quantised = quantised(self._network)
        return self._probabilities(self._data(X), len(X))

    def _forget(self) -> None:
        """Forget what an earlier fit left."""
        self.notes_, self._quantised, self._asking = (), None, Halving("answered")

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
        write_json(folder / SETTINGS, {"markers": self._markers, "leads": self._leads, "format": self._format})

    def load(self, folder: Path) -> FineTuned:
        """Read what `save` wrote, without a model hub; nothing in it runs code."""
        from safetensors.torch import load_file
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        self._forget()
        kept = read_json(folder / SETTINGS)
        self._markers, self._leads, self._format = tuple(kept["markers"]), bool(kept["leads"]), str(kept["format"])
        self._tokenizer = AutoTokenizer.from_pretrained(folder / ENCODER)
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder / ENCODER))
        self._assemble(encoder)
        self._network.load_state_dict(load_file(folder / WEIGHTS))
        return self

    def _build(self, texts: Sequence[str]) -> None:
        """Load the encoder and give it markers and head."""
        from .networks.transformer import begin_rows, set_attention_dropout

        name = str(self._config["encoder"])
        self._format = str(self._config["number_format"])
        if self._format == "auto":
            self._format = measured_format(self._context.features, self._context.device)
        self._tokenizer, encoder = load_encoder(name)
        self._markers = add_markers(self._tokenizer, texts)
        if len(self._tokenizer) > encoder.get_input_embeddings().num_embeddings:
            encoder.resize_token_embeddings(len(self._tokenizer), mean_resizing=False)
        if self._markers:
            words = [self._tokenizer(words, add_special_tokens=False)["input_ids"] for words in MARKER_WORDS]
            begin_rows(encoder.get_input_embeddings(), self._markers, words)
        set_attention_dropout(encoder, float(self._config["attention_dropout"]))
        self._assemble(encoder)

    def _assemble(self, encoder: Any) -> None:
        from .networks.heads import head_of
        from .networks.transformer import TextClassifier

        head = head_of(self._config, encoder, len(self._context.task.labels), self._markers[::2])
        self._network = TextClassifier(encoder.float(), head).to(self._context.device)
        wanted, most = int(self._config["max_length"]), window(self._tokenizer, encoder)
        self._note(*beyond_window(wanted, most))
        start, end = frame_of(self._tokenizer)
        if not start and not end:  # an empty text needs a token to be read
            end = [self._pad if self._tokenizer.eos_token_id is None else self._tokenizer.eos_token_id]
        self._layout = Layout(start, end, min(wanted, most), str(self._config["truncation"]), self._markers)

    @property
    def _pad(self) -> int:
        return pad_id(self._tokenizer, self._network.encoder)

    @property
    def _trained_in(self) -> str:
        return "bf16" if self._format == "bf16" else "fp32"

    def _note(self, *notes: str) -> None:
        self.notes_ = tuple(dict.fromkeys((*self.notes_, *notes)))

    def _freeze(self) -> frozenset[str]:
        """Freeze what the settings say, the markers' rows apart; return the parameters that must not decay."""
        from .networks.adapters import add_adapters
        from .networks.transformer import freeze, train_rows

        config, network = self._config, self._network
        if rank := int(config["lora"]):
            self._adapters = add_adapters(network.encoder, rank, float(config["dropout"]))
        freeze(network.encoder, int(config["frozen_layers"]), bool(config["frozen_embeddings"]))
        table = network.encoder.get_input_embeddings()
        if not self._markers or table.weight.requires_grad:
            return frozenset()
        train_rows(table, self._markers)
        return frozenset(name for name, weight in network.named_parameters() if weight is table.weight)

    def _trainer(self, y: np.ndarray) -> Trainer:
        from .networks.transformer import rates_by_layer

        config, task = self._config, self._context.task
        network: TextClassifier = self._network
        undecayed = self._freeze()
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
            undecayed=undecayed,
            number_format=self._trained_in,
        )
        loss = loss_of(str(config["loss"]), task.kind, y, len(task.labels))
        return Trainer(network, loss, recipe, self._context.device, self._context.threads)

    def _judge(self, X: Any, y: Any, scorer: Scorer) -> Callable[[], float]:
        """Return what scores the network as it is on labelled rows, which are tokenised once."""
        held = self._data(X)
        return lambda: scorer(y, self._probabilities(held, len(X)))

    def _training_data(self, texts: Sequence[str], leads: Rows | None, y: np.ndarray, seed: int) -> TextData:
        tokens = self._tokens(texts)
        rows, owners = self._layout.rows(tokens, leads)
        synonyms = AUGMENTATIONS[str(self._config["augmentation"])]
        redraw = self._redraw(texts, tokens, leads, synonyms, seed) if synonyms else None
        return self._rows(rows, owners, targets=y, seed=seed, redraw=redraw)

    def _redraw(
        self, texts: Sequence[str], tokens: Rows, leads: Rows | None, synonyms: str, seed: int
    ) -> Callable[[int], tuple[Rows, np.ndarray]]:
        """Return what draws an epoch's texts; only those that it changes are tokenised anew."""
        from .augment import Eda

        eda = Eda(synonyms)

        def redraw(epoch: int) -> tuple[Rows, np.ndarray]:
            drawn = eda.draw(texts, np.random.default_rng([seed, epoch, len(texts)]))
            changed = [at for at, text in enumerate(drawn) if text is not texts[at]]
            rows = list(tokens)
            for at, ids in zip(changed, tokenise(self._tokenizer, [drawn[at] for at in changed]), strict=True):
                rows[at] = ids
            return self._layout.rows(Rows.of(rows), leads)

        return redraw

    def _data(self, X: Any) -> TextData:
        tokens = self._tokens(clean(str(self._config["cleaning"]), list(X)))
        return self._rows(*self._layout.rows(tokens, self._lead_tokens(X)))

    def _rows(self, rows: Rows, owners: np.ndarray, **more: Any) -> TextData:
        check_ids(str(self._config["encoder"]), rows.values, self._network.encoder)
        return TextData(rows, owners, self._pad, PART_TOKENS[self._context.device], **more)

    def _tokens(self, texts: Sequence[str]) -> Rows:
        return tokenise(self._tokenizer, texts, self._context.features)

    def _lead_tokens(self, X: Any) -> Rows | None:
        """Return the ids of the two entities' types and a separator, what every row of a pair begins with."""
        known = columns(X)
        if not (self._leads and set(PAIR_COLUMNS) <= set(known)):
            return None
        first, second = (known[name] for name in PAIR_COLUMNS)
        words = [f"{a} and {b}".replace("_", " ") for a, b in zip(first, second, strict=True)]
        separator = [] if self._tokenizer.sep_token_id is None else [self._tokenizer.sep_token_id]
        return Rows.of([[*ids, *separator] for ids in self._tokens(words)])

    def _probabilities(self, data: TextData, texts: int) -> np.ndarray:
        """Return (texts, labels) probabilities: those of a text's windows pooled."""
        # In int8 the rows of a batch share a scale: beside others a text would have another answer.
        network, batches = (self._network, data.all()) if self._quantised is None else (self._quantised, data.each())
        place = self._context
        logits = answers(network, data, batches, place.device, self._trained_in, self._asking, place.threads)
        self._note(*self._asking.notes)
        found = activated(logits, place.task.kind)
        if len(found) == texts:
            return found
        firsts = np.searchsorted(data.owners, np.arange(texts))
        if self._config["window_pooling"] == "max":
            pooled = np.maximum.reduceat(found, firsts)
        else:
            pooled = np.add.reduceat(found, firsts) / np.diff([*firsts, len(found)])[:, None]
        if place.task.kind == "multiclass":
            pooled /= pooled.sum(axis=1, keepdims=True)
        return pooled.astype(np.float32).clip(0, 1)


def quantised(network: Any) -> Any:
    """Return a copy of a network whose linear layers compute in int8: weights scaled once, activations as they come."""
    import torch

    return torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8)
