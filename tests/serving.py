"""What the tests of `zoobench serve` share: stored models of the tiny tasks, the application, and a real process."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HOST = "http://127.0.0.1"
TEXT = "the fever is seen with a nodule in the chest"
START_SECONDS = 60


@dataclass(frozen=True)
class Stored:
    """A results folder with models that can answer, and the plug-ins that they and their tasks came from."""

    results: Path
    plugins: tuple[Path, ...]


def settings(stored: Stored, **changed: Any) -> Any:
    from zoobench.leaderboard.serve.settings import Settings

    return Settings(stored.results, stored.plugins, refresh_s=0.0, **changed)


@contextlib.contextmanager
def client(stored: Stored, **changed: Any) -> Iterator[Any]:
    """A client of the application in this process; unexpected faults arrive as status 500, as they would outside."""
    from starlette.testclient import TestClient
    from zoobench.leaderboard.serve.app import create_app

    with TestClient(create_app(settings(stored, **changed)), HOST, raise_server_exceptions=False) as made:
        yield made


def error(response: Any, status: int, code: str) -> str:
    """Return the message of a refusal that is as it should be."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    told = response.json()["error"]
    assert told["code"] == code
    assert "\n" not in told["message"]
    return told["message"]


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextlib.contextmanager
def running(stored: Stored, *words: str | Path, **environment: str) -> Iterator[Running]:
    """`zoobench serve` in a process of its own, at a free port, once it says where."""
    plugins = [word for path in stored.plugins for word in ("--plugin", str(path))]
    command = [
        sys.executable,
        "-m",
        "zoobench.leaderboard.cli",
        "serve",
        "--port",
        "0",
        "--results",
        str(stored.results),
    ]
    process = subprocess.Popen(
        [*command, *plugins, *map(str, words)], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        yield Running(process, _address(process))
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    end, said = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < end:
        line = process.stderr.readline()
        said += line
        if found := re.search(r"http://\S+:\d+", line):
            return found[0]
        if not line:
            break
    pytest.fail(f"the server did not start:\n{said}")


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)
