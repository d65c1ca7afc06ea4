"""Every suite that ships names tasks, protocols, models, presets and seeds that there are."""

from __future__ import annotations

import pytest
from zoobench.benchmarks.options import check, suites


@pytest.mark.parametrize("name", suites())
def test_a_suite_can_be_run(name: str) -> None:
    request = check(name, {})
    assert request.title
    assert request.tasks
    assert request.models
    assert request.seeds
