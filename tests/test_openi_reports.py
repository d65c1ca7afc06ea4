"""The embedded default task, on the real archive inside torchxrayvision."""

import gzip
import io
import subprocess
import sys
import tarfile
from collections import Counter

import numpy as np
import pytest
from zoobench.datasets import folds
from zoobench.datasets.core import FOLDS, TASKS
from zoobench.datasets.layout import load_test_inputs, load_training
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.support.files import sha256_file
from zoobench.datasets.tasks import openi_reports

CARD = openi_reports.CARD
# The archive that torchxrayvision 1.5.7 ships.
ARCHIVE_SHA256 = "8fb6de7eec73d8c3665067ad4bb003ccd57f971ae316d2642e1627ac7268667a"


@pytest.fixture(scope="module")
def raw():
    return list(openi_reports.reports(openi_reports.archive()))


@pytest.fixture(scope="module")
def examples():
    return TASKS.get("openi-reports").read()


@pytest.fixture(scope="module")
def dealt(examples):
    return folds.read_split(folds.split_path(CARD.name), CARD.protocols[""].split, examples.ids)


def test_archive_is_the_published_one(raw):
    assert sha256_file(openi_reports.archive()) == ARCHIVE_SHA256
    assert len(raw) == 3955 == len({report.id for report in raw})
    assert sum(not report.text for report in raw) == 28
    assert sum(report.headings == {"No Indexing"} for report in raw) == 95
    assert all(report.headings for report in raw)


def test_labels_are_the_headings_of_at_least_100_reports_most_frequent_first(raw):
    carried = Counter(heading for report in raw for heading in report.headings - {"No Indexing"})
    frequent = sorted((-number, heading) for heading, number in carried.items() if number >= 100)
    assert CARD.labels == tuple(heading for _, heading in frequent)
    assert len(CARD.labels) == 23
    assert carried["normal"] == 1391
    assert carried["Technical Quality of Image Unsatisfactory"] == 86


def test_examples_are_those_of_the_card(examples):
    examples.check_against(CARD)
    sizes = np.bincount(examples.groups)
    assert len(examples) == CARD.counts["examples"] == 3832
    assert (len(sizes), sizes.max()) == (CARD.counts["groups"], CARD.counts["largest group"]) == (2822, 58)
    assert examples.targets.dtype == np.uint8
    assert examples.targets.sum(axis=0).min() == 106
    assert (examples.targets.sum(axis=1) == 0).sum() == 276
    repeated = [number for number in Counter(examples.inputs).values() if number > 1]
    assert (sum(repeated), sum(repeated) - len(repeated)) == (859, 707)


def test_report_is_read_as_it_stands_in_the_archive(examples):
    row = list(examples.ids).index("CXR100")
    assert examples.inputs[row] == (
        "Both lungs are clear and expanded. Heart and mediastinum normal. No active disease."
    )
    assert [CARD.labels[column] for column in np.flatnonzero(examples.targets[row])] == ["normal"]
    assert all(text == " ".join(text.split()) != "" for text in examples.inputs)


def test_equal_texts_share_a_group(examples):
    group = dict(zip(examples.inputs, examples.groups, strict=True))
    assert [group[text] for text in examples.inputs] == list(examples.groups)


def test_folds_keep_row_and_label_shares_and_part_no_group(examples, dealt):
    assert folds.shared_groups(dealt, examples.groups) == 0
    rows = np.bincount(dealt) / len(examples)
    np.testing.assert_allclose(rows, folds.SHARES, atol=0.001)
    inside = np.stack([examples.targets[dealt == fold].sum(axis=0) for fold in range(3)])
    shares = inside / examples.targets.sum(axis=0)
    np.testing.assert_allclose(shares, np.tile(folds.SHARES, (23, 1)).T, atol=0.006)
    assert inside.min() >= 10


def test_no_text_of_a_later_fold_has_a_near_twin_in_training(examples, dealt):
    """Checked without the groups: the cosines themselves, by dense blocks."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer().fit_transform(examples.inputs)
    train = vectors[dealt == 0]
    for fold in (1, 2):
        assert (vectors[dealt == fold] @ train.T).max() < 0.9


def test_committed_folds_are_the_computed_ones(examples, dealt):
    np.testing.assert_array_equal(dealt, folds.default_folds(examples))
    assert (
        folds.split_sha256(examples.ids, dealt) == CARD.protocols[""].split == sha256_file(folds.split_path(CARD.name))
    )


def test_prepared_twice_is_read_once(tmp_path, monkeypatch, examples, dealt):
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    task = TASKS.get("openi-reports")
    prepared = prepare(task)
    stamps = {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*")}
    monkeypatch.setattr(openi_reports, "reports", None)
    assert prepare(task) == prepared
    assert {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*")} == stamps
    assert prepared.fingerprint == examples.fingerprint()
    assert dict(prepared.rows) == dict(zip(FOLDS, np.bincount(dealt), strict=True))
    _, targets = load_training(prepared.folder / "public", "validation")
    np.testing.assert_array_equal(targets, examples.targets[dealt == 1])
    sealed = prepared.sealed_test()
    row = {key: number for number, key in enumerate(examples.ids)}
    order = [row[key] for key in sealed.ids]
    assert sorted(order) == list(np.flatnonzero(dealt == 2))
    np.testing.assert_array_equal(load_test_inputs(prepared.folder / "public"), examples.inputs[order])
    np.testing.assert_array_equal(sealed.targets, examples.targets[order])


def test_listing_imports_no_framework_and_reading_no_torch():
    script = (
        "import sys\n"
        "from zoobench.datasets.core import TASKS\n"
        "import zoobench.datasets.prepare\n"
        "task = TASKS.get('openi-reports')\n"
        "heavy = {'sklearn', 'scipy', 'pandas', 'pyarrow', 'torch', 'torchxrayvision'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "next(sys.modules[task.module].reports(task.sources()[0]))\n"
        "assert not {'torch', 'torchxrayvision'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_torchxrayvision_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'zoobench\[vision\]'"):
        prepare(TASKS.get("openi-reports"))
    with pytest.raises(UnavailableError, match=r"pip install 'zoobench\[vision\]'"):
        openi_reports.archive()


def archive_of(path, *documents):
    with tarfile.open(path, "w:gz") as tar:
        for number, document in enumerate(documents):
            entry = tarfile.TarInfo(f"reports/{number}.xml")
            entry.size = len(document)
            tar.addfile(entry, io.BytesIO(document))
        link = tarfile.TarInfo("reports/passwords.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


SMALL = (
    '<eCitation><uId id="CXR7"/><AbstractText Label="IMPRESSION"> No\n change. </AbstractText>'
    "<AbstractText Label='FINDINGS'>Œdème.</AbstractText>"
    "<AbstractText Label='INDICATION'>Cough</AbstractText>"
    "<MeSH><major>Lung/base/left</major><major>Lung /apex</major><automatic>x</automatic></MeSH></eCitation>"
)


def test_sections_and_headings_of_a_report(tmp_path):
    path = archive_of(tmp_path / "a.tgz", SMALL.encode())
    assert list(openi_reports.reports(path)) == [("CXR7", "Œdème. No change.", {"Lung"})]


def test_other_archive_is_other_data_and_says_so(tmp_path, monkeypatch, caplog):
    path = archive_of(tmp_path / "a.tgz", SMALL.encode())
    monkeypatch.setattr(openi_reports, "archive", lambda: path)
    examples = openi_reports.read.read()
    assert list(examples.ids) == ["CXR7"]
    assert "other data than the published ones: 1 reports (published: 3,955)" in caplog.text


BOMB = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><eCitation><uId id="&b;"/></eCitation>'


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (BOMB, "declares a document type"),
        (b'<?xml version="1.0" encoding="utf-16"?>' + BOMB, "declares a document type"),
        (BOMB.decode().encode("utf-16"), "codec can't decode"),
        (b"<eCitation><uId id='CXR1'/>", "no element found"),
        (b"<eCitation/>", "has no uId"),
    ],
)
def test_bad_member_is_refused_by_name(tmp_path, document, message):
    path = archive_of(tmp_path / "a.tgz", SMALL.encode(), document)
    with pytest.raises(UserError, match=f"reports/1.xml.*{message}"):
        list(openi_reports.reports(path))


@pytest.mark.parametrize("cut", [0, 40, 100_000])
def test_truncated_archive_is_refused(tmp_path, cut):
    path = tmp_path / "cut.tgz"
    path.write_bytes(openi_reports.archive().read_bytes()[:cut])
    with pytest.raises(UserError, match=r"cut\.tgz.* is no archive of Open-i reports"):
        list(openi_reports.reports(path))


def test_foreign_gzip_is_refused(tmp_path):
    path = tmp_path / "foreign.tgz"
    path.write_bytes(gzip.compress(b"not a tar at all" * 100))
    with pytest.raises(UserError, match="is no archive of Open-i reports"):
        list(openi_reports.reports(path))
