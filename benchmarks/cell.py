"""The unit of work: a task, a model, a configuration, a seed and folds, and the key that names its outcome."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from ..datasets.support.files import sha256_json
from ..zoo.core import Scalar

ZOO = "zoobench.zoo"
# Types only: no number passes through it, and a comment on a field must not make every record stale.
NOT_HASHED = f"{ZOO}.core"


@dataclass(frozen=True)
class Cell:
    """A measurement to make. Two cells with one `fit_key` would give the same probabilities.

    Attributes
    ----------
    config
        The full configuration; `settings` is the part that the user changed from the preset.
    seed
        The user's seed; generators get `derived_seed`.
    source_sha256
        Of the model's entry and the modules of the zoo, or of its own package, that it imports.
    primary_metric
        Handed to the fit as its scorer, and tuned for by the thresholds.
    folders
        Content hash of each setting that names a local folder.
    """

    task: str
    protocol: str
    task_version: int
    data_fingerprint: str
    split_sha256: str
    model: str
    preset: str
    config: Mapping[str, Scalar]
    settings: Mapping[str, Scalar]
    seed: int
    source_sha256: str
    primary_metric: str
    folders: Mapping[str, str]

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed {self.seed} must be from 0 to 2^32 - 1")
        for name in ("config", "settings", "folders"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def task_name(self) -> str:
        """The task with its protocol, as the command line takes it."""
        return f"{self.task}@{self.protocol}" if self.protocol else self.task

    @property
    def model_name(self) -> str:
        """The model with its preset, as the command line takes it."""
        return f"{self.model}@{self.preset}" if self.preset else self.model

    @property
    def fit_key(self) -> str:
        """Name all that can change the probabilities: 20 hexadecimal digits."""
        parts = {
            "task": self.task_name,
            "version": self.task_version,
            "data": self.data_fingerprint,
            "split": self.split_sha256,
            "model": self.model,
            "config": dict(self.config),
            "seed": self.seed,
            "source": self.source_sha256,
            "metric": self.primary_metric,
            "folders": dict(self.folders),
        }
        return sha256_json(parts)[:20]

    @property
    def derived_seed(self) -> int:
        """A seed in [0, 2^31) from the cell's coordinates: no two cells share a stream, and code changes keep it."""
        place = [self.task_name, self.model, dict(self.config), self.seed]
        return int(sha256_json(place)[:8], 16) % 2**31

    def key(self, hardware_class: str) -> str:
        """Name the record of this cell on a class of hardware: 20 hexadecimal digits."""
        return sha256_json([self.fit_key, hardware_class])[:20]


def source_fingerprint(module: str) -> str:
    """Return the SHA-256 of a module's code and of the zoo modules that it imports, directly or not.

    Comments, formatting and docstrings do not count: they change no number.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_closure(module).items()):
        # A plug-in is known by its content: its module name holds the folder it happens to stand in.
        digest.update((name if "." in name else "plug-in").encode())
        digest.update(_parsed(path, path.stat().st_mtime_ns)[0].encode())
    return digest.hexdigest()


def _closure(module: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = [module]
    own = f"{module.partition('.')[0]}." if "." in module and not module.startswith(f"{ZOO}.") else f"{ZOO}."
    while waiting:
        name = waiting.pop()
        path = _path_of(name)
        if path is None or name in found or name == NOT_HASHED:
            continue
        found[name] = path
        waiting.extend(_imports(name, _parsed(path, path.stat().st_mtime_ns)[1], (f"{ZOO}.", own)))
    return found


def _path_of(module: str) -> Path | None:
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded:
        return Path(loaded)
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None


@cache
def _parsed(path: Path, changed_ns: int) -> tuple[str, ast.Module]:
    """Return a file's code without comments and docstrings, and its tree; read again once it has changed."""
    del changed_ns
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Pass()
    return ast.unparse(tree), tree


def _imports(module: str, tree: ast.Module, within: tuple[str, ...]) -> Iterator[str]:
    """Yield the names that a module imports from the packages `within`, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith(within))
