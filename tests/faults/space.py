"""A disk that fills up under a run, by a small tmpfs, or by a limit on the size of files where none can be mounted."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from .scene import Scene

SMALL, LARGE = "300k", "200m"


def full_disk(scene: Scene, sizes: list[str], say: Callable[[str], None]) -> list[str]:
    """Fill the disk of a results folder at several sizes, make room, run again, and return what was lost."""
    lost = []
    for size in sizes:
        mount = scene.folder / f"disk-{size}"
        mount.mkdir()
        with _mounted(mount, size) as grow:
            lines = _fill_and_resume(scene, mount / "r", grow)
        say(f"disk of {size}: {'; '.join(lines) or 'nothing lost'}")
        lost += [f"disk of {size}: {line}" for line in lines]
    return lost


def _fill_and_resume(scene: Scene, results: Path, grow: Callable[[], None]) -> list[str]:
    log = scene.folder / f"{results.parent.name}.log"
    with log.open("w") as stream:
        done = subprocess.run(scene.command(results), stdout=stream, stderr=stream, check=False, timeout=600)
    said = log.read_text().strip().splitlines()
    lines = [] if done.returncode == 2 else [f"the run ended with status {done.returncode}, 2 wanted"]
    if not any("No space left" in line for line in said[-1:]):
        lines.append(f"it does not say that there is no space: {said[-1:]}")
    grow()
    return [*lines, *scene.resume(results)]


@contextlib.contextmanager
def _mounted(folder: Path, size: str) -> Iterator[Callable[[], None]]:
    def mount(*words: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", *words, "tmpfs", str(folder)], check=True, capture_output=True)

    mount(f"size={size}")
    try:
        yield lambda: mount(f"remount,size={LARGE}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def can_mount(folder: Path) -> bool:
    """Return whether this process may mount a tmpfs."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError), _mounted(folder, SMALL):
        return True
    return False


def file_limit(scene: Scene, size: int) -> list[str]:
    """Run under a limit on the size of files (RLIMIT_FSIZE, bytes), then without it, and return what was lost."""
    results, log = scene.folder / f"limit-{size}", scene.folder / f"limit-{size}.log"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    with log.open("w") as stream:
        pipe = subprocess.PIPE  # a file would reach its limit too
        done = subprocess.run(
            scene.command(results), stdout=pipe, stderr=pipe, preexec_fn=limit, check=False, timeout=600, text=True
        )
        stream.write(done.stderr)
    lines = [] if done.returncode == 2 else [f"the run ended with status {done.returncode}, 2 wanted"]
    if "File too large" not in done.stderr.strip().splitlines()[-1]:
        lines.append(f"it does not say what is wrong: {done.stderr[-200:]}")
    return [*lines, *scene.resume(results)]
