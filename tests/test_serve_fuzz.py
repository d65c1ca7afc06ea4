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
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from .serving import Running, Stored, running

EXAMPLES = 30
"""Of each address, with what fits its description and with what does not."""
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
told = hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
SEEN: Counter[tuple[str, str, int]] = Counter()


@pytest.fixture(scope="module")
def server(stored_models: Stored) -> Iterator[Running]:
    with running(stored_models, "--max-text", "2000") as made:
        yield made


def aim(case: Any) -> None:
    """Let every other question be one that a model answers: no name that is made up would ever reach any."""
    number = len(str(case.query)) + len(str(case.body))
    for part in (case.query, case.body):
        if number % 2 and isinstance(part, dict) and isinstance(part.get("task"), str):
            part["task"] = ("tiny", "tiny-classes", "seen-squares")[number // 2 % 3]
            part.pop("model", None)
            if part is case.body and "image" not in part:
                part.setdefault("text", "fever")
                part.pop("text" if isinstance(part.get("texts"), list) and number % 4 == 1 else "texts", None)


def ask(case: Any) -> None:
    aim(case)
    response = case.call_and_validate(checks=CHECKS, timeout=30)
    SEEN[case.method, case.path, response.status_code] += 1
    assert response.headers["zoobench-api-version"] == ["1"]


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_address_fails(server: Running, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{server.address}/api/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:
        if mode.is_positive or operation.path != "/api/health":  # which nothing can be asked of that does not fit
            told(hypothesis.given(operation.as_strategy(mode))(ask))()


def test_the_fuzz_reached_models_and_refusals() -> None:
    """The test above is worth what it reached."""
    reached = {(method, path) for method, path, status in SEEN if status == 200}
    lists = {("GET", f"/api/{name}") for name in ("health", "tasks", "models", "results", "predict")}
    assert lists | {("POST", "/api/predict")} <= reached
    assert {404, 422} <= {status for _, _, status in SEEN}
    assert sum(SEEN.values()) > 3 * EXAMPLES
