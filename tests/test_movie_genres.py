"""Movie genres: the published files, the folds of each protocol, and files that are not what they should be."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from zoobench.datasets import folds
from zoobench.datasets.core import TASKS, Examples
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.files import sha256_file
from zoobench.datasets.tasks import movie_genres

CARD = movie_genres.CARD
COUNTS = {
    **{"Drama": 3965, "Comedy": 3046, "Thriller": 2024, "Romance": 1892, "Crime": 1447, "Action": 1303},
    **{"Adventure": 1024, "Horror": 954, "Mystery": 759, "Sci-Fi": 723, "Fantasy": 707, "Family": 682},
    **{"Documentary": 419, "Biography": 373, "War": 348, "Music": 341, "History": 273, "Musical": 271},
    **{"Sport": 261, "Animation": 260, "Western": 237, "Film-Noir": 168, "Short": 92, "News": 7},
}


def read(protocol: str = "") -> Examples:
    return read_from(os.environ["ZOOBENCH_DATA"], protocol)


@cache
def read_from(folder: str, protocol: str) -> Examples:
    """Read once for all tests; `folder` is where the task looks for its file."""
    return TASKS.get("movie-genres").read(protocol)


def test_published_files(real_data: Path) -> None:
    for file in (movie_genres.TRAINING, movie_genres.TESTING):
        assert sha256_file(real_data / file.folder / file.name) == file.sha256
    examples = read()
    examples.check_against(CARD)
    assert len(examples) == CARD.counts["examples"] == 7895
    assert dict(zip(CARD.labels, examples.targets.sum(axis=0).tolist(), strict=True)) == COUNTS
    assert list(CARD.labels) == sorted(COUNTS, key=lambda genre: (-COUNTS[genre], genre))
    assert (examples.targets.sum(axis=1) > 0).all()
    assert examples.columns["title"][0] == "Most"
    assert (examples.ids[0], examples.columns["year"][0]) == ("3107", 2003)
    assert not np.isnan(examples.columns["year"]).any()
    assert examples.inputs[0].startswith("most is the story of a single father")
    assert [CARD.labels[column] for column in np.flatnonzero(examples.targets[0])] == ["Drama", "Short"]


def test_the_one_repeated_plot_is_one_group(real_data: Path) -> None:
    examples = read()
    assert examples.groups.max() + 1 == CARD.counts["groups"] == 7894
    repeated = [number for number, count in Counter(examples.groups).items() if count > 1]
    assert [sorted(examples.ids[examples.groups == number]) for number in repeated] == [["1297", "2284"]]


def test_default_folds_are_the_committed_ones(real_data: Path) -> None:
    examples = read()
    pinned = CARD.protocols[""]
    dealt = folds.read_split(folds.split_path(CARD.name), pinned.split, examples.ids)
    assert dealt is not None
    np.testing.assert_array_equal(dealt, folds.default_folds(examples))
    assert examples.fingerprint() == pinned.fingerprint
    assert folds.shared_groups(dealt, examples.groups) == 0
    np.testing.assert_allclose(np.bincount(dealt) / len(examples), folds.SHARES, atol=0.002)
    inside = np.stack([examples.targets[dealt == fold].sum(axis=0) for fold in range(3)])
    wanted = np.outer(folds.SHARES, inside.sum(axis=0))
    np.testing.assert_allclose(inside, wanted, atol=1)
    assert inside[:, CARD.labels.index("News")].tolist() == [5, 1, 1]


def test_published_folds_are_the_originals(real_data: Path) -> None:
    from sklearn.model_selection import train_test_split

    examples = read("published")
    _, test = train_test_split(examples.ids, test_size=0.2, random_state=42)
    assert examples.folds is not None
    assert set(examples.ids[examples.folds == 2]) == set(test)
    assert np.bincount(examples.folds).tolist() == [5509, 807, 1579]
    assert folds.shared_groups(examples.folds, examples.groups) == 0
    pinned = CARD.protocols["published"]
    assert folds.split_sha256(examples.ids, examples.folds) == pinned.split
    assert examples.fingerprint() == pinned.fingerprint
    assert not pinned.leaks


def test_characters_of_the_raw_string_are_37_labels(real_data: Path) -> None:
    published, characters = read("published"), read("published-characters")
    card = CARD.under("published-characters")
    cells = [film.genres for film, _ in movie_genres.labelled(real_data / "movie-genres" / "dataTraining.zip")]
    count = Counter(character for cell in cells for character in set(cell))
    assert len(card.labels) == len(count) == 37
    ordered = sorted(count, key=lambda each: (-count[each], "space" if each == " " else each))
    assert list(card.labels) == ["space" if each == " " else each for each in ordered]
    assert characters.targets.sum(axis=0).tolist() == [count[each] for each in ordered]
    # The original binarised the strings with this class.
    from sklearn.preprocessing import MultiLabelBinarizer

    original = MultiLabelBinarizer(classes=ordered).fit_transform(cells)
    np.testing.assert_array_equal(characters.targets, original)
    np.testing.assert_array_equal(characters.folds, published.folds)
    pinned = CARD.protocols["published-characters"]
    assert pinned.split == CARD.protocols["published"].split
    assert characters.fingerprint() == pinned.fingerprint


def test_every_protocol_can_be_prepared(real_data: Path) -> None:
    task = TASKS.get("movie-genres")
    for protocol, rows in (("", [5537, 792, 1566]), ("published-characters", [5509, 807, 1579])):
        prepared = prepare(task, protocol)
        assert list(prepared.rows.values()) == rows
        assert prepared.split_sha256 == CARD.protocols[protocol].split


def test_unlabelled_films_are_others(real_data: Path) -> None:
    films = list(movie_genres.unlabelled())
    assert len(films) == 3383
    assert films[0][:3] == ("1", "Message in a Bottle", 1999)
    assert not {film.id for film in films} & set(read().ids)
    assert all(film.plot and not film.genres for film in films)


HEADER = ",year,title,plot,genres,rating\n"
GOOD = "3,2003,Most,a bridge tender,\"['Short', 'Drama']\",8.0\n"


def films(folder: Path, content: str | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "movie-genres"
    place.mkdir()
    with zipfile.ZipFile(place / "dataTraining.zip", "w") as archive:
        archive.writestr("dataTraining.csv", content)
    monkeypatch.setenv("ZOOBENCH_DATA", str(folder))


def test_other_films_are_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    films(tmp_path, HEADER + GOOD + "4,,Least,a plot,['News'],1.0\n", monkeypatch)
    examples = read()
    assert examples.targets.sum(axis=0)[[0, 22, 23]].tolist() == [1, 1, 1]
    assert np.isnan(examples.columns["year"][1])
    assert "2 examples (published: 7,895)" in caplog.text
    with pytest.raises(UserError, match="fold empty"):
        prepare(TASKS.get("movie-genres"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + GOOD + GOOD, "line 3, column '': '3' stands on line 2 already"),
        (HEADER + GOOD.replace("Drama", "Dramma"), "line 2, column 'genres': unknown label 'Dramma'"),
        (HEADER + GOOD.replace("['Short', 'Drama']", "[]"), "line 2, column 'genres': gives no label"),
        (HEADER + GOOD.replace("['Short', 'Drama']", "Short"), "column 'genres': 'Short' is no list"),
        (HEADER + GOOD.replace("2003", "MMIII"), "line 2, column 'year': 'MMIII' is no number"),
        (HEADER + GOOD.replace("a bridge tender", " "), "line 2, column 'plot': is empty"),
        ((HEADER + GOOD).replace(",", "\t"), "line 1: no column ''"),
        (HEADER.replace("plot", "story") + GOOD, "line 1: no column 'plot'"),
        ((HEADER + GOOD).encode("utf-16"), "line 1: is written as UTF-16"),
        ("", "is empty"),
        (HEADER, "a header and no row"),
    ],
)
def test_bad_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, message: str
) -> None:
    films(tmp_path, content, monkeypatch)
    with pytest.raises(UserError, match=rf"dataTraining\.zip.*{message}"):
        read()


def test_one_film_has_no_published_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films(tmp_path, HEADER + GOOD, monkeypatch)
    with pytest.raises(UserError, match="one film makes no two folds"):
        read("published")
