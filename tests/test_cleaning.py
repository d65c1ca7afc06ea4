"""Cleanings: system 1's to the letter, system 5's in one form, without private data, whatever the text."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.zoo import clinical_terms
from zoobench.zoo.cleaning import CLEANINGS, clean
from zoobench.zoo.clinical import load_ner, normalise, remove_people
from zoobench.zoo.clinical_terms import ABBREVIATIONS, MEDICATIONS, SHORTHAND

MARKER = re.compile(r"\[/?E[12]\]")
OFFLINE = sorted(set(CLEANINGS) - {"clinical-ner"})
QUICK = settings(max_examples=60, deadline=None)


def one(name: str, text: str) -> str:
    (cleaned,) = clean(name, [text])
    return cleaned


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown cleaning 'clincal': did you mean 'clinical'"):
        clean("clincal", [])


@pytest.mark.parametrize("name", OFFLINE)
def test_list_of_as_many_texts_comes_back(name: str) -> None:
    texts = np.array(["", " a\t b ", "", "\x00", "高血圧"], dtype=object)
    cleaned = clean(name, texts)
    assert isinstance(cleaned, list)
    assert [type(text) for text in cleaned] == [str] * 5
    assert cleaned[0] == cleaned[2] == ""
    assert clean(name, []) == []


def test_none_changes_nothing() -> None:
    texts = [" a~b  ", "\x00"]
    assert clean("none", texts) == texts


# System 1.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Aim:\n\tto  test ", "Aim: to test"),
        ("a, b. c; d: (e) [f] g-h", "a, b. c; d: (e) [f] g-h"),
        ("5 % of 10/20 = 'x'", "5   of 10 20    x"),  # folded before characters go, so gaps stay
        ("5~10 |x", "5 10  x"),  # the repairs of ~ and | come too late in the original
        ("β-Blocker é_1 µg", "β-Blocker é_1 µg"),
        ("%", ""),
        ("[E1] a/b [/E1] and /E1] [/E3] [/ E2]", "[E1] a b [/E1] and  E1] [ E3] [  E2]"),
    ],
)
def test_biomedical(text: str, expected: str) -> None:
    assert one("biomedical", text) == expected


@given(st.text())
@QUICK
def test_biomedical_is_the_published_rule_character_by_character(text: str) -> None:
    folded = " ".join(re.split(r"\s+", text))
    allowed = set("-.,:;()[]")
    expected = "".join(c if c.isalnum() or c == "_" or c.isspace() or c in allowed else " " for c in folded).strip()
    assert one("biomedical", text) == expected


# System 5.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pt with HTN, s/p MI", "Pt with hypertension, status post myocardial infarction"),
        (
            "Hx of COPD; H/O copd; DX unclear",
            "History of chronic obstructive pulmonary disease; history of chronic obstructive pulmonary disease; diagnosis unclear",
        ),
        ("post-MI, HIV-1", "post-myocardial infarction, human immunodeficiency virus-1"),
        ("MS, PT, RA, CT, mi, Mi, SMI, MIX, tb", "MS, PT, RA, CT, mi, Mi, SMI, MIX, tb"),
        ("a bid of BID, b.i.d.", "a bid of twice daily, twice daily"),
        ("Tylenol and LASIX, lipitor", "acetaminophen and furosemide, atorvastatin"),
    ],
)
def test_terms(text: str, expected: str) -> None:
    assert one("clinical", text) == expected


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (["120/80mmHg", "120 / 80 mm Hg", "120 over 80 mmhg", "120/80 millimeters of mercury"], "120/80 mmHg"),
        (["5mg", "5  MG", "5 milligrams", "5.0 mgs"], "5 mg"),
        (["1,000 mg", "1000.00mg", "1000 milligram"], "1000 mg"),
        (["500 µg", "500μg", "500 ug", "500 micrograms", "500 MCG"], "500 mcg"),
        ([".5 mL", "0.50ml", "0.5 milliliters"], "0.5 mL"),
        (["5-10mg", "5 \u2013 10 mg", "5 to 10 milligrams"], "5-10 mg"),
        (["90 mg / dl", "90mg/dL", "90 milligrams per deciliter"], "90 mg/dL"),
        (["2 mg/kg/d", "2 mg per kg per day", "2mg/kg/day"], "2 mg/kg/day"),
        (["37.2 C", "37.2C", "37.2°C", "37.2 deg C", "37.2 degrees Celsius"], "37.2 °C"),
        (["98.6 F", "98.6 °F", "98.6 degrees Fahrenheit"], "98.6 °F"),
        (["5 percent", "5%", "5 per cent", "5.0 %"], "5%"),
        (["72 beats/min", "72 beats per minute", "72bpm"], "72 bpm"),
    ],
)  # fmt: skip
def test_values_have_one_form(spellings: list[str], expected: str) -> None:
    for spelling in spellings:
        assert one("clinical", f"was {spelling}, then") == f"was {expected}, then"


@pytest.mark.parametrize(
    "text",
    [
        "5 G",
        "56 F",
        "12 C",
        "5 MM",
        "5 gut",
        "IL-6mg",
        "IL-6.0 mg",
        "x5 mg",
        "in 1998",
        "12/80",
        "1.5.2 mg",
        "5 mg2",
        "E2 5",
        "2-3 days",
        "may 2 of",
        "0.05",
    ],
)
def test_what_is_no_value_of_these_stays(text: str) -> None:
    assert one("clinical", text) == text


DATES = (
    "2020-05-12 2020/5/2 12/05/2020 5-12-2020 12.05.2020 5/12/20 12-May-2020 3-jan-99|12 May 2020|3rd of June 2019|12 May"
    "|May 12, 2020|Sept. 3rd 2021|march 2003|December 25|1 Feb. 1999"
)
PRIVATE = {
    "[DATE]": [date for part in DATES.split("|") for date in (part.split() if part[0] == "2" else [part])],
    "[PHONE]": ["555-123-4567", "(555) 123-4567", "(555)123-4567", "555.123.4567", "555 123 4567", "1-800-555-1234", "+1 555 123 4567", "+44 20 7946 0958", "+57 (1) 234-5678", "tel: 5551234567", "Phone 555 1234", "fax no. 555-1234", "555-123-4567 ext. 89"],
    "[EMAIL]": ["a@b.co", "john.doe+x@mail.example.com", "JOHN_D@X-Y.org", "o'neil%z@uni.edu"],
    "[ID]": ["MRN: 12345678", "MRN 00-123", "mrn#AB-12345", "medical record number is 778899", "Patient ID: 9911", "SSN 123-45-6789", "123-45-6789", "Chart no. 4711"],
    "[NAME]": ["Dr. Smith", "Mr Smith", "Mrs. Mary O'Brien", "Ms. Anne-Marie Smith-Jones", "Prof. J. K. van der Berg", "Dr. Émile Zürn", "Prof. Dr. Smith", "Miss Lasix"],
}  # fmt: skip
CASES = [(kind, text) for kind, texts in PRIVATE.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), CASES)
def test_private_data_goes(kind: str, text: str) -> None:
    for before, after in (("", ""), ("seen (", ")."), ("on ", ", then"), ("[E1] ", " [/E1]")):
        assert one("clinical", f"{before}{text}{after}") == f"{before}{kind}{after}"


@pytest.mark.parametrize(
    "text",
    ["in 1998 and 2003", "5-10 of 100-200", "p = 0.001", "MRN unknown", "the doctor said", "Dr. who", "a @ b", "he may 5", "type 1 may be", "3/4", "ratio 1/2/3", "+ 12 34", "tel 112", "patient number 5", "treated for MS. Patients improved"],
)  # fmt: skip
def test_what_is_not_private_stays(text: str) -> None:
    assert one("clinical", text) == text


PIECES = st.one_of(
    st.sampled_from([text for _, text in CASES]),
    st.sampled_from([*ABBREVIATIONS, *SHORTHAND, *MEDICATIONS]),
    st.sampled_from(
        [
            "5",
            "1,000.0",
            ".5",
            "120",
            "/",
            "80",
            "-",
            "\u2013",
            "to",
            "over",
            "per",
            "mg",
            "MG",
            "mm",
            "Hg",
            "%",
            "°C",
            "C",
            "F",
            "kg",
            "day",
            "Dr.",
            "Mr",
            "Smith",
            "May",
            "MRN",
            "tel",
            "+",
            "(",
            ")",
            ".",
            ",",
            "@",
            "#",
            "[E1]",
            "[/E1]",
            "[E2]",
            "[/E2]",
        ]
    ),
    st.text(max_size=3),
)
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from([" ", "", "  ", "\n"])), max_size=12).map(
    lambda pieces: "".join(piece + space for piece, space in pieces)
)


@given(TEXTS)
@example("(555) 123 - 4,567 mg")
@example("a@b.co.@c.de")
@example("Dr. Dr. Dr. Dr. Smith")
@example("İ \u0131 \u017f K 5 ﬁ")
@settings(max_examples=200, deadline=None)
def test_clinical_is_idempotent_and_keeps_the_markers(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert MARKER.findall(once) == MARKER.findall(text)


@given(st.sampled_from(OFFLINE), st.text(max_size=60))
@QUICK
def test_nothing_raises_and_nothing_is_no_text(name: str, text: str) -> None:
    assert isinstance(one(name, text), str)


@given(st.emails())
@example("o!x{y}@b.co")
@QUICK
def test_no_email_is_left(email: str) -> None:
    assert normalise(f"mail {email} and") == "mail [EMAIL] and"


@given(
    st.dates(), st.sampled_from(["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%y", "%d.%m.%Y", "%d %B %Y", "%b %d, %Y", "%d-%b-%Y"])
)
@QUICK
def test_no_date_is_left(date, form: str) -> None:
    date = date.replace(year=1800 + date.year % 300)
    assert normalise(f"seen on {date.strftime(form)} and") == "seen on [DATE] and"


@given(st.from_regex(r"(\+?1[-. ])?(\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[0-9]{3}[-. ][0-9]{4}", fullmatch=True))
@QUICK
def test_no_telephone_number_is_left(number: str) -> None:
    assert normalise(f"call {number} today") == "call [PHONE] today"


LONG = 10_000
ADVERSARIAL = [
    "a", "1", "1,", "1.", "1-", "1/", "1 ", "+1", "(1) ", "a@", "a.", "@a.", "a!", "MRN", "MRN ", "-MRN", "Dr ", "Dr. ", "Mr. A. ",
    "van ", "May ", "1 May ", "5 mg/", "5 mg per ", "1 to ", "111,", " ", "\n", "[", "[E1]", "O'", "tel ", "12/", "b.i.d", "%", "/",
]  # fmt: skip


@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_time_is_linear_in_the_text(piece: str) -> None:
    for text in (piece * (LONG // len(piece)), piece * (LONG // len(piece)) + "!"):
        start = time.process_time()
        normalise(text)
        one("biomedical", text)
        # About 0.1 s; a quadratic pattern adds 0.5 to 1.1 s (four measured; r"\d+mg" on digits: 0.7).
        assert time.process_time() - start < 0.5


def test_expansions_hold_nothing_to_expand() -> None:
    for expansion in [*ABBREVIATIONS.values(), *SHORTHAND.values(), *MEDICATIONS.values()]:
        assert normalise(expansion) == expansion


def test_ambiguous_abbreviations_are_not_listed() -> None:
    ambiguous = set(re.findall(r"\b[A-Z]{2,}\b", str(clinical_terms.__doc__)))
    assert {"MS", "PT", "RA"} < ambiguous
    assert not ambiguous & {word.upper() for word in [*ABBREVIATIONS, *SHORTHAND]}


# Names by a model: spaCy itself takes seconds to import, so a recogniser of its shape stands in here.


class Span(NamedTuple):
    label_: str
    start_char: int
    end_char: int
    text: str


class Recogniser:
    """A model that finds what it is told: PERSON John Smith, whatever stands between, and ORG Mayo."""

    max_length = 0

    def pipe(self, texts: list[str]) -> Iterator[SimpleNamespace]:
        for text in texts:
            assert len(text) < self.max_length
            found = re.finditer(r"(?P<PERSON>John .*?Smith)|(?P<ORG>Mayo)", text)
            yield SimpleNamespace(text=text, ents=[Span(str(one.lastgroup), *one.span(), one[0]) for one in found])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("John Smith of Mayo met John B. Smith!", "[NAME] of Mayo met [NAME]!"),
        ("", ""),
        ("nobody", "nobody"),
        ("[E1] John [/E1] Smith", "[E1] [NAME][/E1][NAME]"),
        ("John [DATE] Smith" + "x" * 1_000_000, "[NAME][DATE][NAME]" + "x" * 1_000_000),
    ],
)
def test_people_whom_the_model_finds_go(text: str, expected: str) -> None:
    assert remove_people([text], cast("Any", Recogniser())) == [expected]


@pytest.fixture(autouse=True)
def _no_model_yet() -> Iterator[None]:
    load_ner.cache_clear()
    yield
    load_ner.cache_clear()


def test_names_by_the_model_go_before_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=lambda name, exclude: Recogniser()))
    assert one("clinical-ner", "John Smith took 5MG Tylenol") == "[NAME] took 5 mg acetaminophen"
    assert clean("clinical-ner", []) == []


@pytest.mark.parametrize("error", [ImportError("no spaCy"), OSError("[E050] Can't find model")])
def test_model_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(name: str, exclude: list[str]) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    with pytest.raises(UnavailableError, match=r"python -m spacy download en_core_web_sm .*cleaning=clinical\)"):
        clean("clinical-ner", ["John"])
