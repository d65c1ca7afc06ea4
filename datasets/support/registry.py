"""Discovery of entries: scan a folder, the entry points of installed packages, and files named by the user."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Generic, Protocol, TypeVar

from .errors import UserError, unknown_name


class Entry(Protocol):
    """Anything that can be registered: it carries a card with a name."""

    @property
    def card(self) -> Any:
        """The entry's card; its ``name`` is unique within a registry."""


E = TypeVar("E", bound=Entry)

_declared: dict[str, list[Entry]] = {}


def declare(entry: E, module: str) -> E:
    """Note that a module made an entry, also where its name there is taken by the next one, and return it."""
    _declared.setdefault(module, []).append(entry)
    return entry


class Registry(Generic[E]):
    """The entries of one kind, found by looking and never listed by hand.

    Parameters
    ----------
    kind
        The word for an entry in messages: "model" or "task".
    entry_type
        The class whose module-level instances are entries.
    package
        The package whose modules are scanned, one entry or family of entries a module.
    group
        The entry-point group through which installed packages add a module or an entry.
    """

    def __init__(self, kind: str, entry_type: type[E], package: str, group: str) -> None:
        self._kind, self._type, self._package, self._group = kind, entry_type, package, group
        self._entries: dict[str, E] = {}
        self._origins: dict[str, str] = {}
        self._scanned = False

    def entries(self) -> Mapping[str, E]:
        """Return every entry by name, in alphabetical order."""
        self._scan()
        return MappingProxyType(dict(sorted(self._entries.items())))

    def get(self, name: str) -> E:
        """Return the entry called `name`.

        Raises
        ------
        UserError
            If there is none; the message suggests the nearest names.
        """
        self._scan()
        if name not in self._entries:
            raise unknown_name(self._kind, name, self._entries)
        return self._entries[name]

    def collect(self, module: ModuleType) -> list[E]:
        """Register the entries that `module` declared or holds, and return them.

        Every name is checked before the first is added, so a refused module leaves nothing behind.
        """
        self._scan()
        found = self._found(module)
        self._add(found, getattr(module, "__file__", None) or module.__name__)
        return found

    def add(self, entry: E, origin: str) -> None:
        """Register an entry that no module made; one of the same origin takes its place later.

        Raises
        ------
        UserError
            If an entry of another origin has its name.
        """
        self._scan()
        self._add([entry], origin)

    def of(self, module: ModuleType) -> dict[str, E]:
        """Return the entries of one module by name, without a look at any other."""
        return {entry.card.name: entry for entry in self._found(module)}

    def _found(self, module: ModuleType) -> list[E]:
        made = [*_declared.get(module.__name__, ()), *vars(module).values()]
        return list({id(value): value for value in made if isinstance(value, self._type)}.values())

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        try:
            package = importlib.import_module(self._package)
            for info in pkgutil.iter_modules(package.__path__):
                self.collect(importlib.import_module(f"{self._package}.{info.name}"))
            for point in entry_points(group=self._group):
                self._load_entry_point(point.name, point.load)
        except BaseException:
            self._scanned = False
            self._entries.clear()
            self._origins.clear()
            raise

    def _load_entry_point(self, name: str, load: Any) -> None:
        origin = f"entry point {name!r} of {self._group!r}"
        try:
            value = load()
        except Exception as error:
            raise UserError(f"{origin} does not import: {type(error).__name__}: {error}") from error
        if isinstance(value, ModuleType):
            if not self.collect(value):
                raise UserError(f"{origin} registers no {self._kind}: module {value.__name__} has none")
        elif isinstance(value, self._type):
            self._add([value], origin)
        else:
            raise UserError(f"{origin} is {type(value).__name__}, not a {self._kind} or a module with one")

    def _add(self, entries: Iterable[E], origin: str) -> None:
        fresh: dict[str, E] = {}
        for entry in entries:
            name = entry.card.name
            if entry is self._entries.get(name) or entry is fresh.get(name):
                continue
            # A file that was edited and imported again replaces its own entries, and nobody else's.
            owner = origin if name in fresh else self._origins.get(name, origin)
            if name in fresh or owner != origin:
                raise UserError(f"{origin} re-uses the {self._kind} name {name!r} of {owner}: choose another name")
            fresh[name] = entry
        self._entries.update(fresh)
        self._origins.update(dict.fromkeys(fresh, origin))


def import_plugin(path: Path) -> ModuleType:
    """Import a Python file that the user named: once per process, and again when it has been edited.

    Raises
    ------
    UserError
        If the file is missing, is no Python source, or raises while it is imported.
    """
    path = path.expanduser().absolute()
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"plug-in {path} is not a Python file: give the path of a .py file")
    place = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name, content = f"zoobench_plugin_{path.stem}_{place}", path.read_bytes()
    known = sys.modules.get(name)
    if known is not None and vars(known).get("__zoobench_source__") == content:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plug-in {path} cannot be imported: Python finds no loader for it")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__zoobench_source__"] = content
    sys.modules[name] = module
    _declared.pop(name, None)
    try:
        # Compiled from what was read, not by the loader: its bytecode cache goes by whole seconds.
        exec(compile(content, str(path), "exec"), vars(module))  # noqa: S102 - the user named this file
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = str(error).splitlines()[0] if str(error) else "no message"
        raise UserError(f"plug-in {path} does not import: {type(error).__name__}: {line}") from error
    return module
