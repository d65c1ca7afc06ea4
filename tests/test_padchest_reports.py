"""PadChest reports: the table inside torchxrayvision, and tables that are not what they should be."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from zoobench.datasets import folds
from zoobench.datasets.core import TASKS, Examples
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.support.files import sha256_file
from zoobench.datasets.tasks import padchest_reports

CARD = padchest_reports.CARD
# The table that torchxrayvision 1.5.7 ships.
TABLE_SHA256 = "34a10144a87fe00c176f23f9aa174a10137fd425882b09d8fb012ab817d99d65"


@pytest.fixture(scope="module")
def raw() -> tuple[list[padchest_reports.Row], list[padchest_reports.Tie]]:
    if importlib.util.find_spec("torchxrayvision") is None:
        pytest.skip("the table lies inside torchxrayvision, which is not installed")
    return padchest_reports.studies(padchest_reports.archive())


@pytest.fixture(scope="module")
def rows(raw: tuple[list[padchest_reports.Row], list[padchest_reports.Tie]]) -> list[padchest_reports.Row]:
    return raw[0]


@pytest.fixture(scope="module")
def examples(raw: tuple[list[padchest_reports.Row], list[padchest_reports.Tie]]) -> Examples:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padchest_reports, "studies", lambda path: raw)
        return TASKS.get("padchest-reports").read()


def test_table_is_the_published_one(rows: list[padchest_reports.Row]) -> None:
    assert sha256_file(padchest_reports.archive()) == TABLE_SHA256
    assert len(rows) == CARD.counts["studies"] == 109931
    # A reader that takes the word "nan" for a missing report, but not " nan", finds 109,842 reports, 66,161 distinct,
    # 83,442 of them labelled by the network. Eighteen are that word: no report either.
    cells = [row.cells["Report"] for row in rows if row.cells["Report"] != "nan"]
    assert (len(cells), len(set(cells)), cells.count(" nan")) == (109842, 66161, 18)
    network = [row for row in rows if row.cells["Report"] != "nan" and row.cells["MethodLabel"] == "RNN_model"]
    assert len(network) == 83442


def test_examples_are_those_of_the_card(examples: Examples) -> None:
    examples.check_against(CARD)
    assert len(examples) == CARD.counts["examples"] == 109842 - 18 - 3
    assert len(set(examples.inputs)) == CARD.counts["distinct reports"] == 66161 - 1
    assert examples.subsets["physician"].sum() == CARD.counts["labelled by physicians"] == 26400
    assert (~examples.subsets["physician"]).sum() == 83421
    assert examples.groups.max() + 1 == CARD.counts["groups"] == 66459
    assert all(text == " ".join(text.split()) for text in examples.inputs)
    assert not {"", "nan"} & set(examples.inputs)
    assert examples.fingerprint() == CARD.protocols[""].fingerprint


def test_labels_are_the_findings_of_at_least_100_reports(examples: Examples, rows: list[padchest_reports.Row]) -> None:
    kept = set(examples.ids)
    count: Counter[str] = Counter()
    for row in rows:
        if row.cells["StudyID"] in kept:
            count.update({label.strip() for label in row.strings("Labels")} - {""})
    assert len(count) == len({label.casefold() for label in count}) == 193
    frequent = sorted((-number, label) for label, number in count.items() if number >= 100)
    assert CARD.labels == tuple(label for _, label in frequent)
    assert len(CARD.labels) == 134
    np.testing.assert_array_equal(examples.targets.sum(axis=0), [-number for number, _ in frequent])
    assert (CARD.labels[0], count["normal"]) == ("normal", 35829)
    assert (CARD.labels[-1], count["segmental atelectasis"]) == ("segmental atelectasis", 100)
    assert (examples.targets.sum(axis=1) == 0).sum() == 768


def test_first_study_is_read_as_it_stands(examples: Examples) -> None:
    assert examples.inputs[1].startswith("cambi pulmonar cronic sever . sign fibrosis bibasal .")
    held = [CARD.labels[column] for column in np.flatnonzero(examples.targets[1])]
    assert sorted(held) == ["chronic changes", "ground glass pattern", "kyphosis", "pseudonodule", "pulmonary fibrosis"]
    assert (examples.columns["age"][1], examples.columns["sex"][1]) == (2015 - 1929, "M")
    assert examples.subsets["physician"][1]
    ages = examples.columns["age"]
    assert np.isnan(ages).sum() == 3
    assert (np.nanmin(ages), np.nanmax(ages)) == (0, 105)
    assert set(examples.columns["sex"]) == {"M", "F", "O", ""}


def test_folds_keep_shares_and_part_no_patient(
    examples: Examples, raw: tuple[list[padchest_reports.Row], list[padchest_reports.Tie]]
) -> None:
    dealt = folds.default_folds(examples)
    assert folds.split_sha256(examples.ids, dealt) == CARD.protocols[""].split
    assert folds.shared_groups(dealt, examples.groups) == 0
    np.testing.assert_allclose(np.bincount(dealt) / len(examples), folds.SHARES, atol=0.001)
    inside = np.stack([examples.targets[dealt == fold].sum(axis=0) for fold in range(3)])
    np.testing.assert_allclose(inside / inside.sum(axis=0), np.tile(folds.SHARES, (134, 1)).T, atol=0.006)
    fold = dict(zip(examples.ids, dealt.tolist(), strict=True))
    for what in ("patient", "report"):
        seen: dict[str, set[int]] = {}
        for tie in raw[1]:
            if tie.study in fold:
                seen.setdefault(getattr(tie, what), set()).add(fold[tie.study])
        assert {len(folds_of_one) for folds_of_one in seen.values()} == {1}


@pytest.mark.slow
def test_reading_takes_no_torch_and_little_memory(examples: Examples) -> None:
    script = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from zoobench.datasets.core import TASKS\n"
        "from zoobench.datasets.folds import default_folds\n"
        "default_folds(TASKS.get('padchest-reports').read())\n"
        "assert not {'torch', 'torchxrayvision'} & sys.modules.keys()\n"
        # A process inherits ru_maxrss from the one that started it: here from pytest.
        "status = Path('/proc/self/status').read_text()\n"
        "used = int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1e6\n"
        "assert used < 2, f'{used} GB'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


HEADER = "ImageID,StudyID,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,ReportID,Report,MethodLabel,Labels\n"
GOOD = (
    "a.png,s1,20140915,p1,1930.0,F,r1, sin  alter . ,Physician,\"['normal', ' COPD signs']\"\n"
    "b.png,s1,20140915,p1,1930.0,F,r1, sin  alter . ,Physician,\"['normal', ' COPD signs']\"\n"
    "c.png,s2,20140916,p2,,nan,r2,derram .,RNN_model,\"['', 'kerley lines']\"\n"
    "d.png,s3,20140916,p3,1950.0,M,r1,sin alter .,RNN_model,['normal']\n"
    "e.png,s4,20140916,p4,1950.0,M,r4, nan,RNN_model,['exclude']\n"
    "f.png,s5,20140916,p4,1950.0,M,r5,otr .,RNN_model,nan\n"
    "g.png,s6,20140916,p2,1950.0,O,r6,dos .,RNN_model,[]\n"
    "h.png,s6,20140916,p5,1950.0,O,r6,dos .,RNN_model,[]\n"
    "i.png,s7,20140916,p5,1950.0,O,r7,tres .,RNN_model,['normal']\n"
)


def images(path: Path, content: str | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(gzip.compress(content if isinstance(content, bytes) else content.encode()))
    monkeypatch.setattr(padchest_reports, "archive", lambda: path)


def test_small_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path / "small.csv.gz", HEADER + GOOD, monkeypatch)
    examples = TASKS.get("padchest-reports").read()
    assert list(examples.ids) == ["s1", "s2", "s3", "s6", "s7"]
    assert list(examples.inputs) == ["sin alter .", "derram .", "sin alter .", "dos .", "tres ."]
    # s1 and s3 share a report; s6 lists two patients, and each has another study.
    assert examples.groups.tolist() == [0, 1, 0, 1, 1]
    assert [np.flatnonzero(row).tolist() for row in examples.targets] == [[0, 1], [], [0], [], [0]]
    assert examples.subsets["physician"].tolist() == [True, False, False, False, False]
    np.testing.assert_array_equal(examples.columns["age"], [84, np.nan, 64, 64, 64])
    assert list(examples.columns["sex"]) == ["F", "", "M", "O", "O"]
    for told in ("9 images (published: 160,861)", "1 studies without a report", "1 reports without labels"):
        assert told in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + GOOD.replace("b.png,s1,20140915,p1,1930.0,F,r1, sin", "b.png,s1,20140915,p1,1930.0,F,r1, con"),
         "line 3, column 'Report': differs from line 2, an image of the same study"),
        (HEADER + GOOD.replace("RNN_model,\"['', ", "Robot,\"['', "), "line 4, column 'MethodLabel': unknown label 'Robot'"),
        (HEADER + GOOD.replace("['normal']", "normal"), "line 5, column 'Labels': 'normal' is no list"),
        (HEADER + GOOD.replace(",1930.0,", ",old,"), "line 2, column 'PatientBirth': 'old' is no number"),
        (HEADER + GOOD.replace("nan,r2", "X,r2"), "line 4, column 'PatientSex_DICOM': unknown label 'X'"),
        (HEADER + GOOD.replace(",s2,", ",,"), "line 4, column 'StudyID': is empty"),
        (HEADER.replace("ReportID", "Id") + GOOD, "line 1: no column 'ReportID'"),
        ((HEADER + GOOD).replace(",", ";"), "line 1: no column 'Report' between separators ','"),
        ((HEADER + GOOD).replace("derram", "derr\x93m").encode("latin-1"), "line 4: is neither UTF-8"),
        (HEADER, "a header and no row"),
        ("", "is empty"),
    ],
)  # fmt: skip
def test_bad_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, message: str
) -> None:
    images(tmp_path / "bad.csv.gz", content, monkeypatch)
    with pytest.raises(UserError, match=rf"bad\.csv\.gz.*{message}"):
        TASKS.get("padchest-reports").read()


def test_truncated_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: Examples) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(padchest_reports.archive().read_bytes()[:1_000_000])
    monkeypatch.setattr(padchest_reports, "archive", lambda: path)
    with pytest.raises(UserError, match=r"cut\.csv\.gz cannot be read"):
        TASKS.get("padchest-reports").read()


def test_without_torchxrayvision_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'zoobench\[vision\]'"):
        padchest_reports.archive()
