"""Medical Abstracts TC: a sample of the published corpus, its own split, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from zoobench.datasets import folds
from zoobench.datasets.audit import audit
from zoobench.datasets.core import TASKS, Examples
from zoobench.datasets.prepare import prepare
from zoobench.datasets.published import table
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.files import sha256_file
from zoobench.datasets.tasks import medical_abstracts

CARD = medical_abstracts.CARD
TRAIN, TEST, LABELS = medical_abstracts.TRAINING, medical_abstracts.TEST, medical_abstracts.CONDITIONS


def read() -> Examples:
    return TASKS.get("medical-abstracts").read()


def is_sample(folder: Path) -> bool:
    return sha256_file(folder / TRAIN.folder / TRAIN.name).startswith("92449cb8f68b")


@pytest.fixture
def sample(real_data: Path) -> Path:
    if not is_sample(real_data):
        pytest.skip("the corpus here is not the sample whose figures are known")
    return real_data


def test_conditions_are_the_corpus_own(real_data: Path) -> None:
    path = real_data / LABELS.folder / LABELS.name
    assert sha256_file(path) == LABELS.sha256
    assert CARD.labels == tuple(row.cells["condition_name"] for row in table(path, ("condition_name",)))
    assert medical_abstracts.conditions(path) == {"1": 0, "2": 1, "3": 2, "4": 3, "5": 4}


def test_sample_is_read_as_other_data(sample: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = read()
    assert "2,310 training rows (published: 11,550), 578 test rows (published: 2,888)" in caplog.text
    examples.check_against(CARD)
    train = np.char.startswith(examples.ids.astype(str), "train-")
    assert np.bincount(examples.targets[train]).tolist() == [509, 248, 310, 473, 770]
    assert np.bincount(examples.targets[~train]).tolist() == [124, 51, 75, 137, 191]
    assert (examples.ids[0], examples.ids[2310], examples.ids[-1]) == ("train-1", "test-1", "test-578")
    assert examples.inputs[0].startswith("Neutrophil function and pyogenic infections")
    assert CARD.labels[examples.targets[0]] == "general pathological conditions"


def test_test_fold_is_the_corpus_own_and_validation_an_eighth_of_the_rest(sample: Path) -> None:
    examples = read()
    dealt = examples.folds
    assert dealt is not None
    assert set(examples.ids[dealt == 2]) == {f"test-{number}" for number in range(1, 579)}
    assert np.bincount(dealt).tolist() == [2021, 289, 578]
    own = dealt < 2
    assert folds.shared_groups(dealt[own], examples.groups[own]) == 0
    shares = [np.bincount(examples.targets[dealt == fold]) / (dealt == fold).sum() for fold in (0, 1)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.004)
    assert folds.split_sha256(examples.ids, dealt).startswith("9b00882c1fce")
    assert examples.fingerprint().startswith("3e0102780609")


def test_leaks_of_the_corpus_are_declared_and_counted(sample: Path) -> None:
    task = TASKS.get("medical-abstracts")
    examples = read()
    texts: dict[str, set[int]] = {}
    for text, target in zip(examples.inputs, examples.targets.tolist(), strict=True):
        texts.setdefault(text, set()).add(target)
    # 2,888 rows are 2,770 abstracts; each of the 113 repeated ones has another condition each time.
    assert len(texts) == 2770
    assert sum(len(labels) > 1 for labels in texts.values()) == 113
    assert sum(len(labels) - 1 for labels in texts.values()) == 2888 - 2770
    assert examples.folds is not None
    found = audit(task, "", examples, examples.folds)
    assert found.ok
    exact = {(finding.earlier, finding.later): finding.count for finding in found.findings if finding.kind == "exact"}
    assert exact == {("train", "test"): 23, ("validation", "test"): 7}
    pairs = {(finding.earlier, finding.later) for finding in found.findings if finding.count}
    assert ("train", "validation") not in pairs
    prepared = prepare(task)
    assert list(prepared.rows.values()) == [2021, 289, 578]


CONDITIONS = "condition_label,condition_name\n1,neoplasms\n4,cardiovascular diseases\n"
ROWS = 'condition_label,medical_abstract\n4,"Hearts, studied."\n1,A tumour.\n'


def corpus(folder: Path, monkeypatch: pytest.MonkeyPatch, labels: str = CONDITIONS, train: str = ROWS) -> None:
    place = folder / CARD.name
    place.mkdir()
    (place / LABELS.name).write_bytes(labels.encode("latin-1"))
    (place / TRAIN.name).write_bytes(train.encode("latin-1"))
    (place / TEST.name).write_text(ROWS)
    monkeypatch.setenv("ZOOBENCH_DATA", str(folder))


def test_small_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(tmp_path, monkeypatch)
    examples = read()
    assert list(examples.ids) == ["train-1", "train-2", "test-1", "test-2"]
    assert examples.inputs[0] == "Hearts, studied."
    assert examples.targets.tolist() == [3, 0, 3, 0]
    assert examples.groups.tolist() == [0, 1, 0, 1]


def test_train_and_validation_share_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 abstracts, every third stands there under the other condition too, far from its first row."""
    words = np.random.default_rng(0).permuted(np.tile(np.arange(200), (60, 1)), axis=1)[:, :30]
    texts = [" ".join(f"word{word}" for word in each) + "." for each in words]
    rows = [f"1,{text}" for text in texts] + [f"4,{text}" for text in texts[::3]]
    corpus(tmp_path, monkeypatch, train="\n".join(["condition_label,medical_abstract", *rows]) + "\n")
    examples = read()
    dealt = examples.folds
    assert dealt is not None
    assert np.bincount(dealt).tolist() == [70, 10, 2]
    own = dealt < 2
    assert len(set(examples.groups[own])) == 60
    assert folds.shared_groups(dealt[own], examples.groups[own]) == 0
    assert not set(examples.inputs[dealt == 0]) & set(examples.inputs[dealt == 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": ROWS.replace("\n1,", "\n9,")}, "train.csv, line 3, column 'condition_label': unknown label '9'"),
        ({"train": ROWS.replace("A tumour.", "")}, "train.csv, line 3, column 'medical_abstract': is empty"),
        ({"train": ROWS.replace("\n1,", "\n,")}, "train.csv, line 3, column 'condition_label': is empty"),
        ({"train": ROWS.replace("tumour", "t\x93mour")}, "train.csv, line 3: is neither UTF-8"),
        ({"train": ROWS.replace("medical_", "")}, "train.csv, line 1: no column 'medical_abstract'"),
        ({"train": ROWS.replace(",", ";")}, "train.csv, line 1: no column 'condition_label'"),
        ({"train": ""}, "train.csv is empty"),
        ({"labels": CONDITIONS.replace("neoplasms", "gout")}, "labels.csv, line 2, .* unknown label 'gout'"),
        ({"labels": CONDITIONS.replace("4,", "1,")}, "labels.csv, line 3, .* '1' stands on line 2 already"),
    ],
)
def test_bad_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], message: str
) -> None:
    corpus(tmp_path, monkeypatch, **change)
    with pytest.raises(UserError, match=message):
        read()
