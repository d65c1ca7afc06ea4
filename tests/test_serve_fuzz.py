"""Every address of the API, with whatever its description allows and forbids: no fault, and answers as described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from .serving import Running, Stored, running

EXAMPLES = 60
"""Of each address."""
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
SEEN: Counter[tuple[str, str, int]] = Counter()


@pytest.fixture(scope="module")
def server(stored_models: Stored) -> Iterator[Running]:
    with running(stored_models, "--max-text", "2000") as made:
        yield made


@pytest.fixture
def api(server: Running) -> Any:
    return schemathesis.openapi.from_url(f"{server.address}/api/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


def aim(case: Any) -> None:
    """Let every other question be of a task that can answer: no name that is made up would ever reach a model."""
    task = ("tiny", "tiny-classes", "seen-squares")[len(str(case.body)) % 3]
    for part in (case.query, case.body):
        if isinstance(part, dict) and isinstance(part.get("task"), str) and len(str(part)) % 2:
            part["task"] = task
            part.pop("model", None)


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_address_fails(case: Any) -> None:
    aim(case)
    response = case.call_and_validate(checks=CHECKS, timeout=30)
    SEEN[case.method, case.path, response.status_code] += 1
    assert response.headers["zoobench-api-version"] == ["1"]


def test_the_fuzz_reached_models_and_refusals() -> None:
    """The test above is worth what it reached."""
    reached = {(method, path) for method, path, status in SEEN if status == 200}
    lists = {("GET", f"/api/{name}") for name in ("health", "tasks", "models", "results", "predict")}
    assert lists | {("POST", "/api/predict")} <= reached
    assert {404, 422} <= {status for _, _, status in SEEN}
    assert sum(SEEN.values()) > 3 * EXAMPLES
