"""LitCoin novelty: whether a relation between two entities is a finding of the abstract or was known before."""

from __future__ import annotations

from dataclasses import replace

from .. import litcoin
from ..core import Examples, Protocol, TaskCard, task
from ..fetch import compare_counts
from .litcoin_relations import CARD as _RELATIONS

CARD = TaskCard(
    name="litcoin-novelty",
    title="LitCoin novelty",
    description=(
        "Is what an abstract says of two entities new? Text: title and abstract with every mention of the first "
        "entity in [E1] … [/E1] and of the second in [E2] … [/E2]. 'Novel' is a finding of the article itself, 'No' "
        "is background. The type of the relation is the target of litcoin-relations and is no input."
    ),
    version=1,
    kind="multiclass",
    modality="text",
    labels=litcoin.NOVELTY,
    primary_metric="f1_macro",
    group=_RELATIONS.group,
    licence=_RELATIONS.licence,
    source=_RELATIONS.source,
    citation=_RELATIONS.citation,
    counts={"abstracts": 400, "mentions": 13636, "relations": 4280, "examples": 4280},
    protocols={
        "": Protocol(
            description="the folds of litcoin-relations: no abstract is trained on in one task and tested in the other",
            split=_RELATIONS.protocols[""].split,
            fingerprint="b241caed9f3375cbf3703f08699b8fe5a1006a04d603b4658d5c0ffb35feb907",
        )
    },
)


@task(CARD, sources=litcoin.files)
def read() -> Examples:
    """Read the relations in the order of the file.

    They are dealt by type, as in litcoin-relations. Dealt by novelty, the folds' shares of all rows would miss
    70/10/20 by up to 5 points; dealt by type, those of rows and of both answers miss it by up to 3.
    """
    import numpy as np

    from ..folds import grouped_iterative_split

    found = litcoin.corpus(litcoin.files())
    compare_counts(
        CARD,
        {"abstracts": len(found.abstracts), "mentions": len(found.mentions), "relations": len(found.relations)},
    )
    rows = litcoin.relation_rows(found, CARD.labels, lambda relation: relation.novel)
    examples = litcoin.examples(found, rows)
    types = np.array([_RELATIONS.labels.index(relation.type) for relation in found.relations])
    return replace(examples, folds=grouped_iterative_split(types, examples.groups))
