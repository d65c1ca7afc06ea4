"""Token ids: kept on disk as they are made, cut without losing what matters, batched with little padding."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.datasets.support.errors import UserError
from zoobench.zoo import pretrained
from zoobench.zoo.entity_window import MARKERS
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.pretrained import PACKAGED, locate
from zoobench.zoo.ragged import Rows
from zoobench.zoo.tokens import OVERLAP, TRUNCATIONS, Layout, add_markers, frame_of, padded, tokenise

WORDS = np.array(
    [
        "fever",
        "fracture",
        "hepatorenal",
        "cardiomyopathy",
        "is",
        "seen",
        "in",
        "the",
        "chest,",
        "left",
        "5",
        "mg",
        "µ",
        "肺炎",
    ]
)
RNG = np.random.default_rng(8)
TEXTS = [" ".join(RNG.choice(WORDS, size)) for size in RNG.integers(0, 90, 80)] + ["", "\x00", "\ud800 lone"]


@pytest.fixture
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(locate(PACKAGED)[0])


def layout(tokenizer: Any, length: int, truncation: str, markers: tuple[int, ...] = ()) -> Layout:
    return Layout(*frame_of(tokenizer), length, truncation, markers)


def test_rows_are_what_the_tokenizer_itself_makes(tokenizer: Any, tmp_path: Path) -> None:
    for features in (None, FeatureCache(tmp_path), FeatureCache(tmp_path)):
        for length in (8, 32, 512):
            rows, owners = layout(tokenizer, length, "head").rows(tokenise(tokenizer, TEXTS, features))
            direct = tokenizer(TEXTS[:-1], truncation=True, max_length=length)["input_ids"]
            assert [list(row) for row in rows][:-1] == direct
            np.testing.assert_array_equal(owners, np.arange(len(TEXTS)))


class Counted:
    """A tokenizer that counts the texts it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self.asked = tokenizer, 0

    def __call__(self, texts: list[str], **settings: Any) -> Any:
        self.asked += len(texts)
        return self._tokenizer(texts, **settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)


def test_ids_are_made_once_a_text_in_any_order_and_charged_once(tokenizer: Any, tmp_path: Path) -> None:
    counted, mine = Counted(tokenizer), FeatureCache(tmp_path)
    first = tokenise(counted, TEXTS, mine)
    assert counted.asked == len(set(TEXTS))
    charged = mine.charged
    assert charged > 0
    tokenizer(TEXTS[:2], truncation=True, padding=True, max_length=5)  # leaves its state in the tokenizer
    other, order = FeatureCache(tmp_path), np.random.default_rng(1).permutation(len(TEXTS))
    again = tokenise(Counted(tokenizer), [TEXTS[place] for place in order], other)
    for place, ids in zip(order, again, strict=True):
        np.testing.assert_array_equal(ids, first[place])
    assert other.charged == pytest.approx(charged)
    tokenise(counted, TEXTS, mine)
    assert (mine.charged, counted.asked) == (charged, len(set(TEXTS)))
    tokenise(counted, [*TEXTS, "another"], mine)
    assert counted.asked == len(set(TEXTS)) + 1
    assert len(list(tmp_path.glob("*/index"))) == 1


def test_another_tokenizer_has_ids_of_its_own(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stores() -> int:
        return len(list(tmp_path.glob("*/index")))

    cache, text = FeatureCache(tmp_path), ["[E1] a [/E1]"]
    plain = tokenise(tokenizer, text, cache)
    add_markers(tokenizer, text)
    assert len(tokenise(tokenizer, text, cache)[0]) < len(plain[0])
    assert stores() == 2
    monkeypatch.setattr(pretrained, "installed", lambda name: "another")
    tokenise(tokenizer, text, cache)
    assert stores() == 3


def test_a_tokenizer_written_in_python_has_an_identity(tmp_path: Path) -> None:
    from transformers import CanineTokenizer

    letters = CanineTokenizer()
    assert not hasattr(letters, "backend_tokenizer")
    cache = FeatureCache(tmp_path)
    assert [list(row) for row in tokenise(letters, ["ab", ""], cache)] == [[97, 98], []]
    assert pretrained.tokenizer_identity(letters) == pretrained.tokenizer_identity(CanineTokenizer())
    assert pretrained.tokenizer_identity(letters) != pretrained.tokenizer_identity(CanineTokenizer(model_max_length=9))
    assert len(list(tmp_path.glob("*/index"))) == 1


def test_a_long_lead_leaves_room_for_the_text() -> None:
    rows, _ = Layout([1], [2], 12, "head").rows(Rows.of([range(100, 120)]), Rows.of([range(10, 60)]))
    assert list(rows[0]) == [1, *range(10, 19), 100, 2]


def test_markers_are_one_token_each(tokenizer: Any) -> None:
    text = "The [E1] aspirin [/E1] and [E2] [E1] heart [/E1] failure [/E2]."
    assert add_markers(tokenizer, ["no marker here"]) == ()
    markers = add_markers(tokenizer, [text])
    names = tokenizer.convert_ids_to_tokens(list(tokenise(tokenizer, [text])[0]))
    assert [name for name in names if name in MARKERS] == ["[E1]", "[/E1]", "[E2]", "[E1]", "[/E1]", "[/E2]"]
    assert names[1:3] == ["[E1]", "as"]
    assert tokenizer.convert_ids_to_tokens(list(markers)) == list(MARKERS)


@pytest.mark.parametrize("size", [7, 8, 9, 20, 100])
def test_windows_cover_every_token(size: int) -> None:
    cut = Layout([101], [102], 10, "windows")
    rows, owners = cut.rows(Rows.of([np.arange(size), np.arange(3)]))
    windows = [row[1:-1] for row, owner in zip(rows, owners, strict=True) if owner == 0]
    assert set(np.concatenate(windows)) == set(range(size))
    assert all(len(window) == min(8, size) for window in windows)
    assert all(len(row) <= 10 and row[0] == 101 and row[-1] == 102 for row in rows)
    for left, right in itertools.pairwise(windows):
        assert len(set(left) & set(right)) >= 8 * OVERLAP
    assert list(owners) == [0] * len(windows) + [1]


def test_head_tail_keeps_both_ends() -> None:
    rows, _ = Layout([101], [102], 9, "head-tail").rows(Rows.of([np.arange(50)]))
    assert list(rows[0]) == [101, 0, 1, 2, 3, 47, 48, 49, 102]


def test_entities_never_lose_the_pair() -> None:
    markers = (1001, 1002, 1003, 1004)
    rng = np.random.default_rng(2)
    for _ in range(200):
        text = list(rng.integers(5, 900, rng.integers(30, 300)))
        for opening, closing in ((1001, 1002), (1003, 1004)):
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(len(text)))
                text[at:at] = [opening, *rng.integers(900, 1000, rng.integers(1, 12)), closing]
        row = Layout([2], [3], 24, "entities", markers).rows(Rows.of([text]))[0][0]
        assert len(row) == min(24, len(text) + 2)
        assert {1001, 1003} <= set(row)
        rest = iter(text)
        assert all(any(token == other for other in rest) for token in row[1:-1]), "the order is the text's"


def test_entities_keep_what_stands_next_to_them() -> None:
    markers = (1001, 1002, 1003, 1004)
    text = [*range(100), 1001, 500, 1002, 100, 101, 1003, 501, 1004, *range(102, 200)]
    row = Layout([2], [3], 16, "entities", markers).rows(Rows.of([text]))[0][0]
    assert list(row) == [2, 97, 98, 99, 1001, 500, 1002, 100, 101, 1003, 501, 1004, 102, 103, 104, 3]


def test_leads_are_kept_whatever_is_cut() -> None:
    texts, leads = Rows.of([np.arange(50), np.arange(3)]), Rows.of([[7, 8, 9], [7, 9]])
    for truncation in TRUNCATIONS:
        rows, owners = Layout([101], [102], 12, truncation, (70, 71, 72, 73)).rows(texts, leads)
        for row, owner in zip(rows, owners, strict=True):
            assert list(row[1 : 1 + len(leads[owner])]) == list(leads[owner])
            assert len(row) <= 12
    with pytest.raises(UserError, match="unknown truncation 'tail'"):
        Layout([101], [102], 12, "tail")


def test_padding_is_masked_and_no_mask_is_made_for_none() -> None:
    rows = Rows.of([[5, 6, 7], [8], [9, 10, 11]])
    batch = padded(rows, np.array([1, 0]), 99)
    assert batch["input_ids"].tolist() == [[8, 99, 99], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[True, False, False], [True, True, True]]
    assert set(padded(rows, np.array([0, 2]), 99)) == {"input_ids"}
