"""NLTK's corpora: WordNet out of Debian's files, and what is said where a corpus is nowhere."""

from __future__ import annotations

import hashlib
import http.server
import io
import shutil
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zoobench.datasets.support.errors import UnavailableError
from zoobench.zoo import corpora

nltk = pytest.importorskip("nltk")
from nltk.corpus.reader import WordListCorpusReader, WordNetCorpusReader  # noqa: E402 - where NLTK is installed
from nltk.corpus.util import LazyCorpusLoader  # noqa: E402
from nltk.downloader import Downloader  # noqa: E402


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, no other NLTK data, and no network."""
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk, "download", lambda *args, **kwargs: False)
    # NLTK's lazy loader becomes the reader of the folder that it found first.
    monkeypatch.setattr("nltk.corpus.stopwords", LazyCorpusLoader("stopwords", WordListCorpusReader, r"(?!\.).*"))
    return tmp_path


def small_wordnet(folder: Path) -> Path:
    """Lay out a dictionary of three nouns and two adjectives in WordNet's format."""
    folder.mkdir()
    licence = "  1 This is a small dictionary for tests  \n"
    data = {
        "noun": "{0:08} 27 n 02 drug 0 Medicine 1 001 @ {1:08} n 0000 | a substance\n{1:08} 03 n 01 entity 0 000 | all\n",
        "adj": "{0:08} 00 a 01 good 2 001 & {1:08} a 0000 | fine\n{1:08} 00 s 01 well(p) 0 001 & {0:08} a 0000 | healthy\n",
    }
    for speech in ("noun", "verb", "adj", "adv"):
        lines = data.get(speech, "")
        first = len(licence)
        text = licence + lines.format(
            first, first + len(lines.format(0, 0).splitlines(keepends=True)[0]) if lines else 0
        )
        (folder / f"data.{speech}").write_text(text)
        (folder / f"{speech}.exc").write_text("children child\n" if speech == "noun" else "")
    starts = {speech: offsets(folder / f"data.{speech}") for speech in ("noun", "adj")}
    index = {
        "noun": [("drug", 0), ("entity", 1), ("medicine", 0)],
        "adj": [("good", 0), ("well", 1)],
    }
    for speech in ("noun", "verb", "adj", "adv"):
        letter = {"noun": "n", "adj": "a"}.get(speech, "")
        lines = [f"{word} {letter} 1 0 1 0 {starts[speech][which]}  \n" for word, which in index.get(speech, [])]
        (folder / f"index.{speech}").write_text(licence + "".join(lines))
    (folder / "cntlist.rev").write_text("drug%1:27:00:: 1 7\n")
    return folder


def offsets(path: Path) -> list[str]:
    return [line[:8] for line in path.read_text().splitlines() if not line.startswith(" ")]


def test_senses_of_a_small_dictionary(tmp_path: Path) -> None:
    folder = small_wordnet(tmp_path / "dictionary")
    noun, adj = offsets(folder / "data.noun"), offsets(folder / "data.adj")
    assert corpora.sense_index(folder).splitlines() == [
        f"drug%1:27:00:: {noun[0]} 1 7",
        f"entity%1:03:00:: {noun[1]} 1 0",
        f"good%3:00:02:: {adj[0]} 1 0",
        f"medicine%1:27:01:: {noun[0]} 1 0",
        f"well%5:00:00:good:02 {adj[1]} 1 0",
    ]


def test_nltk_reads_what_is_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_wordnet: None) -> None:
    monkeypatch.setattr(corpora, "DEBIAN_WORDNET", small_wordnet(tmp_path / "dictionary"))
    found = corpora.wordnet()
    assert {lemma.key(): lemma.count() for synset in found.all_synsets() for lemma in synset.lemmas()} == {
        "drug%1:27:00::": 7, "Medicine%1:27:01::".lower(): 0, "entity%1:03:00::": 0,
        "good%3:00:02::": 0, "well%5:00:00:good:02": 0,
    }  # fmt: skip
    assert found.synset("drug.n.01").lexname() == "noun.substance"
    assert found.lemma_from_key("well%5:00:00:good:02").name() == "well"
    assert found.morphy("children", "n") is None  # not among the three nouns
    assert found.morphy("drugs", "n") == "drug"


@pytest.fixture
def fresh_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nltk.corpus.wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, None))


@pytest.mark.skipif(not (corpora.DEBIAN_WORDNET / "index.noun").is_file(), reason="wordnet-base is not installed")
def test_debians_wordnet(fresh_wordnet: None) -> None:
    found = corpora.wordnet()
    assert found.synset("dog.n.01").lexname() == "noun.animal"
    assert [found.morphy(word, "n") for word in ("studies", "feet", "children")] == ["study", "foot", "child"]
    lemmas = [lemma for word in ("dog", "run", "able", "abnormal") for lemma in found.lemmas(word)]
    assert len(lemmas) > 50
    assert all(found.lemma_from_key(lemma.key()) == lemma for lemma in lemmas)
    assert "aspirin" in found.synset("acetylsalicylic_acid.n.01").lemma_names()


def test_lexnames_are_as_the_manual_lists_them() -> None:
    lines = corpora.lexnames().splitlines()
    assert len(lines) == 45
    assert [lines[number] for number in (0, 3, 28, 29, 43, 44)] == [
        "00\tadj.all\t3", "03\tnoun.Tops\t1", "28\tnoun.time\t1", "29\tverb.body\t2", "43\tverb.weather\t2",
        "44\tadj.ppl\t3",
    ]  # fmt: skip


@pytest.mark.parametrize(("load", "name"), [(corpora.stopwords, "stopwords"), (corpora.punkt, "punkt_tab")])
def test_a_corpus_that_is_nowhere(load: Any, name: str, alone: Path) -> None:
    with pytest.raises(UnavailableError, match=rf"{name}.* python -m nltk.downloader -d {alone}/nltk_data {name}"):
        load()


def test_wordnet_that_is_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_wordnet: None) -> None:
    monkeypatch.setattr(corpora, "DEBIAN_WORDNET", tmp_path / "none")
    with pytest.raises(UnavailableError, match="apt-get install wordnet-base, or with network: python -m nltk"):
        corpora.wordnet()


def test_a_download_lands_in_the_cache(monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    asked = []

    def download(name: str, download_dir: str, **_: Any) -> bool:
        asked.append(name)
        target = Path(download_dir) / "corpora" / "stopwords"
        target.mkdir(parents=True)
        (target / "english").write_text("the\nof\n")
        return True

    monkeypatch.setattr(nltk, "download", download)
    assert corpora.stopwords() == {"the", "of"}
    assert corpora.stopwords() == {"the", "of"}
    assert asked == ["stopwords"]


STOP_WORDS = "the\nof\nand\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of NLTK's packages on this machine, which NLTK itself would refuse to ask."""
    with Server() as found:
        monkeypatch.setattr("nltk.downloader.urlopen", urllib.request.urlopen)
        monkeypatch.setattr(nltk, "download", Downloader(f"http://127.0.0.1:{found.server_port}/index.xml").download)
        yield found


class Server(http.server.ThreadingHTTPServer):
    """Serves an index and the stop words, of which it sends `share`."""

    def __init__(self) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("stopwords/english", STOP_WORDS)
        self.archive, self.share, self.asked = content.getvalue(), 1.0, 0
        super().__init__(("127.0.0.1", 0), _Handler)

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment] - the only one that it is given to

    def do_GET(self) -> None:
        held, share = self.server.archive, 1.0
        if self.path.endswith(".xml"):
            sums = f'sha256_checksum="{hashlib.sha256(held).hexdigest()}" '
            address = f"http://127.0.0.1:{self.server.server_port}/stopwords.zip"
            held = (
                f'<nltk_data><packages><package id="stopwords" name="s" subdir="corpora" size="{len(held)}" unzip="1" '
                f'unzipped_size="{len(STOP_WORDS)}" url="{address}" {sums} /></packages></nltk_data>'
            ).encode()
        else:
            self.server.asked += 1
            share = self.server.share
        self.send_response(200)
        self.send_header("Content-Length", str(len(held)))
        self.end_headers()
        self.wfile.write(held[: int(len(held) * share)])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_download_cut_short_heals(server: Server, alone: Path) -> None:
    server.share = 0.5
    with pytest.raises(UnavailableError):
        corpora.stopwords()
    server.share = 1.0
    assert corpora.stopwords() == set(STOP_WORDS.split())
    assert server.asked >= 2


@pytest.mark.parametrize("damage", ["unpacked in part", "archive cut short", "archive alone, cut short"])
def test_an_unpacking_cut_short_heals(damage: str, server: Server, alone: Path) -> None:
    """NLTK would read what is there as if it were whole."""
    folder = alone / "nltk_data" / "corpora" / "stopwords"
    folder.mkdir(parents=True)
    (folder / "english").write_text(STOP_WORDS[:4])
    archive = folder.with_suffix(".zip")
    archive.write_bytes(server.archive if damage == "unpacked in part" else server.archive[:40])
    if damage.startswith("archive alone"):
        shutil.rmtree(folder)
    assert corpora.stopwords() == set(STOP_WORDS.split())
    asked = server.asked
    assert corpora.stopwords() == set(STOP_WORDS.split())
    assert server.asked == asked == 1


def test_a_layout_cut_short_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_wordnet: None) -> None:
    monkeypatch.setattr(corpora, "DEBIAN_WORDNET", small_wordnet(tmp_path / "dictionary"))
    whole = corpora.sense_index

    def killed(folder: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpora, "sense_index", killed)
    with pytest.raises(KeyboardInterrupt):
        corpora.wordnet()
    monkeypatch.setattr(corpora, "sense_index", whole)
    assert corpora.wordnet().synset("entity.n.01").offset() > 0
