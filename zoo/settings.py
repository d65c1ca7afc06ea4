"""What the settings of the zoo's own models mean, by name, and the numbers that they take."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from types import MappingProxyType

ABOVE_ZERO = sys.float_info.min

LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "C": (1e-6, 1_000_000),
        **dict.fromkeys(("layer_decay", "terms_per_tree"), (ABOVE_ZERO, 1)),
        **dict.fromkeys(("head_rate", "learning_rate"), (ABOVE_ZERO, 1e38)),  # beyond, no float32
        **dict.fromkeys(("bigrams", "vocabulary"), (0, 10_000_000)),
        **dict.fromkeys(("frozen_layers", "lora"), (0, 1_000)),
        "letters": (0, 20),
        "max_length": (0, 1_000_000),
        "patience": (0, 100_000),
        "warmup": (0, 1_000_000),
        "weight_decay": (0, 100),
        **dict.fromkeys(("accumulation", "batch_size", "epochs", "trees"), (1, 100_000)),
        "layers": (1, 100),
        "clip": (0, 1e9),
        "cycles": (1, 1_000),
        "gpus": (1, 64),
        "size": (64, 4_096),
        **dict.fromkeys(("embedding", "filters", "units"), (1, 100_000)),
        **dict.fromkeys(("min_count", "min_df", "min_samples_leaf", "rows_per_leaf"), (1, 1_000_000)),
        **dict.fromkeys(("ngrams", "shortest"), (1, 20)),
        "folds": (2, 100),
        "leaves": (2, 131_072),  # LightGBM's own limit
        **dict.fromkeys(("attention_dropout", "dropout", "embedding_dropout"), (0, 0.99)),
        "max_features": (0, 1),
    }
)
"""The lowest and the highest value that a setting of that name can have: beyond, it means nothing or never ends."""

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        # Words.
        "cleaning": "What is done to a text before anything else",
        "vectorizer": "What is counted of a term: TF-IDF, or how often it stands in the text",
        "preprocessing": "What is done to the words: as they are, or lemmas and stems by NLTK or spaCy. @nltk needs "
        "NLTK's corpora, which it downloads (of these WordNet may be Debian's wordnet-base); spacy needs "
        "en_core_web_sm; the other two need no download",
        "ngrams": "Terms are of one to this many words",
        "min_df": "Training texts that a term stands in at least",
        "shortest": "Letters of a word at least; scikit-learn's own default is 2",
        "sublinear_tf": "TF-IDF of 1 + log(count) instead of the count",
        "pair": "Take features of the two marked entities beside the words; other texts do not change",
        "letters": "Groups of 3 to this many letters within a word stand beside the terms; 0: none",
        "medical_features": "System 1's counts of medical terms stand beside the terms",
        # Linear models and trees.
        "C": "Inverse strength of the L2 penalty",
        "balanced": "Rows of a rare label weigh more, by the training fold",
        "solver": "scikit-learn's optimiser of logistic regression",
        "folds": "Parts of the training fold whose out-of-fold values calibrate the probabilities",
        "alpha": "Smoothing of the counts",
        "norm": "Scale each label's weights to the sum 1",
        "weight": "Length of an embedding beside a row of TF-IDF, which has length 1",
        "standardise": "Scale each dimension to mean 0 and deviation 1, by the training fold",
        "trees": "Trees of the ensemble",
        "leaves": "Leaves of a tree at most",
        "rows_per_leaf": "Training rows in a leaf at least",
        "min_samples_leaf": "Training rows in a leaf at least",
        "terms_per_tree": "Share of the terms that a tree sees",
        "max_features": "Share of the features that a split looks at; 0: the square root of their number",
        # Encoders.
        "encoder": "The packaged MiniLM, a folder of save_pretrained, or a hub id",
        "pooling": "What of the tokens' states becomes the text's vector",
        "max_length": "Tokens or words that are read of a text at most (an encoder: its window)",
        "number_format": "What products are computed in; auto: the faster of fp32 and bf16, measured here once",
        # Fine-tuning.
        "truncation": "What is read of a text longer than max_length",
        "window_pooling": "How the answers of a text's windows become one",
        "pair_types": "The two entities' types are read with the text, where the task knows them",
        "augmentation": "How training rows are drawn anew each epoch: texts with synonyms of the medical list or of "
        "WordNet, images turned, shifted and lit otherwise",
        "head": "Layers on the encoder: linear, system 1's two, or the starts of two marked entities (R-BERT)",
        "attention": "head=improved has its attention over the tokens",
        "attention_dropout": "Dropout of the encoder's attention weights",
        "loss": "plain, or with rare labels weighing more, focal, or asymmetric",
        "accumulation": "Batches whose gradients make one step",
        "head_rate": "The head's learning rate over the encoder's",
        "layer_decay": "A layer's learning rate over that of the layer above",
        "warmup": "Steps of rising learning rate: below 1 their share, else their number",
        "frozen_layers": "Lowest layers of the encoder that do not train",
        "frozen_embeddings": "The encoder's embeddings do not train",
        "lora": "Rank of low-rank adapters, trained instead of the encoder's weights; 0: none",
        "compile": "Compile the network with torch.compile",
        # Images.
        "weights": "Where the network begins: as trained elsewhere, at random (none), or a safetensors file",
        "gpus": "GPUs that a training step is dealt to, through accelerate",
        "size": "Pixels of a side that an image is read at",
        "tabular": "What is known beside the image (age, sex, view) is read too",
        "levels": "Stages of the backbone that the feature pyramid joins; none: the last one, pooled",
        "backbone": "The network before the last layer",
        "balance": "How often training rows are read: once each, or balanced as published for chest X-rays",
        "cycles": "Rounds of epochs; loss=published raises the weights of weak labels in the third",
        "optimizer": "What takes the steps",
        "schedule": "How the learning rate falls",
        "checkpoint": "By what the best epoch is chosen: the task's metric, or macro-F1",
        "memory_layout": "Order of an image's numbers in memory; auto: the fastest, measured here once",
        # Networks and their training.
        "vocabulary": "Most frequent words of the training fold that are known; 0: all",
        "min_count": "Times that a known word stands in the training fold at least",
        "padding": "buckets: texts of like length share a batch; longest: all are padded to the longest",
        "bigrams": "Hash buckets for pairs of neighbouring words; 0: none",
        "embedding": "Dimensions of a word's vector",
        "filters": "Filters of each width",
        "layers": "Hidden layers",
        "units": "Units of a layer (of a recurrent network: of each direction)",
        "dropout": "Share of the inputs of the last layer that a training step drops",
        "embedding_dropout": "Share of the words' vectors that a training step drops",
        "learning_rate": "Size of a step, after warm-up",
        "clip": "The norm that gradients are clipped to; 0: as they are",
        "weight_decay": "AdamW's pull of weights to zero",
        "batch_size": "Rows of a training step",
        "epochs": "Times that the training fold is read at most (images: in each cycle)",
        "patience": "Epochs without a better validation fold before training stops; 0: it never does",
        "monitor": "What early stopping watches on the validation fold: the task's metric, or the loss",
        "class_weight": "balanced: rows of rare classes, positives of rare labels weigh more",
        "backend": "Keras's engine",
    }
)
"""What a setting of that name does, in a sentence."""


def within(low: float, high: float) -> str:
    """Return the words for a number from `low` to `high`."""
    least = "more than 0" if low == ABOVE_ZERO else f"{low:,} or more"
    if high == math.inf:
        return least
    return f"more than 0, up to {high:,}" if low == ABOVE_ZERO else f"from {low:,} to {high:,}"
