"""Which share of the images of chest X-ray findings the published system 2 kept before anything else."""

from __future__ import annotations

NO_FINDING = "No Finding"
KEPT_ALONE = {NO_FINDING: 0.10, "Infiltration": 0.15, "Effusion": 0.50, "Atelectasis": 0.50}
"""By finding, of the images that have it and no other; `NO_FINDING` of those that have none."""
