"""PadChest: Spanish chest X-ray reports of one hospital, with findings that physicians or a network gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..core import Examples, Protocol, TaskCard, task
from ..fetch import compare_counts, packaged
from ..published import Row, table
from ..support.progress import tracked

if TYPE_CHECKING:
    import numpy as np

# From the most to the least frequent over all examples, ties in alphabetical order.
_LABELS = """
normal; COPD signs; cardiomegaly; unchanged; aortic elongation; pleural effusion; scoliosis; interstitial
pattern; NSG tube; pneumonia; chronic changes; alveolar pattern; infiltrates; costophrenic angle blunting; air
trapping; laminar atelectasis; central venous catheter via jugular vein; vascular hilar enlargement; vertebral
degenerative changes; kyphosis; apical pleural thickening; fibrotic band; endotracheal tube; nodule; pacemaker;
atelectasis; calcified granuloma; callus rib fracture; sternotomy; heart insufficiency; aortic atheromatosis;
tracheostomy tube; increased density; consolidation; volume loss; hiatal hernia; hemidiaphragm elevation;
central venous catheter via subclavian vein; bronchiectasis; pseudonodule; suture material; suboptimal study;
pulmonary edema; supra aortic elongation; hilar enlargement; vertebral anterior compression; metal;
hypoexpansion; exclude; bronchovascular markings; emphysema; nipple shadow; dual chamber device; hilar
congestion; calcified densities; diaphragmatic eventration; descendent aortic elongation; pulmonary fibrosis;
goiter; pleural thickening; tuberculosis sequelae; pulmonary mass; tracheal shift; superior mediastinal
enlargement; lobar atelectasis; flattened diaphragm; osteosynthesis material; chest drain tube; granuloma;
single chamber device; rib fracture; artificial heart valve; mastectomy; gynecomastia; surgery neck; reticular
interstitial pattern; calcified adenopathy; calcified pleural thickening; central venous catheter; bullas;
hyperinflated lung; reservoir central venous catheter; sclerotic bone lesion; mammary prosthesis; osteopenia;
aortic button enlargement; cavitation; pneumothorax; adenopathy; azygos lobe; vascular redistribution; minor
fissure thickening; mediastinic lipomatosis; artificial mitral heart valve; surgery breast; mediastinal
enlargement; clavicle fracture; vertebral compression; humeral fracture; mediastinal mass; lung metastasis;
multiple nodules; surgery lung; ground glass pattern; artificial aortic heart valve; post radiotherapy changes;
non axial articular degenerative changes; vertebral fracture; pectum excavatum; axial hyperostosis;
tuberculosis; pulmonary artery enlargement; reticulonodular interstitial pattern; loculated pleural effusion;
subcutaneous emphysema; thoracic cage deformation; central venous catheter via umbilical vein; osteoporosis;
surgery; dai; calcified pleural plaques; fissure thickening; atypical pneumonia; end on vessel; ascendent aortic
elongation; air bronchogram; central vascular redistribution; miliary opacities; bone metastasis; air fluid
level; lung vascular paucity; heart valve calcified; humeral prosthesis; segmental atelectasis
"""
_REASON = (
    "radiologists report in stock phrases, so that different patients have the same report: folds by patient cannot "
    "keep equal texts together; the score on the test reports that are new to training stands beside the score on all"
)

CARD = TaskCard(
    name="padchest-reports",
    title="PadChest chest X-ray reports (Spanish)",
    description=(
        "Which findings does a Spanish chest X-ray report state? Text: the report of a study, its words stemmed as "
        "published, single spaces. Labels: the findings that at least 100 reports carry, remarks on the report "
        "itself ('normal', 'unchanged', 'exclude', 'suboptimal study') among them; a report whose findings are all "
        "rarer carries none. Physicians gave the labels of 26,400 reports. Those of the other 83,421 were predicted "
        "from the text by a recurrent network trained on the physicians' labels: on these a model is measured by "
        "how well it copies that network, mistakes included. The subset 'physician' of the test fold is scored "
        "apart. Left out: 107 studies without a report, 3 without labels. Patient numbers that share a report "
        "number (1,121 pairs, 1,103 of which agree in sex and birth year throughout) count as one patient."
    ),
    version=1,
    kind="multilabel",
    modality="text",
    labels=tuple(" ".join(_LABELS.split()).split("; ")),
    primary_metric="f1_macro",
    group="patient",
    licence="PadChest research use agreement: no sharing, no attempt to identify patients",
    source=(
        "PadChest, Medical Imaging Databank of the Valencia Region (bimcv.cipf.es/bimcv-projects/padchest), its "
        "table of images as shipped inside torchxrayvision"
    ),
    citation=(
        "Bustos A, Pertusa A, Salinas JM, de la Iglesia-Vayá M. PadChest: A large chest x-ray image dataset with "
        "multi-label annotated reports. Med Image Anal. 2020;66:101797. doi:10.1016/j.media.2020.101797"
    ),
    language="es",
    counts={
        "images": 160861,
        "studies": 109931,
        "studies without a report": 107,
        "reports without labels": 3,
        "examples": 109821,
        "distinct reports": 66160,
        "labelled by physicians": 26400,
        "groups": 66459,
    },
    requires=("torchxrayvision",),
    extra="vision",
    protocols={
        "": Protocol(
            description="70/10/20 by iterative stratification; no patient in two folds",
            split="50e21ccaa456b93c8d3e6d2c8303f6da65b761c02c7be4afd900d161e7ab0e01",
            fingerprint="d3b36ecf7fb82a778f995cabfd16425347d74e8d8d85757dfa7a88617ca1f53a",
            leaks={"exact": _REASON, "near": _REASON},
        )
    },
)
_FILE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
_OF_STUDY = ("Report", "Labels", "MethodLabel")
_COLUMNS = (
    *_OF_STUDY,
    "StudyID",
    "StudyDate_DICOM",
    "PatientID",
    "PatientBirth",
    "PatientSex_DICOM",
    "ReportID",
)
# The table was written by pandas, some cells of it after a missing value had become a word.
_MISSING = ("", "nan")


_Value = TypeVar("_Value", str, int)


class Tie(NamedTuple):
    """What an image ties together: its study, its patient, its report."""

    study: str
    patient: str
    report: str


def archive() -> Path:
    """Return the table inside torchxrayvision, without importing that package (and torch with it).

    Raises
    ------
    UnavailableError
        If the package is not installed.
    """
    return packaged(CARD, _FILE)


def studies(path: Path) -> tuple[list[Row], list[Tie]]:
    """Return the first row of each study of the table at `path`, in its order, and what each of its images ties.

    Raises
    ------
    UserError
        If the table is not what it should be, or the images of a study disagree on its report or labels.
    """
    first: dict[str, Row] = {}
    ties = []
    for row in tracked(table(path, _COLUMNS), CARD.counts["images"], f"reading {CARD.name}"):
        study = row.text("StudyID")
        known = first.setdefault(study, row)
        for column in _OF_STUDY:
            if row.cells[column] != known.cells[column]:
                raise row.fault(column, f"differs from line {known.line}, an image of the same study")
        ties.append(Tie(study, row.text("PatientID"), row.text("ReportID")))
    return list(first.values()), ties


@task(CARD, sources=lambda: (archive(),))
def read() -> Examples:
    """Read the studies with a report and labels, in the order of the table; their ids are PadChest's own."""
    import numpy as np

    found, ties = studies(archive())
    reported = [row for row in found if not _missing(row, "Report")]
    kept = [row for row in reported if not _missing(row, "Labels")]
    patients = _patients(ties)
    groups, _ = _numbered([patients[row.cells["StudyID"]] for row in kept])
    examples = Examples(
        ids=np.array([row.cells["StudyID"] for row in kept], dtype=object),
        inputs=np.array([" ".join(row.cells["Report"].split()) for row in kept], dtype=object),
        targets=_targets(kept),
        groups=groups,
        columns={
            "age": np.array([_age(row) for row in kept], dtype=float),
            "sex": np.array([_sex(row) for row in kept], dtype=object),
        },
        subsets={"physician": np.array([_by_physician(row) for row in kept], dtype=bool)},
    )
    counts = {
        "images": len(ties),
        "studies": len(found),
        "studies without a report": len(found) - len(reported),
        "reports without labels": len(reported) - len(kept),
    }
    compare_counts(CARD, counts | _sizes(examples))
    return examples


def _sizes(examples: Examples) -> dict[str, int]:
    return {
        "examples": len(examples),
        "distinct reports": len(set(examples.inputs)),
        "labelled by physicians": int(examples.subsets["physician"].sum()),
        "groups": int(examples.groups.max(initial=-1)) + 1,
    }


def _missing(row: Row, column: str) -> bool:
    return row.cells[column].strip() in _MISSING


def _targets(rows: Sequence[Row]) -> np.ndarray:
    import numpy as np

    place = {label: number for number, label in enumerate(CARD.labels)}
    targets = np.zeros((len(rows), len(place)), dtype=np.uint8)
    for number, row in enumerate(rows):
        held = (place.get(label.strip()) for label in row.strings("Labels"))
        targets[number, [column for column in held if column is not None]] = 1
    return targets


def _by_physician(row: Row) -> bool:
    return row.known("MethodLabel", [row.cells["MethodLabel"]], ("Physician", "RNN_model")) == ("Physician",)


def _age(row: Row) -> float:
    """Return the age in years, to a year, on the day of the study (written 20140915); NaN if unknown."""
    return row.number("StudyDate_DICOM") // 10_000 - row.number("PatientBirth")


def _sex(row: Row) -> str:
    """Return M, F, O (other, as DICOM has it), or nothing."""
    (sex,) = row.known("PatientSex_DICOM", [row.cells["PatientSex_DICOM"]], ("M", "F", "O", *_MISSING))
    return "" if sex in _MISSING else sex


def _patients(ties: Sequence[Tie]) -> Mapping[str, int]:
    """Return the patient of each study, as a number: studies that share a patient or a report number have one.

    One study lists two patient numbers, and 1,214 report numbers stand under two: one person, entered twice.
    """
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    study, studies = _numbered([tie.study for tie in ties])
    patient, patients = _numbered([tie.patient for tie in ties])
    report, reports = _numbered([tie.report for tie in ties])
    count = len(studies) + len(patients) + len(reports)
    ends = np.concatenate([patient + len(studies), report + len(studies) + len(patients)])
    edges = np.ones(len(ends), dtype=bool), (np.concatenate([study, study]), ends)
    joined = connected_components(coo_matrix(edges, shape=(count, count)), directed=False)[1]
    return dict(zip(studies, joined[: len(studies)].tolist(), strict=True))


def _numbered(values: Sequence[_Value]) -> tuple[np.ndarray, list[_Value]]:
    """Return the (n,) number of each value, 0, 1, … as they first appear, and the distinct values in that order."""
    import numpy as np

    number: dict[_Value, int] = {}
    numbers = np.array([number.setdefault(value, len(number)) for value in values], dtype=np.int64)
    return numbers, list(number)
