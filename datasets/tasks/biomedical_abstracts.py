"""Biomedical abstracts: which of four fields of medicine an article belongs to."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from ..core import FOLDS, Examples, Protocol, TaskCard, task
from ..fetch import RawFile, compare_counts, fetch
from ..published import table

if TYPE_CHECKING:
    import numpy as np

ARTICLES = RawFile(
    "biomedical-abstracts",
    "challenge_data-18-ago.csv",
    "https://raw.githubusercontent.com/JuanCSanchezH/AI-Biomedical-Classification-Challenge/"
    "6367ef67ee5abe846b4bb13a87e6b9ca2b35d124/input/challenge_data.csv",
    "9fabef27dadf78ca036d4defb8e7ba92c4ee78e2186721baf859cc93a994d9c0",
)

CARD = TaskCard(
    name="biomedical-abstracts",
    title="Biomedical abstracts by field",
    description=(
        "Which of four fields does a biomedical article belong to? Text: title, '. ', abstract; the title is kept "
        "beside it. Know the data before you trust a score: 2,086 of the 3,565 abstracts have fewer than 60 words, "
        "1,997 of those open with one of seven stock headings ('Hypothesis:', 'Research question:', 'Aim:', …), no "
        "longer one does, and they read as generated from templates."
    ),
    version=1,
    kind="multilabel",
    modality="text",
    # From the most to the least frequent.
    labels=("neurological", "cardiovascular", "hepatorenal", "oncological"),
    primary_metric="f1_weighted",
    group="near-identical title and abstract (TF-IDF cosine of 0.9 or more)",
    licence="not stated by the publisher",
    source=(
        "AI Biomedical Classification Challenge, as an entry to it republishes the data "
        "(github.com/JuanCSanchezH/AI-Biomedical-Classification-Challenge, input/challenge_data.csv)"
    ),
    citation="none known; name the challenge and the repository",
    counts={"examples": 3565, "groups": 3564},
    protocols={
        "": Protocol(
            description="70/10/20 by iterative stratification; near-identical articles stay together",
            split="8931b22449155eb6c51ae93dd84c8144a174929b0a2d3df579b7226d125e5343",
            fingerprint="f88cb4af9129b0c3afbfbeefb023381df04756ffd23e0aec56aa14652d077265",
        ),
        "published": Protocol(
            description=(
                "80/20 by iterative stratification of labels and pairs of labels, article by article: 2,852 and 713, "
                "with 1,014, 873, 1,428 and 481 articles of cardiovascular, hepatorenal, neurological and "
                "oncological in the 2,852, as in the original. The original drew it with scikit-multilearn's "
                "iterative_train_test_split, also over pairs of labels, from a seed that it does not state: the same "
                "method and counts, not the same articles. Validation fold: an eighth of the 2,852, cut in the same "
                "way; the original validated on its 713"
            ),
            split="ac5a2f5708b2e251ddd8da290d123f3ecd5a98367c2a8ac980e0037f825d352e",
            fingerprint="f88cb4af9129b0c3afbfbeefb023381df04756ffd23e0aec56aa14652d077265",
        ),
    },
)


@task(CARD, sources=lambda: (fetch(ARTICLES),))
def read(protocol: str) -> Examples:
    """Read the articles in file order; an id is the number of the article in the file, from 1."""
    import numpy as np

    from ..near import near_identical_groups

    rows = list(table(fetch(ARTICLES), ("title", "abstract", "group"), separator=";"))
    texts = [f"{row.text('title')}. {row.text('abstract')}" for row in rows]
    held = [row.known("group", row.text("group").split("|"), CARD.labels) for row in rows]
    targets = np.array([[label in each for label in CARD.labels] for each in held], dtype=np.uint8)
    groups = near_identical_groups(texts)
    examples = Examples(
        ids=np.array([f"article-{number}" for number in range(1, len(rows) + 1)], dtype=object),
        inputs=np.array(texts, dtype=object),
        targets=targets,
        groups=groups,
        columns={"title": np.array([row.cells["title"] for row in rows], dtype=object)},
        folds=_published_folds(targets, groups) if protocol else None,
    )
    compare_counts(CARD, {"examples": len(examples), "groups": int(groups.max()) + 1})
    return examples


def _published_folds(targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return (n,) folds: the test fold dealt row by row, as the original did, the validation fold by groups.

    Pairs of labels are stratified as labels of their own: iterative stratification of the second order
    (Szymański, Kajdanowicz 2017, "A Network Perspective on Stratification of Multi-Label Data", PMLR 74).
    """
    import numpy as np

    from ..folds import grouped_iterative_split

    pairs = [targets[:, one] & targets[:, other] for one, other in combinations(range(targets.shape[1]), 2)]
    wanted = np.column_stack([targets, *pairs])
    held_out = grouped_iterative_split(wanted, np.arange(len(targets)), (0.8, 0.2)) == 1
    rest = np.flatnonzero(~held_out)
    folds = np.where(held_out, FOLDS.index("test"), FOLDS.index("train"))
    folds[rest] = grouped_iterative_split(wanted[rest], groups[rest], (7 / 8, 1 / 8))
    return folds
