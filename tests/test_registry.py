"""datasets/support: what discovers entries, and what keeps files whole."""

import importlib
import math
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
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
from zoobench.zoo.core import MODELS, ModelCard, Scalar
from zoobench.zoo.settings import LIMITS, MEANINGS


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


@pytest.mark.parametrize(
    ("model", "setting", "reason"),
    [
        ("minilm", "epochs=0", "from 1 to 100,000"),
        ("minilm", "batch_size=-4", "from 1 to 100,000"),
        ("minilm", "dropout=1.5", "from 0 to 0.99"),
        ("minilm", "learning_rate=0.0", "more than 0, up to 1e+38"),
        ("minilm", "learning_rate=-0.1", "more than 0, up to 1e+38"),
        ("minilm", "lora=-1", "from 0 to 1,000"),
        ("minilm", "lora=100000", "from 0 to 1,000"),
        ("minilm", "layer_decay=1.5", "more than 0, up to 1"),
        ("tfidf-logreg", "C=0.0", "from 1e-06 to 10,000"),
        ("tfidf-logreg", "C=1e+300", "from 1e-06 to 10,000"),
        ("tfidf-linear-svc", "folds=1", "from 2 to 100"),
        ("tfidf-complement-nb", "alpha=0.0", "more than 0, up to 1,000"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(model: str, setting: str, reason: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(UserError, match=re.escape(f"{model}: setting {setting} is not {reason}") + "$"):
        MODELS.get(model).card.configure("", {name: value})


SHIPPED = [pytest.param(model.card, id=name) for name, model in MODELS.entries().items()]
"""Listed before any test of this process registers a model of its own."""


@pytest.mark.parametrize("card", SHIPPED)
def test_every_number_of_a_setting_has_limits(card: ModelCard) -> None:
    for name, value in card.default.items():
        assert isinstance(value, (str, bool)) == (card.limit(name) is None), name
    for preset in ("", *card.presets):
        for name, value in card.configure(preset).items():
            low, high = card.limit(name) or (-math.inf, math.inf)
            assert isinstance(value, str) or low <= value <= high, (preset, name)


@pytest.mark.parametrize("card", SHIPPED)
def test_every_setting_says_what_it_does(card: ModelCard) -> None:
    assert not {name for name in card.default if not card.meaning(name)}


def test_no_shared_word_of_a_setting_is_left_over() -> None:
    used = {name for param in SHIPPED for name in param.values[0].default}
    assert set(MEANINGS) | set(LIMITS) <= used


@pytest.mark.parametrize("card", SHIPPED)
def test_every_word_of_a_setting_is_known_before_a_run(card: ModelCard) -> None:
    """A setting that takes words names those that it takes, or folders; a model without it fails in its cell."""
    words = {key for key, value in card.default.items() if isinstance(value, str)}
    assert words == {*card.choices, *card.folders}
    for key in card.choices:
        assert card.default[key] in card.choices[key]
        with pytest.raises(UserError, match=f"unknown {key} of {card.name} 'soap'"):
            card.configure("", {key: "soap"})


def test_words_of_settings_are_those_that_the_code_knows() -> None:
    pytest.importorskip("torch")
    from zoobench.zoo import cleaning, finetune, losses, preprocessing, tokens
    from zoobench.zoo.networks import heads

    bag, tuned = MODELS.get("tfidf-logreg").card.choices, MODELS.get("minilm").card.choices
    known = {
        "cleaning": cleaning.CLEANINGS, "head": heads.HEADS, "pooling": heads.POOLINGS, "loss": losses.LOSSES,
        "truncation": tokens.TRUNCATIONS, "augmentation": finetune.AUGMENTATIONS,
    }  # fmt: skip
    assert {name: set(words) for name, words in known.items()} == {name: set(tuned[name]) for name in known}
    assert set(bag["preprocessing"]) == set(preprocessing.PREPROCESSINGS)
    assert set(bag["cleaning"]) == set(cleaning.CLEANINGS)


def test_groups_of_two_letters_are_refused() -> None:
    with pytest.raises(UserError, match="letters=2: groups are of 3 letters or more"):
        MODELS.get("tfidf-logreg").card.configure("", {"letters": 2})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lora": 4, "frozen_embeddings": True}, "no effect with lora"),
        ({"attention": False}, "attention=false has no effect with head=linear"),
        ({"encoder": "./nowhere"}, "'./nowhere' is not there"),
        ({"encoder": ""}, "'' is not there"),
        ({"encoder": "a/b/c"}, "is not there"),
        ({"encoder": "tests"}, "holds no config.json"),
        ({"max_length": 2}, "max_length=2: an encoder reads 3 tokens or more"),
    ],
)
def test_settings_that_make_no_sense_together(
    settings: dict[str, Scalar], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    with pytest.raises(UserError, match=words):
        MODELS.get("minilm").card.configure("", settings)
