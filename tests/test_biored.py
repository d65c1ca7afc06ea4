"""BioRED: its archive of BioC JSON, and the task of all entity pairs, from it or from the LitCoin files."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoobench.datasets import biored, folds, litcoin
from zoobench.datasets.core import TASKS, Examples
from zoobench.datasets.prepare import deal, prepare
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.tasks import biored_pairs

from .conftest import REAL_DATA
from .test_marking import unmarked

CARD = biored_pairs.CARD


def annotation(number: int, start: int, text: str, kind: str, identifier: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "infons": {"identifier": identifier, "type": kind},
        "text": text,
        "locations": [{"offset": start, "length": len(text)}],
    }


def document(key: str, title: str, abstract: str, entities: list[tuple], relations: list[tuple]) -> dict[str, Any]:
    """Return a BioC document; an entity is (start, text, type, identifier), a relation (entity1, entity2, type)."""
    border = len(title) + 1
    found = [annotation(number, *entity) for number, entity in enumerate(entities)]
    held = [[each for each in found if (each["locations"][0]["offset"] >= border) == late] for late in (False, True)]
    return {
        "id": key,
        "infons": {},
        "passages": [
            {"offset": 0, "text": title, "infons": {"type": "title"}, "annotations": held[0], "relations": []},
            {"offset": border, "text": abstract, "infons": {"type": "abstract"}, "annotations": held[1]},
        ],
        "annotations": [],
        "relations": [
            {
                "id": f"R{number}",
                "infons": {"entity1": one, "entity2": other, "type": kind, "novel": "Novel"},
                "nodes": [],
            }
            for number, (one, other, kind) in enumerate(relations)
        ],
    }


GENE, DRUG, ILL = "GeneOrGeneProduct", "ChemicalEntity", "DiseaseOrPhenotypicFeature"
DOCUMENTS = {
    "Train.BioC.JSON": [
        document(
            "1",
            "Alpha and beta.",
            "Gamma binds alpha; delta does not.",
            [
                (0, "Alpha", GENE, "11"),
                (10, "beta", GENE, "12"),
                (16, "Gamma", DRUG, "D1"),
                (28, "alpha", GENE, "11"),
                (35, "delta", ILL, "D9,D8"),
            ],
            [("D1", "11", "Bind"), ("12", "12", "Association")],
        )
    ],
    "Dev.BioC.JSON": [
        document("2", "Mu", "cures nu.", [(0, "Mu", DRUG, "D5"), (9, "nu", GENE, "15")], [("15", "D5", "Conversion")])
    ],
    "Test.BioC.JSON": [
        document(
            "3",
            "Xi",
            "and pi, rho.",
            [(0, "Xi", DRUG, "D6"), (7, "pi", GENE, "-"), (11, "rho", GENE, "17")],
            [("17", "D6", "Bind")],
        ),
        document("4", "Tau", "with xi.", [(0, "Tau", DRUG, "D2"), (9, "xi", ILL, "D3")], [("D2", "D3", "Bind")]),
    ],
}


def write(path: Path, change: Callable[[dict[str, Any]], object] = lambda documents: None) -> Path:
    """Write BioRED's archive of the small documents, after `change` had its way with them."""
    documents = json.loads(json.dumps(DOCUMENTS))
    change(documents)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/BioRED/._Train.BioC.JSON", b"\0\5")
        archive.writestr("BioRED/Train.PubTator", "not read")
        for name, each in documents.items():
            collection = {"source": "PubTator", "date": "", "key": "BioC.key", "infons": {}, "documents": each}
            archive.writestr(f"BioRED/{name}", json.dumps(collection))
    return path


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path))
    return write(tmp_path / "biored-pairs" / "BIORED.zip")


def test_archive_is_read_into_the_types_of_litcoin(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus, parts = biored.read_archive(archive)
    assert not caplog.text
    assert parts == {"1": 0, "2": 1, "3": 2, "4": 2}
    assert corpus.abstracts["1"] == litcoin.Abstract("1", "Alpha and beta.", "Gamma binds alpha; delta does not.")
    assert corpus.mentions[1] == litcoin.Mention("1/1", "1", 10, 14, GENE, "beta", "12")
    assert corpus.mentions[4].ids == ("D9", "D8")
    assert corpus.relations[0] == litcoin.Relation("1/R0", "1", "Bind", "D1", "11", "Novel")


def test_all_pairs_of_the_type_pairs_of_the_training_part(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bind joins a drug and a gene there; the self-relation of 12 joins no pair, nor do the drug and ill of part 3."""
    task = TASKS.get("biored-pairs")
    assert task.sources() == (archive,)
    examples = task.read()
    assert not caplog.text
    examples.check_against(CARD)
    named = dict(zip(examples.ids, (CARD.labels[target] for target in examples.targets), strict=True))
    assert named == {
        "1/11/D1": "Bind",
        "1/12/D1": "No_Relation",
        "2/D5/15": "Conversion",
        "3/D6/17": "Bind",
    }
    assert examples.folds is not None
    assert examples.folds.tolist() == [0, 0, 1, 2]
    assert examples.groups.tolist() == [0, 0, 1, 2]
    assert examples.inputs[0] == ("[E1] Alpha [/E1] and beta. [E2] Gamma [/E2] binds [E1] alpha [/E1]; delta does not.")
    assert list(examples.columns["type_1"]) == [GENE, GENE, DRUG, DRUG]
    assert list(examples.columns["mention_2"]) == ["Gamma", "Gamma", "nu", "rho"]


def test_order_of_a_pair_gives_its_relation_away_nowhere(archive: Path) -> None:
    def turn(documents: dict[str, Any]) -> None:
        for infons in (relation["infons"] for each in documents.values() for d in each for relation in d["relations"]):
            infons["entity1"], infons["entity2"] = infons["entity2"], infons["entity1"]

    before = TASKS.get("biored-pairs").read()
    write(archive, turn)
    assert TASKS.get("biored-pairs").read().fingerprint() == before.fingerprint()


def test_archive_is_prepared_with_its_own_parts(archive: Path) -> None:
    prepared = prepare(TASKS.get("biored-pairs"))
    assert archive.exists()
    assert dict(prepared.rows) == {"train": 2, "validation": 1, "test": 1}


def test_abstract_in_two_parts_counts_in_the_first(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(archive, lambda documents: documents["Test.BioC.JSON"].append(documents["Train.BioC.JSON"][0]))
    examples = TASKS.get("biored-pairs").read()
    assert examples.folds is not None
    assert examples.folds.tolist() == [0, 0, 1, 2]
    assert "1 abstract(s) with the id of an earlier one (1)" in caplog.text


def test_faults_in_a_document_are_left_out_and_told(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    def spoil(documents: dict[str, Any]) -> None:
        first = documents["Train.BioC.JSON"][0]
        first["passages"][1]["annotations"][0]["text"] = "Gama"
        first["passages"][1]["annotations"][1]["locations"][0]["offset"] = 4000
        documents["Dev.BioC.JSON"][0]["relations"][0]["infons"]["type"] = "Kills"

    write(archive, spoil)
    corpus, _ = biored.read_archive(archive)
    assert corpus.left_out == {
        "mention(s) whose words do not stand at their offsets": ("1/2",),
        "mention(s) with offsets outside the text": ("1/3",),
        "relation(s) that name an unknown entity": ("1/R0",),
        "relation(s) of an unknown type": ("2/R0",),
    }
    assert len(caplog.records) == 1


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(documents: dict[str, Any]) -> None:
        place: Any = documents
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("Dev.BioC.JSON"), r"holds no Dev\.BioC\.JSON"),
        (drop("Dev.BioC.JSON", 0), r"Dev\.BioC\.JSON is no BioC collection: it has no documents"),
        (drop("Test.BioC.JSON", 1, "passages"), r"Test\.BioC\.JSON, document 1 is no BioRED document: KeyError: 'pass"),
        (drop("Train.BioC.JSON", 0, "relations", 0, "infons", "entity2"), r"Train\.BioC\.JSON, document 0 .*'entity2'"),
        (drop("Train.BioC.JSON", 0, "passages", 0, "annotations", 0, "locations", 0), r"not enough values to unpack"),
        (lambda documents: documents.update({"Dev.BioC.JSON": ["words"]}), r"Dev\.BioC\.JSON, document 0 .*TypeErr"),
        (
            lambda documents: documents["Dev.BioC.JSON"][0]["passages"][1].update(offset=10**15),
            r"document 0 .* a passage at offset 1000000000000000 behind 2 characters",
        ),
        (
            lambda documents: documents["Dev.BioC.JSON"][0]["passages"][1].update(offset=1),
            r"document 0 .* a passage at offset 1 behind 2 characters",
        ),
    ],
)
def test_documents_of_another_make_are_refused(
    archive: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    write(archive, change)
    with pytest.raises(UserError, match=message) as caught:
        TASKS.get("biored-pairs").read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 30, 700])
def test_truncated_archive_is_refused(archive: Path, cut: int) -> None:
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"BIORED\.zip cannot be read as an archive .*: get it again") as caught:
        biored.read_archive(archive)
    assert "\n" not in str(caught.value)


def test_archive_with_a_path_out_of_it_is_refused(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as written:
        written.writestr("../../anywhere", "x")
    with pytest.raises(UserError, match=r"BIORED\.zip: member '\.\./\.\./anywhere' has a path that leads out"):
        biored.read_archive(archive)


def test_damaged_and_oversized_members_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("BioRED/Train.BioC.JSON", b'{"documents": [' + b" " * 50_000)
    with pytest.raises(UserError, match=r"Train\.BioC\.JSON is no JSON \(Expecting value"):
        biored.read_archive(archive)
    monkeypatch.setattr(biored, "_MEMBER_BYTES", 10_000)
    with pytest.raises(UserError, match=r"Train\.BioC\.JSON' would unpack to more than the 10\.0 kB"):
        biored.read_archive(archive)


# ------------------------------------------------------------------------- built from the LitCoin files


@pytest.fixture(scope="module")
def built() -> Examples:
    """The task built from the LitCoin files."""
    if not REAL_DATA.is_dir() or (REAL_DATA / "biored-pairs" / "BIORED.zip").exists():
        pytest.skip("needs a folder, named by ZOOBENCH_DATA, that holds the LitCoin files and not BioRED's")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOOBENCH_DATA", str(REAL_DATA))
        return TASKS.get("biored-pairs").read()


def test_built_from_litcoin_where_the_archive_is_not_there(
    real_data: Path, built: Examples, caplog: pytest.LogCaptureFixture
) -> None:
    examples = TASKS.get("biored-pairs").read()
    assert [record.getMessage() for record in caplog.records] == [
        f"biored-pairs is built from the LitCoin files instead: {real_data} holds no biored-pairs/BIORED.zip"
    ]
    examples.check_against(CARD)
    counts = Counter(CARD.labels[target] for target in examples.targets)
    assert len(examples) == CARD.counts["examples"] == 25_128
    assert len(examples) - counts["No_Relation"] == CARD.counts["related pairs"] == 4280 - 5
    assert counts["Association"] == 2274 - 3
    dealt = deal(TASKS.get("biored-pairs"), "", examples)
    # Of what is built from the LitCoin files; the card pins none, since BioRED's own archive gives others.
    assert built.fingerprint() == examples.fingerprint()
    assert examples.fingerprint() == "5adbe986faed45e1160ec2d45ff0e1344a8e70e2e22ce471b9d3aed286d1382f"
    split = folds.split_sha256(examples.ids, dealt)
    assert split == "8dd02f0dc8a1ae109bd4b8bf83d3fe9a72033bb366a8c1a5c4ffa34cc2755130"
    assert folds.shared_groups(dealt, examples.groups) == 0
    np.testing.assert_allclose(np.bincount(dealt) / len(examples), folds.SHARES, atol=0.04)
    assert len(set(examples.targets[dealt == 0])) == 9
    found = litcoin.corpus(litcoin.files())
    trained = {key.split("/")[0] for key in examples.ids[dealt == 0]}
    assert 250 < len(trained) < 300
    assert [row.id for row in biored_pairs.pair_rows(found, trained)] == examples.ids.tolist()


def test_published_litcoin_files_in_other_folds_are_an_error_and_other_files_are_not(
    real_data: Path, built: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def otherwise(examples: Examples) -> np.ndarray:
        return np.roll(dealt, 1)

    dealt = folds.default_folds(built)
    monkeypatch.setattr(litcoin, "examples", lambda found, rows: built)
    np.testing.assert_array_equal(TASKS.get("biored-pairs").read().folds, dealt)
    monkeypatch.setattr(folds, "default_folds", otherwise)
    with pytest.raises(UserError, match=r"biored-pairs.* folds came out otherwise than published: install") as caught:
        TASKS.get("biored-pairs").read()
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(litcoin, "examples", lambda found, rows: replace(built, targets=np.roll(built.targets, 1)))
    np.testing.assert_array_equal(TASKS.get("biored-pairs").read().folds, np.roll(dealt, 1))


def test_pairs_are_those_that_pandas_counts(real_data: Path, built: Examples) -> None:
    import pandas as pd

    folder = real_data / "litcoin-relations"
    entities = pd.read_csv(folder / "entities_train.csv", sep="\t", dtype=str)
    relations = pd.read_csv(folder / "relations_train.csv", sep="\t", dtype=str)
    entities = entities.assign(entity=entities.entity_ids.str.split(",")).explode("entity", ignore_index=True)
    entities = entities[entities.entity != "-"].assign(start=entities.offset_start.astype(int))
    # An id in a relation has one type throughout; of the others, only species and cell lines share ids.
    entities = entities.sort_values("start", kind="stable").drop_duplicates(["abstract_id", "entity"])
    ends = [
        relations.merge(entities, left_on=["abstract_id", end], right_on=["abstract_id", "entity"])["type_y"]
        for end in ("entity_1_id", "entity_2_id")
    ]
    occur = {frozenset(pair) for pair in zip(*ends, strict=True)}
    pairs = entities.merge(entities, on="abstract_id")
    pairs = pairs[
        (pairs.start_x < pairs.start_y) | ((pairs.start_x == pairs.start_y) & (pairs.entity_x < pairs.entity_y))
    ]
    kept = [frozenset(pair) in occur for pair in zip(pairs.type_x, pairs.type_y, strict=True)]
    wanted = pairs.abstract_id[kept] + "/" + pairs.entity_x[kept] + "/" + pairs.entity_y[kept]
    assert len(occur) == 9
    assert set(built.ids) == set(wanted)


def test_entity_that_is_mentioned_first_is_e1(built: Examples) -> None:
    for marked in built.inputs[::20]:
        _, spans = unmarked(marked)
        assert min(spans["1"]) <= min(spans["2"])


def test_archive_of_the_same_abstracts_gives_the_same_corpus_and_pairs(
    real_data: Path, tmp_path: Path, built: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The LitCoin corpus, written as BioRED writes it, comes back whole."""
    wanted = litcoin.corpus([real_data / "litcoin-relations" / file.name for file in litcoin.FILES])
    held: dict[str, tuple[list[tuple], list[tuple]]] = {key: ([], []) for key in wanted.abstracts}
    for m in wanted.mentions:
        held[m.abstract_id][0].append((m.start, m.text, m.type, m.entity_ids))
    for r in wanted.relations:
        held[r.abstract_id][1].append((r.entity_1, r.entity_2, r.type))
    every = [document(key, each.title, each.abstract, *held[key]) for key, each in wanted.abstracts.items()]
    shares = {"Train.BioC.JSON": every[:320], "Dev.BioC.JSON": every[320:360], "Test.BioC.JSON": every[360:]}
    path = write(tmp_path / "biored-pairs" / "BIORED.zip", lambda documents: documents.update(shares))
    found, parts = biored.read_archive(path)
    assert list(found.abstracts.values()) == list(wanted.abstracts.values())
    assert [(m.start, m.end, m.type, m.text, m.entity_ids) for m in found.mentions] == [
        (m.start, m.end, m.type, m.text, m.entity_ids) for m in wanted.mentions
    ]
    assert [(r.type, r.entity_1, r.entity_2) for r in found.relations] == [
        (r.type, r.entity_1, r.entity_2) for r in wanted.relations
    ]
    assert Counter(parts.values()) == {0: 320, 1: 40, 2: 40}
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path))
    examples = TASKS.get("biored-pairs").read()
    np.testing.assert_array_equal(examples.inputs, built.inputs)
    np.testing.assert_array_equal(examples.targets, built.targets)
