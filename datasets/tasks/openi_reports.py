"""Open-i: chest X-ray reports of Indiana University, with the findings that indexers assigned to them."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ..core import Examples, Protocol, TaskCard, task
from ..fetch import compare_counts, packaged
from ..support.errors import UserError

CARD = TaskCard(
    name="openi-reports",
    title="Open-i chest X-ray reports",
    description=(
        "Which findings does a chest X-ray report state? Text: findings and impression. Labels: the main "
        "headings (MeSH 'major', the part before '/') that at least 100 of the 3,955 reports carry; 'normal' "
        "is one. A report whose headings are all rarer carries no label."
    ),
    version=1,
    kind="multilabel",
    modality="text",
    # From the most to the least frequent heading over all reports, ties in alphabetical order.
    labels=(
        "normal",
        "Lung",
        "Opacity",
        "Cardiomegaly",
        "Pulmonary Atelectasis",
        "Calcinosis",
        "Calcified Granuloma",
        "Thoracic Vertebrae",
        "Cicatrix",
        "Spine",
        "Aorta",
        "Markings",
        "Pleural Effusion",
        "Diaphragm",
        "Atherosclerosis",
        "Airspace Disease",
        "Catheters, Indwelling",
        "Density",
        "Deformity",
        "Granulomatous Disease",
        "Nodule",
        "Implanted Medical Device",
        "Surgical Instruments",
    ),
    primary_metric="f1_macro",
    group="near-identical text (TF-IDF cosine of 0.9 or more)",
    licence="CC BY-NC-ND 4.0",
    source="Open-i, U.S. National Library of Medicine (openi.nlm.nih.gov), as shipped inside torchxrayvision",
    citation=(
        "Demner-Fushman D, Kohli MD, Rosenman MB, Shooshan SE, Rodriguez L, Antani S, Thoma GR, McDonald CJ. "
        "Preparing a collection of radiology examinations for distribution and retrieval. "
        "J Am Med Inform Assoc. 2016;23(2):304-310. doi:10.1093/jamia/ocv080"
    ),
    counts={"reports": 3955, "examples": 3832, "groups": 2822, "largest group": 58},
    requires=("torchxrayvision",),
    extra="vision",
    protocols={
        "": Protocol(
            description="70/10/20 by iterative stratification; near-identical reports stay together",
            split="439d8d3bcf67beb17d68cac587ac795b89ad19fd4eb9561b80c44ae4bc771e6e",
            fingerprint="bfeb78928dfcc4a395c76084d6eb2e6419009a75d818739d61a2322dc60dd41a",
        )
    },
)
_NOT_INDEXED = "No Indexing"


class Report(NamedTuple):
    """One report: its id (uId), its text with single spaces, and its distinct main headings."""

    id: str
    text: str
    headings: frozenset[str]


def archive() -> Path:
    """Return the archive inside torchxrayvision, without importing that package (and torch with it)."""
    return packaged(CARD, "NLMCXR_reports.tgz")


def reports(path: Path) -> Iterator[Report]:
    """Yield the reports of the archive at `path` in its own order; nothing is unpacked to disk.

    Raises
    ------
    UserError
        If the archive or one of its members cannot be read as what it should be.
    """
    member = ""
    try:
        with tarfile.open(path, "r|gz") as tar:
            for entry in tar:
                member = entry.name
                content = tar.extractfile(entry) if entry.isreg() else None
                if content is not None:
                    yield _report(content.read().decode("utf-8"))
    except (tarfile.TarError, ElementTree.ParseError, zlib.error, EOFError, OSError, ValueError) as error:
        where = f" (at {member})" if member else ""
        raise UserError(f"{path}{where} is no archive of Open-i reports: {error}; reinstall torchxrayvision") from error


def _report(document: str) -> Report:
    # Only a document type can declare entities, so a document without one has nothing to expand or to fetch.
    # It is looked for in the decoded text, which is also what is parsed: no encoding hides it.
    if "<!DOCTYPE" in document:
        raise ValueError("a report declares a document type")
    root = ElementTree.fromstring(document)  # noqa: S314
    name = root.find("uId")
    if name is None or not name.get("id"):
        raise ValueError("a report has no uId")
    sections = {part.get("Label"): part.text or "" for part in root.iter("AbstractText")}
    text = f"{sections.get('FINDINGS', '')} {sections.get('IMPRESSION', '')}"
    headings = {(major.text or "").partition("/")[0].strip() for major in root.iterfind("MeSH/major")}
    return Report(name.get("id", ""), " ".join(text.split()), frozenset(headings - {""}))


@task(CARD, sources=lambda: (archive(),))
def read() -> Examples:
    """Read the reports that hold a text and an indexed heading, in the archive's order."""
    import numpy as np

    from ..near import near_identical_groups

    found = list(reports(archive()))
    kept = [report for report in found if report.text and report.headings - {_NOT_INDEXED}]
    texts = [report.text for report in kept]
    targets = [[label in report.headings for label in CARD.labels] for report in kept]
    examples = Examples(
        ids=np.array([report.id for report in kept], dtype=object),
        inputs=np.array(texts, dtype=object),
        targets=np.array(targets, dtype=np.uint8).reshape(-1, len(CARD.labels)),
        groups=near_identical_groups(texts),
    )
    sizes = np.bincount(examples.groups)
    compare_counts(
        CARD,
        {
            "reports": len(found),
            "examples": len(examples),
            "groups": len(sizes),
            "largest group": int(sizes.max(initial=0)),
        },
    )
    return examples
