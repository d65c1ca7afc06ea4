"""How long cells are tuned, refused before anything is written if it cannot be done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..datasets.support.errors import UserError, unknown_name
from ..zoo.core import ModelCard, missing_modules

PRUNERS = ("median", "hyperband", "none")


@dataclass(frozen=True)
class Budget:
    """How long each cell is tuned: trials, and seconds where those are limited; where its study is kept."""

    trials: int
    seconds: float | None = None
    storage: str | None = None
    pruner: str = "median"

    def as_json(self) -> dict[str, int | float | str | None]:
        """Return what can change which configuration is found; where that is kept cannot."""
        return {"trials": self.trials, "seconds": self.seconds, "pruner": self.pruner}


def asked_budget(options: Mapping[str, Any], cards: Mapping[str, ModelCard]) -> Budget | None:
    """Return the budget that the options of a run ask for, None where they ask for no tuning.

    Parameters
    ----------
    cards
        The chosen models' by name.

    Raises
    ------
    UserError
        For numbers that make no sense, models without a space, or a storage that cannot be written.
    """
    trials, seconds, storage = options.get("trials"), options.get("tune_time"), options.get("storage")
    if trials is None:
        for name, value in (("tune-time", seconds), ("storage", storage)):
            if value is not None:
                raise UserError(f"--{name} is of tuning: give --trials N too")
        return None
    budget = Budget(trials, seconds, storage, options.get("pruner", PRUNERS[0]))
    _check_numbers(budget)
    if options.get("fractions") is not None:
        raise UserError("--trials and --fractions do not go together: take one, and the other in a run of its own")
    if missing_modules(("optuna",)):
        raise UserError("--trials needs optuna, which is not installed: pip install 'zoobench[tune]'")
    if not any(card.space for card in cards.values()):
        raise UserError(f"--trials: {', '.join(cards)} has no setting to search: leave it out, or name another --model")
    if storage is not None:
        from .studies import check_storage

        check_storage(storage)
    return budget


def _check_numbers(budget: Budget) -> None:
    if budget.trials < 1:
        raise UserError(f"--trials {budget.trials} must be 1 or more")
    if budget.seconds is not None and not 0 < budget.seconds < math.inf:
        raise UserError(f"--tune-time {budget.seconds:g} must be more than 0, and finite")
    if budget.pruner not in PRUNERS:
        raise unknown_name("pruner", budget.pruner, PRUNERS)
