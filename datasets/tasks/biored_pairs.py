"""BioRED pairs: which entities of an abstract are related at all, and how."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

from .. import biored, litcoin
from ..core import Examples, Protocol, TaskCard, task
from ..fetch import compare_counts, data_folder, fetch, local
from ..support.errors import UnavailableError, UserError
from ..support.folders import cache_root

_NO_RELATION = "No_Relation"
CARD = TaskCard(
    name="biored-pairs",
    title="BioRED entity pairs",
    description=(
        "Are two entities of a biomedical abstract related, and how? Text: title and abstract with every mention of "
        "the entity that is mentioned first in [E1] … [/E1] and of the other in [E2] … [/E2]. All pairs of two "
        "distinct entity ids of an abstract whose types stand in a relation somewhere in the training part; eight "
        "types, and 'No_Relation' for the pairs that the annotators did not join. Read from BioRED's own files; where "
        "they cannot be had, built from the LitCoin files, which hold 400 of its abstracts: there the types are those "
        "of a relation in any of the 400, which gives the pairs that the training abstracts alone would give."
    ),
    version=1,
    kind="multiclass",
    modality="text",
    labels=(*litcoin.RELATION_TYPES, _NO_RELATION),
    primary_metric="f1_macro",
    group="abstract (near-identical abstracts joined: TF-IDF cosine of 0.9 or more)",
    licence="none stated; offered freely by the NCBI",
    source=(
        "BioRED, National Center for Biotechnology Information (ftp.ncbi.nlm.nih.gov/pub/lu/BioRED); "
        "a download of its archive is not verified: its SHA-256 is not known"
    ),
    citation=litcoin.CITATION,
    counts={"abstracts": 400, "examples": 25128, "related pairs": 4275},
    protocols={
        "": Protocol(
            description=(
                "BioRED's own training, development and test part; built from the LitCoin files, 70/10/20 by iterative "
                "stratification over types, no abstract in two folds"
            )
        )
    },
)

# Of what the published LitCoin files give. No pin on the card: BioRED's own archive gives other examples and folds.
_BUILT = "5adbe986faed45e1160ec2d45ff0e1344a8e70e2e22ce471b9d3aed286d1382f"
_BUILT_SPLIT = "8dd02f0dc8a1ae109bd4b8bf83d3fe9a72033bb366a8c1a5c4ffa34cc2755130"


def files() -> tuple[Path, ...]:
    """Return the path of BioRED's archive, or those of the LitCoin files where it cannot be had."""
    return litcoin.files() if _missing() else (fetch(biored.ARCHIVE),)


def _missing() -> str:
    """Return why BioRED's archive cannot be had; "" where it can."""
    return _decided(data_folder(), cache_root())


@cache
def _decided(folder: Path | None, downloads: Path) -> str:
    """Return `_missing` of these two folders: once a process, so that what is prepared is what its key was made of."""
    del downloads  # where `local` and `fetch` look without a data folder
    if local(biored.ARCHIVE):
        return ""
    if folder:
        return f"{folder} holds no {biored.ARCHIVE}"
    try:
        fetch(biored.ARCHIVE)
    except UnavailableError as error:
        return str(error)
    return ""


@task(CARD, sources=files)
def read() -> Examples:
    """Read the pairs by abstract, those of one abstract in the order in which their entities are first mentioned.

    Raises
    ------
    UserError
        If a file is not what it should be, or what is built of the LitCoin files comes out in other folds than theirs.
    """
    import numpy as np

    if missing := _missing():
        return _built(missing)
    found, parts = biored.read_archive(files()[0])
    rows = pair_rows(found, [key for key, part in parts.items() if part == 0])
    return litcoin.examples(found, rows, np.array([parts[row.first[0].abstract_id] for row in rows]))


def _built(missing: str) -> Examples:
    """Return the examples of the LitCoin files, which come as one part: its types are those of all abstracts."""
    from ..folds import default_folds, split_sha256

    logging.getLogger(__name__).warning("%s is built from the LitCoin files instead: %s", CARD.name, missing)
    found = litcoin.corpus(litcoin.files())
    rows = pair_rows(found, found.abstracts)
    related = sum(row.target != CARD.labels.index(_NO_RELATION) for row in rows)
    compare_counts(CARD, {"abstracts": len(found.abstracts), "examples": len(rows), "related pairs": related})
    examples = litcoin.examples(found, rows)
    dealt = default_folds(examples)
    if examples.fingerprint() == _BUILT and split_sha256(examples.ids, dealt) != _BUILT_SPLIT:
        raise UserError(
            f"task {CARD.name}, built from the LitCoin files: its folds came out otherwise than published: "
            "install the versions that made them"
        )
    return replace(examples, folds=dealt)


def pair_rows(found: litcoin.Corpus, training: Iterable[str]) -> list[litcoin.Row]:
    """Return a row for each pair of entities whose types are those of a relation in the `training` abstracts.

    BioRED's relations have no direction, so the entity that is mentioned first is E1 in related and unrelated pairs
    alike (Lai, in ncbi/BioRED issue 4): the order gives nothing away. A relation of an entity with itself joins no
    pair.
    """
    types = {
        (key, entity): litcoin.entity_type(mentions)
        for key, entities in found.entities.items()
        for entity, mentions in entities.items()
    }
    known = {each: relation.type for relation in found.relations for each in [_pair(relation)]}
    trained = set(training)
    joined = {frozenset(types[key, end] for end in ends) for key, ends in known if key in trained and len(ends) == 2}
    rows = []
    for key, entities in found.entities.items():
        ordered = sorted(entities, key=lambda entity: (min(each.start for each in entities[entity]), entity))
        for one, other in combinations(ordered, 2):
            if frozenset((types[key, one], types[key, other])) in joined:
                target = CARD.labels.index(known.get((key, frozenset((one, other))), _NO_RELATION))
                rows.append(litcoin.Row(f"{key}/{one}/{other}", entities[one], entities[other], target))
    return rows


def _pair(relation: litcoin.Relation) -> tuple[str, frozenset[str]]:
    return relation.abstract_id, frozenset((relation.entity_1, relation.entity_2))
