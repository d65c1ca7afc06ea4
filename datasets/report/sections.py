"""The sections of a report: tables and plots with their captions, made of `facts.facts` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core import FOLDS
from . import plots
from .blocks import PLOTTED, SEEN, Plot, Section, Share, Table, by_count, cut
from .corpus import corpus_section
from .describe import Values
from .facts import INPUT
from .texts import columns, lengths, words


def sections(facts: Values, pictures: Section) -> list[Section]:
    """Return the sections of a report in their order; those without a block are left out."""
    found = [
        _card(facts),
        _folds(facts),
        _labels(facts),
        _together(facts),
        pictures,
        lengths(facts),
        words(facts),
        columns(facts),
        corpus_section(facts),
        _repetition(facts),
        _audit(facts),
    ]
    return [section for section in found if section.blocks]


def figures_on_top(facts: Values) -> list[tuple[str, str, str]]:
    """Return the big figures of a page: number, what it counts, and a word more on it."""
    card, kept = facts["card"], sum(facts["folds"]["rows"][fold] for fold in FOLDS)
    more = f"{kept:,} in the folds" if kept != facts["rows"] else "all in the folds"
    cardinality = f"{facts['label_cardinality']:.2f} a row" if card["kind"] == "multilabel" else "one a row"
    told = [
        (f"{facts['rows']:,}", "rows", more),
        (f"{len(card['labels']):,}", "labels", cardinality),
    ]
    if INPUT in facts["fields"]:
        field = facts["fields"][INPUT]
        told.append((_short(field["total_words"]), "words", f"{field['words']['median']:,.0f} in the median text"))
    if "images" in facts:
        told.append((f"{facts['images']['side']}²", "pixels", "an image, in grey"))
    sizes = facts["groups"]["summary"]
    told.append((f"{facts['groups']['groups']:,}", "groups", f"largest: {sizes['max'] or 0:,.0f} rows"))
    return told


def _short(number: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:,}"


def _card(facts: Values) -> Section:
    card = facts["card"]
    protocol = card["protocols"][facts["protocol"]]
    told = [
        ("Kind", "several labels a row (multi-label)" if card["kind"] == "multilabel" else "one class a row"),
        ("Input", card["modality"] + (f", with {', '.join(card['tabular'])}" if card["tabular"] else "")),
        ("Language", card["language"]),
        ("Ranked by", card["primary_metric"]),
        ("Never parted by a fold", card["group"]),
        ("Protocol", facts["protocol"] or "the honest default"),
        ("How its folds are made", protocol["description"]),
        *((f"Leaks by design ({kind})", why) for kind, why in protocol["leaks"].items()),
        ("Licence", card["licence"]),
        ("Source", card["source"]),
        ("Citation", card["citation"]),
        ("Data fingerprint", _identity(facts["fingerprint"], "published data", "other data than the published")),
        ("Fold hash", _identity(facts["split"], "published folds", "other folds than the published")),
        ("Version", f"task {card['version']}, zoobench {facts['zoobench']}"),
    ]
    published = [
        Table("Published counts", ("What", "Count"), list(card["counts"].items()), "As the task's card has them.")
    ]
    blocks = [Table("", ("", ""), told), *(published if card["counts"] else [])]
    return Section("card", "Card", "", blocks)


def _identity(found: Mapping[str, Any], same: str, other: str) -> str:
    words = {True: f" ({same})", False: f" ({other})", None: ""}
    return found["found"] + words[found["same"]]


def _folds(facts: Values) -> Section:
    folds, total = facts["folds"], facts["rows"]
    rows = [(fold, count, Share(count / max(total, 1)), folds["groups"][fold]) for fold, count in folds["rows"].items()]
    order, labels = by_count(facts), facts["card"]["labels"]
    kept = max(sum(folds["rows"][fold] for fold in FOLDS), 1)
    held = [sum(folds["labels"][fold][at] for fold in FOLDS) / kept for at in range(len(labels))]
    shares = {fold: [count / max(folds["rows"][fold], 1) for count in folds["labels"][fold]] for fold in FOLDS}
    drawn = order[:PLOTTED]
    blocks = [
        Table("Rows in each fold", ("Fold", "Rows", "Share", "Groups"), rows),
        Plot(
            "fold-shares",
            "Label shares by fold",
            "Each line is a label; a mark right of zero means that this fold holds more of it than all folds together. "
            "The further a mark stands out, the more a score on that fold is over another mix." + cut(facts),
            plots.fold_shares(
                [labels[at] for at in drawn],
                {fold: [values[at] for at in drawn] for fold, values in shares.items()},
                [held[at] for at in drawn],
            ),
        ),
        Table(
            "Label shares by fold",
            ("Label", *FOLDS, "all folds"),
            [(labels[at], *(Share(shares[fold][at]) for fold in FOLDS), Share(held[at])) for at in order],
            folded=True,
        ),
    ]
    if facts["subsets"]:
        told = "Rows that are scored apart as well, over all folds; only those of the test fold are scored."
        blocks.append(Table("Subsets", ("Subset", "Rows"), list(facts["subsets"].items()), told))
    return Section("folds", "Folds", "", blocks)


def _labels(facts: Values) -> Section:
    labels, folds, total = facts["card"]["labels"], facts["folds"], facts["rows"]
    order = by_count(facts)
    shown = order[:PLOTTED]
    counts = {fold: [values[at] for at in shown] for fold, values in folds["labels"].items()}
    rows = [
        (
            labels[at],
            *(values[at] for values in folds["labels"].values()),
            folds["all"][at],
            Share(folds["all"][at] / max(total, 1)),
        )
        for at in order
    ]
    blocks: list[Table | Plot] = [
        Plot(
            "labels",
            "Rows with each label",
            "From the most to the least frequent label, by fold. The shorter the last bars, the more a macro "
            "average hangs on a few rows." + cut(facts),
            plots.fold_bars([labels[at] for at in shown], counts),
        ),
        Table("Label frequencies", ("Label", *folds["labels"], "all", "Share of rows"), rows, folded=True),
    ]
    if facts["card"]["kind"] == "multilabel":
        held = facts["labels_per_row"]
        blocks += [
            Plot(
                "labels-per-row",
                "Labels per row",
                f"How many labels one row carries: {facts['label_cardinality']:.2f} on average over all rows.",
                plots.columns(list(held), list(held.values()), "labels of a row"),
            ),
            Table(
                "Labels per row",
                ("Labels", "Rows", "Share"),
                [(count, rows, Share(rows / max(total, 1))) for count, rows in held.items()],
                folded=True,
            ),
        ]
    return Section("labels", "Labels", "Counts over all folds; no row's target is shown.", blocks)


def _together(facts: Values) -> Section:
    seen = facts["seen"]
    if "combinations" not in seen:
        return Section("together", "Labels together", "", [])
    found, both = seen["combinations"], seen["co_occurrence"]
    names = [" + ".join(each["labels"]) or "no label" for each in found["top"]]
    counts = [each["rows"] for each in found["top"]]
    if found["rest"]["combinations"]:
        names.append(f"{found['rest']['combinations']:,} other combinations")
        counts.append(found["rest"]["rows"])
    rest = names[-1] if found["rest"]["combinations"] else ""
    blanked = [
        [None if at == other else share for other, share in enumerate(line)] for at, line in enumerate(both["share"])
    ]
    blocks = [
        Plot(
            "combinations",
            "Label combinations",
            f"The {len(found['top'])} most frequent of {found['distinct']:,} combinations; grey is what they leave."
            if rest
            else f"All {found['distinct']:,} combinations that occur.",
            plots.bars(names, counts, seen["rows"], rest),
        ),
        Table(
            "Label combinations",
            ("Combination", "Rows", "Share"),
            [(name, count, Share(count / max(seen["rows"], 1))) for name, count in zip(names, counts, strict=True)],
            folded=True,
        ),
        Plot(
            "co-occurrence",
            "Which labels come together",
            "Read along a line: of the rows with this label, the share that also carry the label of the column. A "
            f"dark cell is a label that nearly implies another. {_top(both['labels'], facts)}",
            plots.heat_map(both["labels"], both["labels"], blanked, both["rows"]),
        ),
    ]
    lead = f"Computed on the {SEEN} ({seen['rows']:,} rows): how labels hang together in the test fold is not shown."
    return Section("together", "Labels together", lead, blocks)


def _top(shown: Sequence[str], facts: Values) -> str:
    total = len(facts["card"]["labels"])
    return f"The {len(shown)} most frequent of {total} labels." if len(shown) < total else ""


def _repetition(facts: Values) -> Section:
    exact, near = facts["duplicates"]["exact"], facts["duplicates"].get("near")
    rows = [("equal to the letter" if near else "equal in every pixel", *exact.values())]
    if near:
        rows.append((f"near-identical (TF-IDF cosine of {near['threshold']} or more)", *list(near.values())[:3]))
    kinds = ("Inputs that are", "Distinct", "Rows that have such a twin", "Most in one set")
    nulls = [
        (name, found["missing"], found["distinct"])
        for part in ("fields", "columns")
        for name, found in facts[part].items()
    ]
    sizes = facts["groups"]["sizes"]
    blocks = [
        Table("Repeated inputs", kinds, rows, "Over all rows, left out or not."),
        *([Table("Missing values", ("Field", "Missing or empty", "Distinct"), nulls)] if nulls else []),
        Plot(
            "groups",
            f"Size of groups: {facts['card']['group'].partition('(')[0].strip()}",
            "How many groups hold one row, two rows, and so on, on a logarithmic axis. A group is never parted by an "
            f"honest fold. A group is: {facts['card']['group']}.",
            plots.columns(list(sizes), list(sizes.values()), "rows of the group", "groups", log=True),
        ),
    ]
    return Section("repetition", "Repetition and gaps", "", blocks)


def _audit(facts: Values) -> Section:
    found = facts["audit"]
    told = [
        (
            each["kind"],
            f"{each['earlier']} → {each['later']}",
            each["count"],
            "none" if not each["count"] else "declared on the card" if each["reason"] else "LEAK",
        )
        for each in found["overlaps"]
    ]
    off = found["deviation"]
    noise = [
        ("Rows whose input stands in the folds already", found["duplicates"]),
        ("Rows of train and validation whose input has other labels there too", found["conflicts"]),
        (" ".join(["Declared leaks that no pair of folds has", *found["stale"]]), len(found["stale"])),
        (f"Largest label deviation ({off['label']}, {off['fold']}), percentage points", float(off["points"])),
        ("Labels absent from a fold", sum(len(labels) for labels in found["absent"].values())),
    ]
    shared = any(each["count"] for each in found["overlaps"])
    honest = "The folds share what the protocol declares, and nothing else." if shared else "The folds share nothing."
    verdict = honest if found["ok"] else "The folds LEAK: do not use them."
    blocks = [
        Table(
            "What two folds share",
            ("Kind", "Folds", "Count", "Verdict"),
            told,
            "Groups count once; exact and near count rows of the later fold with a twin in the earlier one.",
        ),
        Table("Further findings", ("Finding", "Value"), noise),
    ]
    return Section("audit", "Leakage audit", verdict, blocks)
