"""Words prepared by NLTK and spaCy, against direct uses of both; the cache, the processes, and what is said without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.support.texts import Texts, columns
from zoobench.zoo import preprocessing
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.preprocessing import Preprocessor
from zoobench.zoo.vectorizers import MARKED

TEXTS = np.array(
    [
        "The babies were crying. Their mothers' studies of T cells didn't help!",
        "Dr. Smith measured 3.5 mg/dL in U.S. patients, running (see fig. 2)...",
        "",
        "Φλεγμονή 肺炎 🫁 \x00\x01 Geese, mice and oxen",
    ],
    dtype=object,
)


def prepared(name: str, texts: Any = TEXTS, **more: Any) -> np.ndarray:
    return Preprocessor("none", name, **more).transform(texts)


def test_nltk_offline_is_nltk_by_hand() -> None:
    pytest.importorskip("nltk")
    from nltk.stem import SnowballStemmer
    from nltk.tokenize import TreebankWordTokenizer
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    sentences = [["the babies were crying.", "their mothers' studies of t cells didn't help!"]]
    sentences += [["dr.", "smith measured 3.5 mg/dl in u.s. patients, running (see fig.", "2)..."]]
    tokenizer, stemmer = TreebankWordTokenizer(), SnowballStemmer("english")
    for found, parts in zip(prepared("nltk-offline"), sentences, strict=False):
        tokens = [token for part in parts for token in tokenizer.tokenize(part)]
        letters = [stemmer.stem(token) for token in tokens if token not in ENGLISH_STOP_WORDS]
        assert [word for word in found.split() if word.isalnum()] == [word for word in letters if word.isalnum()]
    assert prepared("nltk-offline")[0].split()[:2] == ["babi", "cri"]
    assert prepared("nltk-offline")[2] == ""


def test_spacy_lookup_is_spacy_by_hand() -> None:
    spacy = pytest.importorskip("spacy")
    language = spacy.blank("en")
    language.add_pipe("lemmatizer", config={"mode": "lookup"})
    language.initialize()
    for found, text in zip(prepared("spacy-lookup"), TEXTS, strict=True):
        tokens = [token for token in language(text.lower()) if not (token.is_stop or token.is_punct or token.is_space)]
        assert found == " ".join(token.lemma_.lower() for token in tokens)
    assert prepared("spacy-lookup")[3].split()[-3:] == ["goose", "mouse", "ox"]


@pytest.fixture
def nltk_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """NLTK's corpora in small: two stop words, Punkt with one abbreviation, WordNet's nouns by the real reader."""
    nltk = pytest.importorskip("nltk")
    from nltk.corpus.reader import WordListCorpusReader, WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    folder = tmp_path / "data"
    (folder / "corpora" / "stopwords").mkdir(parents=True)
    (folder / "corpora" / "stopwords" / "english").write_text("the\nwere\n")
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
        (english / name).write_text("")
    (english / "abbrev_types.txt").write_text("dr\n")
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    monkeypatch.setattr("nltk.corpus.stopwords", LazyCorpusLoader("stopwords", WordListCorpusReader, r"(?!\.).*"))
    (folder / "corpora" / "wordnet").mkdir()
    (folder / "corpora" / "wordnet" / "noun.exc").write_text("geese goose\n")
    forms = {"babies": ["baby"], "mothers": ["mother"], "studies": ["study"], "geese": ["goose"]}

    class Nouns:
        def _morphy(self, form: str, pos: str, check_exceptions: bool = True) -> list[str]:
            assert pos == WordNetCorpusReader.NOUN
            return forms.get(form, [])

    monkeypatch.setattr("nltk.corpus.wordnet", Nouns())
    monkeypatch.setattr(preprocessing, "wordnet", lambda: None)
    preprocessing._nltk.cache_clear()
    yield
    preprocessing._nltk.cache_clear()


def test_nltk_with_its_corpora(nltk_data: None) -> None:
    found = [re.findall(r"\w+", text) for text in prepared("nltk")]
    assert found[0] == ["baby", "crying", "their", "mother", "study", "of", "t", "cells", "did", "n", "t", "help"]
    assert found[1][:3] == ["dr", "smith", "measured"]
    assert prepared("nltk")[1].startswith("dr. smith")  # Punkt knows the abbreviation: no sentence ends there
    assert found[3][-4:] == ["goose", "mice", "and", "oxen"]


def test_another_corpus_or_library_parts_the_cache(
    nltk_data: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    before = prepared("nltk", features=cache)[0]
    (tmp_path / "data" / "corpora" / "stopwords" / "english").write_text("the\nwere\ntheir\n")
    preprocessing._nltk.cache_clear()
    monkeypatch.setattr(preprocessing, "stopwords", lambda: frozenset(("the", "were", "their")))
    assert prepared("nltk", features=cache)[0].split() == [word for word in before.split() if word != "their"]
    for name in ("corpora/wordnet/noun.exc", "tokenizers/punkt_tab/english/abbrev_types.txt"):
        known = Preprocessor("none", "nltk")._settings()
        (tmp_path / "data" / name).write_text("another\n")
        assert Preprocessor("none", "nltk")._settings() != known
    known = Preprocessor("none", "nltk-offline")._settings()
    monkeypatch.setattr(preprocessing, "installed", lambda name: "2" if name == "scikit-learn" else "")
    assert Preprocessor("none", "nltk-offline")._settings() != known


def test_nothing_stands_in_for_a_missing_corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nltk = pytest.importorskip("nltk")
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk, "download", lambda *args, **kwargs: False)
    monkeypatch.setattr(preprocessing, "wordnet", lambda: None)
    preprocessing._nltk.cache_clear()
    with pytest.raises(UnavailableError, match=r"punkt_tab .*python -m nltk\.downloader -d .* punkt_tab"):
        prepared("nltk")


def test_spacy_without_its_model() -> None:
    spacy = pytest.importorskip("spacy")
    if spacy.util.is_package(preprocessing.SPACY_MODEL):
        pytest.skip("the model is installed")
    with pytest.raises(UnavailableError, match=r"python -m spacy download en_core_web_sm.*spacy-lookup"):
        prepared("spacy")


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match="did you mean 'nltk-offline'"):
        Preprocessor("none", "nltk-ofline")
    with pytest.raises(UserError, match="cleaning"):
        Preprocessor("biomedicl", "plain").transform(TEXTS)


def test_the_cache_answers_the_same_and_charges_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nltk")
    first = FeatureCache(tmp_path)
    fresh = prepared("nltk-offline", features=first)
    monkeypatch.setattr(preprocessing, "_lines", None)  # whoever computes now fails
    again = FeatureCache(tmp_path)
    kept = prepared("nltk-offline", TEXTS[::-1], features=again)
    assert list(kept[::-1]) == list(fresh) == list(prepared("nltk-offline", features=first))
    assert again.charged == pytest.approx(first.charged)
    assert first.charged > 0
    with again.bypass(), pytest.raises(TypeError):
        prepared("nltk-offline", features=again)


def test_settings_part_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("nltk")
    cache = FeatureCache(tmp_path)
    offline = prepared("nltk-offline", features=cache)
    assert list(prepared("plain", features=cache)) == list(TEXTS)
    assert prepared("spacy-lookup", features=cache)[0] != offline[0]


def test_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nltk")
    monkeypatch.setattr(preprocessing, "_JOB", 3)
    texts = np.array([f"Studies {number} of running babies. They cried." for number in range(20)], dtype=object)
    assert list(prepared("nltk-offline", texts, processes=1)) == list(prepared("nltk-offline", texts, processes=3))


def test_columns_and_markers_go_along() -> None:
    pytest.importorskip("nltk")
    texts = Texts(["[E1] Aspirin [/E1] relieves [E2] headaches [/E2]."], {"type_1": np.array(["Drug"], object)})
    found = prepared("nltk-offline", texts)
    assert found[0].split()[:3] == ["aspirin", "reliev", "headach"]
    assert columns(found)["type_1"][0] == "Drug"
    assert columns(found)[MARKED][0] == texts[0]


def test_cleaning_comes_first() -> None:
    pytest.importorskip("nltk")
    found = Preprocessor("biomedical", "nltk-offline").transform(np.array(["Fever %%% babies"], dtype=object))
    assert found[0] == "fever babi"
