"""skops, imported without what it does not need: import this module in its place."""

from __future__ import annotations

import sys
from types import ModuleType


def _import_skops() -> ModuleType:
    """Import ``skops.io``; it walks scikit-learn's packages, and one of them imports torch wherever it is installed.

    That took 2.4 of 3 s, in processes that never use torch. An import that fails is passed over in the walk.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import skops.io
    finally:
        if hidden:
            del sys.modules["torch"]
    return skops.io


skops_io = _import_skops()
