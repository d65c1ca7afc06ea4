"""Movie genres from plots: the 24 genres of 7,895 films, and the 37 characters that one published system predicted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..core import FOLDS, Examples, Protocol, TaskCard, task
from ..fetch import RawFile, compare_counts, fetch
from ..published import table
from ..support.errors import UserError

if TYPE_CHECKING:
    import numpy as np

_ADDRESS = (
    "https://raw.githubusercontent.com/albahnsen/MIAD_ML_and_NLP/9d748f56560253f3b3a7889b5b93c3ddb53c0f21/datasets/"
)
TRAINING = RawFile(
    "movie-genres",
    "dataTraining.zip",
    _ADDRESS + "dataTraining.zip",
    "d217985a0aedcf17c6a4519582352bba8beb58d9c4186408b11950c4939f1ba6",
)
TESTING = RawFile(
    "movie-genres",
    "dataTesting.zip",
    _ADDRESS + "dataTesting.zip",
    "54d3040773a092eed06f01cf55da61551cd9ab466ac6e766b366e4b8e28592cc",
)
_CHARACTERS = "published-characters"
_BLANK = "space"

CARD = TaskCard(
    name="movie-genres",
    title="Movie genres from plots",
    description=(
        "Which genres does a film have, given its plot? Text: the plot, in lower case as published; title and year "
        "are kept beside it. The films of the course's own test file have no published labels: "
        "`movie_genres.unlabelled()` reads them."
    ),
    version=1,
    kind="multilabel",
    modality="text",
    # From the most to the least frequent over all labelled films.
    labels=(
        "Drama",
        "Comedy",
        "Thriller",
        "Romance",
        "Crime",
        "Action",
        "Adventure",
        "Horror",
        "Mystery",
        "Sci-Fi",
        "Fantasy",
        "Family",
        "Documentary",
        "Biography",
        "War",
        "Music",
        "History",
        "Musical",
        "Sport",
        "Animation",
        "Western",
        "Film-Noir",
        "Short",
        "News",
    ),
    primary_metric="roc_auc_macro",
    group="near-identical plot (TF-IDF cosine of 0.9 or more)",
    licence="not stated by the publisher; published for teaching",
    source=(
        "Course MIAD Machine Learning and NLP, Universidad de los Andes (github.com/albahnsen/MIAD_ML_and_NLP, "
        "datasets/dataTraining.zip), which thanks the makers of MM-IMDb for the data"
    ),
    citation=(
        "Arevalo J, Solorio T, Montes-y-Gómez M, González FA. Gated Multimodal Units for Information Fusion. "
        "ICLR 2017 workshop. arXiv:1702.01992"
    ),
    counts={"examples": 7895, "groups": 7894},
    protocols={
        "": Protocol(
            description="70/10/20 by iterative stratification; near-identical plots stay together",
            split="3359b200e8b23e67f521cecb07390440918fc34f5eb94ed8c40b7aab2d473470",
            fingerprint="906456256db030414a587939a757d13ad60277dff88f3154a332c1dce6fd1db9",
        ),
        "published": Protocol(
            description=(
                "Test fold: the 20 % (1,579 films) that scikit-learn's train_test_split(test_size=0.2, "
                "random_state=42) takes of the films in file order. Validation fold: an eighth of the other 6,316, "
                "by iterative stratification over groups; the original validated on its test fold"
            ),
            split="fb1463f69bc71320d1efff64d236a830ca3b4dd9cba9a4d0f4efe12b21f184eb",
            fingerprint="906456256db030414a587939a757d13ad60277dff88f3154a332c1dce6fd1db9",
        ),
        _CHARACTERS: Protocol(
            description=(
                "The folds of @published with other labels: the 37 characters of the cell that lists the genres, "
                "such as ['Short', 'Drama'], brackets, quotes and the blank among them. The original's printed code "
                "binarised that string in place of the list, so its figures are about these labels; three of them "
                "stand in every row"
            ),
            split="fb1463f69bc71320d1efff64d236a830ca3b4dd9cba9a4d0f4efe12b21f184eb",
            fingerprint="e2481e895aa32340427c8fe44feb4e05d9871a1a68c59b85417c3e367540fb9b",
            labels=(*"'[]mr,", "space", *"eoayinDcCtdlhsTARuFMHSv-pWBgNw"),
        ),
    },
)


class Film(NamedTuple):
    """One film: its id in the file, title, year (NaN if unknown), plot, and the cell that lists its genres."""

    id: str
    title: str
    year: float
    plot: str
    genres: str = ""


@task(CARD, sources=lambda: (fetch(TRAINING),))
def read(protocol: str) -> Examples:
    """Read the labelled films in file order."""
    import numpy as np

    from ..near import near_identical_groups

    found = list(labelled(fetch(TRAINING)))
    plots = [film.plot for film, _ in found]
    labels = CARD.under(protocol).labels
    groups = near_identical_groups(plots)
    genres = _one_hot([held for _, held in found], CARD.labels)
    characters = [_characters(film.genres) for film, _ in found]
    examples = Examples(
        ids=np.array([film.id for film, _ in found], dtype=object),
        inputs=np.array(plots, dtype=object),
        targets=_one_hot(characters, labels) if protocol == _CHARACTERS else genres,
        groups=groups,
        columns={
            "title": np.array([film.title for film, _ in found], dtype=object),
            "year": np.array([film.year for film, _ in found], dtype=float),
        },
        folds=_published_folds(genres, groups) if protocol else None,
    )
    compare_counts(CARD, {"examples": len(examples), "groups": int(groups.max()) + 1})
    return examples


def labelled(path: Path) -> Iterator[tuple[Film, tuple[str, ...]]]:
    """Yield the films of the training file at `path` with their genres.

    Raises
    ------
    UserError
        If the file or a cell is not what it should be; the message names file, line and column.
    """
    for row in table(path, ("", "year", "title", "plot", "genres"), key=""):
        film = Film(row.text(""), row.text("title"), row.number("year"), row.text("plot"), row.cells["genres"])
        yield film, row.known("genres", row.strings("genres"), CARD.labels)


def unlabelled() -> Iterator[Film]:
    """Yield the films whose genres were never published, in file order: for predictions, not for scores.

    Raises
    ------
    UserError
        If the file is missing, or it or a cell is not what it should be.
    """
    for row in table(fetch(TESTING), ("", "year", "title", "plot"), key=""):
        yield Film(row.text(""), row.text("title"), row.number("year"), row.text("plot"))


def _characters(genres: str) -> set[str]:
    return {_BLANK if character == " " else character for character in genres}


def _one_hot(held: Sequence[Collection[str]], labels: Sequence[str]) -> np.ndarray:
    import numpy as np

    return np.array([[label in each for label in labels] for each in held], dtype=np.uint8)


def _published_folds(genres: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return (n,) folds: the test fold dealt row by row, as the original did, the validation fold by groups."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    from ..folds import grouped_iterative_split

    if len(genres) < 2:
        raise UserError(f"task {CARD.name}: one film makes no two folds")
    rest, _ = train_test_split(np.arange(len(genres)), test_size=0.2, random_state=42)
    folds = np.full(len(genres), FOLDS.index("test"))
    folds[rest] = grouped_iterative_split(genres[rest], groups[rest], (7 / 8, 1 / 8))
    return folds
