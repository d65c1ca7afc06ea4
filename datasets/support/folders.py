"""Where zoobench keeps what it can make again (its cache) and where it finds data laid out by hand."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Return the cache folder: ``ZOOBENCH_CACHE``, or the platform's own place for caches."""
    from platformdirs import user_cache_path

    named = os.environ.get("ZOOBENCH_CACHE")
    return Path(named).expanduser().absolute() if named else user_cache_path("zoobench")
