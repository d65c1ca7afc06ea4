"""NIH ChestX-ray14: the metadata of all images, the three protocols, and the images that are here."""

import gzip
import logging
import shutil
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from zoobench.datasets import folds
from zoobench.datasets.core import FOLDS, TASKS
from zoobench.datasets.layout import load_test_inputs, load_training
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.tasks import nih_chest_xray14 as nih

CARD = nih.CARD
TRAIN, VALIDATION, TEST = range(3)


@pytest.fixture(scope="module")
def known():
    return nih.entries(nih.metadata())


@pytest.fixture(scope="module")
def targets(known):
    return nih.targets_of(known.findings)


@pytest.fixture(scope="module")
def dealt(known, targets):
    return {protocol: nih.folds_of(protocol, known, targets) for protocol in ("", "published")}


@pytest.fixture
def corner(tmp_path, monkeypatch, known):
    """A data folder with the corpus's first 60 images: noise, 24 of them loose and the others in two archives."""
    folder = tmp_path / "data" / CARD.name / "images"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    with (
        zipfile.ZipFile(folder / "images_001.zip", "w") as first,
        zipfile.ZipFile(folder / "images_002.zip", "w") as second,
    ):
        for index, name in enumerate(known.names[:60]):
            Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(folder / name)
            if index >= 24:
                (first if index < 40 else second).write(folder / name, f"images/{name}")
                (folder / name).unlink()
    monkeypatch.setenv("ZOOBENCH_DATA", str(tmp_path / "data"))
    return folder


def test_metadata_is_that_of_the_whole_corpus(known, targets):
    assert len(known.names) == len(set(known.names)) == 112_120
    assert len(set(known.patients)) == 30_805
    assert all(int(name[:8]) == patient for name, patient in zip(known.names, known.patients, strict=True))
    assert dict(zip(CARD.labels, targets.sum(axis=0).tolist(), strict=True)) == {
        "Atelectasis": 11559, "Cardiomegaly": 2776, "Effusion": 13317, "Infiltration": 19894, "Mass": 5782,
        "Nodule": 6331, "Pneumonia": 1431, "Pneumothorax": 5302, "Consolidation": 4667, "Edema": 2303,
        "Emphysema": 2516, "Fibrosis": 1686, "Pleural_Thickening": 3385, "Hernia": 227,
    }  # fmt: skip
    assert (targets.sum(axis=1) == 0).sum() == (known.findings == "No Finding").sum() == 60_361
    assert (known.ages.min(), known.ages.max()) == (0, 95)
    assert Counter(known.sexes.tolist()) == {0.0: 63_340, 1.0: 48_780}
    assert Counter(known.views.tolist()) == {0.0: 67_310, 1.0: 44_810}


def test_folds_of_the_whole_corpus_are_the_pinned_ones(known, dealt):
    for protocol, found in dealt.items():
        assert folds.split_sha256(known.names, found) == CARD.protocols[protocol].split


@pytest.mark.parametrize("protocol", ["", "published"])
def test_published_metadata_in_other_folds_are_refused_and_other_metadata_are_not(
    corner, tmp_path, monkeypatch, known, dealt, protocol
):
    monkeypatch.setattr(nih, "folds_of", lambda *_: dealt[protocol])
    assert len(TASKS.get(CARD.name).read(protocol)) == 60
    other = dealt[protocol].copy()
    other[-1] = (other[-1] + 1) % 3
    monkeypatch.setattr(nih, "folds_of", lambda *_: other)
    with pytest.raises(UserError, match=f"{CARD.name}.* folds came out otherwise than published: install") as caught:
        TASKS.get(CARD.name).read(protocol)
    assert "\n" not in str(caught.value)
    assert ("@published" in str(caught.value)) == bool(protocol)
    table = gzip.decompress(nih.metadata().read_bytes())
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(table.replace(b"Hernia", b"Edema", 1), 1))
    monkeypatch.setattr(nih, "metadata", lambda: tmp_path / "table.csv.gz")
    assert len(TASKS.get(CARD.name).read(protocol)) == 60


def test_default_parts_no_patient_and_keeps_the_shares(known, targets, dealt):
    found = dealt[""]
    assert folds.shared_groups(found, known.patients) == 0
    assert np.bincount(found).tolist() == [78_484, 11_212, 22_424]
    for fold, share in enumerate(folds.SHARES):
        np.testing.assert_allclose(targets[found == fold].sum(axis=0), targets.sum(axis=0) * share, rtol=0.02)


def test_published_thins_out_and_parts_patients(known, dealt):
    found = dealt["published"]
    left = Counter(known.findings[found >= 0].tolist())
    whole = Counter(known.findings.tolist())
    thinned = {"No Finding": 6036, "Infiltration": 1432, "Effusion": 1978, "Atelectasis": 2108}
    assert {finding: left[finding] for finding in thinned} == thinned
    assert all(left[finding] == count for finding, count in whole.items() if finding not in thinned)
    assert np.bincount(found[found >= 0]).tolist() == [32_829, 3_648, 9_119]
    patients = known.patients[found >= 0]
    assert len(set(patients)) == 13_927
    assert folds.shared_groups(found[found >= 0], patients) == 4_284
    seen = np.isin(known.patients[found == TEST], known.patients[found == TRAIN])
    assert round(seen.mean(), 2) == 0.80
    assert set(CARD.protocols["published"].leaks) == {"group", "exact"}


def test_an_age_that_nobody_reaches_and_a_finding_that_is_no_label(tmp_path):
    table = tmp_path / "Data_Entry.csv"
    head = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\n"
    table.write_text(head + "a.png,Mass|Hernia,1,411,F,AP\nb.png,No Finding,2,100,M,PA\n")
    read = nih.entries(table)
    np.testing.assert_array_equal(read.ages, [np.nan, 100])
    assert (read.sexes.tolist(), read.views.tolist()) == ([1, 0], [1, 0])
    held = nih.targets_of(read.findings)
    assert [CARD.labels[column] for column in np.flatnonzero(held[0])] == ["Mass", "Hernia"]
    assert not held[1].any()
    with pytest.raises(UserError, match="'Tuberculosis'"):
        nih.targets_of(np.array(["Mass|Tuberculosis"], dtype=object))
    table.write_text(head.replace("Patient ID", "Patient") + "a.png,Mass,1,41,F,AP\n")
    with pytest.raises(UserError, match=r"Patient ID.*reinstall"):
        nih.entries(table)


def test_images_are_found_as_files_and_in_archives_in_the_folds_of_the_whole_corpus(corner, known, targets, dealt):
    examples = TASKS.get(CARD.name).read()
    assert examples.ids.tolist() == known.names[:60].tolist()
    np.testing.assert_array_equal(examples.folds, dealt[""][:60])
    np.testing.assert_array_equal(examples.targets, targets[:60])
    np.testing.assert_array_equal(examples.groups, known.patients[:60])
    np.testing.assert_array_equal(examples.columns["age"], known.ages[:60] / 100)
    stored = examples.pixels.pixels
    np.testing.assert_array_equal(stored[examples.inputs[3]], np.asarray(Image.open(corner / known.names[3])))
    with zipfile.ZipFile(corner / "images_002.zip") as archive, archive.open(f"images/{known.names[50]}") as stream:
        np.testing.assert_array_equal(stored[examples.inputs[50]], np.asarray(Image.open(stream)))
    kept = examples.folds[examples.subsets["female"]]
    assert len(kept) == (known.sexes[:60] == 1).sum()
    bands = [mask for name, mask in examples.subsets.items() if name.startswith("age-")]
    assert (np.sum(bands, axis=0) == 1).all()
    examples.check_against(CARD)


def test_a_strange_file_is_said_and_a_folder_of_them_refused(corner, caplog):
    Image.new("L", (16, 16)).save(corner / "holiday.png")
    with caplog.at_level(logging.WARNING):
        assert len(TASKS.get(CARD.name).read()) == 60
    assert "1 PNG files" in caplog.text
    assert "60 examples (published: 112,120)" in caplog.text
    for path in corner.glob("[0i]*"):
        path.unlink()
    with pytest.raises(UserError, match=f"{corner} holds no image.*nihcc"):
        TASKS.get(CARD.name).read()
    shutil.rmtree(corner)
    with pytest.raises(UnavailableError, match=r"images_001\.zip"):
        TASKS.get(CARD.name).read()


def test_an_archive_with_paths_out_of_it_or_cut_short_is_refused(corner):
    with zipfile.ZipFile(corner / "images_003.zip", "w") as archive:
        archive.writestr("../../00000001_000.png", b"")
    with pytest.raises(UserError, match=r"images_003.zip.*out of the archive"):
        TASKS.get(CARD.name).read()
    (corner / "images_003.zip").write_bytes((corner / "images_001.zip").read_bytes()[:-50])
    with pytest.raises(UserError, match=r"images_003\.zip"):
        TASKS.get(CARD.name).read()


def test_a_truncated_image_is_named(corner, known):
    path = corner / known.names[5]
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=known.names[5]):
        TASKS.get(CARD.name).read()


def test_a_download_is_finished_before_it_is_read(tmp_path, monkeypatch, known):
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    folder = tmp_path / "downloads" / CARD.name / "images"
    folder.mkdir(parents=True)
    for number in range(1, 12):
        with zipfile.ZipFile(folder / f"images_{number:03}.zip", "w") as archive:
            archive.writestr("images/none.txt", "")
    asked = []

    def offline(file):
        asked.append(file.url)
        if (folder.parent / file.name).exists():
            return folder.parent / file.name
        raise UnavailableError(f"{file} could not be had")

    monkeypatch.setattr(nih, "fetch", offline)
    with pytest.raises(UnavailableError, match=r"images_012\.zip"):
        nih.images()
    assert len(asked) == 12
    assert asked[0].endswith("alkzar90/NIH-Chest-X-ray-dataset/resolve/main/data/images/images_001.zip")
    Image.new("L", (16, 16)).save(folder / known.names[0])
    assert nih.images() == folder


def test_official_lists_are_needed_by_their_protocol_alone(corner):
    with pytest.raises(UnavailableError, match=r"train_val_list.txt.*huggingface.*NIH-Chest-X-ray-dataset") as caught:
        TASKS.get(CARD.name).read("official")
    assert "\n" not in str(caught.value)
    (corner.parent / "train_val_list.txt").write_text("<html>no such page</html>\n")
    with pytest.raises(UserError, match=r"train_val_list.txt is no list.*nihcc"):
        TASKS.get(CARD.name).read("official")
    assert len(TASKS.get(CARD.name).read()) == 60


def test_official_test_fold_is_the_list_and_validation_is_cut_by_patient(corner, known, targets):
    test = known.patients % 4 == 1
    unlisted = known.patients == 2
    (corner.parent / "test_list.txt").write_text("\n".join(known.names[test]))
    (corner.parent / "train_val_list.txt").write_text("\r\n".join(known.names[~test & ~unlisted]) + "\r\n")
    found = nih.folds_of("official", known, targets)
    np.testing.assert_array_equal(found == TEST, test)
    np.testing.assert_array_equal(found == -1, unlisted)
    assert folds.shared_groups(found, known.patients) == 0
    assert (found == VALIDATION).sum() == pytest.approx((~test).sum() / 8, rel=0.01)
    examples = TASKS.get(CARD.name).read("official")
    np.testing.assert_array_equal(examples.folds, found[:60])
    assert corner.parent / "test_list.txt" in nih._sources()


def test_sample_has_the_images_of_its_readme(real_data):
    found = Counter(Image.open(path).mode for path in (real_data / CARD.name / "images").glob("*.png"))
    if sum(found.values()) != 1000:
        pytest.skip("this is not the sample of 1,000 images")
    assert found == {"RGB": 979, "RGBA": 21}
    examples = TASKS.get(CARD.name).read()
    assert (len(examples), len(set(examples.groups))) == (1000, 264)
    assert examples.pixels.pixels.shape == (1000, 64, 64)
    assert np.bincount(examples.folds).tolist() == [573, 163, 264]
    assert folds.shared_groups(examples.folds, examples.groups) == 0
    assert len(set(examples.contents())) == 1000
    for row in (0, 500, 999):
        with Image.open(real_data / CARD.name / "images" / examples.ids[row]) as image:
            expected = np.asarray(image.convert("RGB").convert("L"))
        np.testing.assert_array_equal(examples.pixels.pixels[examples.inputs[row]], expected)


def test_sample_under_the_published_protocol_parts_patients(real_data):
    if len(nih.files_in(nih.images())) != 1000:
        pytest.skip("this is not the sample of 1,000 images")
    examples = TASKS.get(CARD.name).read("published")
    kept = examples.folds >= 0
    assert np.bincount(examples.folds[kept]).tolist() == [311, 45, 93]
    assert folds.shared_groups(examples.folds[kept], examples.groups[kept]) == 42
    assert len(set(examples.groups[kept])) == 136


def test_sample_is_prepared_with_its_numbers(real_data):
    if len(nih.files_in(nih.images())) != 1000:
        pytest.skip("this is not the sample of 1,000 images")
    prepared = prepare(TASKS.get(CARD.name))
    assert dict(prepared.rows) == dict(zip(FOLDS, (573, 163, 264), strict=True))
    X, y = load_training(prepared.folder / "public", "train")
    assert (X.names, X.tabular.shape, y.shape) == (("age", "view", "sex"), (573, 3), (573, 14))
    assert (X.tabular.min(), X.tabular.max()) == (0, 1)
    assert X[:32].load().shape == (32, 64, 64)
    assert len(load_test_inputs(prepared.folder / "public")) == 264
    sealed = prepared.sealed_test()
    assert sealed.subsets["female"].sum() == 122
    assert sealed.subsets["AP"].sum() == 134
