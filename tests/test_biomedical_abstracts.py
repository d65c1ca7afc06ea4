"""Biomedical abstracts: the published file, the folds of both protocols, and files that are not what they should be."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from zoobench.datasets import folds
from zoobench.datasets.core import TASKS, Examples
from zoobench.datasets.prepare import prepare
from zoobench.datasets.published import table
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.files import sha256_file
from zoobench.datasets.tasks import biomedical_abstracts

CARD = biomedical_abstracts.CARD
COUNTS = {"neurological": 1785, "cardiovascular": 1268, "hepatorenal": 1091, "oncological": 601}
NAME = biomedical_abstracts.ARTICLES.name


def read(protocol: str = "") -> Examples:
    return read_from(os.environ["ZOOBENCH_DATA"], protocol)


@cache
def read_from(folder: str, protocol: str) -> Examples:
    """Read once for all tests; `folder` is where the task looks for its file."""
    return TASKS.get("biomedical-abstracts").read(protocol)


def test_published_file(real_data: Path) -> None:
    assert sha256_file(real_data / CARD.name / NAME) == biomedical_abstracts.ARTICLES.sha256
    examples = read()
    examples.check_against(CARD)
    assert len(examples) == CARD.counts["examples"] == 3565
    assert dict(zip(CARD.labels, examples.targets.sum(axis=0).tolist(), strict=True)) == COUNTS
    assert list(CARD.labels) == sorted(COUNTS, key=lambda label: -COUNTS[label])
    assert np.bincount(examples.targets.sum(axis=1)).tolist() == [0, 2473, 1011, 74, 7]
    assert examples.ids[0] == "article-1"
    assert examples.inputs[0].startswith(examples.columns["title"][0] + ". Adrenoleukodystrophy ( ALD )")
    assert len(set(examples.inputs)) == 3565
    group = next(number for number, count in Counter(examples.groups).items() if count > 1)
    assert list(examples.ids[examples.groups == group]) == ["article-2247", "article-2262"]
    assert examples.groups.max() + 1 == CARD.counts["groups"] == 3564


def test_lengths_are_those_of_the_report(real_data: Path) -> None:
    rows = list(table(real_data / CARD.name / NAME, ("title", "abstract"), separator=";"))
    for column, mean, deviation, quartiles in (
        ("title", 8.73, 4.88, [2, 5, 7, 11, 38]),
        ("abstract", 100.06, 93.07, [22, 31, 37, 172, 525]),
    ):
        words = np.array([len(row.cells[column].split()) for row in rows])
        assert (round(words.mean(), 2), round(words.std(ddof=1), 2)) == (mean, deviation)
        assert np.percentile(words, [0, 25, 50, 75, 100]).tolist() == quartiles


def test_most_short_abstracts_open_with_a_stock_heading(real_data: Path) -> None:
    rows = list(table(real_data / CARD.name / NAME, ("abstract",), separator=";"))
    texts = [row.cells["abstract"] for row in rows]
    headings = ("Hypothesis", "Background", "Research question", "Aim", "Study design", "Purpose", "Objective")
    opened = [text.startswith(tuple(f"{heading}:" for heading in headings)) for text in texts]
    short = [len(text.split()) < 60 for text in texts]
    assert sum(short) == 2086
    assert sum(opened) == sum(one and other for one, other in zip(short, opened, strict=True)) == 1997


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
    np.testing.assert_allclose(inside / inside.sum(axis=0), np.tile(folds.SHARES, (4, 1)).T, atol=0.002)


def test_published_folds_have_the_counts_of_the_original(real_data: Path) -> None:
    examples = read("published")
    dealt = examples.folds
    assert dealt is not None
    test, rest = examples.targets[dealt == 2], examples.targets[dealt != 2]
    assert (len(rest), len(test)) == (2852, 713)
    assert dict(zip(CARD.labels, rest.sum(axis=0).tolist(), strict=True)) == {
        "cardiovascular": 1014,
        "hepatorenal": 873,
        "neurological": 1428,
        "oncological": 481,
    }
    np.testing.assert_allclose(rest.mean(axis=0), test.mean(axis=0), atol=0.001)
    # The class weights of the report: negatives over positives of the 2,852.
    weights = dict(zip(CARD.labels, (2852 / rest.sum(axis=0) - 1).round(3).tolist(), strict=True))
    assert [weights[label] for label in sorted(weights)] == pytest.approx([1.813, 2.267, 0.997, 4.932], abs=0.0035)
    assert np.bincount(dealt).tolist() == [2494, 358, 713]
    np.testing.assert_allclose(examples.targets[dealt == 1].mean(axis=0), rest.mean(axis=0), atol=0.004)
    assert folds.shared_groups(dealt, examples.groups) == 0
    pinned = CARD.protocols["published"]
    assert (folds.split_sha256(examples.ids, dealt), examples.fingerprint()) == (pinned.split, pinned.fingerprint)
    assert not pinned.leaks


def test_both_protocols_can_be_prepared(real_data: Path) -> None:
    for protocol, rows in (("", [2502, 350, 713]), ("published", [2494, 358, 713])):
        assert list(prepare(TASKS.get(CARD.name), protocol).rows.values()) == rows


GOOD = "title;abstract;group\nOn hearts;We studied hearts.;cardiovascular|neurological\n"


def articles(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / CARD.name
    place.mkdir()
    (place / NAME).write_bytes(content)
    monkeypatch.setenv("ZOOBENCH_DATA", str(folder))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_small_file_is_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes, caplog) -> None:
    articles(tmp_path, mark + GOOD.encode(), monkeypatch)
    examples = read()
    assert list(examples.inputs) == ["On hearts. We studied hearts."]
    assert examples.targets.tolist() == [[1, 1, 0, 0]]
    assert "1 examples (published: 3,565)" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace("|", ","), "line 2, column 'group': unknown label 'cardiovascular,neurological'"),
        (GOOD.replace("|neuro", "|psycho"), "line 2, column 'group': unknown label 'psychological'"),
        (GOOD.replace("cardiovascular|neurological", ""), "line 2, column 'group': is empty"),
        (GOOD.replace("On hearts", ""), "line 2, column 'title': is empty"),
        (GOOD.replace(";", ","), "line 1: no column 'title' between separators ';'"),
        (GOOD.replace("group", "label"), "line 1: no column 'group'"),
        (GOOD + "only a title\n", "line 3: 1 cells, but the header names 3"),
        (GOOD.replace("hearts.", "h\x93rts."), "line 2: is neither UTF-8"),
        ("", "is empty"),
        ("title;abstract;group\n", "a header and no row"),
    ],
)
def test_bad_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str) -> None:
    articles(tmp_path, content.encode("latin-1"), monkeypatch)
    with pytest.raises(UserError, match=rf"{NAME}.*{message}"):
        read()
