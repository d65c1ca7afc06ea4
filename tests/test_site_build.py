"""How a site comes to stand in its place: whole or not at all, by one process or several, and never over other files."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from zoobench.leaderboard.site import build, core, overview, place
from zoobench.leaderboard.site.build import build_site

from .conftest import zoobench_here
from .sites import Seen


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.html")}


@pytest.fixture
def before(built: Path, tmp_path: Path) -> Path:
    """A site that stands there already."""
    return Path(shutil.copytree(built, tmp_path / "s"))


def test_a_second_build_takes_the_place_of_the_first(made_up: Path, before: Path, tmp_path: Path) -> None:
    (before / "tasks" / "ants.html").write_text("old")
    build_site(made_up, before, ["en"])
    assert (before / "tasks" / "ants.html").stat().st_size > 1000
    assert not (before / "es").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["s"], "nothing is left beside it"


def test_a_link_to_a_folder_stays_a_link(made_up: Path, before: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("s")
    (before / "tasks" / "ants.html").write_text("old")
    build_site(made_up, tmp_path / "link", ["en"])
    assert (tmp_path / "link").is_symlink()
    assert (before / "tasks" / "ants.html").stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "s"]


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(made_up: Path, before: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "thesis.tex").write_text("years")
    done = zoobench_here("site", "build", "--out", tmp_path / "t", "--results", made_up)
    assert done.returncode == 2
    assert "holds thesis.tex, which no site wrote" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["thesis.tex"]
    (before / "notes.txt").write_text("mine")
    assert "holds notes.txt" in zoobench_here("site", "build", "--out", before, "--results", made_up).stderr
    assert (before / "notes.txt").read_text() == "mine"


def test_a_build_that_fails_leaves_the_old_site(
    made_up: Path, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = contents(before)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(overview, "heat_map", full)
    done = zoobench_here("site", "build", "--out", before, "--results", made_up)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert contents(before) == was
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["a page", "between two names"])
def test_a_build_that_is_killed_leaves_a_whole_site_and_the_next_one_sweeps_up(
    moment: str, made_up: Path, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = contents(before)
    with monkeypatch.context() as patched:
        if moment == "a page":
            patched.setattr(overview, "heat_map", killed)
        else:  # where the system cannot exchange two names
            patched.setattr(place, "_exchanged", lambda new, out: (out.rename(new.with_name("old")), killed()))
        process = multiprocessing.get_context("fork").Process(target=build_site, args=(made_up, before, ["en"]))
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = (path for path in tmp_path.iterdir() if path != before)
    assert before.exists() == (moment == "a page")
    with place.workshop(before):
        assert not left.exists()
        assert contents(before) == was
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_build_beside_another_leaves_that_one_alone(tmp_path: Path) -> None:
    with place.workshop(tmp_path / "s") as one, place.workshop(tmp_path / "s") as other:
        assert one.is_dir()
        assert other.is_dir()
    assert not list(tmp_path.iterdir())


def test_several_processes_make_the_same_pages_also_where_one_is_killed(
    built: Path, made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, map_of, made_by = os.getpid(), overview.heat_map, []
    created = json.loads((built / build.MANIFEST).read_text())["created"]

    victims: list[str] = []

    def elsewhere(tables: Any) -> Any:
        (tmp_path / f"by-{os.getpid()}").touch()
        return killed() if victims and os.getpid() != mine else map_of(tables)

    read = core.read_site
    monkeypatch.setattr(build, "read_site", lambda results, now, *more: read(results, created, *more))
    monkeypatch.setattr(build, "WORTHWHILE", 1)
    monkeypatch.setattr(build, "cores", lambda: 2)
    monkeypatch.setattr(overview, "heat_map", elsewhere)
    for victim in ("nobody", "who makes the overview"):
        assert contents(build_site(made_up, tmp_path / "s").out) == contents(built)
        made_by.append({int(path.name[3:]) == mine for path in tmp_path.glob("by-*")})
        victims.append(victim)
    assert made_by == [{False}, {False, True}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--languages", "fr"), "unknown language 'fr'"),
        (("--languages", ","), "names none"),
        (("--cards", "nowhere"), "zoobench data report"),
        (("--results", "nowhere"), "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    words: tuple[str, str], message: str, made_up: Path, tmp_path: Path
) -> None:
    given = words if words[0] == "--results" else ("--results", made_up, *words)
    done = zoobench_here("site", "build", "--out", tmp_path / "s", *given, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "s").exists()


def test_data_cards_are_taken_along_and_linked(made_up: Path, tmp_path: Path) -> None:
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "ants.html").write_text("<!doctype html><title>ants</title>")
    built = build_site(made_up, tmp_path / "s", ["en", "es"], cards).out
    assert (built / "cards" / "ants.html").read_text().endswith("<title>ants</title>")
    assert "../cards/ants.html" in Seen((built / "tasks" / "ants.html").read_text()).links()
    assert "../../cards/ants.html" in Seen((built / "es" / "tasks" / "ants.html").read_text()).links()
    assert "cards/" not in (built / "tasks" / "bees.html").read_text().replace("--cards cards", "")


def test_unreadable_records_are_told_of(made_up: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(made_up, tmp_path / "r")
    next((copy / "cells" / "ants" / "broken").glob("*/record.json")).write_text("{")
    done = zoobench_here("site", "build", "--out", tmp_path / "s", "--results", copy, "--languages", "en")
    assert done.returncode == 0
    assert "skipped" in done.stderr
    assert "1 file among the results could not be read" in (tmp_path / "s" / "index.html").read_text()
