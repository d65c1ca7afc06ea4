"""LitCoin relations: which of eight types the relation between two entities of an abstract is."""

from __future__ import annotations

from .. import litcoin
from ..core import Examples, Protocol, TaskCard, task
from ..fetch import compare_counts

_RANDOM = "random"
_MENTION_TAIL = "mention-tail"
_FINGERPRINT = "eece3fd05cf37f6033d7781e97beb03e767dfebb0114321aa51924d7972ff476"
CARD = TaskCard(
    name="litcoin-relations",
    title="LitCoin relation types",
    description=(
        "How are two entities of a biomedical abstract related? Text: title and abstract with every mention of the "
        "first entity in [E1] … [/E1] and of the second in [E2] … [/E2]. One of eight types; whether the relation "
        "is new is the target of litcoin-novelty and is no input."
    ),
    version=1,
    kind="multiclass",
    modality="text",
    labels=litcoin.RELATION_TYPES,
    # What the original published. Three types have 3 to 22 relations: in a test fifth, a macro F1 over them is noise.
    primary_metric="accuracy",
    group="abstract (near-identical abstracts joined: TF-IDF cosine of 0.9 or more)",
    licence=litcoin.LICENCE,
    source=(
        "LitCoin NLP challenge (NCATS/NASA 2021-2022), as published in the repository of BioITHackathons, "
        "Creating-Computable-Knowledge-from-Unstructured-Information"
    ),
    citation=litcoin.CITATION,
    counts={"abstracts": 400, "mentions": 13636, "relations": 4280, "examples": 4280, "mention pairs": 73910},
    protocols={
        "": Protocol(
            description="70/10/20 by iterative stratification over types; no abstract in two folds",
            split="4f692cefdbffce7da11550bb4af8fab9b19dae6f9ddbb5c9b61a16b193174cb7",
            fingerprint=_FINGERPRINT,
        ),
        _RANDOM: Protocol(
            description=(
                "70/10/20 by relation, stratified by type, whatever the abstract: most test abstracts are also "
                "trained on"
            ),
            split="28d1e579597bcbcc8b66193d938bf16875d0bc487b09c5c4c47cb905a814196a",
            fingerprint=_FINGERPRINT,
            leaks={
                "group": "relations of one abstract are dealt apart, to show what a split by relation measures",
                "exact": "entities that are only ever mentioned together are marked alike in one abstract",
                "near": "relations of one abstract share its text; only the marks differ",
            },
        ),
        _MENTION_TAIL: Protocol(
            description=(
                "The original's logged split: each relation joined with every pair of mentions whose entity_ids are "
                "its two ids to the letter, that pair alone marked; the file order kept; the last 20 % of the pairs "
                "are the test fold, and the last eighth of the rest is the validation fold"
            ),
            split="1258b691f25338e23e3693d366f9b9ca5bf678bdea12c03e2427e90b63777c15",
            fingerprint="23c19db023f93cee1b9ce12c75e1ce132e4615d108e837d8028cd2a8bcd64037",
            leaks={
                "group": "the cuts are made by row and part the abstracts that they fall in",
                "near": "mention pairs of an abstract that is cut share its text; only the marks differ",
            },
        ),
    },
)


@task(CARD, sources=litcoin.files)
def read(protocol: str) -> Examples:
    """Read the relations, or their mention pairs under ``mention-tail``, in the order of the file."""
    import numpy as np

    from ..folds import grouped_iterative_split

    found = litcoin.corpus(litcoin.files())
    counts = {"abstracts": len(found.abstracts), "mentions": len(found.mentions), "relations": len(found.relations)}
    if protocol == _MENTION_TAIL:
        rows = mention_pairs(found)
        compare_counts(CARD, {**counts, "mention pairs": len(rows)})
        ends = len(rows) * 4 // 5 * 7 // 8, len(rows) * 4 // 5
        return litcoin.examples(found, rows, np.searchsorted(ends, np.arange(len(rows)), side="right"))
    compare_counts(CARD, counts)
    rows = litcoin.relation_rows(found, CARD.labels, lambda relation: relation.type)
    targets = np.array([row.target for row in rows])
    folds = grouped_iterative_split(targets, np.arange(len(rows))) if protocol == _RANDOM else None
    return litcoin.examples(found, rows, folds)


def mention_pairs(found: litcoin.Corpus) -> list[litcoin.Row]:
    """Return a row for each relation and pair of mentions of its ids, in file order: relation, first, second.

    A join on equal columns, as the original made it: a mention of several entities carries several ids and equals
    none of them, so that 444 of the 4,280 relations have no pair.
    """
    mentions: dict[tuple[str, str], list[litcoin.Mention]] = {}
    for mention in found.mentions:
        mentions.setdefault((mention.abstract_id, mention.entity_ids), []).append(mention)
    return [
        litcoin.Row(f"{each.abstract_id}/{each.id}/{first.id}/{second.id}", (first,), (second,), target)
        for each in found.relations
        for target in [CARD.labels.index(each.type)]
        for first in mentions.get((each.abstract_id, each.entity_1), ())
        for second in mentions.get((each.abstract_id, each.entity_2), ())
    ]
