"""BioRED: 600 abstracts in three parts, read from its BioC JSON files into the types of ``litcoin.py``.

``BIORED.zip`` holds ``BioRED/Train.BioC.JSON``, ``Dev.BioC.JSON`` and ``Test.BioC.JSON`` (Luo et al. 2022,
doi:10.1093/bib/bbac282). Each is a BioC collection (Comeau et al. 2013, doi:10.1093/database/bat064)::

    documents[]                id
      passages[]               offset, text                       the title, then the abstract
        annotations[]          id, text, infons.type, infons.identifier, locations[].offset, .length
      relations[]              id, infons.entity1, .entity2, .type, .novel

Offsets count from the start of the document; the abstract starts one character behind the title's end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .core import FOLDS, Fold
from .fetch import RawFile
from .litcoin import Abstract, Corpus, Mention, Relation, checked
from .support.archives import members, open_member
from .support.errors import UserError

# Its SHA-256 is not known here: the host was out of reach when this was written.
ARCHIVE = RawFile("biored-pairs", "BIORED.zip", "https://ftp.ncbi.nlm.nih.gov/pub/lu/BioRED/BIORED.zip")
MEMBERS: Mapping[Fold, str] = {
    "train": "Train.BioC.JSON",
    "validation": "Dev.BioC.JSON",
    "test": "Test.BioC.JSON",
}
# Several times the largest member: an archive that unpacks to more is none of BioRED's.
_MEMBER_BYTES = 100_000_000
# Characters between two passages: one in BioRED.
_GAP = 100

Records = tuple[list[Abstract], list[Mention], list[Relation]]


def read_archive(path: Path) -> tuple[Corpus, dict[str, int]]:
    """Return all of BioRED, and the part of each abstract as an index into ``FOLDS``.

    Nothing is unpacked to disk. An abstract that two parts hold counts in the first of them alone.

    Raises
    ------
    UserError
        If the file is no such archive; the message names the member and the document.
    """
    abstracts: list[Abstract] = []
    mentions: list[Mention] = []
    relations: list[Relation] = []
    parts: dict[str, int] = {}
    for number, fold in enumerate(FOLDS):
        held = _part(path, MEMBERS[fold])
        for own, records in zip((abstracts, mentions, relations), held, strict=True):
            own.extend(records)  # type: ignore[arg-type]
        for abstract in held[0]:
            parts.setdefault(abstract.id, number)
    return checked(str(path), abstracts, mentions, relations), parts


def _part(path: Path, member: str) -> Records:
    records: Records = ([], [], [])
    collection = _json(path, member)
    documents = collection.get("documents") if isinstance(collection, dict) else None
    if not isinstance(documents, list) or not documents:
        raise UserError(f"{path}: {member} is no BioC collection: it has no documents")
    for number, document in enumerate(documents):
        try:
            _document(document, records)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{path}: {member}, document {number} is no BioRED document: {reason}") from error
    return records


def _json(path: Path, member: str) -> Any:
    """Return the JSON value of the member with this name in any folder of the archive at `path`."""
    found = [name for name in members(path) if PurePosixPath(name).name == member]
    if not found:
        raise UserError(f"{path} holds no {member}: take BIORED.zip from {ARCHIVE.url}")
    with open_member(path, found[0], _MEMBER_BYTES) as stream:
        content = stream.read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {member} is no JSON ({error}): take BIORED.zip from {ARCHIVE.url}") from error


def _document(document: Mapping[str, Any], records: Records) -> None:
    """Append what a document holds; ids within a document become ids of the corpus."""
    abstracts, mentions, relations = records
    key = str(document["id"])
    passages = sorted(document["passages"], key=lambda passage: int(passage["offset"]))
    title, text = str(passages[0]["text"]), ""
    for passage in passages:
        offset = int(passage["offset"])
        if not bool(text) <= offset - len(text) <= _GAP:
            raise ValueError(f"a passage at offset {offset} behind {len(text)} characters")
        text = text.ljust(offset) + str(passage["text"])
    abstracts.append(Abstract(key, title, text[len(title) + 1 :]))
    for passage in passages:
        mentions.extend(_mentions(key, passage))
    for relation in document.get("relations", []):
        infons = relation["infons"]
        ends = str(infons["entity1"]), str(infons["entity2"])
        relations.append(Relation(f"{key}/{relation['id']}", key, str(infons["type"]), *ends, str(infons["novel"])))


def _mentions(key: str, passage: Mapping[str, Any]) -> Iterator[Mention]:
    for annotation in passage.get("annotations", []):
        infons, (location,) = annotation["infons"], annotation["locations"]
        start = int(location["offset"])
        yield Mention(
            id=f"{key}/{annotation['id']}",
            abstract_id=key,
            start=start,
            end=start + int(location["length"]),
            type=str(infons["type"]),
            text=str(annotation["text"]),
            entity_ids=str(infons.get("identifier", "")),
        )
