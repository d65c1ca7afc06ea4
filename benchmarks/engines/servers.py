"""Warm servers: one process per framework and Keras backend, shared by all runs of a Python process."""

from __future__ import annotations

import atexit
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...datasets.support.errors import unknown_name
from ...zoo.core import ModelCard, Scalar

_SCIKIT_LEARN = (
    "pyarrow.parquet",
    "zoobench.benchmarks.engines.warm",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.multiclass",
    "sklearn.preprocessing",
    "zoobench.zoo.storage",
    "zoobench.benchmarks.scoring",
)
_TORCH = (
    *_SCIKIT_LEARN,
    "torch",
    "safetensors.torch",
    "transformers.models.auto",
    "transformers.models.bert.modeling_bert",
)
PRELOAD: Mapping[str, tuple[str, ...]] = {
    "scikit-learn": _SCIKIT_LEARN,
    "torch": _TORCH,
    "keras-tensorflow": (*_TORCH, "tensorflow", "keras"),
    "keras-torch": (*_TORCH, "keras"),
}
_SOFTWARE: Mapping[str, tuple[str, ...]] = {
    "scikit-learn": ("numpy", "scipy", "scikit-learn"),
    "torch": ("numpy", "scikit-learn", "torch", "transformers", "tokenizers"),
    "keras-tensorflow": ("numpy", "keras", "tensorflow", "torch", "transformers"),
    "keras-torch": ("numpy", "keras", "torch", "transformers"),
}
_BACKENDS = [name.removeprefix("keras-") for name in PRELOAD if name.startswith("keras-")]
START_SECONDS = 300.0
# The first exception of a traceback is the cause; those after it say that a pipe broke.
_CAUSE = re.compile(r"[A-Za-z_.]+(Error|Exception)\b")


def server_of(card: ModelCard, config: Mapping[str, Scalar]) -> str:
    """Return the name of the warm server that a model's cells fork from.

    Raises
    ------
    UserError
        If the configuration names a Keras backend that there is no server for.
    """
    if card.framework != "keras":
        return card.framework
    backend = str(config.get("backend", "tensorflow"))
    name = f"keras-{backend}"
    if name not in PRELOAD:
        raise unknown_name("Keras backend", backend, _BACKENDS)
    return name


def device_of(name: str, device: str) -> str:
    """Return the device that cells of the server `name` compute on in a run on `device`: scikit-learn knows no GPU."""
    return "cpu" if name == "scikit-learn" else device


def computes_on(card: ModelCard, config: Mapping[str, Scalar], device: str) -> str:
    """Return the device that a model's cells compute on in a run on `device`: without GPUs, if its card needs none."""
    return device_of(server_of(card, config), device) if card.needs.gpus else "cpu"


def software_of(card: ModelCard, config: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Return the distributions that a model's records name with their versions."""
    return (*_SOFTWARE[server_of(card, config)], *card.requires)


def gpus_of(config: Mapping[str, Scalar], device: str) -> int:
    """Return how many GPUs a cell on `device` takes: what its setting `gpus` says, or one."""
    return int(config.get("gpus", 1)) if device == "cuda" else 0


_shared: dict[tuple[str, str], Server] = {}
_guard = threading.Lock()


def shared(name: str, device: str) -> Server:
    """Return the server of this process for a framework, started if there is none alive.

    It stays when a run ends, so that the next run in a notebook or a test begins at once.
    """
    with _guard:
        server = _shared.get((name, device))
        if server is None or not server.alive:
            server = _shared[name, device] = Server(name, device)
    return server


def retire(name: str, device: str) -> None:
    """Close a server that lost its fork server: the next use starts another."""
    with _guard:
        server = _shared.pop((name, device), None)
    if server is not None:
        server.close()


@atexit.register
def _close_all() -> None:
    for server in _shared.values():
        server.close()


class ServerError(RuntimeError):
    """A warm server did not start, or died."""


class Server:
    """A running supervisor (see ``supervisor.py``).

    Parameters
    ----------
    name
        A key of `PRELOAD`.
    device
        "cpu" hides every GPU from its processes.
    """

    def __init__(self, name: str, device: str) -> None:
        self.name = name
        self._added = environment(name, device)
        self._waiting: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self._guard = threading.Lock()
        self._ready = threading.Event()
        self._broken = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zoobench.benchmarks.engines.supervisor", *PRELOAD[name]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **self._added},
            # A folder of nobody's: started in a repository's root, `-m` would find its modules first.
            cwd=tempfile.gettempdir(),
            start_new_session=True,
        )
        threading.Thread(target=self._listen, name=f"server {name}", daemon=True).start()

    def wait_ready(self) -> None:
        """Wait until the frameworks are imported.

        Raises
        ------
        ServerError
            If the server died instead; the message ends with the last line that it wrote.
        """
        if not self._ready.wait(START_SECONDS) or self._broken or self._process.poll() is not None:
            raise ServerError(f"the {self.name} server did not start: {self._last_words()}")

    def start(self, job: Path, gpus: Sequence[str] = ()) -> queue.SimpleQueue[dict[str, Any]]:
        """Start a process for the job file; the queue receives its ``pid`` and then its ``exit``.

        The process has today's environment, not that in which the server was started: it may have changed since.

        Parameters
        ----------
        gpus
            The UUIDs of the GPUs that it sees, and no others; without any those of the server.
        """
        self.wait_ready()
        messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._guard:
            self._waiting[str(job)] = messages
            stream = self._process.stdin
            try:
                if stream is None:
                    raise BrokenPipeError
                given = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
                request = {"job": str(job), "environment": {**os.environ, **self._added, **given}}
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
            except OSError as error:
                raise ServerError(f"the {self.name} server died: {self._last_words()}") from error
        return messages

    @property
    def alive(self) -> bool:
        """Whether the supervisor still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the server and every process that it still runs."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _listen(self) -> None:
        stream = self._process.stdout
        for line in stream or ():
            message = json.loads(line)
            if "ready" in message:
                self._broken = not message["ready"]
                self._ready.set()
                continue
            with self._guard:
                waiting = self._waiting.get(message["job"])
                if "exit" in message:
                    self._waiting.pop(message["job"], None)
            if waiting is not None:
                waiting.put(message)
        with self._guard:
            orphans, self._waiting = self._waiting, {}
        for waiting in orphans.values():
            waiting.put({"lost": True})
        self._broken = True
        self._ready.set()

    def _last_words(self) -> str:
        if self._log.closed:
            return "it was closed"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        causes = [line for line in lines if _CAUSE.match(line)]
        return next(iter(causes or lines[-1:]), f"exit status {self._process.poll()}")


def environment(name: str, device: str) -> dict[str, str]:
    """Return the variables that a process of this framework needs before it imports it."""
    added = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if name.startswith("keras-"):
        added["KERAS_BACKEND"] = name.removeprefix("keras-")
    if device == "cpu":
        added["CUDA_VISIBLE_DEVICES"] = "-1"
    else:
        # A process that has asked CUDA cannot be forked from: while a framework is imported, torch asks the driver in
        # its place, which it does for numbers and not for slices. Each cell is told its own GPU when it is forked.
        added |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "CUDA_VISIBLE_DEVICES": "0"}
        # Or tensorflow takes all of the memory at once: two cells could not share a GPU, and no peak would tell.
        added["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return added
