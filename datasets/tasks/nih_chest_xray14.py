"""NIH ChestX-ray14: frontal chest X-rays of the NIH Clinical Center with 14 findings mined from their reports."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..core import FOLDS, Examples, Protocol, TaskCard, task
from ..fetch import RawFile, compare_counts, data_folder, fetch, local, packaged
from ..support.archives import members
from ..support.errors import UserError
from ..support.files import sha256_file
from ..support.thinning import KEPT_ALONE, NO_FINDING

if TYPE_CHECKING:
    import numpy as np

    from ..pixels import ImageFile

NAME = "nih-chest-xray14"
_HOME = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
_MIRROR = "https://huggingface.co/datasets/alkzar90/NIH-Chest-X-ray-dataset/resolve/main/data"
ARCHIVES = tuple(
    RawFile(NAME, f"images/images_{number:03}.zip", f"{_MIRROR}/images/images_{number:03}.zip", home=_HOME)
    for number in range(1, 13)
)
LISTS = tuple(RawFile(NAME, name, f"{_MIRROR}/{name}", home=_HOME) for name in ("train_val_list.txt", "test_list.txt"))
CARD = TaskCard(
    name=NAME,
    title="NIH ChestX-ray14",
    description=(
        "Which of 14 findings did the radiologist's report of a frontal chest X-ray name? Image, with the patient's "
        "age (years / 100), the view (PA 0, AP 1) and the sex (male 0, female 1). The labels were mined from the "
        "reports by a language rule system; an image without a finding carries none. Only the images that are "
        "present are examples, in the folds that they have among all 112,120."
    ),
    version=1,
    kind="multilabel",
    modality="image",
    # In the order of Wang et al. 2017, which CheXNet and ChestMNIST keep.
    labels=(
        "Atelectasis",
        "Cardiomegaly",
        "Effusion",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pneumonia",
        "Pneumothorax",
        "Consolidation",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Pleural_Thickening",
        "Hernia",
    ),
    primary_metric="roc_auc_macro",
    group="patient",
    licence="public (NIH Clinical Center: no restriction of use; name the Center and cite the paper)",
    source=(
        "NIH Clinical Center; metadata (Data_Entry_2017_v2020) as shipped inside torchxrayvision; images and NIH's "
        "lists from a mirror (huggingface.co/datasets/alkzar90/NIH-Chest-X-ray-dataset), whose downloads are not "
        "verified: their SHA-256 are not known"
    ),
    citation=(
        "Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale chest X-ray database and "
        "benchmarks on weakly-supervised classification and localization of common thorax diseases. "
        "CVPR 2017:3462-3471. doi:10.1109/CVPR.2017.369"
    ),
    counts={"examples": 112120, "patients": 30805, "images without a finding": 60361},
    requires=("torchxrayvision",),
    extra="vision",
    tabular=("age", "view", "sex"),
    image_size=256,
    protocols={
        "": Protocol(
            description="70/10/20 of all 112,120 images by iterative stratification; no patient in two folds",
            split="914a36dcb9ab3e78ea017c4a8ecc876d9a6e4f70f7ba84a93e1a15000ef60a67",
        ),
        "official": Protocol(
            description=(
                "NIH's own test_list.txt is the test fold; an eighth of its train_val_list.txt, cut by patient "
                "with iterative stratification, is for validation"
            )
        ),
        "published": Protocol(
            description=(
                "first thinned out: 10 % of the images without a finding, 15 % of those with infiltration alone, "
                "50 % of those with effusion alone and of those with atelectasis alone are kept; then 72/8/20 by "
                "image with iterative stratification. As the original system did, up to its draw and its "
                "stratification (scikit-learn's, by the first letters of the labels)"
            ),
            split="3427793cf7fed14b8ff279d34af320c2a400b530f76aaae5911d27d1c2daaa1b",
            leaks={
                "group": "images were dealt, not patients: 80 % of all test images are of patients seen in training",
                "exact": "images of one patient that are equal to the pixel may be dealt apart, as its others are",
            },
        ),
    },
)
# Of the table as torchxrayvision 1.5.7 ships it: the folds that the card pins are those of its rows.
_METADATA_SHA256 = "9d4de640ee4f760215d8be98376b20387ca52f9c6b4d1b727cb588fb82f40b80"
_AGES = {"age-0-17": (0, 17), "age-18-39": (18, 39), "age-40-64": (40, 64), "age-65-and-over": (65, 100)}
_SEX = {"M": 0.0, "F": 1.0}
_VIEW = {"PA": 0.0, "AP": 1.0}
_log = logging.getLogger(__name__)


class Entries(NamedTuple):
    """The metadata of n images, in the order of the published table.

    Attributes
    ----------
    names, findings
        (n,) strings; findings are joined by "|".
    patients
        (n,) int64.
    ages
        (n,) float64, years; NaN where the table has an age that nobody reaches.
    sexes, views
        (n,) float64: male 0, female 1; PA 0, AP 1.
    """

    names: np.ndarray
    findings: np.ndarray
    patients: np.ndarray
    ages: np.ndarray
    sexes: np.ndarray
    views: np.ndarray

    def rows(self, chosen: np.ndarray) -> Entries:
        """Return the rows that `chosen`, (n,) bool, names."""
        return Entries(*(column[chosen] for column in self))


def metadata() -> Path:
    """Return the table inside torchxrayvision, without importing that package (and torch with it)."""
    return packaged(CARD, "Data_Entry_2017_v2020.csv.gz")


def images() -> Path:
    """Return the folder with the images, as PNG files, as zip archives of them, or both; fetched where there is none.

    What somebody laid there is taken as it is, also a part of the corpus. A download is finished first.
    """
    found = local(RawFile(NAME, "images"))
    if found is not None and (data_folder() is not None or any(found.glob("*.png"))):
        return found
    folders = [fetch(archive).parent for archive in ARCHIVES]
    return folders[0]


def entries(path: Path) -> Entries:
    """Return the metadata of all images.

    Raises
    ------
    UserError
        If the table cannot be read as what it should be.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
        ages = table["Patient Age"].astype("float64")
        return Entries(
            names=table["Image Index"].to_numpy(object),
            findings=table["Finding Labels"].to_numpy(object),
            patients=table["Patient ID"].to_numpy("int64"),
            ages=ages.where(ages.between(0, 100)).to_numpy(),
            sexes=table["Patient Gender"].map(_SEX.get).to_numpy("float64"),
            views=table["View Position"].map(_VIEW.get).to_numpy("float64"),
        )
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is no metadata of {CARD.title} ({error}): reinstall torchxrayvision") from error


def targets_of(findings: np.ndarray) -> np.ndarray:
    """Return (n, 14) uint8 of findings joined by "|".

    Raises
    ------
    UserError
        If one of them is not among the labels.
    """
    import pandas as pd

    held = pd.Series(findings).str.get_dummies("|")
    if strange := sorted(set(held.columns) - {NO_FINDING, *CARD.labels}):
        raise UserError(f"{metadata()} names the finding {strange[0]!r}, which is none of the 14: other metadata")
    return held.reindex(columns=list(CARD.labels), fill_value=0).to_numpy("uint8")


def folds_of(protocol: str, known: Entries, targets: np.ndarray) -> np.ndarray:
    """Return the (n,) int64 fold of every row of the metadata, -1 for one that the protocol leaves out."""
    from ..folds import grouped_iterative_split

    if protocol == "official":
        return _official(known, targets)
    if protocol == "published":
        return _published(known, targets)
    return grouped_iterative_split(targets, known.patients)


def _official(known: Entries, targets: np.ndarray) -> np.ndarray:
    import numpy as np

    from ..folds import grouped_iterative_split

    training, test = (_among(known.names, _listed(file)) for file in LISTS)
    folds = np.full(len(known.names), -1, dtype=np.int64)
    folds[training] = grouped_iterative_split(targets[training], known.patients[training], shares=(7 / 8, 1 / 8))
    folds[test] = FOLDS.index("test")
    return folds


def _listed(file: RawFile) -> frozenset[str]:
    """Return the names of images in one of NIH's lists: one a line."""
    path = fetch(file)
    try:
        names = frozenset(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): put the file from {file.home} there") from error
    if not names or not all(name.endswith(".png") for name in names):
        raise UserError(f"{path} is no list of names of PNG files: put the file from {file.home} there")
    return names


def _among(names: np.ndarray, wanted: Collection[str]) -> np.ndarray:
    import numpy as np

    return np.fromiter((name in wanted for name in names), bool, len(names))


def _published(known: Entries, targets: np.ndarray) -> np.ndarray:
    import numpy as np

    from ..folds import grouped_iterative_split

    rng = np.random.default_rng(0)
    folds = np.zeros(len(targets), dtype=np.int64)
    for finding, share in KEPT_ALONE.items():
        rows = rng.permutation(np.flatnonzero(known.findings == finding))
        folds[rows[round(share * len(rows)) :]] = -1
    kept = np.flatnonzero(folds == 0)
    folds[kept] = grouped_iterative_split(targets[kept], kept, shares=(0.72, 0.08, 0.20))
    return folds


def _check_folds(protocol: str, known: Entries, folds: np.ndarray) -> None:
    """Refuse folds of the published metadata that are not those on the card.

    The card pins no fingerprint, since most people have a part of the images; the folds are those of all rows.
    """
    from ..folds import split_sha256

    pinned = CARD.protocols[protocol].split
    if pinned and sha256_file(metadata()) == _METADATA_SHA256 and split_sha256(known.names, folds) != pinned:
        name = f"{NAME}@{protocol}" if protocol else NAME
        raise UserError(
            f"task {name}: its folds came out otherwise than published: install the versions that made them"
        )


def files_in(folder: Path) -> dict[str, ImageFile]:
    """Return the images of a folder by name: PNG files, and those in the archives ``images_*.zip``.

    Raises
    ------
    UserError
        If an archive cannot be read, or a member's path leads out of it.
    """
    from ..pixels import ImageFile

    found = {path.name: ImageFile(path) for path in sorted(folder.glob("*.png"))}
    for path in sorted(folder.glob("images_*.zip")):
        for member in members(path, (".png",)):
            found.setdefault(PurePosixPath(member).name, ImageFile(path, member))
    return found


def _subsets(known: Entries) -> dict[str, np.ndarray]:
    return {
        "female": known.sexes == _SEX["F"],
        "male": known.sexes == _SEX["M"],
        "PA": known.views == _VIEW["PA"],
        "AP": known.views == _VIEW["AP"],
        **{name: (known.ages >= low) & (known.ages <= high) for name, (low, high) in _AGES.items()},
    }


def _sources() -> tuple[Path, ...]:
    return metadata(), images(), *filter(None, map(local, LISTS))


@task(CARD, sources=_sources)
def read(protocol: str) -> Examples:
    """Read the images that are present, in the order of the metadata."""
    from ..pixels import keep_images

    known, folder = entries(metadata()), images()
    files = files_in(folder)
    present = _among(known.names, files)
    if not present.any():
        raise UserError(f"{folder} holds no image of {CARD.title}: put its PNG files or images_*.zip there ({_HOME})")
    if strange := len(files) - int(present.sum()):
        _log.warning("%s: %d PNG files in %s are no images of this corpus: not read", NAME, strange, folder)
    targets = targets_of(known.findings)
    folds = folds_of(protocol, known, targets)
    _check_folds(protocol, known, folds)
    shown = known.rows(present)
    store, rows = keep_images([files[name] for name in shown.names], CARD.image_size)
    found = (len(rows), len(set(shown.patients)), int((shown.findings == NO_FINDING).sum()))
    compare_counts(CARD, dict(zip(CARD.counts, found, strict=True)))
    return Examples(
        ids=shown.names,
        inputs=rows,
        targets=targets[present],
        groups=shown.patients,
        columns={"age": shown.ages / 100, "view": shown.views, "sex": shown.sexes},
        folds=folds[present],
        subsets=_subsets(shown),
        pixels=store,
    )
