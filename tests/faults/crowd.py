"""Four processes at once on one results folder, one study, one cache, one download."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from .scene import Scene, losses

FOUR = 4


def one_folder(scene: Scene) -> list[str]:
    """Four runs of the same suite on one results folder and an empty cache; what is lost, or done twice."""
    results, cache = scene.folder / "shared", scene.folder / "cache"
    fits = scene.folder / "fits"
    runs = [scene.start(results, ZOOBENCH_CACHE=str(cache), FITS=str(fits)) for _ in range(FOUR)]
    statuses = [run.wait(600) for run in runs]
    lines = [f"run {place} ended with status {status}" for place, status in enumerate(statuses) if status]
    counts = Counter(fits.read_text().splitlines())
    lines += [f"{name} was fitted {count} times" for name, count in counts.items() if count > 1]
    return [*lines, *losses(results, scene.unbroken)]


def one_study(scene: Scene) -> list[str]:
    """Four machines (results folders) on one database: its trials are shared, but for those begun at one moment."""
    import optuna

    url = f"sqlite:///{scene.folder / 'studies.db'}"
    runs = [scene.start(scene.folder / f"machine-{place}", "--storage", url) for place in range(FOUR)]
    statuses = [run.wait(600) for run in runs]
    lines = [f"run {place} ended with status {status}" for place, status in enumerate(statuses) if status]
    for name in optuna.get_all_study_names(url):
        trials = [
            trial for trial in optuna.load_study(study_name=name, storage=url).trials if trial.state.is_finished()
        ]
        if not 3 <= len(trials) <= 3 + FOUR - 1:  # each may have begun its last before another told its own
            lines.append(f"study {name}: {len(trials)} trials for a budget of 3")
    for place in range(FOUR):
        for path in (scene.folder / f"machine-{place}").glob("cells/*/knows/*/record.json"):
            record = json.loads(path.read_text())
            if record["status"] != "ok":
                lines.append(f"machine {place}: {record['status']}: {record['reason']}")
    return lines


_FETCH = """
import sys
from zoobench.datasets.fetch import RawFile, fetch
print(fetch(RawFile("crowd", "raw.bin", sys.argv[1], sys.argv[2])))
"""


def one_download(scene: Scene) -> list[str]:
    """Four processes that want one file from a server on the loopback: it is asked once."""
    content, asked = random.Random(0).randbytes(3_000_000), []  # noqa: S311
    cache = {**os.environ, "ZOOBENCH_CACHE": str(scene.folder / "download-cache")}
    cache.pop("ZOOBENCH_DATA", None)  # nothing is downloaded where it is set
    with _serving(content, asked) as url:
        command = [sys.executable, "-c", _FETCH, url, hashlib.sha256(content).hexdigest()]
        pipe = subprocess.PIPE
        processes = [subprocess.Popen(command, env=cache, text=True, stdout=pipe, stderr=pipe) for _ in range(FOUR)]
        answers = [process.communicate(timeout=120) for process in processes]
    lines = [answer[1][-200:] for answer, process in zip(answers, processes, strict=True) if process.returncode]
    if len(asked) != 1:
        lines.append(f"the server was asked {len(asked)} times")
    found = [Path(path.strip()) for path, _ in answers if path.strip()]
    return lines + [f"{path} is not whole" for path in found if path.read_bytes() != content]


@contextlib.contextmanager
def _serving(content: bytes, asked: list[str]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for start in range(0, len(content), 500_000):
                self.wfile.write(content[start : start + 500_000])
                time.sleep(0.2)  # long enough for the others to come

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/raw.bin"
        server.shutdown()


def all_crowds(scene: Scene, say: Callable[[str], None]) -> list[str]:
    """Run every crowd and return what was lost."""
    lost = []
    for name, work in {
        "four runs on one folder and one empty cache": lambda: one_folder(scene),
        "four machines on one study": lambda: one_study(scene),
        "four downloads of one file": lambda: one_download(scene),
    }.items():
        found = work()
        say(f"{name}: {'; '.join(found) or 'nothing lost'}")
        lost += [f"{name}: {line}" for line in found]
    return lost
