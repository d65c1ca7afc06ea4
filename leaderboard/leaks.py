"""What a board says of protocols that leak: a score on their folds is no score on new patients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from ..datasets.core import TASKS
from ..datasets.support.errors import UserError


def leak_notes(names: Iterable[str]) -> list[str]:
    """Return a line for each task, as ``name@protocol``, whose protocol declares a leak; none for an unknown task."""
    notes = []
    for name in sorted(set(names)):
        base, _, protocol = name.partition("@")
        if not protocol:
            continue
        with contextlib.suppress(UserError):  # its plug-in or file is not at hand
            found = TASKS.get(base).card.protocols.get(protocol)
            notes += [f"{name} leaks ({what}): {why}" for what, why in (found.leaks if found else {}).items()]
    return notes
