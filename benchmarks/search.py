"""What a study searches: the settings that a model's card lets move, around the configuration it starts from."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..datasets.support.files import sha256_json
from ..zoo.core import Choice, Config, ModelCard, Range, Scalar

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Part = Range | Choice


@dataclass(frozen=True)
class Search:
    """A search space around a configuration.

    Attributes
    ----------
    base
        The full configuration that the search starts from, and its first trial.
    space
        The settings that move, in the order in which they are chosen.
    """

    base: Config
    space: Mapping[str, Part]

    @classmethod
    def of(cls, card: ModelCard, base: Config, fixed: Container[str]) -> Search:
        """Return the search of a model from `base`; what the user has set by hand stays as it is.

        A part that does not hold the value it starts from (a preset's) is widened to hold it.
        """
        moving = {name: _holding(part, base[name]) for name, part in card.space.items() if name not in fixed}
        return cls(MappingProxyType(dict(base)), MappingProxyType(moving))

    def suggest(self, trial: BaseTrial) -> dict[str, Scalar]:
        """Return the configuration of a trial: what its conditions allow is chosen, the rest is the base's."""
        config = dict(self.base)
        for name, part in self.space.items():
            if self._searched(part, config):
                config[name] = _suggested(trial, name, part)
        return config

    def start(self) -> dict[str, Scalar]:
        """Return the parameters of the trial that is the base."""
        return {name: self.base[name] for name, part in self.space.items() if self._searched(part, self.base)}

    def described(self) -> dict[str, Any]:
        """Return the space in JSON values: what two studies must share to be one."""
        return {name: part.as_json() for name, part in self.space.items()}

    @property
    def identity(self) -> str:
        """The SHA-256 of the space."""
        return sha256_json(self.described())

    @staticmethod
    def _searched(part: Part, config: Mapping[str, Scalar]) -> bool:
        return all(config[name] in values for name, values in part.when.items())


def _holding(part: Part, value: Any) -> Part:
    if value in part:
        return part
    if isinstance(part, Choice):
        return replace(part, options=(*part.options, value))
    if part.log and value <= 0:
        return Range(min(part.low, value), part.high, when=part.when)
    return replace(part, low=min(part.low, value), high=max(part.high, value))


def _suggested(trial: BaseTrial, name: str, part: Part) -> Scalar:
    if isinstance(part, Choice):
        found: Any = trial.suggest_categorical(name, part.options)
        return found
    if part.whole:
        return trial.suggest_int(name, int(part.low), int(part.high), log=part.log)
    return trial.suggest_float(name, part.low, part.high, log=part.log)
