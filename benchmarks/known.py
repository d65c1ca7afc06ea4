"""What is known here of a task whose records are verified: by its data, and by the files that zoobench ships."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..datasets import own
from ..datasets.core import TaskCard
from ..datasets.prepare import prepare
from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.truth import Truth, data_here, shipped
from ..zoo.core import split_name
from .findings import Finding
from .record import Record

SHIPPED = "held against the ids and targets that zoobench ships"
"""How a remark ends on a record whose data are not here."""


@dataclass(frozen=True)
class Known:
    """A task as it is known here.

    Attributes
    ----------
    card
        Under its protocol.
    here
        By its data; None where they are not here, or cannot be prepared, and `absent` says which.
    shipped
        By the files that zoobench ships: of the published data, of a sample, or of both.
    wrong
        Where such a file is of the data here, and says otherwise than they do.
    """

    card: TaskCard
    here: Truth | None
    shipped: tuple[Truth, ...]
    absent: str = ""
    wrong: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if self.here is None and not (self.shipped and self.absent):
            raise ValueError("a task is known by its data, or by a file and why not by its data")

    @classmethod
    def of(cls, name: str) -> Known:
        """Look at the task `name@protocol`; it is prepared where its data are here, or nothing is shipped of it.

        Raises
        ------
        UserError, UnavailableError
            If there is no such task, a file of it is damaged, or nothing is known of it here.
        """
        base, protocol = split_name(name)
        task = own.task_of(base)
        card = task.card.under(protocol)
        files = tuple(each for each in shipped(name) if each.fits(card))
        if files and not data_here(task):
            return cls(card, None, files, "the data are not here")
        try:
            here = Truth.of(prepare(task, protocol))
        except (UserError, UnavailableError) as error:
            if not files:
                raise
            return cls(card, None, files, f"the data here cannot be prepared ({error})")
        return cls(card, here, files, wrong=tuple(_disagreements(here, files)))

    def of_record(self, record: Record) -> Truth | str:
        """Return what is true of the data that a record is of, or else of the data here; without any, why."""
        known = (*([self.here] if self.here else []), *self.shipped)
        same = [each for each in known if each.fingerprint == record.data_fingerprint]
        if same or self.here:
            return same[0] if same else known[0]
        others = ", ".join(f"{each.fingerprint[:8]}…" for each in known)
        return (
            f"{self.absent}, and zoobench ships the targets of {others}, not those of {record.data_fingerprint[:8]}…: "
            f"set ZOOBENCH_DATA to the data, or `zoobench data truth {record.task_name}` where they are"
        )


def _disagreements(here: Truth, files: Iterable[Truth]) -> Iterator[Finding]:
    for file in files:
        if file.fingerprint == here.fingerprint:
            ours, theirs = here.parts(), file.parts()
            for what in [each for each in {**ours, **theirs} if ours.get(each) != theirs.get(each)]:
                yield Finding(f"{what} in the file that zoobench ships", "those of the data here", "others")
