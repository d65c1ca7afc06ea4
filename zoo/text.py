"""Shared blocks and settings of the text models; importing this imports no framework."""

from __future__ import annotations

from typing import Any

from ..datasets.support.errors import UserError
from .core import Config, Context, Scalar
from .pretrained import local_folder

LETTERS = 3
ENCODER: dict[str, Scalar] = {
    "encoder": "packaged-minilm",
    "pooling": "mean",
    "max_length": 256,
    "cleaning": "none",
    "number_format": "auto",
}
"""Settings of `encoders.frozen_encoder`; `settings.MEANINGS` says what each does. int8 gives other vectors."""

CLEANINGS = ("none", "biomedical", "clinical", "clinical-ner")
ENCODER_CHOICES: dict[str, tuple[Scalar, ...]] = {
    "pooling": ("mean", "cls", "max"),
    "cleaning": CLEANINGS,
    "number_format": ("auto", "fp32", "bf16", "int8"),
}
ENCODER_LIMITS = {"max_length": (3, 1_000_000)}
"""Two tokens of a text are the encoder's own."""

ENCODERS: dict[str, Config] = {
    "bert": {"encoder": "bert-base-uncased", "max_length": 512},
    "biobert": {"encoder": "dmis-lab/biobert-v1.1", "max_length": 512},
    "pubmedbert": {"encoder": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract", "max_length": 512},
    "int8": {"number_format": "int8"},
}
"""Presets of every model on a frozen encoder; "bert" is the published one of system 4's grid."""

TFIDF: dict[str, Scalar] = {
    "vectorizer": "tfidf",
    "preprocessing": "plain",
    "cleaning": "none",
    "ngrams": 2,
    "min_df": 2,
    "shortest": 1,
    "sublinear_tf": True,
    "pair": True,
    "letters": 0,
    "medical_features": False,
}
"""Settings of `tfidf`, with its defaults: words and pairs of words that at least two training texts hold.

`settings.MEANINGS` says what each does; words of one letter keep "T cell" and "S1 wave".
"""

TFIDF_CHOICES: dict[str, tuple[Scalar, ...]] = {
    "vectorizer": ("tfidf", "counts"),
    "preprocessing": ("plain", "nltk", "nltk-offline", "spacy", "spacy-lookup"),
    "cleaning": CLEANINGS,
}

_GRID: dict[str, Scalar] = {"vectorizer": "counts", "ngrams": 1, "min_df": 1, "shortest": 2}

BAGS: dict[str, Config] = {
    "counts": {"vectorizer": "counts"},
    "biomedical": {"cleaning": "biomedical", "medical_features": True},
}
"""Presets of every bag of words: counts; the cleaning and the features of the published biomedical system."""

PUBLISHED: dict[str, dict[str, Scalar]] = {
    name: {**_GRID, "preprocessing": name} for name in ("nltk", "spacy", "nltk-offline", "spacy-lookup")
}
"""Presets of the published movie-genre grid: scikit-learn's CountVectorizer as it comes, on words that NLTK or spaCy
prepared, and the two stand-ins that need no download."""


def check_encoder(config: Config) -> None:
    """Refuse a local encoder that is not there or holds no model; a hub id is looked for when its cell runs."""
    local_folder(str(config["encoder"]))


def check_bag(config: Config) -> None:
    """Refuse groups of letters that are too short for a group."""
    if 0 < int(config["letters"]) < LETTERS:
        raise UserError(f"letters={config['letters']}: groups are of {LETTERS} letters or more; 0 takes none")


def tfidf(config: Config, context: Context) -> Any:
    """Return the vectoriser that the settings of `TFIDF` describe: (n,) texts to an (n, terms) sparse matrix."""
    from sklearn.pipeline import make_pipeline, make_union

    from .medical_features import MedicalFeatures
    from .preprocessing import Preprocessor

    cleaning, preprocessing = str(config["cleaning"]), str(config["preprocessing"])
    blocks = [(preprocessing, _bag(config))]
    if config["letters"]:
        blocks.append((preprocessing, _letters(config)))
    if config["medical_features"]:
        blocks.append(("plain", MedicalFeatures()))  # it counts capitals too: no words that something was done to

    def prepared(how: str, block: Any) -> Any:
        if (cleaning, how) == ("none", "plain"):
            return block
        return make_pipeline(Preprocessor(cleaning, how, context.threads, context.features), block)

    steps = [prepared(*each) for each in blocks]
    return make_union(*steps) if len(steps) > 1 else steps[0]


def _bag(config: Config) -> Any:
    from .vectorizers import Counts, PairCounts, PairTfidf, Tfidf

    terms: dict[str, Any] = {
        "ngram_range": (1, int(config["ngrams"])),
        "min_df": int(config["min_df"]),
        "token_pattern": rf"(?u)\b\w{{{int(config['shortest'])},}}\b",
    }
    name, pair = str(config["vectorizer"]), bool(config["pair"])
    if name == "counts":
        return (PairCounts if pair else Counts)(**terms)
    terms |= {"sublinear_tf": bool(config["sublinear_tf"]), "norm": None if pair else "l2"}
    return (PairTfidf if pair else Tfidf)(**terms)


def _letters(config: Config) -> Any:
    from .vectorizers import Counts, Tfidf

    terms: dict[str, Any] = {
        "analyzer": "char_wb",
        "ngram_range": (LETTERS, int(config["letters"])),
        "min_df": int(config["min_df"]),
    }
    if config["vectorizer"] == "counts":
        return Counts(**terms)
    return Tfidf(**terms, sublinear_tf=bool(config["sublinear_tf"]))
