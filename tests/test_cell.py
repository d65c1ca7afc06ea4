"""Keys and seeds of cells: what changes the probabilities changes the key, and nothing else does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from zoobench.benchmarks.cell import Cell, source_fingerprint
from zoobench.datasets.support.registry import import_plugin

CELL = Cell(
    task="t", protocol="", task_version=1, data_fingerprint="d", split_sha256="s", model="m", preset="",
    config={"C": 1.0, "n": 2}, settings={}, seed=0, source_sha256="x",
    primary_metric="f1_macro", folders={},
)  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"task": "u"}, {"protocol": "random"}, {"task_version": 2}, {"data_fingerprint": "e"}, {"split_sha256": "z"},
        {"model": "n"}, {"config": {"C": 2.0, "n": 2}}, {"seed": 1}, {"source_sha256": "y"}, {"primary_metric": "f1_micro"}, {"folders": {"encoder": "z"}},
    ],
)  # fmt: skip
def test_the_fit_key_follows_everything_that_changes_the_probabilities(change: dict[str, object]) -> None:
    assert dataclasses.replace(CELL, **change).fit_key != CELL.fit_key  # type: ignore[arg-type]


def test_the_fit_key_follows_nothing_else() -> None:
    same = dataclasses.replace(CELL, preset="p", settings={"C": 1.0}, config={"n": 2, "C": 1.0})
    assert same.fit_key == CELL.fit_key
    assert len(CELL.fit_key) == 20
    assert CELL.key("one") != CELL.key("another")


def test_seeds_differ_between_cells_and_not_between_revisions() -> None:
    seeds = {dataclasses.replace(CELL, seed=seed, model=model).derived_seed for seed in range(50) for model in "ab"}
    assert len(seeds) == 100
    assert dataclasses.replace(CELL, source_sha256="y", data_fingerprint="e").derived_seed == CELL.derived_seed
    assert 0 <= CELL.derived_seed < 2**31


def test_a_place_is_of_the_cell_whatever_its_code_and_data() -> None:
    there = CELL.place("one")
    same = ({"source_sha256": "y"}, {"data_fingerprint": "e"}, {"split_sha256": "z"}, {"folders": {"encoder": "z"}})
    assert {dataclasses.replace(CELL, **change).place("one") for change in same} == {there}  # type: ignore[arg-type]
    other = ({"seed": 1}, {"config": {"C": 2.0, "n": 2}}, {"fraction": 0.5}, {"model": "n"}, {"tuning": {"trials": 3}})
    places = {dataclasses.replace(CELL, **change).place("one") for change in other}  # type: ignore[arg-type]
    assert len({*places, CELL.place("another"), there}) == 7


def test_a_cell_refuses_a_negative_seed_and_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="seed -1"):
        dataclasses.replace(CELL, seed=-1)
    with pytest.raises(TypeError):
        CELL.config["C"] = 3.0  # type: ignore[index]


def test_the_source_follows_code_and_imported_zoo_modules_and_not_comments(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    text = '"""Doc."""\nfrom zoobench.zoo.text import tfidf\n\ndef build(config, context):\n    """Doc."""\n    return tfidf(config)\n'
    path.write_text(text)
    before = source_fingerprint(import_plugin(path).__name__)
    path.write_text(text.replace("Doc.", "Other words.").replace("return", "# why\n    return"))
    assert source_fingerprint(import_plugin(path).__name__) == before
    path.write_text(text.replace("tfidf(config)", "tfidf({**config})"))
    assert source_fingerprint(import_plugin(path).__name__) != before
    path.write_text(text.replace("import tfidf", "import TFIDF as tfidf"))
    assert source_fingerprint(import_plugin(path).__name__) != before
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    moved.write_text(text)
    assert source_fingerprint(import_plugin(moved).__name__) == before, "a plug-in is known by its content"
    mlp, logreg = (source_fingerprint(f"zoobench.zoo.models.{name}") for name in ("embedding_mlp", "embedding_logreg"))
    assert mlp != logreg


def test_a_file_beside_a_plugin_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper, plugin = tmp_path / "zb_sibling_helper.py", tmp_path / "uses_a_sibling.py"
    helper.write_text("K = 1\n")
    plugin.write_text("from zb_sibling_helper import K\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = source_fingerprint(import_plugin(plugin).__name__)
    helper.write_text("K = 2  # other\n")
    assert source_fingerprint(import_plugin(plugin).__name__) != before


def test_what_a_package_imports_from_its_folders_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from one without __init__.py, and one that finds its modules elsewhere; a module above is not imported."""
    files = {
        "zb_mine/__init__.py": "",
        "zb_mine/entry.py": "from .nets.blocks import b\nfrom .found import z\nfrom .heavy import build\n",
        "zb_mine/nets/blocks/b.py": "K = 1\n",
        "zb_mine/found/__init__.py": "from pathlib import Path\n__path__.append(str(Path(__file__).parents[1] / 'away'))\n",
        "zb_mine/away/z.py": "K = 1\n",
        "zb_mine/heavy.py": "raise ImportError('a framework')\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = [source_fingerprint("zb_mine.entry")]
    for changed in ("nets/blocks/b.py", "away/z.py", "heavy.py"):
        path = tmp_path / "zb_mine" / changed
        path.write_text(path.read_text() + "J = 2\n")
        seen.append(source_fingerprint("zb_mine.entry"))
    assert len(set(seen)) == 4
