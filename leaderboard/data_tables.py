"""What `zoobench data` shows: where data are, what was prepared, and what an audit found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from ..datasets.core import FOLDS, Task, TaskCard
from ..datasets.fetch import DATA, NotHereError, data_folder, only_looking
from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.support.folders import cache_root
from ..zoo.core import missing_modules

if TYPE_CHECKING:
    from ..datasets.audit import Audit, Overlap
    from ..datasets.prepare import Prepared

Where = Literal["here", "to download", "missing"]
ROWS = "examples"
"""The name under which a card counts its rows."""
SHOWN_LABELS = 10

_KINDS: dict[str, str] = {"group": "groups", "exact": "equal inputs", "near": "near-identical texts"}


@dataclass(frozen=True)
class Listing:
    """A task and what this machine has of it.

    Attributes
    ----------
    where
        Whether the raw files are here, would be downloaded, or have to be had otherwise.
    remedy
        What to do where they are missing; empty elsewhere.
    cached
        The protocols of which the cache holds a preparation, be it of an older version; "" is the default one.
    """

    card: TaskCard
    where: Where
    remedy: str
    cached: tuple[str, ...]

    @property
    def rows(self) -> int | None:
        """Return how many rows the published data have; None where the card does not count them."""
        return self.card.counts.get(ROWS)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        names = ("name", "title", "kind", "modality")
        return {
            **{name: getattr(self.card, name) for name in names},
            "rows": self.rows,
            "labels": len(self.card.labels),
            "protocols": list(self.card.protocols),
            "where": self.where,
            "remedy": self.remedy,
            "cached": list(self.cached),
        }


def listing(task: Task) -> Listing:
    """Look where the data of `task` are; nothing is read or downloaded."""
    folder = cache_root() / "tasks"
    names = {
        protocol: f"{task.card.name}@{protocol}" if protocol else task.card.name for protocol in task.card.protocols
    }
    cached = tuple(each for each, name in names.items() if any((folder / name).glob("*/prepared.json")))
    return Listing(task.card, *_where(task), cached)


def _where(task: Task) -> tuple[Where, str]:
    if missing := missing_modules(task.card.requires):
        what = f"zoobench[{task.card.extra}]" if task.card.extra else " ".join(missing)
        return "missing", f"pip install '{what}'"
    try:
        with only_looking():
            task.sources()
    except NotHereError as absent:
        if absent.file.url and data_folder() is None:
            return "to download", ""
        origin = absent.file.url or absent.file.home
        return "missing", f"put {absent.path.name} into {absent.path.parent}" + (f" (from {origin})" if origin else "")
    except (UserError, UnavailableError) as error:
        return "missing", " ".join(str(error).split())
    return "here", ""


def listing_view(found: Sequence[Listing]) -> Iterator[RenderableType]:
    """Yield the tasks as a table, and below it what to do for those whose data are missing."""
    table = _table("task", "kind", "rows", "labels", "data", "cached", right=("rows", "labels"))
    for each in found:
        card = each.card
        rows = "?" if each.rows is None else f"{each.rows:,}"
        state = _ready("" in each.cached)
        table.add_row(card.name, f"{card.kind} {card.modality}", rows, str(len(card.labels)), each.where, state)
        for protocol in filter(None, card.protocols):
            labels = str(len(card.under(protocol).labels))
            table.add_row(f" @{protocol}", "", "", labels, "", _ready(protocol in each.cached))
    yield table
    yield ""
    yield f"cached: prepared once, in {cache_root() / 'tasks'}"
    if any(each.where == "to download" for each in found):
        yield f"to download: with the first use, into {cache_root() / 'downloads'}"
    for each in found:
        if each.remedy:
            yield f"{each.card.name} is missing: {escape(each.remedy)}"
    if data_folder() is not None and any(each.where == "missing" for each in found):
        yield f"with {DATA} set nothing is downloaded: unset it to have what can be had by address"


def _ready(cached: bool) -> str:
    return "yes" if cached else "-"


def prepared_mapping(prepared: Prepared) -> dict[str, Any]:
    """Return what was prepared as plain JSON values."""
    return {**vars(prepared), "folder": str(prepared.folder), "rows": dict(prepared.rows)}


def prepared_view(prepared: Prepared) -> Iterator[RenderableType]:
    """Yield what was prepared, a line for each fact."""
    told = ", ".join(f"{prepared.rows[fold]:,} {fold}" for fold in FOLDS)
    yield f"rows         {sum(prepared.rows.values()):,}: {told}"
    yield f"fingerprint  {prepared.fingerprint}"
    yield f"split        {prepared.split_sha256}"
    yield f"folder       {escape(str(prepared.folder))}"


def audit_view(found: Audit) -> Iterator[RenderableType]:
    """Yield what an audit found: overlaps by pair of folds, shares of the labels, and the verdict in one line."""
    name = f"{found.task}@{found.protocol}" if found.protocol else found.task
    rows = ", ".join(f"{count:,} {fold}" for fold, count in found.rows.items())
    left = f"; {found.left_out:,} left out" if found.left_out else ""
    yield f"[bold]{escape(name)}[/]"
    yield f"{sum(found.rows.values()):,} rows: {rows}{left}"
    yield ""
    yield _overlaps(found)
    if found.near_threshold is None:
        yield "[dim]rows of the later fold; near-identical images are not looked for[/]"
    else:
        yield f"[dim]rows of the later fold; near-identical: TF-IDF cosine ≥ {found.near_threshold:g}, and not equal[/]"
    yield ""
    yield _shares(found)
    hidden = len(found.overall) - SHOWN_LABELS
    if hidden > 0:
        yield f"[dim]… {hidden} more labels differ less (--json has them all)[/]"
    yield ""
    if remarks := list(_remarks(found)):
        yield _facts(remarks)
        yield ""
    yield verdict(found)


def verdict(found: Audit) -> str:
    """Return in one line whether the folds are fit for use."""
    if not found.ok:
        told = [
            f"{finding.count:,} {_KINDS[finding.kind]} in {finding.earlier} and {finding.later}"
            for finding in found.findings
            if not finding.declared
        ]
        return f"[bold red]leaks[/]: {'; '.join(told)}"
    if found.findings:
        kinds = dict.fromkeys(_KINDS[finding.kind] for finding in found.findings)
        return f"[bold yellow]leaks by design[/], as the protocol declares: {', '.join(kinds)}"
    return "[bold green]no leak[/]: no two folds share anything that was looked for"


def _overlaps(found: Audit) -> Table:
    heads = [f"{earlier}-{later}" for earlier, later in combinations(FOLDS, 2)]
    table = _table("in both folds", *heads, right=heads)
    for kind in dict.fromkeys(overlap.kind for overlap in found.overlaps):
        what = f"{_KINDS[kind]}, rows" if kind != "group" else _KINDS[kind]
        table.add_row(what, *(_count(overlap) for overlap in found.overlaps if overlap.kind == kind))
    return table


def _count(overlap: Overlap) -> str:
    style = "" if not overlap.count else "yellow" if overlap.declared else "bold red"
    return f"[{style}]{overlap.count:,}[/]" if style else "0"


def _shares(found: Audit) -> Table:
    """Return the labels whose shares differ most between the folds, the worst first."""
    table = _table("label, % of rows", "all", *FOLDS, "off by", right=("all", *FOLDS, "off by"))
    off = {
        label: max(abs(found.shares[fold][label] - share) for fold in FOLDS) for label, share in found.overall.items()
    }
    for label in sorted(off, key=lambda label: -off[label])[:SHOWN_LABELS]:
        shares = [found.overall[label], *(found.shares[fold][label] for fold in FOLDS), off[label]]
        table.add_row(escape(label), *(f"{100 * share:.2f}" for share in shares))
    return table


def _remarks(found: Audit) -> Iterator[tuple[str, str]]:
    designed: dict[str, list[str]] = {}
    for kind in dict.fromkeys(finding.kind for finding in found.findings):
        first = next(finding for finding in found.findings if finding.kind == kind)
        one, other = first.examples[0]
        yield _KINDS[kind], f"such as {one} ({first.earlier}) and {other} ({first.later})"
        if first.reason is not None:
            designed.setdefault(first.reason, []).append(_KINDS[kind])
    for reason, kinds in designed.items():
        yield "by design", f"{', '.join(kinds)}: {reason}"
    for kind in found.stale:
        yield _KINDS[kind], "declared by the protocol, but these data have none"
    if found.duplicates:
        yield "duplicates", f"rows that repeat the input of another, in whichever fold: {found.duplicates:,}"
    if found.conflicts:
        one, other = found.conflicting[0]
        told = "rows of train and validation whose input stands there with other labels too"
        yield "label noise", f"{told}: {found.conflicts:,}, such as {one} and {other}"
    for fold, labels in found.absent.items():
        if labels:
            yield f"not in {fold}", ", ".join(labels)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0, overflow="fold", justify="right" if column in right else "left")
    return table


def _facts(facts: Any) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, escape(value))
    return table
