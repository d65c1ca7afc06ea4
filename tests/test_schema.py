"""Records of an earlier schema read, those of a later one are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from zoobench.benchmarks import schema
from zoobench.benchmarks.record import SCHEMA_VERSION, Record
from zoobench.benchmarks.schema import FIRST, MIGRATIONS, NewerRecordError, migrated, parse, why_unreadable
from zoobench.benchmarks.store import read_record

from .records import STRONG, Cell

ROOT = Path(__file__).parents[1]


def values() -> dict[str, object]:
    return json.loads(Cell("pine", STRONG).record().model_dump_json())


def first() -> dict[str, object]:
    """A record as the first schema had it."""
    return {name: value for name, value in values().items() if name != "folders"} | {"schema_version": FIRST}


def test_every_earlier_schema_has_a_way_to_the_next() -> None:
    assert list(MIGRATIONS) == list(range(FIRST, SCHEMA_VERSION))


@pytest.mark.parametrize("said", [FIRST, None], ids=["says so", "says nothing"])
def test_a_record_of_the_first_schema_reads(said: int | None) -> None:
    old = first()
    if said is None:
        del old["schema_version"]
        assert parse(json.dumps(old | {"folders": {}}).encode()).folders is None, "the first schema knew of none"
    found = parse(json.dumps(old).encode())
    assert found.schema_version == SCHEMA_VERSION
    assert found.folders is None
    assert found.model_dump(exclude={"schema_version", "folders"}) == Record.model_validate(values()).model_dump(
        exclude={"schema_version", "folders"}
    )


def test_each_step_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {step: lambda old, step=step: {**old, "seen": [*old.get("seen", []), step]} for step in (1, 2, 3)}
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 4)
    assert migrated({}, 2) == {"seen": [2, 3], "schema_version": 4}


def test_a_later_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(values() | {"schema_version": SCHEMA_VERSION + 3, "unheard": 1}))
    with pytest.raises(NewerRecordError) as caught:
        read_record(path)
    asked = (
        f"written by a newer zoobench (schema {SCHEMA_VERSION + 3}, this one reads up to {SCHEMA_VERSION}): upgrade it"
    )
    assert why_unreadable(path, caught.value) == asked


@pytest.mark.parametrize("said", ["2", 0, -1, None, 1.5, []], ids=str)
def test_no_schema_at_all_is_no_record(said: object) -> None:
    with pytest.raises(ValueError, match="schema_version"):
        parse(json.dumps(values() | {"schema_version": said}).encode())


def test_the_committed_records_read() -> None:
    paths = sorted((ROOT / "leaderboard" / "results").glob("cells/*/*/*/record.json"))
    assert paths
    for path in paths:
        assert read_record(path).key == path.parent.name


@pytest.mark.parametrize("name", ["../there", "/etc/there", "a/../../there", "a//b", "", "a\\b", "."])
def test_a_record_names_no_file_outside_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="no file of the attempt's folder"):
        Record.model_validate(values() | {"files": {name: "0" * 64}})
