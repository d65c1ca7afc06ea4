"""Token ids: kept on disk as they are made, cut without losing what matters, batched with little padding."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.datasets.support.errors import UserError
from zoobench.zoo import tokens as module
from zoobench.zoo.pretrained import PACKAGED, locate
from zoobench.zoo.tokens import (
    MARKERS,
    OVERLAP,
    TRUNCATIONS,
    Layout,
    Tokens,
    add_markers,
    buckets,
    cut,
    frame_of,
    padded,
    padding_share,
    tokenise,
)

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
    for folder in (None, tmp_path):
        for length in (8, 32, 512):
            rows, owners = layout(tokenizer, length, "head").rows(tokenise(tokenizer, TEXTS, folder))
            direct = tokenizer(TEXTS[:-1], truncation=True, max_length=length)["input_ids"]
            assert [list(row) for row in rows][:-1] == direct
            np.testing.assert_array_equal(owners, np.arange(len(TEXTS)))


def test_ids_are_made_once_and_mapped(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokenise(tokenizer, TEXTS, tmp_path)
    assert isinstance(first.ids, np.memmap)
    assert first.ids.dtype == np.int32
    fresh = module._fresh
    calls = []
    monkeypatch.setattr(module, "_fresh", lambda *given: calls.append(given) or fresh(*given))
    tokenizer(TEXTS[:2], truncation=True, padding=True, max_length=5)  # leaves its state in the tokenizer
    np.testing.assert_array_equal(tokenise(tokenizer, TEXTS, tmp_path).ids, first.ids)
    assert not calls
    tokenise(tokenizer, [*TEXTS[:-1], "another"], tmp_path)
    add_markers(tokenizer, ["[E1] a [/E1]"])
    tokenise(tokenizer, TEXTS, tmp_path)
    assert len(calls) == 2
    tokenise(tokenizer, TEXTS[:3], tmp_path)
    assert len(list(tmp_path.rglob("*.npy"))) == 6, "a few texts leave nothing behind"


def test_a_half_written_entry_is_made_anew(tokenizer: Any, tmp_path: Path) -> None:
    whole = tokenise(tokenizer, TEXTS, tmp_path)
    next(tmp_path.rglob("*.offsets.npy")).unlink()
    again = tokenise(tokenizer, TEXTS, tmp_path)
    np.testing.assert_array_equal(again.ids, whole.ids)
    np.testing.assert_array_equal(again.offsets, whole.offsets)


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
    rows, owners = cut.rows(Tokens.of([np.arange(size), np.arange(3)]))
    windows = [row[1:-1] for row, owner in zip(rows, owners, strict=True) if owner == 0]
    assert set(np.concatenate(windows)) == set(range(size))
    assert all(len(window) == min(8, size) for window in windows)
    assert all(len(row) <= 10 and row[0] == 101 and row[-1] == 102 for row in rows)
    for left, right in itertools.pairwise(windows):
        assert len(set(left) & set(right)) >= 8 * OVERLAP
    assert list(owners) == [0] * len(windows) + [1]


def test_head_tail_keeps_both_ends() -> None:
    rows, _ = Layout([101], [102], 9, "head-tail").rows(Tokens.of([np.arange(50)]))
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
        row = Layout([2], [3], 24, "entities", markers).rows(Tokens.of([text]))[0][0]
        assert len(row) == min(24, len(text) + 2)
        assert {1001, 1003} <= set(row)
        rest = iter(text)
        assert all(any(token == other for other in rest) for token in row[1:-1]), "the order is the text's"


def test_entities_keep_what_stands_next_to_them() -> None:
    markers = (1001, 1002, 1003, 1004)
    text = [*range(100), 1001, 500, 1002, 100, 101, 1003, 501, 1004, *range(102, 200)]
    row = Layout([2], [3], 16, "entities", markers).rows(Tokens.of([text]))[0][0]
    assert list(row) == [2, 97, 98, 99, 1001, 500, 1002, 100, 101, 1003, 501, 1004, 102, 103, 104, 3]


def test_leads_are_kept_whatever_is_cut() -> None:
    texts, leads = Tokens.of([np.arange(50), np.arange(3)]), Tokens.of([[7, 8, 9], [7, 9]])
    for truncation in TRUNCATIONS:
        rows, owners = Layout([101], [102], 12, truncation, (70, 71, 72, 73)).rows(texts, leads)
        for row, owner in zip(rows, owners, strict=True):
            assert list(row[1 : 1 + len(leads[owner])]) == list(leads[owner])
            assert len(row) <= 12
    with pytest.raises(UserError, match="unknown truncation 'tail'"):
        Layout([101], [102], 12, "tail")


def test_buckets_hold_every_row_once_and_little_padding() -> None:
    lengths = np.random.default_rng(5).integers(5, 256, 2000)
    plain = [np.arange(at, at + 16) for at in range(0, 2000, 16)]
    batches = buckets(lengths, 16, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(2000))
    assert max(map(len, batches)) == 16
    assert padding_share(lengths, batches) < 0.05
    assert padding_share(lengths, plain) > 0.4
    one, two, three = (np.concatenate(buckets(lengths, 16, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)
    assert all(np.all(np.diff(lengths[batch]) <= 0) for batch in batches)


def test_parts_hold_no_more_tokens_than_asked_for() -> None:
    lengths = np.array([300, 60, 60, 50, 9, 9, 9, 1])
    parts = cut(np.arange(8), lengths, 3, 128)
    assert [part.tolist() for part in parts] == [[0], [1, 2], [3, 4], [5, 6, 7]]


def test_padding_is_masked_and_no_mask_is_made_for_none() -> None:
    rows = Tokens.of([[5, 6, 7], [8], [9, 10, 11]])
    batch = padded(rows, np.array([1, 0]), 99)
    assert batch["input_ids"].tolist() == [[8, 99, 99], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[True, False, False], [True, True, True]]
    assert set(padded(rows, np.array([0, 2]), 99)) == {"input_ids"}
