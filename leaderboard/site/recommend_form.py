"""What a task's page needs to recommend within a reader's budget: candidates on each machine, and which rows tie."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from ..cards import blind_models
from ..elsewhere import Conversion
from ..recommend import COSTS, Candidate
from ..recommend_data import candidates_on, pairs_of
from ..resampled import UNKNOWN
from ..tables import Row
from .core import Site, Table

NOBODY_KNOWS = 2
"""Of a pair, in two bits, where no resamples tell; see ``assets/recommend.js``."""


def form(site: Site, table: Table) -> dict[str, Any]:
    """Return what the form of a table is drawn from; empty where no row has a figure."""
    ranked = [row for row in table.rows if row["rank"] is not None]
    if not ranked:
        return {}
    places = list(dict.fromkeys(place.partition(" (")[0] for place in table.hardware))
    known = [place for place in places if any(row["hardware"] == place for row in ranked)]
    pairs = pairs_of(site.shelf, ranked, str(ranked[0]["ranked_by"]))
    # Rows without a figure stand behind the ranked ones, and say what failed where.
    found = {place: candidates_on(table.rows, place, site.elsewhere) for place in known}
    blind = blind_models()
    return {
        "names": [_name(row) for row in ranked],
        "blind": [place for place, row in enumerate(ranked) if row["model"] in blind],
        "values": [[row["value"], row["low"], row["high"]] for row in ranked],
        "ties": packed(pairs),
        "places": [
            {"hardware": place, "candidates": [_listed(each) for each in candidates], "unmeasured": unmeasured}
            for place, (candidates, unmeasured) in found.items()
        ],
        "errors": {name: _error(site.elsewhere.conversions[name]) for name in COSTS},
    }


def _error(found: Conversion) -> list[float] | None:
    """Return by which factor estimates were wrong: the median and the worst, and on how many pairs."""
    if found.middle is None or found.worst is None:
        return None
    return [round(found.middle, 2), round(found.worst, 2), found.pairs]


def _name(row: Row) -> str:
    return row["name"] + (f" ({row['device']})" if row["device"] != "cpu" else "")


def _listed(each: Candidate) -> list[Any]:
    bits = sum(told << place for place, told in enumerate(each.estimated))
    return [each.row, each.rank, list(each.costs), bits, int(bool(each.barred))]


def packed(pairs: np.ndarray) -> str:
    """Return the pairs (rows, rows) below the diagonal, row by row, two bits each from the lowest on, as base64."""
    codes = np.where(pairs == UNKNOWN, NOBODY_KNOWS, pairs)[np.tril_indices(len(pairs), -1)].astype(np.uint8)
    quads = np.pad(codes, (0, -len(codes) % 4)).reshape(-1, 4)
    return base64.b64encode((quads << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1).astype(np.uint8).tobytes()).decode()
