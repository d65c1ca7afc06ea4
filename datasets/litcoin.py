"""LitCoin: biomedical abstracts with their entity mentions and the relations between entities.

The corpus of the LitCoin NLP challenge is the training part of BioRED (Luo et al. 2022, doi:10.1093/bib/bbac282).
Three tab-separated files hold it::

    abstracts_train.csv  abstract_id, title, abstract
    entities_train.csv   id, abstract_id, offset_start, offset_finish, type, mention, entity_ids
    relations_train.csv  id, abstract_id, type, entity_1_id, entity_2_id, novel

A relation joins two entity *ids* of an abstract; the mentions say where entities stand in ``title + " " + abstract``.
``biored.py`` reads BioRED's own files into the same types.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from . import published
from .core import Examples
from .fetch import RawFile, fetch
from .marking import Span, holds_marker, mark
from .support.errors import UserError

if TYPE_CHECKING:
    import numpy as np

ENTITY_TYPES = (
    "GeneOrGeneProduct",
    "DiseaseOrPhenotypicFeature",
    "ChemicalEntity",
    "OrganismTaxon",
    "SequenceVariant",
    "CellLine",
)
# From the most to the least frequent.
RELATION_TYPES = (
    "Association",
    "Positive_Correlation",
    "Negative_Correlation",
    "Bind",
    "Cotreatment",
    "Comparison",
    "Drug_Interaction",
    "Conversion",
)
NOVELTY = ("No", "Novel")
CITATION = (
    "Luo L, Lai PT, Wei CH, Arighi CN, Lu Z. BioRED: a rich biomedical relation extraction dataset. "
    "Brief Bioinform. 2022;23(5):bbac282. doi:10.1093/bib/bbac282"
)
LICENCE = "none stated by the publisher; BioRED, the same corpus, is offered freely by the NCBI"

_COMMIT = "66c30df168570d65b3d6c81ea7506e38615c16f1"
_BASE = (
    "https://raw.githubusercontent.com/BioITHackathons/"
    f"Creating-Computable-Knowledge-from-Unstructured-Information/{_COMMIT}"
)
_HASHES = {
    "abstracts_train.csv": "c7e9b63324d0262d75b8a9e77a55a204b97784d687c607686033ae4a7974dac4",
    "entities_train.csv": "e8b522f1ba3ed92aabd89483200ee4479a55caaf0a567fa8ab1ebca1aaf2174c",
    "relations_train.csv": "07a5d303066dec777681ec2da04bfe12e8543a1e56d0be7a772738348985d19d",
}
FILES = tuple(RawFile("litcoin-relations", name, f"{_BASE}/{name}", sha256) for name, sha256 in _HASHES.items())

# Names of the columns in the files and of the fields here.
_ABSTRACT = {"abstract_id": "id", "title": "title", "abstract": "abstract"}
_MENTION = {
    "id": "id",
    "abstract_id": "abstract_id",
    "offset_start": "start",
    "offset_finish": "end",
    "type": "type",
    "mention": "text",
    "entity_ids": "entity_ids",
}
_RELATION = {
    "id": "id",
    "abstract_id": "abstract_id",
    "type": "type",
    "entity_1_id": "entity_1",
    "entity_2_id": "entity_2",
    "novel": "novel",
}
_NO_ENTITY = "-"  # what the annotators wrote where a database holds no identifier
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Abstract:
    """A title and an abstract; `id` is the PubMed number."""

    id: str
    title: str
    abstract: str

    @property
    def text(self) -> str:
        """The text that offsets count in."""
        return f"{self.title} {self.abstract}"


@dataclass(frozen=True, slots=True)
class Mention:
    """Where an entity stands: characters `start` to `end` (outside) of an abstract's text read `text`.

    `entity_ids` is as published: several ids joined by commas where the words name several entities at once.
    """

    id: str
    abstract_id: str
    start: int
    end: int
    type: str
    text: str
    entity_ids: str

    @property
    def ids(self) -> tuple[str, ...]:
        """The distinct ids, in their order; none where no database holds the entity ("-")."""
        parts = (part.strip() for part in self.entity_ids.split(","))
        return tuple(dict.fromkeys(part for part in parts if part not in ("", _NO_ENTITY)))


@dataclass(frozen=True, slots=True)
class Relation:
    """What an abstract says of two of its entities: one of `RELATION_TYPES`, and whether it is new (`NOVELTY`)."""

    id: str
    abstract_id: str
    type: str
    entity_1: str
    entity_2: str
    novel: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """Abstracts with the mentions and relations that hold together (see `checked`), in the order of their files.

    Attributes
    ----------
    left_out
        Ids of the rows that were left out, by what was wrong with them.
    """

    abstracts: Mapping[str, Abstract]
    mentions: tuple[Mention, ...]
    relations: tuple[Relation, ...]
    left_out: Mapping[str, tuple[str, ...]]

    @cached_property
    def entities(self) -> Mapping[str, Mapping[str, tuple[Mention, ...]]]:
        """The mentions of each entity id of each abstract, in the order of the file."""
        found: dict[str, dict[str, list[Mention]]] = {key: {} for key in self.abstracts}
        for mention in self.mentions:
            for entity in mention.ids:
                found[mention.abstract_id].setdefault(entity, []).append(mention)
        return {key: {entity: tuple(held) for entity, held in each.items()} for key, each in found.items()}

    @cached_property
    def groups(self) -> Mapping[str, int]:
        """The group of each abstract: near-identical abstracts share one."""
        from .near import near_identical_groups

        numbers = near_identical_groups([abstract.text for abstract in self.abstracts.values()])
        return dict(zip(self.abstracts, numbers.tolist(), strict=True))


class Row(NamedTuple):
    """An example to be made: the mentions to mark as E1 and as E2, all of one abstract, and the class number."""

    id: str
    first: Sequence[Mention]
    second: Sequence[Mention]
    target: int


def files() -> tuple[Path, ...]:
    """Return the paths of abstracts, entities and relations, downloaded where they are not there yet."""
    return tuple(fetch(file) for file in FILES)


def corpus(paths: Sequence[Path]) -> Corpus:
    """Read the corpus from the paths of abstracts, entities and relations (`files`).

    ``corpus(files()).mentions`` and ``.relations`` are tidy tables: each record has its ``abstract_id`` and
    ``type``; a mention its ``start`` and ``end``, a relation whether it is ``novel``.

    Raises
    ------
    UserError
        If a file is not what `published.table` takes, separated by tabs; names file, line and column.
        Rows that contradict each other are left out instead (see `checked`).
    """
    abstracts, mentions, relations = paths
    return checked(
        str(abstracts.parent),
        (Abstract(**_renamed(row, _ABSTRACT)) for row in _rows(abstracts, _ABSTRACT)),
        (_mention(row) for row in _rows(mentions, _MENTION)),
        (Relation(**_renamed(row, _RELATION)) for row in _rows(relations, _RELATION)),
    )


def _rows(path: Path, columns: Mapping[str, str]) -> Iterator[published.Row]:
    return published.table(path, tuple(columns), separator="\t")


def _renamed(row: published.Row, columns: Mapping[str, str]) -> dict[str, str]:
    return {name: row.cells[column] for column, name in columns.items()}


def _mention(row: published.Row) -> Mention:
    offsets = {}
    for column in ("offset_start", "offset_finish"):
        try:
            offsets[_MENTION[column]] = int(row.cells[column])
        except ValueError as error:
            raise row.fault(column, f"{row.cells[column]!r} is no whole number") from error
    return Mention(**{**_renamed(row, _MENTION), **offsets})  # type: ignore[arg-type]


def checked(
    where: str, abstracts: Iterable[Abstract], mentions: Iterable[Mention], relations: Iterable[Relation]
) -> Corpus:
    """Return the corpus of what holds together; one warning counts the rest and names the first few ids.

    Left out are: an abstract, mention or relation whose id stands there already, and a relation of two entities
    that an earlier one joins; an abstract that holds a marker; what names an unknown abstract or type; a mention
    whose offsets lie outside the text, or whose words stand elsewhere; a relation that names an entity without
    a mention, or an unknown novelty.

    Raises
    ------
    UserError
        If no relation is left.
    """
    faults: dict[str, list[str]] = {}
    known = {each.id: each for each in _sift(abstracts, _abstract_fault, faults)}
    texts = {key: each.text for key, each in known.items()}
    kept = tuple(_sift(mentions, lambda each: _mention_fault(each, texts), faults))
    entities = {(mention.abstract_id, entity) for mention in kept for entity in mention.ids}
    pairs: set[tuple[str, frozenset[str]]] = set()
    related = tuple(_sift(relations, lambda each: _relation_fault(each, texts, entities, pairs), faults))
    told = "; ".join(
        f"{len(ids):,} {fault} ({', '.join(ids[:_SHOWN])}{', …' if len(ids) > _SHOWN else ''})"
        for fault, ids in faults.items()
    )
    if not related:
        raise UserError(f"{where}: no relation can be used: {told or 'there is none'}")
    if told:
        logging.getLogger(__name__).warning("%s: left out: %s", where, told)
    left_out = MappingProxyType({fault: tuple(ids) for fault, ids in faults.items()})
    return Corpus(MappingProxyType(known), kept, related, left_out)


_Record = TypeVar("_Record", Abstract, Mention, Relation)


def _sift(
    records: Iterable[_Record], fault_of: Callable[[_Record], str], faults: dict[str, list[str]]
) -> Iterator[_Record]:
    """Yield the records without a fault, and note the ids of the others."""
    seen: set[str] = set()
    for record in records:
        repeated = f"{type(record).__name__.lower()}(s) with the id of an earlier one"
        if fault := repeated if record.id in seen else fault_of(record):
            faults.setdefault(fault, []).append(record.id)
        else:
            seen.add(record.id)
            yield record


def _abstract_fault(abstract: Abstract) -> str:
    return "abstract(s) that hold a marker such as [E1]" if holds_marker(abstract.text) else ""


def _mention_fault(mention: Mention, texts: Mapping[str, str]) -> str:
    text = texts.get(mention.abstract_id)
    if text is None:
        return "mention(s) in an unknown abstract"
    if mention.type not in ENTITY_TYPES:
        return "mention(s) of an unknown type"
    if not 0 <= mention.start < mention.end <= len(text):
        return "mention(s) with offsets outside the text"
    if text[mention.start : mention.end] != mention.text:
        return "mention(s) whose words do not stand at their offsets"
    return ""


def _relation_fault(
    relation: Relation,
    texts: Mapping[str, str],
    entities: set[tuple[str, str]],
    pairs: set[tuple[str, frozenset[str]]],
) -> str:
    if relation.abstract_id not in texts:
        return "relation(s) in an unknown abstract"
    if relation.type not in RELATION_TYPES:
        return "relation(s) of an unknown type"
    if relation.novel not in NOVELTY:
        return "relation(s) of unknown novelty"
    ends = frozenset((relation.entity_1, relation.entity_2))
    if not {(relation.abstract_id, end) for end in ends} <= entities:
        return "relation(s) that name an unknown entity"
    if (relation.abstract_id, ends) in pairs:
        return "relation(s) between entities that an earlier one joins"
    pairs.add((relation.abstract_id, ends))
    return ""


def relation_rows(found: Corpus, labels: Sequence[str], label: Callable[[Relation], str]) -> list[Row]:
    """Return a row for each relation, all mentions of its two ids to be marked; `label` gives one of `labels`."""
    return [
        Row(
            f"{each.abstract_id}/{each.id}",
            found.entities[each.abstract_id][each.entity_1],
            found.entities[each.abstract_id][each.entity_2],
            labels.index(label(each)),
        )
        for each in found.relations
    ]


def examples(found: Corpus, rows: Sequence[Row], folds: np.ndarray | None = None) -> Examples:
    """Return the examples of `rows`: marked texts, grouped by abstract.

    Columns: ``type_1`` and ``type_2``, the types of the two entities, and ``mention_1`` and ``mention_2``, the
    words of their first mentions. `folds` is as in `Examples`.
    """
    import numpy as np

    texts = {key: abstract.text for key, abstract in found.abstracts.items()}
    columns: dict[str, list[str]] = {}
    for number, pick in ((1, lambda row: row.first), (2, lambda row: row.second)):
        columns[f"type_{number}"] = [entity_type(pick(row)) for row in rows]
        columns[f"mention_{number}"] = [min(pick(row), key=_place).text for row in rows]
    marked = [mark(texts[row.first[0].abstract_id], map(_place, row.first), map(_place, row.second)) for row in rows]
    return Examples(
        ids=np.array([row.id for row in rows], dtype=object),
        inputs=np.array(marked, dtype=object),
        targets=np.array([row.target for row in rows], dtype=np.int64),
        groups=np.array([found.groups[row.first[0].abstract_id] for row in rows], dtype=np.int64),
        columns={name: np.array(values, dtype=object) for name, values in columns.items()},
        folds=folds,
    )


def entity_type(mentions: Iterable[Mention]) -> str:
    """Return the type that most of the mentions of an entity have; the first of those that tie."""
    return Counter(mention.type for mention in mentions).most_common(1)[0][0]


def _place(mention: Mention) -> Span:
    return mention.start, mention.end
