"""What the diagrams of a model's page show: pure functions from targets and probabilities to small frozen records.

Truth is always (rows, labels) bool, probabilities (rows, labels) floats. A record's `as_json` holds rates as whole
thousandths, which is finer than a screen and half as long; no row of a test fold can be read back from it.
"""

from __future__ import annotations

import numpy as np


def thousandths(values: np.ndarray) -> list[int | None]:
    """Return rates, 0 to 1, as whole thousandths; None for NaN, a rate that is not defined."""
    known = ~np.isnan(values)
    whole = np.rint(1000 * np.where(known, values, 0)).astype(int).tolist()
    return whole if known.all() else [value if each else None for value, each in zip(whole, known, strict=True)]
