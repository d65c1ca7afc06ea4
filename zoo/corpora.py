"""NLTK's corpora: found where NLTK looks, downloaded into the project's cache, or WordNet from Debian's files."""

from __future__ import annotations

import io
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..datasets.support.errors import UnavailableError
from ..datasets.support.files import lock, sha256_json
from ..datasets.support.folders import cache_root
from .identity import file_sha256

if TYPE_CHECKING:
    from nltk.corpus.reader import WordNetCorpusReader
    from nltk.tokenize import PunktTokenizer

Corpus = TypeVar("Corpus")

DEBIAN_WORDNET = Path("/usr/share/wordnet")
"""Where Debian's package wordnet-base puts WordNet 3.0's dictionary files."""

CONNECT_SECONDS = 15.0
_NOUNS = (
    "Tops act animal artifact attribute body cognition communication event feeling food group location motive object "
    "person phenomenon plant possession process quantity relation shape state substance time"
)
_VERBS = (
    "body change cognition communication competition consumption contact creation emotion motion perception possession "
    "social stative weather"
)


def data_folder() -> Path:
    """Return the folder of NLTK's data in the project's cache."""
    return cache_root() / "nltk_data"


def wordnet() -> WordNetCorpusReader:
    """Return NLTK's reader of WordNet 3.0 (Miller 1995).

    Raises
    ------
    UnavailableError
        If NLTK finds no WordNet, Debian's package wordnet-base is not installed, and no download succeeds; with the
        commands that provide it. The same for the corpora below.
    """

    def load() -> WordNetCorpusReader:
        from nltk.corpus import wordnet as found

        found.ensure_loaded()
        return found  # pyright: ignore[reportReturnType] - the lazy loader has become the reader

    return _corpus("wordnet", load)


def stopwords() -> frozenset[str]:
    """Return NLTK's English stop words; raises as `wordnet` does."""

    def load() -> frozenset[str]:
        from nltk.corpus import stopwords as found

        return frozenset(found.words("english"))

    return _corpus("stopwords", load)


def punkt() -> PunktTokenizer:
    """Return NLTK's English sentence splitter (Kiss and Strunk 2006); raises as `wordnet` does."""

    def load() -> PunktTokenizer:
        from nltk.tokenize import PunktTokenizer

        return PunktTokenizer("english")

    return _corpus("punkt_tab", load)


def identities() -> dict[str, str]:
    """Return a hash of the files of each corpus that words are prepared with, by name; raises as `wordnet` does."""
    return {name: _identity(name) for name in _PLACES}


_PLACES = {
    "punkt_tab": "tokenizers/punkt_tab/english",
    "stopwords": "corpora/stopwords/english",
    "wordnet": "corpora/wordnet",
}
"""Where NLTK's data have each corpus."""


def _identity(name: str) -> str:
    def find() -> Any:
        from nltk.data import find

        return find(_PLACES[name])

    found = _corpus(name, find)
    root = Path(found.zipfile.filename if hasattr(found, "zipfile") else str(found))
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    return sha256_json({path.name: file_sha256(path, path.stat().st_mtime_ns) for path in files})


def lexnames() -> str:
    """Return the file ``lexnames`` that NLTK's reader wants and wordnet-base lacks.

    Number, name and part of speech (1 noun, 2 verb, 3 adjective, 4 adverb) of WordNet's 45 lexicographer files, as
    its manual page lexnames(5WN) lists them.
    """
    names = ["adj.all", "adj.pert", "adv.all"]
    names += [f"noun.{name}" for name in _NOUNS.split()] + [f"verb.{name}" for name in _VERBS.split()] + ["adj.ppl"]
    speech = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
    return "".join(f"{number:02}\t{name}\t{speech[name.split('.')[0]]}\n" for number, name in enumerate(names))


def sense_index(folder: Path) -> str:
    """Return the file ``index.sense`` that NLTK's reader wants and wordnet-base lacks, from its other files.

    A line a sense, sorted: key, offset of its synset, number among the word's senses, count in the tagged texts; the
    format of the manual page senseidx(5WN).
    """
    counted = (line.split() for line in (folder / "cntlist.rev").read_text(encoding="latin-1").splitlines())
    counts = {key: count for key, _, count in counted}
    lines: list[str] = []
    for speech in ("noun", "verb", "adj", "adv"):
        entries = (line.split() for line in _entries(folder / f"index.{speech}"))
        numbers = {
            (entry[0], offset): number for entry in entries for number, offset in enumerate(entry[-int(entry[2]) :], 1)
        }
        synsets = {line[:8]: _Synset.read(line) for line in _entries(folder / f"data.{speech}")}
        for offset, synset in synsets.items():
            for word, lex_id in synset.words:
                head = ":".join(synsets[synset.head].words[0]) if synset.head else ":"
                key = f"{word}%{synset.kind}:{synset.file}:{lex_id}:{head}"
                lines.append(f"{key} {offset} {numbers[word, offset]} {counts.get(key, 0)}\n")
    return "".join(sorted(lines))


class _Synset(NamedTuple):
    """What a sense's key says of its synset, as strings: `head` is the offset of the adjective it is close to."""

    file: str
    kind: int
    words: list[tuple[str, str]]
    head: str

    @classmethod
    def read(cls, line: str) -> _Synset:
        _, file, kind, count, *rest = line.partition("|")[0].split()
        held = 2 * int(count, 16)
        words = [
            (word.partition("(")[0].lower(), f"{int(lex_id, 16):02}")
            for word, lex_id in zip(rest[:held:2], rest[1:held:2], strict=True)
        ]
        pointers = rest[held + 1 :]
        head = pointers[pointers.index("&") + 1] if kind == "s" else ""
        return cls(file, "nvars".index(kind) + 1, words, head)


def _entries(path: Path) -> Iterator[str]:
    """Yield a dictionary file's lines, less the licence that opens it, indented."""
    return (line for line in path.read_text(encoding="latin-1").splitlines() if not line.startswith(" "))


def _corpus(name: str, load: Callable[[], Corpus]) -> Corpus:
    """Return what `load` finds: as things are, after Debian's files were tried (WordNet), or after a download."""
    folder = data_folder()
    _search(folder)
    debian = [_from_debian] if name == "wordnet" else []
    for provide in (lambda: _drop_parts(name, folder), *debian, lambda: _download(name, folder)):
        try:
            provide()
            return load()
        except (LookupError, zipfile.BadZipFile):
            continue
    hint = "apt-get install wordnet-base, or " if debian else ""
    command = f"{hint}with network: python -m nltk.downloader -d {folder} {name}"
    raise UnavailableError(
        f"NLTK's corpus {name} is not installed and could not be downloaded: {command}; "
        "preprocessing=nltk-offline and augmentation=eda need none"
    )


def _drop_parts(name: str, folder: Path) -> None:
    """Remove what a download left that was ended while NLTK unpacked it, which it would read as if it were whole."""
    if _cut_short(name, folder):
        with lock(folder / f"{name}.lock"):  # whoever unpacks holds it
            for archive in _cut_short(name, folder):
                shutil.rmtree(archive.with_suffix(""), ignore_errors=True)
                archive.unlink()


def _cut_short(name: str, folder: Path) -> list[Path]:
    """Return the archive of a package in `folder` if it is damaged, or if not all of it stands unpacked beside it."""
    return [archive for archive in folder.glob(f"*/{name}.zip") if not _is_whole(archive)]


def _is_whole(archive: Path) -> bool:
    try:
        with zipfile.ZipFile(archive) as opened:
            held = {each.filename: each.file_size for each in opened.infolist() if not each.is_dir()}
    except (OSError, zipfile.BadZipFile):
        return False
    sizes = {path: path.stat().st_size if path.is_file() else -1 for path in map(archive.parent.joinpath, held)}
    return not archive.with_suffix("").exists() or list(sizes.values()) == list(held.values())


def _search(folder: Path) -> None:
    """Let NLTK look into `folder` as well, from here on; UnavailableError where there is no NLTK."""
    try:
        import nltk.data
    except ModuleNotFoundError as error:
        raise UnavailableError("NLTK is not installed: pip install 'zoobench[text]'") from error
    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))


def _download(name: str, folder: Path) -> None:
    import nltk

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        with lock(folder / f"{name}.lock"):
            nltk.download(name, download_dir=str(folder), quiet=True, print_error_to=io.StringIO())
    finally:
        socket.setdefaulttimeout(before)


def _from_debian() -> None:
    """Lay Debian's dictionary files out as NLTK's corpus: copies, for NLTK reads no link that leaves its folders."""
    if not (DEBIAN_WORDNET / "index.noun").is_file():
        raise LookupError(DEBIAN_WORDNET)
    target = data_folder() / "corpora" / "wordnet"
    with lock(data_folder() / "wordnet.lock"):
        if target.is_dir():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wordnet.") as folder:
            part = Path(folder) / target.name
            part.mkdir()
            for path in filter(Path.is_file, DEBIAN_WORDNET.iterdir()):
                shutil.copyfile(path, part / path.name)
            (part / "lexnames").write_text(lexnames(), encoding="ascii")
            (part / "index.sense").write_text(sense_index(part), encoding="latin-1")
            part.rename(target)
