"""LitCoin: its files, the marks in its texts, and its two tasks under each protocol."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from zoobench.datasets import folds, litcoin
from zoobench.datasets.core import TASKS, Examples
from zoobench.datasets.prepare import deal
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.tasks import litcoin_novelty, litcoin_relations

from .conftest import REAL_DATA
from .test_marking import unmarked

TYPE_COUNTS = {
    "Association": 2274,
    "Positive_Correlation": 1159,
    "Negative_Correlation": 721,
    "Bind": 69,
    "Cotreatment": 29,
    "Comparison": 22,
    "Drug_Interaction": 3,
    "Conversion": 3,
}


# ------------------------------------------------------------------------------------- the real files


@pytest.fixture(scope="module")
def corpus() -> litcoin.Corpus:
    if not REAL_DATA.is_dir():
        pytest.skip("the published files are not here: set ZOOBENCH_DATA to a folder that holds them")
    return litcoin.corpus([REAL_DATA / "litcoin-relations" / file.name for file in litcoin.FILES])


@pytest.fixture(scope="module")
def tables(corpus: litcoin.Corpus):
    """The three files as pandas reads them, for counts of its own."""
    import pandas as pd

    del corpus
    folder = REAL_DATA / "litcoin-relations"
    read = [pd.read_csv(folder / f"{name}_train.csv", sep="\t", dtype=str) for name in ("abstracts", "entities")]
    return *read, pd.read_csv(folder / "relations_train.csv", sep="\t", dtype=str)


@pytest.fixture(scope="module")
def read(corpus: litcoin.Corpus, tmp_path_factory: pytest.TempPathFactory):
    """Examples by task and protocol, each read once."""
    del corpus
    known: dict[tuple[str, str], Examples] = {}

    def examples(name: str, protocol: str = "") -> Examples:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ZOOBENCH_DATA", str(REAL_DATA))
            patch.setenv("ZOOBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "litcoin"))
            if (name, protocol) not in known:
                known[name, protocol] = TASKS.get(name).read(protocol)
        return known[name, protocol]

    return examples


@pytest.fixture(scope="module")
def texts(tables) -> dict[str, str]:
    return dict(zip(tables[0].abstract_id, tables[0].title + " " + tables[0].abstract, strict=True))


def test_corpus_holds_what_was_published(corpus: litcoin.Corpus) -> None:
    assert (len(corpus.abstracts), len(corpus.mentions), len(corpus.relations)) == (400, 13636, 4280)
    assert corpus.left_out == {}
    assert Counter(relation.type for relation in corpus.relations) == TYPE_COUNTS
    assert list(TYPE_COUNTS) == list(litcoin.RELATION_TYPES)
    assert Counter(relation.novel for relation in corpus.relations) == {"Novel": 2958, "No": 1322}
    assert Counter(mention.type for mention in corpus.mentions) == {
        "GeneOrGeneProduct": 4764,
        "DiseaseOrPhenotypicFeature": 3784,
        "ChemicalEntity": 2540,
        "OrganismTaxon": 1420,
        "SequenceVariant": 1011,
        "CellLine": 117,
    }
    assert sum(len(mention.ids) > 1 for mention in corpus.mentions) == 376
    assert len(set(corpus.groups.values())) == 400


def test_no_two_abstracts_are_near_identical(texts: dict[str, str]) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer().fit_transform(texts.values())
    cosines = (vectors @ vectors.T).toarray()
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 0.9


@pytest.mark.parametrize("name", ["litcoin-relations", "litcoin-novelty"])
def test_every_mention_of_both_ids_is_marked_and_nothing_else(read, tables, texts: dict[str, str], name: str) -> None:
    entities = tables[1].assign(entity=tables[1].entity_ids.str.split(",")).explode("entity")
    places: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for row in entities.itertuples():
        key = row.abstract_id, row.entity
        places.setdefault(key, set()).add((int(row.offset_start), int(row.offset_finish)))
    examples = read(name)
    for relation, marked in zip(tables[2].itertuples(), examples.inputs, strict=True):
        text, spans = unmarked(marked)
        assert text == texts[relation.abstract_id]
        assert set(spans["1"]) == places[relation.abstract_id, relation.entity_1_id]
        assert set(spans["2"]) == places[relation.abstract_id, relation.entity_2_id]


def test_examples_are_those_of_the_file(read, tables) -> None:
    relations = tables[2]
    types, novelty = read("litcoin-relations"), read("litcoin-novelty")
    types.check_against(litcoin_relations.CARD)
    novelty.check_against(litcoin_novelty.CARD)
    assert [litcoin_relations.CARD.labels[target] for target in types.targets] == list(relations.type)
    assert [litcoin_novelty.CARD.labels[target] for target in novelty.targets] == list(relations.novel)
    assert list(types.ids) == list(relations.abstract_id + "/" + relations.id) == list(novelty.ids)
    assert len(set(types.groups)) == 395 == relations.abstract_id.nunique()
    assert len(set(zip(types.groups, relations.abstract_id, strict=True))) == 395
    assert set(types.columns) == {"type_1", "type_2", "mention_1", "mention_2"}
    row = list(types.ids).index("1353340/1")
    assert {name: values[row] for name, values in types.columns.items()} == {
        "type_1": "SequenceVariant",
        "mention_1": "arginine84",
        "type_2": "DiseaseOrPhenotypicFeature",
        "mention_2": "metachromatic leukodystrophy",
    }


@pytest.mark.parametrize(
    ("name", "protocol"), [("litcoin-relations", ""), ("litcoin-relations", "random"), ("litcoin-novelty", "")]
)
def test_committed_folds_are_the_computed_ones(read, name: str, protocol: str) -> None:
    task, examples = TASKS.get(name), read(name, protocol)
    pinned = task.card.protocols[protocol]
    assert examples.fingerprint() == pinned.fingerprint
    dealt = deal(task, protocol, examples)
    committed = folds.read_split(folds.split_path(name, protocol), pinned.split, examples.ids)
    np.testing.assert_array_equal(dealt, committed)
    types = read("litcoin-relations").targets
    units = np.arange(len(examples)) if protocol == "random" else examples.groups
    np.testing.assert_array_equal(dealt, folds.grouped_iterative_split(types, units))
    np.testing.assert_allclose(np.bincount(dealt) / len(examples), folds.SHARES, atol=0.01)
    frequent = np.bincount(types)[types] >= 69
    for label in set(types[frequent]):
        np.testing.assert_allclose(np.bincount(dealt[types == label]) / TYPE_COUNTS[litcoin.RELATION_TYPES[label]],
                                   folds.SHARES, atol=0.02)  # fmt: skip
    assert all(len(set(examples.targets[dealt == fold])) >= 2 for fold in range(3))
    assert len(set(examples.targets[dealt == 0])) == len(task.card.labels)
    assert (folds.shared_groups(dealt, examples.groups) > 0) == ("group" in pinned.leaks)


def look_up_by_abstract(examples: Examples, dealt: np.ndarray) -> float:
    """Accuracy of answering with the most frequent type of the same abstract in the training fold."""
    train, test = dealt == 0, dealt == 2
    usual = Counter(examples.targets[train]).most_common(1)[0][0]
    seen: dict[int, Counter[int]] = {}
    for group, target in zip(examples.groups[train], examples.targets[train], strict=True):
        seen.setdefault(group, Counter())[target] += 1
    answers = [seen[group].most_common(1)[0][0] if group in seen else usual for group in examples.groups[test]]
    return float(np.mean(np.array(answers) == examples.targets[test]))


def test_looking_up_the_abstract_pays_at_random_and_not_by_abstract(read) -> None:
    """SYSTEMS.md, section 3: 0.627 at random, and the share of the majority type when split by abstract."""
    task = TASKS.get("litcoin-relations")
    at_random, honest = read(task.card.name, "random"), read(task.card.name)
    assert 0.58 < look_up_by_abstract(at_random, deal(task, "random", at_random)) < 0.68
    dealt = deal(task, "", honest)
    assert look_up_by_abstract(honest, dealt) == np.mean(honest.targets[dealt == 2] == 0)


def test_mention_tail_is_the_logged_split(read, tables, texts: dict[str, str]) -> None:
    started = time.process_time()
    examples = read("litcoin-relations", "mention-tail")
    assert time.process_time() - started < 20, "seconds of this process, whatever else runs"
    _, entities, relations = tables
    joined = relations.merge(entities, left_on=["abstract_id", "entity_1_id"], right_on=["abstract_id", "entity_ids"])
    joined = joined.merge(
        entities, left_on=["abstract_id", "entity_2_id"], right_on=["abstract_id", "entity_ids"], suffixes=("", "_2nd")
    )
    assert len(examples) == 73_910 == len(joined)
    wanted = joined.abstract_id + "/" + joined.id_x + "/" + joined.id_y + "/" + joined.id
    assert list(examples.ids) == list(wanted)
    assert [litcoin.RELATION_TYPES[target] for target in examples.targets] == list(joined.type_x)
    assert examples.folds is not None
    assert np.bincount(examples.folds).tolist() == [51_737, 7_391, 14_782]
    assert (np.diff(examples.folds) >= 0).all()
    assert np.ceil((examples.folds < 2).sum() / 32) == 1848
    for marked, row in zip(examples.inputs[::50], joined[::50].itertuples(), strict=True):
        text, spans = unmarked(marked)
        assert text == texts[row.abstract_id]
        assert spans["1"] == [(int(row.offset_start), int(row.offset_finish))]
        assert spans["2"] == [(int(row.offset_start_2nd), int(row.offset_finish_2nd))]
    assert relations.id.nunique() - joined.id_x.nunique() == 444


def test_mention_tail_is_pinned_and_parts_two_abstracts(read) -> None:
    task, examples = TASKS.get("litcoin-relations"), read("litcoin-relations", "mention-tail")
    pinned = task.card.protocols["mention-tail"]
    dealt = deal(task, "mention-tail", examples)
    assert examples.fingerprint() == pinned.fingerprint
    assert folds.split_sha256(examples.ids, dealt) == pinned.split
    assert folds.shared_groups(dealt, examples.groups) == 2
    assert not folds.split_path("litcoin-relations", "mention-tail").exists()


def test_listing_imports_no_framework() -> None:
    script = (
        "import sys\n"
        "from zoobench.datasets.tasks import biored_pairs, litcoin_novelty, litcoin_relations\n"
        "heavy = {'sklearn', 'scipy', 'pandas', 'pyarrow', 'torch'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=dict(os.environ))


# ---------------------------------------------------------------------------------------- small files

ABSTRACTS = (
    "abstract_id\ttitle\tabstract\n7\tAspirin.\tIt helps with pain, and aspirin is cheap.\n8\tX\tGene X binds Y.\n"
)
ENTITIES = (
    "id\tabstract_id\toffset_start\toffset_finish\ttype\tmention\tentity_ids\n"
    "0\t7\t0\t7\tChemicalEntity\tAspirin\tD1\n"
    "1\t7\t23\t27\tDiseaseOrPhenotypicFeature\tpain\tD2,D3\n"
    "2\t7\t33\t40\tChemicalEntity\taspirin\tD1\n"
    "3\t8\t7\t8\tGeneOrGeneProduct\tX\t-\n"
    "4\t8\t2\t8\tGeneOrGeneProduct\tGene X\t9\n"
    "5\t8\t7\t8\tGeneOrGeneProduct\tX\t10, 9\n"
)
RELATIONS = (
    "id\tabstract_id\ttype\tentity_1_id\tentity_2_id\tnovel\n"
    "0\t7\tNegative_Correlation\tD1\tD2\tNovel\n"
    "1\t7\tNegative_Correlation\tD1\tD3\tNovel\n"
    "2\t8\tBind\t9\t10\tNo\n"
)
PARTS = {"abstracts": ABSTRACTS, "entities": ENTITIES, "relations": RELATIONS}


def write(folder: Path, **changed: str | bytes) -> list[Path]:
    """Write the three small files, some of them `changed`, and return their paths."""
    paths = []
    for name, text in {**PARTS, **changed}.items():
        paths.append(folder / f"{name}_train.csv")
        paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
    return paths


def test_small_corpus_is_read_as_it_stands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = litcoin.corpus(write(tmp_path))
    assert not caplog.text
    assert found.mentions[1].ids == ("D2", "D3")
    assert found.mentions[3].ids == ()
    assert set(found.entities["8"]) == {"9", "10"}
    rows = litcoin.relation_rows(found, litcoin.NOVELTY, lambda relation: relation.novel)
    examples = litcoin.examples(found, rows)
    assert list(examples.inputs) == [
        "[E1] Aspirin [/E1]. It helps with [E2] pain [/E2], and [E1] aspirin [/E1] is cheap."
    ] * 2 + ["X [E1] Gene [E2] X [/E2] [/E1] binds Y."]
    assert examples.targets.tolist() == [1, 1, 0]
    assert examples.groups.tolist() == [0, 0, 1]
    assert list(examples.ids) == ["7/0", "7/1", "8/2"]
    pairs = litcoin_relations.mention_pairs(found)
    assert pairs == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-8"])
def test_other_encodings_and_line_ends_are_read(tmp_path: Path, encoding: str) -> None:
    umlaut = ABSTRACTS.replace("It helps", "Fürth!!!").replace("\n", "\r\n").encode(encoding)
    found = litcoin.corpus(write(tmp_path, abstracts=umlaut))
    assert found.abstracts["7"].text == "Aspirin. Fürth!!! with pain, and aspirin is cheap."


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        ("abstracts", "8\tX", "7\tX", r"1 abstract\(s\) with the id of an earlier one \(7\)"),
        ("abstracts", "X\tGene", "X\t[E1]", r"1 abstract\(s\) that hold a marker such as \[E1\] \(8\)"),
        ("entities", "3\t8\t7", "3\t99\t7", r"1 mention\(s\) in an unknown abstract \(3\)"),
        ("entities", "3\t8\t7\t8\tGene", "3\t8\t7\t8\tGen", r"1 mention\(s\) of an unknown type \(3\)"),
        ("entities", "3\t8\t7\t8", "3\t8\t7\t800", r"1 mention\(s\) with offsets outside the text \(3\)"),
        ("entities", "3\t8\t7\t8", "3\t8\t-1\t8", r"1 mention\(s\) with offsets outside the text \(3\)"),
        ("entities", "3\t8\t7\t8", "3\t8\t8\t8", r"1 mention\(s\) with offsets outside the text \(3\)"),
        ("entities", "3\t8\t7\t8", "3\t8\t6\t7", r"1 mention\(s\) whose words do not stand at their offsets \(3\)"),
        ("entities", "3\t8\t7", "2\t8\t7", r"1 mention\(s\) with the id of an earlier one \(2\)"),
        ("relations", "2\t8\tBind", "2\t99\tBind", r"1 relation\(s\) in an unknown abstract \(2\)"),
        ("relations", "Bind", "Binds", r"1 relation\(s\) of an unknown type \(2\)"),
        ("relations", "10\tNo", "10\tPerhaps", r"1 relation\(s\) of unknown novelty \(2\)"),
        ("relations", "9\t10", "9\tD1", r"1 relation\(s\) that name an unknown entity \(2\)"),
        ("relations", "9\t10", "9\t-", r"1 relation\(s\) that name an unknown entity \(2\)"),
        ("relations", "2\t8", "1\t8", r"1 relation\(s\) with the id of an earlier one \(1\)"),
        ("relations", "D1\tD3", "D2\tD1", r"1 relation\(s\) between entities that an earlier one joins \(1\)"),
    ],
)
def test_rows_that_contradict_each_other_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, old: str, new: str, message: str
) -> None:
    assert PARTS[part].count(old) == 1
    with caplog.at_level(logging.WARNING):
        found = litcoin.corpus(write(tmp_path, **{part: PARTS[part].replace(old, new)}))
    assert re.search(message, caplog.text)
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert sum(map(len, found.left_out.values())) >= 1
    rows = litcoin.relation_rows(found, litcoin.NOVELTY, lambda relation: relation.novel)
    assert len(litcoin.examples(found, rows)) == len(found.relations) > 0


def test_many_faults_of_a_kind_are_counted_and_the_first_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = "".join(f"{number}\t99\tBind\t1\t2\tNo\n" for number in range(100, 1200))
    found = litcoin.corpus(write(tmp_path, relations=RELATIONS + more))
    assert "1,100 relation(s) in an unknown abstract (100, 101, 102, 103, 104, …)" in caplog.text
    assert len(found.left_out["relation(s) in an unknown abstract"]) == 1100


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("abstracts", "", r"abstracts_train.csv is empty"),
        ("relations", RELATIONS.splitlines()[0] + "\n", r"relations_train.csv holds a header and no row"),
        ("entities", ENTITIES.replace("\t", ";"), r"entities_train.csv, line 1: no column 'id' between separators '\\t' .* 'id;"),
        ("entities", ENTITIES.replace("\tmention\t", "\twords\t"), r"entities_train.csv, line 1: no column 'mention'"),
        ("entities", ENTITIES.replace("0\t7\t0", "0\t7\tzero"), r"line 2, column 'offset_start': 'zero' is no whole nu"),
        ("entities", ENTITIES.replace("\t-\n", "\n"), r"entities_train.csv, line 5: 6 cells, but the header names 7"),
        ("relations", RELATIONS.encode("utf-16"), r"relations_train.csv, line 1: is written as UTF-16: save it as UTF-8"),
        ("abstracts", ABSTRACTS.replace("Gene X", "Gene\0X"), r"abstracts_train.csv, line 3: holds a NUL: this is no text"),
        ("abstracts", ABSTRACTS.replace("Gene X", "Gene" * 50_000), r"line 3: no CSV .* field larger than field limit"),
        ("abstracts", ABSTRACTS.replace("Gene X", '\tGene "X'), r"line 3: 4 cells, but the header names 3"),
        ("abstracts", ABSTRACTS.replace("X\tGene X", '"X"\t"Gene X'), r"line 3: no CSV .* unexpected end of data"),
        ("relations", RELATIONS.replace("tion\t", "ting\t").replace("Bind", "Tie"), r"no relation can be used: 3 rela"),
    ],
)  # fmt: skip
def test_files_of_another_make_are_refused_in_one_line(
    tmp_path: Path, part: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        litcoin.corpus(write(tmp_path, **{part: content}))
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path)
    paths[1].unlink()
    with pytest.raises(UserError, match=r"entities_train\.csv cannot be read: No such file"):
        litcoin.corpus(paths)
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"litcoin-relations/abstracts_train\.csv"):
        TASKS.get("litcoin-relations").read()


def test_other_data_are_said_to_be_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "litcoin-relations").mkdir()
    write(tmp_path / "litcoin-relations")
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path))
    for name in ("litcoin-relations", "litcoin-novelty"):
        assert len(TASKS.get(name).read()) == 3
        assert f"{name}: other data than the published ones: 2 abstracts (published: 400)" in caplog.text
