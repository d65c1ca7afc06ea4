"""datasets/support: what discovers entries, and what keeps files whole."""

import importlib
import subprocess
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from zoobench.datasets.support import registry as registry_module
from zoobench.datasets.support.errors import UserError, unknown_name
from zoobench.datasets.support.files import (
    atomic_path,
    lock,
    read_json,
    sha256_file,
    sha256_json,
    write_json,
    write_text,
)
from zoobench.datasets.support.folders import cache_root
from zoobench.datasets.support.registry import Registry, import_plugin


@dataclass(frozen=True)
class Thing:
    card: SimpleNamespace


def thing(name):
    return Thing(SimpleNamespace(name=name))


ENTRY = "from types import SimpleNamespace\nfrom {me} import Thing\nX = Thing(SimpleNamespace(name={name!r}))\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes an importable package of things and gives its registry."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "things_for_tests", SimpleNamespace(Thing=Thing))
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [])
    created = []

    def make(**modules):
        name = f"things_{tmp_path.name.replace('-', '_')}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for module, entry in modules.items():
            (folder / f"{module}.py").write_text(ENTRY.format(me="things_for_tests", name=entry))
        importlib.invalidate_caches()
        created.append(name)
        return Registry("thing", Thing, name, "things")

    yield make
    for module in [m for m in sys.modules for name in created if m.partition(".")[0] == name]:
        del sys.modules[module]


def test_entries_are_found_by_looking_and_sorted(package):
    registry = package(zebra="zebra", ant="ant")
    assert list(registry.entries()) == ["ant", "zebra"]
    assert registry.get("ant").card.name == "ant"


def test_duplicate_name_in_the_package_raises_each_time_and_names_both(package):
    registry = package(one="same", two="same")
    for _ in range(2):
        with pytest.raises(UserError, match=r"two\.py re-uses the thing name 'same' of .*one\.py"):
            registry.entries()


def test_unknown_name_suggests_the_nearest(package):
    registry = package(one="tfidf-logreg", two="dummy-uniform")
    with pytest.raises(UserError, match=r"^unknown thing 'tfidf-logref': did you mean 'tfidf-logreg'\?$"):
        registry.get("tfidf-logref")
    assert str(unknown_name("suite", "zzz", [])) == "unknown suite 'zzz': known: none"


def test_refused_module_leaves_nothing_behind(package):
    registry = package(one="first")
    module = SimpleNamespace(__name__="mine", a=thing("fresh"), b=thing("first"))
    with pytest.raises(UserError, match="mine re-uses the thing name 'first'"):
        registry.collect(module)
    assert list(registry.entries()) == ["first"]


def test_two_entries_of_one_name_in_one_module_are_refused(package):
    module = SimpleNamespace(__name__="mine", a=thing("twin"), b=thing("twin"))
    with pytest.raises(UserError, match="'twin'"):
        package().collect(module)


def test_the_same_entry_under_two_names_counts_once(package):
    entry, registry = thing("one"), package()
    registry.collect(SimpleNamespace(__name__="mine", a=entry, b=entry))
    assert list(registry.entries()) == ["one"]


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        (SimpleNamespace(card=1), "is SimpleNamespace, not a thing or a module with one"),
        (sys, "registers no thing: module sys has none"),
        (ImportError("no such library"), "does not import: ImportError: no such library"),
    ],
)
def test_entry_point_that_brings_no_entry_fails_loudly(package, monkeypatch, loaded, message):
    def load():
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    registry = package()
    point = SimpleNamespace(name="theirs", load=load)
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [point])
    with pytest.raises(UserError, match=f"entry point 'theirs' of 'things' {message}"):
        registry.entries()


def test_entry_point_adds_an_entry(package, monkeypatch):
    registry = package(one="ours")
    point = SimpleNamespace(name="theirs", load=lambda: thing("theirs"))
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [point])
    assert list(registry.entries()) == ["ours", "theirs"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module_anywhere", "does not import: ModuleNotFoundError: No module named"),
        ("def broken(:", "does not import: SyntaxError"),
        ("raise SystemExit(3)", "does not import: SystemExit: 3"),
        ("raise ValueError('first line\\nsecond line')", "does not import: ValueError: first line$"),
    ],
)
def test_plugin_that_does_not_import_is_one_line(tmp_path, source, message):
    path = tmp_path / "plugin.py"
    path.write_text(source)
    with pytest.raises(UserError, match=message) as caught:
        import_plugin(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    path.write_text("VALUE = 'mended'")
    assert import_plugin(path).VALUE == "mended"


@pytest.mark.parametrize("name", ["missing.py", "notes.txt", "."])
def test_plugin_must_be_a_python_file(tmp_path, name):
    (tmp_path / "notes.txt").write_text("VALUE = 1")
    with pytest.raises(UserError, match="is not a Python file"):
        import_plugin(tmp_path / name)


def test_plugin_is_imported_once(tmp_path):
    path = tmp_path / "once.py"
    path.write_text("VALUE = object()")
    assert import_plugin(path) is import_plugin(tmp_path / "." / "once.py")


def test_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text('{"a":')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.txt"
    write_text(path, "whole")
    script = (
        "import os, signal, sys, pathlib\n"
        "from zoobench.datasets.support.files import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    assert path.read_text() == "whole"


def test_lock_waits_for_its_holder_and_is_freed_by_its_death(tmp_path):
    script = (
        "import sys, pathlib, time\n"
        "from zoobench.datasets.support.files import lock\n"
        "held = lock(pathlib.Path(sys.argv[1]))\n"
        "held.acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    path = tmp_path / "deeper" / "a.lock"
    holder = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError):
            lock(path).acquire(timeout=0.2)
    finally:
        holder.kill()
        holder.wait()
    start = time.monotonic()
    with lock(path).acquire(timeout=5):
        assert time.monotonic() - start < 5


def test_hashes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # The test vector of FIPS 180-2, appendix B.1.
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": "1"})


def test_cache_folder_is_the_named_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("ZOOBENCH_CACHE")
    assert cache_root().name == "zoobench"
