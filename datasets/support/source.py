"""What code makes a number: the hash of a module and of all that it imports from its room of the house."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path


def code_fingerprint(module: str, room: str, skip: frozenset[str] = frozenset()) -> str:
    """Return the SHA-256 of a module's code and of what it imports from `room` or its own package, directly or not.

    Comments, formatting and docstrings do not count: they change no number.

    Parameters
    ----------
    room
        A package whose modules count, such as "zoobench.zoo".
    skip
        Modules that do not.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_closure(module, room, skip).items()):
        # A plug-in is known by its content: its module name holds the folder it happens to stand in.
        digest.update((name if "." in name else "plug-in").encode())
        digest.update(_parsed(path, path.stat().st_mtime_ns)[0].encode())
    return digest.hexdigest()


def _closure(module: str, room: str, skip: frozenset[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = [module]
    own = f"{module.partition('.')[0]}." if "." in module and not module.startswith(f"{room}.") else f"{room}."
    root = None if "." in module else _path_of(module)
    while waiting:
        name = waiting.pop()
        path = _path_of(name)
        if path is None or name in found or name in skip:
            continue
        found[name] = path
        imported = _imports(name, _parsed(path, path.stat().st_mtime_ns)[1])
        waiting.extend(each for each in imported if each.startswith((f"{room}.", own)) or _beside(each, root))
    return found


def _beside(module: str, root: Path | None) -> bool:
    """Return whether a module is a file, or in a package, right beside the plug-in at `root`."""
    top = module.partition(".")[0]
    if root is None or not any((root.parent / name).is_file() for name in (f"{top}.py", f"{top}/__init__.py")):
        return False
    found = _path_of(top)  # to look a top-level name up imports nothing
    return found is not None and root.parent in (found.parent, found.parent.parent)


def _path_of(module: str) -> Path | None:
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded:
        return Path(loaded)
    spec = _spec_of(module)
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None


def _spec_of(module: str) -> ModuleSpec | None:
    """Look a module up; of what stands above it packages are imported, modules are not: one may import tensorflow."""
    parent = module.rpartition(".")[0]
    if parent and parent not in sys.modules:
        above = _spec_of(parent)
        if above is None or above.submodule_search_locations is None:
            return None  # a name in a module, or nothing
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None


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


def _imports(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module imports, relative ones resolved."""
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
        yield from names
