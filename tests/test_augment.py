"""EDA: what may never change never does, and the rest changes as often as published."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pytest
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.zoo import augment
from zoobench.zoo.augment import Eda, eligible
from zoobench.zoo.eda_words import PROTECTED, SYNONYMS, UNITS

DRAWS = 10_000

# Every word is marked by hand: * stays. Written apart from the code's own idea of what is protected.
MARKED = (
    "*Patients with elevated *BP ( *142/90 *mmHg ) were examined however *no *diagnosis was confirmed . "
    "Approximately *5 of *10 *adults needed *2.5 *mg or *0.5mg/kg *twice *daily , *not *12 to *20 *ml ; "
    "*mRNA and *IL-6 showed *less edema in *T *cells and *clinical *treatment improved considerably . "
    "*[E1] *aspirin *tumor *[/E1] induced rarely *[E2] *tumors *[/E2] among numerous *children although *severe fever "
    "*increased *from-5-to-9 *weeks thereafter commonly"
)
MARKED = MARKED.replace("of *10", "*of *10").replace("to *20", "*to *20")
TEXT = MARKED.replace("*", "")
FIXED = [word.removeprefix("*") for word in MARKED.split() if word.startswith("*") or not word[0].isalpha()]
FREE = [word for word in MARKED.split() if word[0].isalpha()]
TABLE = {word: set(group) - {word} for group in SYNONYMS for word in group}


def binomial(successes: int, trials: int, p: float) -> bool:
    """Return whether a count lies within five standard deviations of its expectation: 1 in 1.7 million outside."""
    return abs(successes - trials * p) <= 5 * (trials * p * (1 - p)) ** 0.5


def kept_in_order(fixed: Sequence[str], words: Sequence[str]) -> bool:
    """Return whether `fixed` is what remains of `words` once every word that may change is taken out."""
    changeable = {word.lower() for word in FREE} | set(
        chain.from_iterable(TABLE[word.lower()] for word in FREE if word.lower() in TABLE)
    )
    held = Counter(word for word in fixed if word.lower() in changeable)
    assert not held, f"the example is ambiguous: {held}"
    return [word for word in words if word.lower() not in changeable] == list(fixed)


def test_example_is_read_as_marked() -> None:
    assert [word[0] for word in eligible(TEXT)] == FREE


@pytest.mark.parametrize(("deletion", "draws"), [(0.08, DRAWS), (0.9, 1000)])
def test_protected_words_numbers_and_units_stay_in_their_order(deletion: float, draws: int) -> None:
    drawn = set(Eda(share=1.0, deletion=deletion).draw([TEXT] * draws, np.random.default_rng(3)))
    assert len(drawn) > 300
    assert all(kept_in_order(FIXED, text.split()) for text in drawn)


def test_two_of_three_operations_change_a_text_and_three_in_ten_are_drawn() -> None:
    texts = [f"{TEXT} {index}" for index in range(DRAWS)]
    drawn = Eda(deletion=1.0).draw(texts, np.random.default_rng(0))
    lengths = [len(after.split()) - len(before.split()) for before, after in zip(texts, drawn, strict=True)]
    changed = [after != before for before, after in zip(texts, drawn, strict=True)]
    deleted = sum(length < 0 for length in lengths)
    drawn_short = Eda(deletion=1.0).draw(["rarely 5"] * 40_000, np.random.default_rng(9))
    assert binomial(sum(text != "rarely 5" for text in drawn_short), 40_000, 0.2)
    assert binomial(deleted, DRAWS, 0.1)
    assert binomial(sum(changed) - deleted, DRAWS, 0.1)
    assert all(after is before for before, after, other in zip(texts, drawn, changed, strict=True) if not other)
    assert all(length in {0, -len(FREE)} for length in lengths)


def test_deletion_takes_eight_in_a_hundred_of_the_words_that_it_may() -> None:
    drawn = Eda(share=1.0, max_replacements=0).draw([TEXT] * 4000, np.random.default_rng(1))
    lost = Counter(len(TEXT.split()) - len(text.split()) for text in drawn)
    words = len(FREE)
    expected_untouched = 2 / 3 + (1 - 0.08) ** words / 3
    assert binomial(lost[0], 4000, expected_untouched)
    total, trials = sum(count * times for count, times in lost.items()), 4000 * words
    assert binomial(sum(times for count, times in lost.items() if count), 4000, 1 - expected_untouched)
    # A text's words share its operation, so that their number varies more than a binomial does.
    per_text = (words * 0.08 * 0.92 / 3 + (words * 0.08) ** 2 * (1 / 3) * (2 / 3)) ** 0.5
    assert abs(total - trials * 0.08 / 3) <= 5 * per_text * 4000**0.5


def test_replacement_puts_at_most_two_synonyms_with_their_capitals() -> None:
    text = "However the TUMOURS were Examined and a fever was rarely observed because Anaemia persisted ."
    words, counts = text.split(), Counter()
    for after in Eda(share=1.0, deletion=0.0).draw([text] * DRAWS, np.random.default_rng(2)):
        now = after.split()
        assert len(now) == len(words)
        changed = [(old, new) for old, new in zip(words, now, strict=True) if old != new]
        counts[len(changed)] += 1
        for old, new in changed:
            assert new.lower() in TABLE[old.lower()]
            assert (new.isupper(), new.istitle(), new.islower()) == (old.isupper(), old.istitle(), old.islower())
    assert set(counts) == {0, 2}
    assert binomial(counts[2], DRAWS, 1 / 3)


def test_every_candidate_is_replaced_equally_often_by_each_of_its_synonyms() -> None:
    drawn = Eda(share=1.0, max_replacements=1, deletion=0.0).draw(
        ["dyspnea or fever"] * DRAWS, np.random.default_rng(4)
    )
    counts = Counter(drawn)
    assert set(counts) == {"dyspnea or fever", "dyspnoea or fever", "breathlessness or fever", "dyspnea or pyrexia"}
    assert binomial(counts["dyspnea or pyrexia"], DRAWS, 1 / 6)
    assert binomial(counts["dyspnoea or fever"], DRAWS, 1 / 12)


def test_same_generator_same_texts() -> None:
    texts = [TEXT, "", "Rare leukemia however", "5 mg"] * 50
    eda = Eda(share=0.8, deletion=0.3)
    first, again, other = (eda.draw(texts, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == again != other


@pytest.mark.parametrize(
    "text", ["", " ", "fever", "a fever", "( fever )", "\x00\t", "[E1]", "[/E1] fever [E2]", "高血圧 と", "5"]
)
def test_odd_texts_never_become_empty(text: str) -> None:
    for after in Eda(share=1.0, deletion=0.99).draw([text] * 300, np.random.default_rng(7)):
        assert bool(after.strip()) == bool(text.strip())
        assert bool(re.search(r"\w", after)) == bool(re.search(r"\w", text))


def test_deletion_leaves_no_double_spaces_and_joins_no_words() -> None:
    drawn = set(
        Eda(share=1.0, deletion=0.5).draw(["the rise, of (old) walls\nand it stood"] * 3000, np.random.default_rng(8))
    )
    assert len(drawn) > 50
    for text in drawn:
        assert "  " not in text
        assert set(re.findall(r"\w+", text)) <= {"the", "rise", "of", "old", "walls", "and", "it", "stood"}


def test_long_text_is_quick() -> None:
    for text in ("a-" * 50_000, "rarely " * 10_000, "1." * 50_000, "[E1] " * 20_000):
        Eda(share=1.0).draw([text], np.random.default_rng(0))


def test_groups_are_disjoint_and_hold_no_protected_word() -> None:
    words = list(chain.from_iterable(SYNONYMS))
    assert len(words) == len(set(words))
    assert 60 <= len(SYNONYMS) <= 140
    assert all(len(group) >= 2 for group in SYNONYMS)
    assert [match[0] for match in eligible(" ".join(words))] == words
    assert all(word == word.lower() for word in PROTECTED | UNITS)


@pytest.mark.parametrize(
    "word",
    [
        "Patient",
        "patients",
        "TREATMENT",
        "clinical",
        "bp",
        "BP",
        "mg",
        "ml",
        "mmHg",
        "MG",
        "kg/m2",
        "5",
        "12.5",
        "1,000",
        "p<0.05",
        "no",
        "NOT",
        "without",
        "EGFR",
        "T",
        "DNA",
        "IL-6",
        "double-blind",
        "weeks",
        "Twelve",
        "HbA1c",
        "β",
        "x-helix2",
    ],
)
def test_protected_word(word: str) -> None:
    assert not eligible(f"it was {word} .")[2:]


@pytest.mark.parametrize(
    "settings", [{"synonyms": "wordnett"}, {"share": 1.5}, {"deletion": -0.1}, {"max_replacements": -1}]
)
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(UserError, match=r"did you mean 'wordnet'|must be"):
        Eda(**settings)


class Synset(NamedTuple):
    speech: str
    names: str

    def pos(self) -> str:
        return self.speech

    def lemma_names(self) -> list[str]:
        return self.names.split()


class Dictionary:
    """A WordNet of a few lines, in the order of its senses; `test_corpora.py` reads the real one."""

    SENSES = (
        ("n", "doctor physician Dr. doc medical_practitioner"),
        ("v", "doctor sophisticate"),
        ("s", "anaemic anemic"),
        ("a", "pallid anaemic"),
        ("n", "mutation variation"),
        ("n", "sport athletics"),
        ("n", "mutation sport"),
        ("n", "tumor tumour neoplasm mRNA"),
        ("v", "study analyze"),
        ("n", "study survey"),
        ("n", "deal trade"),
        ("n", "patient sufferer"),
        ("r", "besides also"),
    )

    def synsets(self, word: str) -> list[Synset]:
        lemma = word.removesuffix("s") if word == "tumors" else word
        return [Synset(speech, names) for speech, names in self.SENSES if lemma in names.split()]


@pytest.fixture
def by_wordnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], set[str]]]:
    monkeypatch.setattr("zoobench.zoo.corpora.wordnet", Dictionary)
    augment._wordnet.cache_clear()
    eda = Eda("wordnet", share=1.0, deletion=0.0)
    yield lambda word: set(eda.draw([word] * 60, np.random.default_rng(0))) - {word}
    augment._wordnet.cache_clear()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Physician", {"Doctor", "Doc"}),  # single words, in their own case; several words and names are none
        ("doctor", set()),  # a verb as well
        ("anaemic", {"anemic"}),  # an adjective in both of its senses
        ("mutation", {"variation"}),  # a sport is first of all another thing
        ("tumour", {"tumor", "neoplasm"}),  # a symbol is none
        ("tumors", set()),  # not the form in the dictionary
        ("study", set()),  # protected
        ("patient", set()),
        ("also", set()),  # a function word
        ("absent", set()),
    ],
)
def test_wordnet_gives_single_words_of_the_first_sense(by_wordnet, word: str, expected: set[str]) -> None:
    assert by_wordnet(word) == expected


def test_wordnet_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise UnavailableError("no WordNet here")

    monkeypatch.setattr("zoobench.zoo.corpora.wordnet", missing)
    augment._wordnet.cache_clear()
    with pytest.raises(UnavailableError, match="no WordNet here"):
        Eda("wordnet")
