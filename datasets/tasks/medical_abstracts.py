"""Medical Abstracts TC: which of five kinds of condition an abstract is about, one label each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..core import FOLDS, Examples, Protocol, TaskCard, task
from ..fetch import RawFile, compare_counts, fetch
from ..published import table

if TYPE_CHECKING:
    import numpy as np

_ADDRESS = (
    "https://raw.githubusercontent.com/sebischair/Medical-Abstracts-TC-Corpus/70a2d9106c724729be8b3c4ddb00d1b14ec300c8/"
)
TRAINING = RawFile(
    "medical-abstracts",
    "medical_tc_train.csv",
    _ADDRESS + "medical_tc_train.csv",
    "ad53aebc682d6b87a5647f619a079bb446d286fdc93bf0159b812418f5758609",
)
TEST = RawFile(
    "medical-abstracts",
    "medical_tc_test.csv",
    _ADDRESS + "medical_tc_test.csv",
    "1eecea73c9ecad292c55e10403bd139fab9580545d6878482997c5564d51ac05",
)
CONDITIONS = RawFile(
    "medical-abstracts",
    "medical_tc_labels.csv",
    _ADDRESS + "medical_tc_labels.csv",
    "8a27ae03339c798103678efa8012f744a723ff71a80f2b2c1355ee249564adc5",
)
_REASON = (
    "the corpus lists an abstract once for each condition that it has, and its own split, which is kept so that "
    "scores can be compared, deals these rows one by one"
)

CARD = TaskCard(
    name="medical-abstracts",
    title="Medical abstracts by condition",
    description=(
        "Which of five kinds of condition is an abstract about? Text: the abstract. One label each, but the corpus "
        "repeats an abstract that has several conditions, once under each: no model can answer both rows right, "
        "and the test part holds abstracts of the training part under another label. The score on the unseen "
        "test abstracts stands beside the score on all."
    ),
    version=1,
    kind="multiclass",
    modality="text",
    # In the order of the corpus's own list.
    labels=(
        "neoplasms",
        "digestive system diseases",
        "nervous system diseases",
        "cardiovascular diseases",
        "general pathological conditions",
    ),
    primary_metric="f1_macro",
    group="near-identical abstract (TF-IDF cosine of 0.9 or more)",
    licence="CC BY-SA 3.0",
    source="Medical Abstracts TC Corpus (github.com/sebischair/Medical-Abstracts-TC-Corpus)",
    citation=(
        "Schopf T, Braun D, Matthes F. Evaluating Unsupervised Text Classification: Zero-Shot and Similarity-Based "
        "Approaches. Proceedings of the 2022 6th International Conference on Natural Language Processing and "
        "Information Retrieval (NLPIR '22). 2023:6-15. doi:10.1145/3582768.3582795"
    ),
    counts={"examples": 14438, "training rows": 11550, "test rows": 2888},
    protocols={
        "": Protocol(
            description=(
                "Test fold: the corpus's own test part. Validation fold: an eighth of its training part, by "
                "iterative stratification over groups of near-identical abstracts"
            ),
            leaks={"group": _REASON, "exact": _REASON, "near": _REASON},
        )
    },
)


class Abstract(NamedTuple):
    """One row of the corpus: its id (part and number of the row, from 1), its text, and its class number."""

    id: str
    text: str
    condition: int


@task(CARD, sources=lambda: (fetch(TRAINING), fetch(TEST), fetch(CONDITIONS)))
def read() -> Examples:
    """Read the training part, then the test part, each in file order."""
    import numpy as np

    from ..near import near_identical_groups

    numbers = conditions(fetch(CONDITIONS))
    train = list(abstracts(fetch(TRAINING), "train", numbers))
    test = list(abstracts(fetch(TEST), "test", numbers))
    both = [*train, *test]
    texts = [abstract.text for abstract in both]
    targets = np.array([abstract.condition for abstract in both], dtype=np.int64)
    groups = near_identical_groups(texts)
    examples = Examples(
        ids=np.array([abstract.id for abstract in both], dtype=object),
        inputs=np.array(texts, dtype=object),
        targets=targets,
        groups=groups,
        folds=_folds(targets, groups, len(train)),
    )
    compare_counts(CARD, {"training rows": len(train), "test rows": len(test)})
    return examples


def conditions(path: Path) -> dict[str, int]:
    """Return the class number of each condition's number in the corpus, as the file at `path` names them.

    Raises
    ------
    UserError
        If the file is not what it should be, or names a condition that the card does not.
    """
    numbers: dict[str, int] = {}
    for row in table(path, ("condition_label", "condition_name"), key="condition_label"):
        (name,) = row.known("condition_name", [row.cells["condition_name"]], CARD.labels)
        numbers[row.cells["condition_label"]] = CARD.labels.index(name)
    return numbers


def abstracts(path: Path, part: str, numbers: dict[str, int]) -> Iterator[Abstract]:
    """Yield the rows of one part of the corpus; `numbers` is what `conditions` returns.

    Raises
    ------
    UserError
        If the file or a cell is not what it should be; the message names file, line and column.
    """
    for count, row in enumerate(table(path, ("condition_label", "medical_abstract")), 1):
        (number,) = row.known("condition_label", [row.text("condition_label")], tuple(numbers))
        yield Abstract(f"{part}-{count}", row.text("medical_abstract"), numbers[number])


def _folds(targets: np.ndarray, groups: np.ndarray, trained: int) -> np.ndarray:
    """Return (n,) folds: the first `trained` rows are the training part, of which the validation fold is cut."""
    import numpy as np

    from ..folds import grouped_iterative_split

    folds = np.full(len(targets), FOLDS.index("test"))
    folds[:trained] = grouped_iterative_split(targets[:trained], groups[:trained], (7 / 8, 1 / 8))
    return folds
