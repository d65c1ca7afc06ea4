"""`zoobench serve` as a process: it stops in order, dies without harm, and says in one line what stands in its way."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from zoobench.leaderboard.serve.server import listen

from .conftest import write_models, zoobench, zoobench_here
from .serving import Stored, connect, running

TRICKLE = (
    "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
)
SLOW = {
    "slow-answer": """
    def fit(self, X, y):
        return self
    def predict_proba(self, X):
        if "slow" in list(X):
            time.sleep(4)
        return self.half(X)
    def save(self, folder):
        (folder / "x").write_text("x")
    def load(self, folder):
        return self
"""
}


@pytest.fixture(scope="module")
def slow(stored_models: Stored, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A results folder with a model that takes its time."""
    from zoobench.benchmarks import run

    folder = tmp_path_factory.mktemp("slow")
    plugin, tiny = write_models(folder / "slow.py", SLOW), stored_models.plugins[0]
    run(task="tiny", model="slow-answer", plugin=[tiny, plugin], results=folder / "r", quiet=True)
    return Stored(folder / "r", (tiny, plugin))


def test_a_slow_answer_keeps_nobody_waiting_and_is_given_before_the_end(slow: Stored) -> None:
    with running(slow) as server, httpx.Client(base_url=server.address, timeout=60) as client:
        found: list[httpx.Response] = []
        question = {"task": "tiny", "text": "slow"}
        client.post("/api/predict", json={**question, "text": "quick"})
        asking = threading.Thread(
            target=lambda: found.append(httpx.post(f"{server.address}/api/predict", json=question, timeout=60))
        )
        asking.start()
        time.sleep(0.5)
        for _ in range(3):
            assert client.get("/api/health").status_code == 200
        assert not found, "all of that was while the model answered"
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.address}/api/health", timeout=5)
        assert server.process.wait(30) == 0
        asking.join(5)
        assert found[0].status_code == 200
        assert found[0].json()["answers"][0]["labels"]
        assert server.process.stderr is not None
        assert server.process.stderr.read() == "zoobench: stopped\n"


def test_a_body_that_trickles_is_not_waited_for_and_after_a_kill_the_port_is_free(stored_models: Stored) -> None:
    with running(stored_models, "--timeout", "1") as server:
        with connect(server) as wire:
            wire.sendall(f"{TRICKLE}{{".encode())
            told = b""
            while part := wire.recv(4096):
                told += part
        assert told.startswith(b"HTTP/1.1 408")
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["code"] == "slow_request"
        with connect(server):  # a connection that is open when the server dies
            server.process.kill()
            server.process.wait()
            listen("127.0.0.1", server.port).close()


def closes(wire: socket.socket, head: bytes) -> float:
    """Return after how many seconds a connection is closed on which a head comes byte by byte."""
    start = time.monotonic()
    wire.settimeout(0.1)
    for place in range(len(head)):
        try:
            wire.sendall(head[place : place + 1])
            while wire.recv(4096):
                pass  # what is left of an earlier answer
            break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


def test_a_head_that_trickles_is_not_waited_for(stored_models: Stored) -> None:
    """Also the second of a connection; a request that has its head is answered, however long it had been open."""
    whole = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running(stored_models, "--timeout", "1") as server:
        with connect(server) as wire:
            assert 0.5 < closes(wire, b"GET /" + 100 * b"a") < 5
        with connect(server) as wire:
            wire.sendall(whole)
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
            assert 0.5 < closes(wire, b"GET /" + 100 * b"a") < 5
        with connect(server) as wire:
            for _ in range(4):
                wire.sendall(whole)
                told = b""
                while not told.endswith(b"}}"):
                    told += wire.recv(4096)
                assert told.startswith(b"HTTP/1.1 200")
                time.sleep(0.4)


def test_a_taken_port_is_one_line(stored_models: Stored) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = zoobench("serve", "--port", str(port), "--results", stored_models.results)
    assert done.returncode == 2
    assert (
        done.stderr == f"zoobench: port {port} of 127.0.0.1 is taken: give another with --port (0 takes a free one)\n"
    )


def test_answers_are_sent_at_once() -> None:
    """What is small waits for nothing: asyncio sets TCP_NODELAY where the socket that listens says that it is TCP."""
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--results", "nowhere"), "results folder nowhere does not exist"),
        (("--port", "70000"), "--port"),
        (("--max-texts", "0"), "--max-texts 0 must be more than 0, and finite"),
        (("--site", "."), "--site . holds no site"),
        (("--timeout", "inf"), "--timeout inf must be more than 0, and finite"),
        (("--host", ""), "--host is empty"),
        (("--host", "no.such.host.invalid"), "cannot be listened on"),
        (("--batch", "0"), "batches of 0 texts"),
        (("--plugin", "none.py"), "none.py is not a Python file"),
        (("--task", "none.toml"), "none.toml"),
    ],
)
def test_what_stands_in_the_way_is_one_line(tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    (tmp_path / "r").mkdir()
    done = zoobench_here("serve", "--port", "0", "--results", "r", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
