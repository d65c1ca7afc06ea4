"""The sections of a report on what is in the rows: lengths, words, and further columns."""

from __future__ import annotations

from . import plots
from .blocks import HEAD, PLOTTED, SEEN, Plot, Section, Table, by_count, cut, slug
from .describe import Values
from .facts import INPUT


def lengths(facts: Values) -> Section:
    """Return the section on text lengths."""
    fields = facts["fields"]
    rows = [
        (name, unit, *(field[unit][key] for key in HEAD))
        for name, field in fields.items()
        for unit in ("words", "characters")
    ]
    if not rows:
        return Section("lengths", "Text lengths", "", [])
    blocks: list[Table | Plot] = [Table("Length of each field", ("Field", "In", *HEAD), rows)]
    if len(fields) > 1:
        drawn = plots.boxes(list(fields), [field["box"] for field in fields.values()], "words")
        blocks.append(Plot("length-boxes", "Length of each field", _BOX, drawn))
    for name, field in fields.items():
        blocks.append(_histogram(facts, name, field))
    if INPUT in fields:
        order = by_count(facts)[:PLOTTED]
        names = [facts["card"]["labels"][at] for at in order]
        drawn = plots.boxes(names, [facts["seen"]["lengths"][at] for at in order], "words")
        told = f"Whether a label goes with long or short texts. {_BOX} Computed on the {SEEN}.{cut(facts)}"
        blocks.append(Plot("label-lengths", "Length of texts with each label", told, drawn))
    return Section("lengths", "Text lengths", "Words are what white space parts. All rows count.", blocks)


_BOX = (
    "The box holds the middle half, the line is the median, the dashes the mean; whiskers end at the last value "
    "within 1.5 box lengths, and what lies beyond is not drawn."
)


def _histogram(facts: Values, name: str, field: Values) -> Plot:
    found = field["histogram"]
    clipped = f" The last bar holds the {found['clipped']:,} longest, up to {field['words']['max']:,.0f} words."
    told = f"Words in {'a text' if name == INPUT else name}." + (clipped if found["clipped"] else "")
    drawn = plots.histogram(found, "words")
    title = f"Length of {'texts' if name == INPUT else name}"
    if name != INPUT:
        return Plot(f"length-{slug(name)}", title, told, drawn)
    order = by_count(facts)
    choices = ["all rows", *(facts["card"]["labels"][at] for at in order)]
    variants = plots.histogram_choices([found, *(facts["seen"]["histograms"][at] for at in order)])
    told += f" Choose a label to see its texts ({SEEN})."
    return Plot(f"length-{slug(name)}", title, told, drawn, choices, variants)


def words(facts: Values) -> Section:
    """Return the section on the words of each label."""
    if "words" not in facts["seen"]:
        return Section("words", "Words", "", [])
    found, order = facts["seen"]["words"], by_count(facts)
    labels = [facts["card"]["labels"][at] for at in order]
    per = [found["labels"][at] for at in order]
    rows = [
        (
            label,
            ", ".join(word for word, _, _ in each["frequent"][:10]),
            ", ".join(word for word, _, _ in each["distinctive"][:10]),
        )
        for label, each in zip(labels, per, strict=True)
    ]
    part = "" if found["rows"] == facts["seen"]["rows"] else f" A random {found['rows']:,} of these rows were counted."
    lead = f"Computed on the {SEEN} ({facts['seen']['rows']:,} rows), without stop words.{part}"
    blocks = [
        Plot(
            "words",
            "Words of a label",
            "Left, the words that stand most often in texts with the label. Right, those that tell it from the other "
            "texts: z-score of the log-odds with the corpus as prior (Monroe et al. 2008). A word that leads on both "
            "sides carries the label alone; a list of names or headings hints at a shortcut.",
            plots.word_bars(per[0]),
            labels,
            [plots.word_traces(each) for each in per],
        ),
        Table("Words of each label", ("Label", "Most frequent", "Most distinctive"), rows, folded=True),
    ]
    return Section("words", "Words", lead, blocks)


def columns(facts: Values) -> Section:
    """Return the section on columns that are neither input nor target, and how they go with the labels."""
    blocks: list[Table | Plot] = []
    numbers = {name: found for name, found in facts["columns"].items() if found["kind"] == "number"}
    if numbers:
        rows = [(name, *(found["summary"][key] for key in HEAD), found["missing"]) for name, found in numbers.items()]
        blocks.append(Table("Numbers", ("Column", *HEAD, "missing"), rows))
    for name, found in facts["columns"].items():
        blocks.append(_column(facts, name, found))
        if name in facts["seen"]["columns"]:
            blocks.append(_against_labels(facts, name, found))
    lead = "What else is known of each row and is no target. All rows count, but where a label comes in."
    return Section("columns", "Columns", lead, blocks)


def _column(facts: Values, name: str, found: Values) -> Plot:
    missing = f" {found['missing']:,} rows have none." if found["missing"] else ""
    title, anchor = _titled(name), f"column-{slug(name)}"
    if found["kind"] == "number":
        clipped = found["histogram"]["clipped"]
        more = f" The last bar holds the {clipped:,} largest." if clipped else ""
        return Plot(anchor, title, f"How {name} spreads.{more}{missing}", plots.histogram(found["histogram"], name))
    told = found["tally"]
    others = f" The {len(told['rows'])} most frequent are drawn; {told['rest']['rows']:,} rows have another."
    what = f"{found['distinct']:,} distinct values." + (others if told["rest"]["values"] else "")
    return Plot(anchor, title, what + missing, plots.bars(found["names"], told["rows"], facts["rows"]))


def _against_labels(facts: Values, name: str, found: Values) -> Plot:
    order = by_count(facts)[:PLOTTED]
    labels = [facts["card"]["labels"][at] for at in order]
    told, title, anchor = facts["seen"]["columns"][name], f"{_titled(name)} of each label", f"labels-{slug(name)}"
    if "boxes" in told:
        drawn = plots.boxes(labels, [told["boxes"][at] for at in order], name)
        return Plot(
            anchor, title, f"Whether {name} gives a label away. {_BOX} Computed on the {SEEN}.{cut(facts)}", drawn
        )
    counts = [told["rows"][at] for at in order]
    share = [[count / sum(line) if sum(line) else None for count in line] for line in counts]
    caption = (
        f"Read along a line: of the rows with this label, the share that has each value of {name}. Lines that differ "
        f"mean that {name} alone tells labels apart. Computed on the {SEEN}.{cut(facts)}"
    )
    return Plot(anchor, title, caption, plots.heat_map(labels, found["names"], share, counts))


def _titled(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")
