"""What a kept result depends on beside its settings: code, files and installed packages."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..datasets.support.files import sha256_file, sha256_json


@cache
def installed(package: str) -> str:
    """Return a package's version, "" where it is not installed; read once: single predictions ask as well."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def file_sha256(path: Path, changed_ns: int) -> str:
    """Hash a file of weights or words once, as long as it is not changed."""
    del changed_ns
    return sha256_file(path)


@cache
def sources(*modules: str) -> str:
    """Hash the source of modules of the zoo, by name: what they make is made anew once one of them changes."""
    here = Path(__file__).parent
    return sha256_json({name: sha256_file(here / f"{name}.py") for name in modules})
