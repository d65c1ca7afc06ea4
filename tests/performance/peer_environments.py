"""The peers that zoobench is measured beside: what each is made of, an environment of its own, a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoobench.datasets.core import Kind
from zoobench.datasets.support.errors import UnavailableError
from zoobench.datasets.support.files import lock, sha256_json, write_text
from zoobench.datasets.support.folders import cache_root

PROGRAMS = Path(__file__).with_name("peer_programs")
EXCHANGE = PROGRAMS / "exchange.py"
READY = "installed.txt"
"""What an environment was made of; written last, so that one without it is made anew."""

BOTH: tuple[Kind, ...] = ("multilabel", "multiclass")
ARRAYS = ("numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1")
LIBLINEAR = ("libmultilabel==0.10.0", "liblinear-multicore==2.50.0")
OLDER = ("numpy==2.2.6", "scipy==1.13.1", "scikit-learn==1.9.1", "pandas==3.1.1")
"""scipy 1.14 took away how LibMultiLabel's thresholding sums columns: its linear methods have the last before."""


@dataclass(frozen=True)
class Peer:
    """A system of others.

    Attributes
    ----------
    program
        A file of `PROGRAMS`: it is given a folder with the folds and writes its answers there.
    pins
        What its environment holds, each at one version.
    words
        What the program is told beside the folder; ``{epochs}`` and ``{seconds}`` are limits that a person sets.
    kinds
        Tasks that it answers.
    """

    name: str
    program: str
    pins: tuple[str, ...]
    words: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = BOTH

    def __post_init__(self) -> None:
        if not self.path.is_file() or not all("==" in pin for pin in self.pins):
            raise ValueError(
                f"peer {self.name}: it needs a program in {PROGRAMS.name}/, and one version of each package"
            )

    @property
    def path(self) -> Path:
        return PROGRAMS / self.program


def _linear(name: str, kinds: tuple[Kind, ...]) -> Peer:
    return Peer(
        f"libmultilabel-{name.replace('_', '-')}", "libmultilabel_linear.py", (*LIBLINEAR, *OLDER), (name,), kinds
    )


PEERS = {
    peer.name: peer
    for peer in (
        Peer("plain", "plain.py", ARRAYS),
        _linear("1vsrest", ("multilabel",)),
        _linear("thresholding", ("multilabel",)),
        _linear("cost_sensitive", ("multilabel",)),
        _linear("binary_and_multiclass", ("multiclass",)),
        Peer(
            "libmultilabel-kimcnn",
            "libmultilabel_network.py",
            (
                *("libmultilabel[nn]==0.10.0", LIBLINEAR[1], *ARRAYS, "pandas==3.1.1", "torch==2.15.0"),
                # torchmetrics 0.10.3, which it asks for, needs pkg_resources: setuptools before 81.
                *("lightning==2.6.6", "transformers==5.23.0", "nltk==3.10.4", "setuptools==80.10.2"),
            ),
            ("{epochs}",),
        ),
        Peer(
            "autogluon",
            "autogluon_tabular.py",
            ("autogluon.tabular[lightgbm]==1.6.3", "lightgbm==4.7.0", *ARRAYS, "pandas==2.3.3"),
            ("{seconds}",),
        ),
    )
}


def environment(peer: Peer) -> Path:
    """Return the Python of a peer's environment, which is made in the cache where it is not there yet.

    Raises
    ------
    UnavailableError
        If it cannot be installed here; a later call tries again.
    """
    folder = cache_root() / "peers" / sha256_json([*peer.pins, sys.version])[:16]
    python = folder / "bin" / "python"
    with lock(folder.with_suffix(".lock")):
        if not (folder / READY).exists():
            print(f"installing the environment of {peer.name} into {folder}", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            for command in _installation(folder, python, peer.pins):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise UnavailableError(f"not installed: {_last_line(done.stderr)}")
            write_text(folder / READY, "\n".join(peer.pins) + "\n")
    return python


def _installation(folder: Path, python: Path, pins: Sequence[str]) -> list[list[str]]:
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    if uv := shutil.which("uv", path=places):
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        add = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        make = [sys.executable, "-m", "venv", str(folder)]
        add = [str(python), "-m", "pip", "install", "--quiet"]
    return [make, [*add, *pins]] if pins else [make]


@dataclass(frozen=True)
class Ran:
    """How a process ended: its seconds, and why it failed ("" where it did not)."""

    wall_s: float
    failure: str


def run(command: Sequence[str | Path], folder: Path, threads: int, timeout: float) -> Ran:
    """Run a command in `folder` to its end; what it says goes to ``log.txt`` there.

    It finds nothing of zoobench's in its environment. What it starts ends with it.
    """
    hidden = ("ZOOBENCH", "PYTHON", "VIRTUAL_ENV")
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    surroundings |= in_threads(threads) | {"PYTHONNOUSERSITE": "1", "TOKENIZERS_PARALLELISM": "false"}
    surroundings["PYTHONUNBUFFERED"] = "1"  # or what it said before it failed comes last in the log
    log = folder / "log.txt"
    start = time.perf_counter()
    with log.open("wb") as stream:
        kept = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": subprocess.STDOUT}
        words = list(map(str, command))
        process = subprocess.Popen(words, cwd=folder, env=surroundings, start_new_session=True, **kept)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return Ran(time.perf_counter() - start, f"not done in {timeout:g} s")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    wall_s = time.perf_counter() - start
    said = _last_line(log.read_text(encoding="utf-8", errors="replace"))
    return Ran(wall_s, f"ended with status {code}: {said}" if code else "")


def in_threads(count: int) -> dict[str, str]:
    """Return the environment variables by which libraries of arrays take so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(count))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
