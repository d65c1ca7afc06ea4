"""Fine-tuned transformers: one builder, the encoders that the field begins with, and the published recipes."""

from __future__ import annotations

from typing import Any

from ...datasets.support.errors import UserError
from ..core import Choice, Config, Context, Model, ModelCard, Range, Scalar, model
from ..text import ENCODER_CHOICES, ENCODER_LIMITS, check_encoder

_DEFAULT: dict[str, Scalar] = {
    "encoder": "",
    "max_length": 256,
    "truncation": "head",
    "window_pooling": "mean",
    "pair_types": True,
    "cleaning": "none",
    "augmentation": "none",
    "head": "linear",
    "pooling": "mean",
    "attention": True,
    "dropout": 0.1,
    # Of the attention weights: without it, a training step of MiniLM took 27 % less of the CPU (torch's fused
    # attention has none there). The published recipes keep BERT's 0.1.
    "attention_dropout": 0.0,
    "loss": "balanced",
    "epochs": 4,
    "batch_size": 16,
    "accumulation": 1,
    "learning_rate": 3e-5,
    # A head starts at random and an encoder does not: ten times its rate.
    "head_rate": 10.0,
    "layer_decay": 1.0,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "patience": 2,
    "frozen_layers": 0,
    "frozen_embeddings": False,
    "lora": 0,
    "compile": False,
    # What products are computed in. auto: bf16 or fp32, whichever was measured faster on the device; int8 trains in
    # fp32 and answers in int8, on a CPU, one text at a time.
    "number_format": "auto",
}

_CHOICES: dict[str, tuple[Scalar, ...]] = {
    **ENCODER_CHOICES,
    "head": ("linear", "improved-printed", "improved", "entities"),
    "pooling": ("cls", "mean", "attention", "pooler"),
    "loss": ("plain", "balanced", "focal", "asymmetric"),
    "truncation": ("head", "head-tail", "windows", "entities"),
    "window_pooling": ("mean", "max"),
    "augmentation": ("none", "eda", "eda-wordnet"),
}

# System 1 (challenge report of 2025, table 9). Batch size and length are not published; cleaning, augmentation and
# the weights of the loss are.
_SYSTEM_1: dict[str, Scalar] = {
    "head": "improved",
    "pooling": "cls",
    "cleaning": "biomedical",
    "augmentation": "eda",
    "loss": "balanced",
    "attention_dropout": 0.1,
    "head_rate": 1.0,
}


def _regularised(epochs: int, dropout: float, attention: bool, rate: float, **more: Scalar) -> dict[str, Scalar]:
    return {
        **_SYSTEM_1, "epochs": epochs, "dropout": dropout, "attention": attention, "learning_rate": rate, **more
    }  # fmt: skip


_PRESETS: dict[str, dict[str, Scalar]] = {
    "conservative": _regularised(3, 0.20, True, 2e-5, weight_decay=0.01, accumulation=2, patience=3),
    "moderate": _regularised(4, 0.30, True, 1.5e-5, weight_decay=0.02, accumulation=3, patience=2),
    "aggressive": _regularised(3, 0.40, False, 1e-5, weight_decay=0.03, accumulation=4, patience=1),
    "ensemble": _regularised(4, 0.25, True, 2.5e-5, weight_decay=0.015, accumulation=2, patience=2),
    # System 5: a guide to fine-tuning BioBERT; its early stopping only chooses the checkpoint.
    "guide": {
        "max_length": 128,
        "pooling": "pooler",
        "attention_dropout": 0.1,
        "loss": "balanced",
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 2e-5,
        "head_rate": 1.0,
        "weight_decay": 0.01,
        "warmup": 500.0,
        "patience": 4,
    },
    "pairs": {"head": "entities", "pooling": "cls", "truncation": "entities", "max_length": 128, "loss": "plain"},
    "int8": {"number_format": "int8"},
    "lora": {"lora": 8, "learning_rate": 5e-4, "head_rate": 2.0},
    "plain": {"pooling": "cls", "loss": "plain", "head_rate": 1.0, "attention_dropout": 0.1},
}


def _check(config: Config) -> None:
    check_encoder(config)
    if config["head"] != "improved" and not config["attention"]:
        raise UserError(f"attention=false has no effect with head={config['head']}: only head=improved has that layer")
    if config["lora"] and config["frozen_embeddings"]:
        raise UserError("frozen_embeddings has no effect with lora: its embeddings never train")


def _finetuned(name: str, encoder: str, title: str, citation: str, **changes: Scalar) -> Model:
    card = ModelCard(
        name=name,
        title=f"{title}, fine-tuned",
        description=f"{encoder} trained with its head: AdamW, linear warm-up and decay, gradients clipped at norm 1, "
        "early stopping on the task's metric with the best epoch's weights kept.",
        modality="text",
        framework="torch",
        citation=citation,
        default={**_DEFAULT, "encoder": encoder, **changes},
        presets=_PRESETS,
        space={
            "learning_rate": Range(1e-5, 3e-4, log=True),
            "dropout": Range(0.0, 0.5),
            "loss": Choice(("plain", "balanced", "focal")),
            "head": Choice(("linear", "improved")),
            "attention": Choice((True, False), when={"head": ("improved",)}),
            "pooling": Choice(_CHOICES["pooling"]),
            "layer_decay": Range(0.7, 1.0, when={"lora": (0,)}),
        },
        folders=("encoder",),
        choices=_CHOICES,
        check=_check,
        limits=ENCODER_LIMITS,
        requires=("torch", "transformers"),
        extra="torch",
    )

    @model(card)
    def build(config: Config, context: Context) -> Any:
        from ..finetune import FineTuned

        return FineTuned(config, context)

    return build


# Small networks take higher rates: with MiniLM's 22 M weights 1e-4 is as stable as 3e-5 with BERT's 110 M.
MINILM = _finetuned(
    "minilm", "packaged-minilm", "MiniLM", "Wang et al. 2020, https://arxiv.org/abs/2002.10957", learning_rate=1e-4
)
BERT = _finetuned("bert", "bert-base-uncased", "BERT", "Devlin et al. 2019, https://arxiv.org/abs/1810.04805")
BIOBERT = _finetuned("biobert", "dmis-lab/biobert-v1.1", "BioBERT", "Lee et al. 2020, https://arxiv.org/abs/1901.08746")
PUBMEDBERT = _finetuned(
    "pubmedbert",
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
    "BiomedBERT (PubMedBERT)",
    "Gu et al. 2021, https://arxiv.org/abs/2007.15779",
)
DISTILBERT = _finetuned(
    "distilbert", "distilbert-base-uncased", "DistilBERT", "Sanh et al. 2019, https://arxiv.org/abs/1910.01108"
)
MODERNBERT = _finetuned(
    "modernbert", "answerdotai/ModernBERT-base", "ModernBERT", "Warner et al. 2024, https://arxiv.org/abs/2412.13663"
)
