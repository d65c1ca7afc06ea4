"""What the tests share: an isolated cache and results folder, and a small task with plug-in models."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before numpy and torch: a process takes the cores that are its own, or tests that train wait for one another.
_SHARE = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, str(_SHARE))

# Before Ray, which reads it once: its servers listen on the loopback address alone.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# Before tensorflow: where triton's LLVM comes second, torch's compiler ends the process that has both.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

TASK = """
import numpy as np
from zoobench.datasets.core import Examples, TaskCard, task


def card(name, kind):
    return TaskCard(
        name=name, title="Tiny", description="Three words are the labels.", version=1, kind=kind, modality="text",
        labels=("fever", "fracture", "nodule"), primary_metric="f1_macro", group="none", licence="CC0-1.0",
        source="generated", citation="none",
    )


def examples(kind, rows=240):
    rng = np.random.default_rng(3)
    held = rng.random((rows, 3)) < 0.4 if kind == "multilabel" else np.eye(3, dtype=bool)[rng.integers(3, size=rows)]
    words, filler = np.array(["fever", "fracture", "nodule"]), np.array("the chest is seen with no change".split())
    texts = [" ".join([*rng.choice(filler, 6), *words[row], *rng.choice(filler, 4)]) for row in held]
    targets = held.astype(np.uint8) if kind == "multilabel" else held.argmax(axis=1)
    ids = np.array([f"r{index}" for index in range(rows)], dtype=object)
    return Examples(ids, np.array(texts, dtype=object), targets, np.arange(rows))


@task(card("tiny", "multilabel"))
def tiny():
    return examples("multilabel")


@task(card("tiny-classes", "multiclass"))
def tiny_classes():
    return examples("multiclass")
"""


def _share(nodeid: str) -> str:
    """Name the tests that one process runs together: a file, or the contract of one model on one kind of task."""
    file, _, test = nodeid.partition("::")
    return test.rpartition("-")[0] if file.endswith("test_model_contract.py") and "-" in test else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that train models: a process that came to one last would be last by far."""
    long = {_share(item.nodeid) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: _share(item.nodeid) not in long)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal tests to processes by `_share`: what a file sets up once would be set up in every process."""
    from xdist.scheduler import LoadScopeScheduling

    class ByShare(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _share(nodeid)

    return ByShare(config, log)


@pytest.fixture
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `auto` mean fp32: a processor that multiplies bf16 faster would take it, and round by the shape of a batch."""
    monkeypatch.setattr("zoobench.zoo.number_format.fastest_format", lambda device: "fp32")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the whole session, so that tasks and embeddings are prepared once."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["ZOOBENCH_CACHE"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def _isolated(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_CACHE", str(cache))
    monkeypatch.delenv("ZOOBENCH_RESULTS", raising=False)
    monkeypatch.delenv("ZOOBENCH_DATA", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # set in the processes that run tests side by side


@pytest.fixture(scope="module", autouse=True)
def _own_names() -> Iterator[None]:
    """What a file's plug-ins register is gone after it: two files may use one name, in whichever order they run."""
    from zoobench.datasets.core import TASKS
    from zoobench.zoo.core import MODELS

    tables: list[dict[str, Any]] = []
    for registry in (MODELS, TASKS):
        registry.entries()  # looks for those that ship, once a process
        tables += [registry._entries, registry._origins]
    before = [dict(table) for table in tables]
    yield
    for table, known in zip(tables, before, strict=True):
        table.clear()
        table.update(known)


REAL_DATA = Path(os.environ.get("ZOOBENCH_DATA", Path(__file__).parents[2] / "shared" / "data")).absolute()


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the published files (see datasets/README.md); the test is skipped where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip("the published files are not here: set ZOOBENCH_DATA to a folder that holds them")
    monkeypatch.setenv("ZOOBENCH_DATA", str(REAL_DATA))
    return REAL_DATA


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in file with two tiny tasks: `tiny` (multi-label) and `tiny-classes` (multi-class)."""
    path = tmp_path_factory.mktemp("plugins") / "tiny_tasks.py"
    path.write_text(TASK)
    return path


@pytest.fixture(scope="session")
def tunable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in file with the task `searched` and the model `knows`, which has a space to search."""
    from .tunable import SOURCE

    path = tmp_path_factory.mktemp("plugins") / "tunable.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="session")
def stored_models(tmp_path_factory: pytest.TempPathFactory, cache: Path, tiny: Path) -> Any:
    """The models that tests of `zoobench serve` ask: of words on both tiny tasks, and a made-up one of images."""
    from zoobench.benchmarks import run

    from .serving import Stored
    from .test_explain import LOOKING
    from .test_image_tasks import write_squares

    folder = tmp_path_factory.mktemp("serving")
    squares = write_squares(folder, LOOKING)
    results = folder / "results"
    run(
        task=["tiny", "tiny-classes"], model=["tfidf-logreg", "dummy-uniform"], plugin=tiny, results=results, quiet=True
    )
    run(task="seen-squares", model=["viewer", "eyeless"], plugin=squares, results=results, quiet=True)
    return Stored(results, (tiny, squares))


@pytest.fixture(scope="session")
def knowing(tiny: Path) -> list[Path]:
    """The plug-ins of ensembles: the tiny tasks, and models that know one or two of their words each."""
    from .ensembles import plugins_beside

    return plugins_beside(tiny)


@pytest.fixture
def five(tmp_path: Path, knowing: list[Path]) -> Path:
    """A results folder with five finished cells of those models, to add to and to damage."""
    from .ensembles import five_cells

    return five_cells(knowing, tmp_path / "r")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for the tests of a file; they are skipped where there is none."""
    from .browser import browsing

    with browsing() as found:
        yield found


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of made-up records with all that the site's pages tell of: to read alone."""
    from .sites import fill

    return fill(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def built(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of those records, in both languages."""
    from zoobench.leaderboard.site.build import build_site

    return build_site(made_up, tmp_path_factory.mktemp("out") / "site").out


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A raw file beside a cache of this test alone."""
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "raw.txt"
    path.write_text("raw")
    return path


def write_models(path: Path, bodies: dict[str, str], kind_line: str = "") -> Path:
    """Write a plug-in whose models are classes with the given bodies of `fit` and `predict_proba`."""
    parts = [
        "import os, signal, sys, time\nimport numpy as np\nfrom zoobench.zoo.core import ModelCard, model\n",
        "def hold():\n    kept = np.ones(37_500_000)\n    time.sleep(1.5)\n    return kept\n",
    ]
    for name, body in bodies.items():
        parts.append(
            f'''
class Model_{name.replace("-", "_")}:
    def __init__(self, context):
        self.context = context
        self.labels = len(context.task.labels)

    def half(self, X):
        answer = np.full((len(X), self.labels), 0.5)
        return answer / answer.sum(axis=1, keepdims=True) if self.context.task.kind == "multiclass" else answer

{textwrap.indent(textwrap.dedent(body), "    ")}


@model(ModelCard(name="{name}", title="t", description="d", modality="text", framework="scikit-learn", citation="c"{kind_line}))
def build_{name.replace("-", "_")}(config, context):
    return Model_{name.replace("-", "_")}(context)
'''
        )
    path.write_text("\n".join(parts))
    return path


def until(done: Callable[[], object], seconds: float = 120) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds:g} s"
        time.sleep(0.05)


def zoobench(
    *words: str | Path, cwd: Path | None = None, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a person would."""
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", *map(str, words)]
    return subprocess.run(
        command,
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def zoobench_here(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process: what is refused before anything is done needs no process of its own."""
    from zoobench.leaderboard.cli import main

    said, complained = io.StringIO(), io.StringIO()
    before, argv, handler = Path.cwd(), sys.argv, signal.getsignal(signal.SIGTERM)
    status: int | str | None = 0
    try:
        os.chdir(cwd or before)
        sys.argv = ["zoobench", *map(str, words)]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            main()
    except SystemExit as end:
        status = end.code
    finally:
        os.chdir(before)
        sys.argv = argv
        signal.signal(signal.SIGTERM, handler)
    return subprocess.CompletedProcess(sys.argv, int(status or 0), said.getvalue(), complained.getvalue())
