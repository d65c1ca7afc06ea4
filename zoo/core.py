"""The types of a model: its card, its search space, what its builder is told, and the registry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from ..datasets.core import Kind, Modality, TaskCard, check_name
from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.registry import Registry, declare
from .settings import LIMITS, MEANINGS, within

if TYPE_CHECKING:
    from .checkpoints import Checkpoints
    from .features import FeatureCache

Scalar = str | int | float | bool
Config = Mapping[str, Scalar]
Framework = Literal["scikit-learn", "torch", "keras"]


When = Mapping[str, tuple[Scalar, ...]]
"""By setting, the values of which it must have one."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones when both bounds are; `log` for scales.

    It is searched only in configurations that `when` allows, and elsewhere stays as it is.
    """

    low: float
    high: float
    log: bool = False
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"range {self.low} to {self.high} is empty, or log of a number that is not positive")
        object.__setattr__(self, "when", MappingProxyType(dict(self.when)))

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def as_json(self) -> dict[str, Any]:
        """Return it in JSON values."""
        return {"low": self.low, "high": self.high, "log": self.log, **_conditions(self.when)}

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int if self.whole else (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of `options`; `when` as in `Range`."""

    options: tuple[Scalar, ...]
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.options or len(set(map(repr, self.options))) < len(self.options):
            raise ValueError(f"a choice of {self.options} has no options, or one twice")
        object.__setattr__(self, "when", MappingProxyType(dict(self.when)))

    def as_json(self) -> dict[str, Any]:
        """Return it in JSON values."""
        return {"options": list(self.options), **_conditions(self.when)}

    def __contains__(self, value: object) -> bool:
        return any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in self.options)


def _conditions(when: When) -> dict[str, Any]:
    return {"when": {name: list(values) for name, values in when.items()}} if when else {}


@dataclass(frozen=True)
class Needs:
    """What a fit is given where machines are shared: cores, GPUs (0.5 is half of one) and GB of memory."""

    cores: int
    gpus: float
    memory_gb: float

    def __post_init__(self) -> None:
        if self.cores < 1 or not 0 <= self.gpus < math.inf or not 0 < self.memory_gb < math.inf:
            raise ValueError(f"needs of {self.cores} cores, {self.gpus} GPUs and {self.memory_gb} GB cannot be met")


# Networks multiply matrices on all the cores they get. Most models of scikit-learn take one; a forest takes what
# `--threads` gives, and its file stays as it is: a card of another hash would make its records stale.
NETWORK = Needs(4, 1, 4.0)
NEEDS: Mapping[Framework, Needs] = {"scikit-learn": Needs(1, 0, 1.0), "torch": NETWORK, "keras": NETWORK}


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model is, what it needs, its settings and where they may move.

    Attributes
    ----------
    modality
        What it reads; "any" for a model that does not look.
    framework
        Chooses the warm process that its cells fork from.
    default
        Every setting with its default; a setting's type is its default's type.
    presets
        Named partial configurations on top of `default`.
    space
        What tuning may change: a part of the settings. One whose `when` names another of them stands after it.
    requires
        Importable modules it needs; checked by name, never imported to list. `extra` installs them.
    folders
        Settings that may name a local folder or file: made absolute, and known by what it holds.
    blas_threads
        BLAS threads while fitting, where fewer than the cell's threads are faster (0: as many as the cell).
    choices
        Of settings that are one of a few words: those words. One of `folders` may name a file instead.
    limits
        Of settings that are numbers: the lowest and the highest. The zoo's own models take those of
        `settings.LIMITS` where their card says nothing.
    meanings
        What a setting does, in a sentence; the zoo's own, likewise, from `settings.MEANINGS`.
    trained_on
        Of a setting that names weights: the tasks on whose rows, test fold included, they were trained before,
        whatever its value, "none" apart.
    cores, gpus, memory_gb
        What a fit is given on a cluster (`--engine ray`), where it differs from `NEEDS` of its framework.
    check
        Raises a UserError for a configuration that makes no sense; imports no framework. Called for every cell
        before the first one runs.
    """

    name: str
    title: str
    description: str
    modality: Modality | Literal["any"]
    framework: Framework
    citation: str
    kinds: tuple[Kind, ...] = get_args(Kind)
    default: Config = field(default_factory=dict)
    presets: Mapping[str, Config] = field(default_factory=dict)
    space: Mapping[str, Range | Choice] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    extra: str = ""
    folders: tuple[str, ...] = ()
    blas_threads: int = 0
    choices: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    trained_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cores: int | None = None
    gpus: float | None = None
    memory_gb: float | None = None
    check: Callable[[Config], None] | None = None

    @property
    def needs(self) -> Needs:
        """What a fit is given where machines are shared."""
        own = {"cores": self.cores, "gpus": self.gpus, "memory_gb": self.memory_gb}
        return replace(NEEDS[self.framework], **{name: value for name, value in own.items() if value is not None})

    def __post_init__(self) -> None:
        check_name("model", self.name)
        if self.framework not in get_args(Framework):
            raise ValueError(f"model {self.name}: framework {self.framework!r} is unknown")
        if self.modality not in (*get_args(Modality), "any") or not set(self.kinds) <= set(get_args(Kind)):
            raise ValueError(f"model {self.name}: modality {self.modality!r} or a kind of {self.kinds} is unknown")
        for what, part in (
            ("space", self.space),
            ("trained_on", self.trained_on),
            ("choices", self.choices),
            ("limits", self.limits),
            ("meanings", self.meanings),
            *(("preset " + name, preset) for name, preset in self.presets.items()),
        ):
            if strange := set(part) - set(self.default):
                raise ValueError(f"model {self.name}: {what} names settings that have no default: {sorted(strange)}")
        for preset in self.presets:
            check_name("preset", preset)
        _ = self.needs  # refused where it is declared, not where it first runs
        self._check_settings()
        self._check_conditions()
        for name in ("default", "presets", "space", "choices", "limits", "meanings", "trained_on"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def _check_settings(self) -> None:
        """Refuse limits and meanings of the wrong kind; defaults, presets and searches outside of what they allow."""
        for name, limit in self.limits.items():
            pair = isinstance(limit, tuple) and len(limit) == 2 and all(isinstance(end, (int, float)) for end in limit)
            if not pair or not limit[0] <= limit[1] or isinstance(self.default[name], (str, bool)):
                raise ValueError(f"model {self.name}: limits of {name} are no (lowest, highest) of a number: {limit}")
        if strange := [name for name, meaning in self.meanings.items() if not isinstance(meaning, str)]:
            raise ValueError(f"model {self.name}: the meaning of {strange[0]} is no sentence")
        ends = {name: (part.low, part.high) for name, part in self.space.items() if isinstance(part, Range)}
        searched = [(f"space, {name}", name, end) for name, pair in ends.items() for end in pair]
        named = [("default", self.default), *((f"preset {name}", part) for name, part in self.presets.items())]
        for where, name, value in (*((where, *item) for where, part in named for item in part.items()), *searched):
            kind, limits, words = type(self.default[name]), self.limits.get(name), self.choices.get(name)
            right = type(value) is kind or (kind is float and type(value) is int)
            if not right or (limits and not _inside(value, limits)) or (words and value not in words):
                raise ValueError(f"model {self.name}: {where}: {name}={value!r} is of another type, or not allowed")

    def _check_conditions(self) -> None:
        """Refuse a search that depends on no setting, or on one that is chosen after it."""
        order = list(self.space)
        for place, (name, part) in enumerate(self.space.items()):
            if isinstance(part, Choice) and (
                wrong := [o for o in part.options if type(o) is not type(self.default[name])]
            ):
                raise ValueError(f"model {self.name}: space, {name}: {wrong[0]!r} is of another type than the default")
            if late := [other for other in part.when if other not in self.default or other in order[place:]]:
                raise ValueError(f"model {self.name}: space, {name} depends on {late[0]}: no setting that comes before")

    def configure(self, preset: str = "", settings: Mapping[str, str | Scalar] | None = None) -> Config:
        """Return the full configuration of a preset, with `settings` on top, in the order of the defaults.

        Raises
        ------
        UserError
            For an unknown preset or setting, a value that is not of the default's type, or neither in its limits nor
            among the `choices`; and what `check` refuses.
        """
        if preset and preset not in self.presets:
            raise unknown_name(f"preset of {self.name}", preset, self.presets)
        config = dict(self.default) | dict(self.presets.get(preset, {}))
        for key, value in (settings or {}).items():
            if key not in config:
                raise unknown_name(f"setting of {self.name}", key, config)
            config[key] = found = _convert(f"{self.name}: setting {key}", value, self.default[key])
            limits = self.limits.get(key)
            if limits is not None and not _inside(found, limits):
                raise UserError(f"{self.name}: setting {key}={_short(value)} is not {within(*limits)}")
            if found not in self.choices.get(key, (found,)):
                self._require_file(key, str(found))
        if self.check is not None:
            self.check(config)
        return MappingProxyType(config)

    def overlap(self, task: str, config: Config) -> str:
        """Return the setting, as KEY=VALUE, by which the weights have seen the test fold of `task`; "" for none."""
        seen = (key for key, tasks in self.trained_on.items() if task in tasks and config[key] != "none")
        return next((f"{key}={config[key]}" for key in seen), "")

    def _require_file(self, key: str, value: str) -> None:
        """Refuse a value that is none of a setting's words, where it cannot be a file or is not there."""
        path, words = Path(value).expanduser(), tuple(map(str, self.choices[key]))
        if key not in self.folders or not (path.suffix or len(path.parts) > 1 or path.is_file()):
            raise unknown_name(f"{key} of {self.name}", value, (*words, "PATH") if key in self.folders else words)
        if not path.is_file():
            raise UserError(f"{self.name}: {key} file {value} is not there: give a file, {' or '.join(words)}")


def _inside(value: Scalar, limits: tuple[float, float]) -> bool:
    return isinstance(value, (int, float)) and limits[0] <= value <= limits[1]


def _short(value: Scalar) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


_KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def _convert(where: str, value: str | Scalar, default: Scalar) -> Scalar:
    wanted = type(default)
    if isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool):
        return value
    words = {"true": True, "false": False}
    text = str(value)
    try:
        found = words[text.lower()] if wanted is bool else wanted(text)
        if isinstance(found, float) and not math.isfinite(found):
            raise ValueError
        return found + 0.0 if isinstance(found, float) else found  # -0.0 is 0.0, and no other cell
    except (KeyError, ValueError):
        raise UserError(f"{where}={_short(text)} is not {_KINDS[wanted]}: the default is {default!r}") from None


class Report(Protocol):
    """Tells the harness how far a fit has come; call it once an epoch."""

    def __call__(self, step: int, total: int, **values: float) -> None:
        """`step` of `total` is done; `values` are what was measured (loss, score, …)."""


class Scorer(Protocol):
    """The task's primary metric on labelled rows, higher is better, thresholds chosen on the same rows."""

    def __call__(self, targets: Any, probabilities: Any) -> float:
        """Score `probabilities` (n, labels) against `targets`."""
        ...


@dataclass(frozen=True)
class Context:
    """What a builder is told beside its configuration.

    Attributes
    ----------
    seed
        For every generator of the model; derived from the cell, so two cells never share a stream.
    device
        "cpu" or "cuda".
    threads
        How many threads the cell may use.
    features
        The cache for what does not depend on the fit (an encoder's embeddings); it charges each cell.
    protocol
        By which the task's rows were chosen and dealt.
    checkpoints
        Where a fit of many epochs keeps each of them, to go on from there; None where it shall not.
    """

    task: TaskCard
    seed: int
    device: str
    threads: int
    features: FeatureCache
    protocol: str = ""
    checkpoints: Checkpoints | None = None


@runtime_checkable
class Estimator(Protocol):
    """What a builder returns: a scikit-learn style classifier.

    `fit` may also take any of the keywords ``X_val``, ``y_val``, ``seed``, ``scorer`` and ``report``: it gets
    those that it names. An estimator with ``save(folder)`` and ``load(folder)`` keeps its own artefact; any
    other is stored by skops. What it has to say of its fit it leaves in ``notes_``, a tuple of sentences that the
    record keeps; the losses of its steps in ``losses_`` and its torch optimizer in ``optimizer_`` are stored too.
    A network of images may also have ``grad_cam(X, label)``: (n, side, side) maps from 0 to 1 of what spoke for it.
    """

    def fit(self, X: Any, y: Any) -> Any:
        """Fit on X (n,) and y: (n, labels) uint8, or (n,) class numbers."""

    def predict_proba(self, X: Any) -> Any:
        """Return (n, labels) probabilities."""


Builder = Callable[[Config, Context], Estimator]


@dataclass(frozen=True)
class Model:
    """A model: its card and the function that builds it."""

    card: ModelCard
    build: Builder

    @property
    def module(self) -> str:
        """The name of the module that the builder stands in; its source is part of a cell's key."""
        return self.build.__module__


def model(card: ModelCard) -> Callable[[Builder], Model]:
    """Register the decorated builder as the model that `card` describes."""

    def decorate(build: Builder) -> Model:
        found = card
        if build.__module__.startswith(f"{__package__}."):
            numbers = {name for name, value in card.default.items() if not isinstance(value, (str, bool))}
            shared = {name: LIMITS[name] for name in numbers & set(LIMITS)}
            words = {name: MEANINGS[name] for name in set(card.default) & set(MEANINGS)}
            found = replace(card, limits=shared | dict(card.limits), meanings=words | dict(card.meanings))
        return declare(Model(found, build), build.__module__)

    return decorate


MODELS: Registry[Model] = Registry("model", Model, "zoobench.zoo.models", "zoobench.models")


def split_name(name: str) -> tuple[str, str]:
    """Split ``name@variant`` (a task's protocol, a model's preset) into its two parts.

    >>> split_name("litcoin-relations@random")
    ('litcoin-relations', 'random')
    """
    base, _, variant = name.partition("@")
    return base, variant


def missing_modules(requires: Sequence[str]) -> tuple[str, ...]:
    """Return those of `requires` that this Python cannot find, without importing any."""
    import importlib.util

    return tuple(name for name in requires if importlib.util.find_spec(name) is None)
