"""Models that do what no model should: their cells alone are affected."""

from __future__ import annotations

import json
from pathlib import Path

import psutil

from ..conftest import write_models
from .scene import Scene, cells, losses, processes

BEHAVIOUR = {
    "forks": """
        for _ in range(8):
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
    """,
    "leaves-a-daemon": """
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.chdir("/")
            open(DAEMONS, "a").write(f"{os.getpid()}\\n")
            os.closerange(3, 64)
            time.sleep(600)
            os._exit(0)
        os.wait()
    """,
    "ignores-sigterm": """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    """,
    "floods-stdout": """
        block = "x" * 999_999 + "\\n"
        for _ in range(MEGABYTES):
            sys.stdout.write(block)
    """,
    "closes-stdin": """
        os.close(0)
        os.close(1)
    """,
    "changes-folder": """
        os.chdir("/")
    """,
    "deletes-its-folder": """
        import shutil
        shutil.rmtree(os.getcwd())
    """,
    "sets-everything": """
        import random
        random.seed(0)
        np.random.seed(0)
        os.environ.update(OMP_NUM_THREADS="64", OPENBLAS_NUM_THREADS="64", PYTHONHASHSEED="7", HOME="/nowhere")
        os.nice(5)
    """,
    "raises-exit": """
        sys.exit(0)
    """,
}
FAILS = {"ignores-sigterm": "timeout", "raises-exit": "failed"}
"""What these come to; the others answer in the end."""
TIMEOUT = "8"


def hostile(scene: Scene, megabytes: int) -> list[str]:
    """Run the scene's cells beside hostile ones, two at a time; return which peaceful cell was affected, and how."""
    daemons = scene.folder / "daemons"
    bodies = {
        name: f"def fit(self, X, y):{_told(body, megabytes, daemons)}    return self\n"
        "def predict_proba(self, X):\n    return self.half(X)\n"
        for name, body in BEHAVIOUR.items()
    }
    plugin = write_models(scene.folder / "hostile.py", bodies)
    results = scene.folder / "hostile"
    words = [word for name in BEHAVIOUR for word in ("--model", name)]
    status = scene.finish(results, "--plugin", str(plugin), *words, "--jobs", "2", "--timeout", TIMEOUT)
    lines = [] if status == 1 else [f"the run ended with status {status}, 1 wanted: some of its cells fail"]
    lines += _judged(results)
    lines += [f"process {line} is left behind" for line in processes(results)]
    lines += [f"daemon {pid} is left behind" for pid in _living(daemons)]
    peaceful = [line for line in losses(results, scene.unbroken) if not any(f"/{name}/" in line for name in BEHAVIOUR)]
    return [*lines, *peaceful]


def _told(body: str, megabytes: int, daemons: Path) -> str:
    return body.replace("MEGABYTES", str(megabytes)).replace("DAEMONS", repr(str(daemons)))


def _judged(results: Path) -> list[str]:
    lines = []
    for name, path in cells(results).items():
        model = name.split("/")[1]
        if model not in BEHAVIOUR:
            continue
        record = json.loads(path.read_text())
        if record["status"] != (wanted := FAILS.get(model, "ok")):
            lines.append(f"{name}: {record['status']} ({record['reason']}), {wanted} wanted")
        log = path.parent / record["attempt"] / "log.txt"
        if log.exists() and log.stat().st_size > 1_100_000:
            lines.append(f"{name}: a log of {log.stat().st_size:,} bytes")
    return lines


def _living(daemons: Path) -> list[int]:
    """Return which of the daemons that wrote their number into a file still live."""
    return [pid for pid in map(int, daemons.read_text().split()) if psutil.pid_exists(pid)]
