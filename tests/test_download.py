"""Raw files are downloaded: against a real server on loopback that behaves, breaks off, stalls or lies."""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from zoobench.datasets.fetch import RawFile, fetch, local
from zoobench.datasets.support.errors import UnavailableError, UserError

from .conftest import until

CONTENT = random.Random(0).randbytes(1_000_000)  # noqa: S311
SHA = hashlib.sha256(CONTENT).hexdigest()
QUICK = (0.5, 0.5)


@dataclass
class Site:
    """What the server does, and what it was asked for."""

    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    status: int = 200
    breaks: list[int] = field(default_factory=list)
    """How many bytes each of the next answers has before it breaks off."""
    pause: float = 0.0
    """Seconds to wait where an answer breaks off, and after each 50,000 bytes of one that does not."""
    told_length: bool = True
    asked: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    ended: int = 0
    """How many answers were broken off, after the pause."""
    url: str = ""


def _start(site: Site, asked: str, condition: str) -> int:
    site.asked.append(asked)
    fresh = condition in (site.headers.get("ETag"), site.headers.get("Last-Modified"))
    return int(asked[6:-1]) if asked and site.ranges and fresh else 0


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        start = _start(self.site, self.headers.get("Range", ""), self.headers.get("If-Range", ""))
        if start >= len(self.site.content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else self.site.status)
        for name, value in self.site.headers.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.site.content) - 1}/{len(self.site.content)}")
        if self.site.told_length:
            self.send_header("Content-Length", str(len(self.site.content) - start))
        self.end_headers()
        self._send(self.site.content[start:])

    def _send(self, content: bytes) -> None:
        self.site.sent.append(0)
        breaks = self.site.breaks.pop(0) if self.site.breaks else None
        for at in range(0, len(content[:breaks]), 50_000):
            part = content[:breaks][at : at + 50_000]
            try:
                self.wfile.write(part)
            except OSError:
                return
            self.site.sent[-1] += len(part)
            time.sleep(self.site.pause if breaks is None else 0)
        if breaks is not None:
            time.sleep(self.site.pause)
            self.site.ended += 1
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site})) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_port}/raw.bin"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield site
        server.shutdown()


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh cache; what is returned is where the files of the task "demo" go."""
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "downloads" / "demo"


def raw(site: Site, sha256: str = SHA) -> RawFile:
    return RawFile("demo", "raw.bin", site.url, sha256)


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_file_is_downloaded_once_and_placed_whole(site: Site, downloads: Path) -> None:
    assert local(raw(site)) is None
    path = fetch(raw(site))
    assert path == downloads / "raw.bin"
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o444 == 0o444
    assert fetch(raw(site)) == local(raw(site)) == path
    assert site.asked == [""]
    assert kept(downloads) == {"raw.bin"}


def test_a_download_that_breaks_off_goes_on_where_it_was(site: Site, downloads: Path) -> None:
    site.breaks = [300_000, 300_000]
    assert fetch(raw(site)).read_bytes() == CONTENT
    starts = [int(asked[6:-1]) for asked in site.asked[1:]]
    assert site.asked[0] == ""
    assert len(starts) == 2
    assert 200_000 < starts[0] <= 300_000
    assert starts[0] + 200_000 < starts[1] <= starts[0] + 300_000
    assert kept(downloads) == {"raw.bin"}


def test_a_server_that_ignores_ranges_starts_from_zero(site: Site, downloads: Path) -> None:
    site.ranges, site.breaks = False, [300_000]
    assert fetch(raw(site)).read_bytes() == CONTENT
    assert site.sent == [300_000, 1_000_000]
    assert site.asked[1].startswith("bytes=")


def test_a_server_that_never_gets_further_is_given_up_and_nothing_stands_in_place(site: Site, downloads: Path) -> None:
    site.ranges, site.breaks = False, [300_000] * 9
    with pytest.raises(UnavailableError, match="broke off") as error:
        fetch(raw(site))
    assert len(site.asked) == 2
    assert site.url in one_line(error)
    assert f"put the file into {downloads} or set ZOOBENCH_DATA" in one_line(error)
    assert "demo/raw.bin" in one_line(error)
    assert not (downloads / "raw.bin").exists()


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}], ids=["none", "weak"])
def test_without_a_strong_validator_parts_are_not_put_together(
    site: Site, downloads: Path, headers: dict[str, str]
) -> None:
    site.headers, site.breaks = headers, [300_000]
    assert fetch(raw(site)).read_bytes() == CONTENT
    assert site.asked == ["", ""]


def test_the_date_serves_where_there_is_no_tag(site: Site, downloads: Path) -> None:
    site.headers, site.breaks = {"Last-Modified": "Sun, 01 Nov 2026 10:00:00 GMT"}, [300_000]
    assert fetch(raw(site)).read_bytes() == CONTENT
    assert site.asked[1].startswith("bytes=")
    assert sum(site.sent) < 1_200_000


def test_a_file_that_changed_at_its_address_meanwhile_is_fetched_anew(site: Site, downloads: Path) -> None:
    site.breaks = [300_000, 0]
    with pytest.raises(UnavailableError):
        fetch(raw(site, ""))
    other = bytes(reversed(CONTENT))
    site.content, site.headers = other, {"ETag": '"two"'}
    assert fetch(raw(site, "")).read_bytes() == other


def test_a_part_of_another_address_is_not_gone_on_with(site: Site, downloads: Path) -> None:
    site.breaks = [300_000, 0]
    with pytest.raises(UnavailableError):
        fetch(raw(site))
    moved = RawFile("demo", "raw.bin", f"{site.url}?moved", SHA)
    assert fetch(moved).read_bytes() == CONTENT
    assert site.asked[2] == ""


def test_a_part_that_is_longer_than_the_file_is_thrown_away(site: Site, downloads: Path) -> None:
    site.breaks = [300_000, 0]
    with pytest.raises(UnavailableError):
        fetch(raw(site))
    with (downloads / ".raw.bin.part" / "content").open("ab") as stream:
        stream.write(bytes(1_000_000))
    assert fetch(raw(site)).read_bytes() == CONTENT
    assert site.sent[-1] == 1_000_000


def test_an_answer_without_a_length_is_taken_to_its_end(site: Site, downloads: Path) -> None:
    site.told_length = False
    assert fetch(raw(site)).read_bytes() == CONTENT


def test_a_rest_without_a_length_of_its_own_is_counted(site: Site, downloads: Path) -> None:
    site.breaks = [300_000, 0]
    with pytest.raises(UnavailableError):
        fetch(raw(site))
    site.told_length, site.breaks = False, [300_000]
    assert fetch(raw(site)).read_bytes() == CONTENT
    assert len(site.asked) == 4


def test_a_server_that_stalls_is_given_up(site: Site, downloads: Path) -> None:
    site.breaks, site.pause = [100_000, 0], 60
    with pytest.raises(UnavailableError, match=r"fell silent|no answer within 0\.5 s") as error:
        fetch(raw(site), QUICK)
    assert not site.ended, "given up while the server was silent"
    assert "put the file into" in one_line(error)
    assert kept(downloads) == {".raw.bin.part"}


def test_a_server_that_never_answers_is_given_up(downloads: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        file = RawFile("demo", "raw.bin", f"http://127.0.0.1:{deaf.getsockname()[1]}/raw.bin")
        with pytest.raises(UnavailableError, match=r"no answer within 0\.5 s"):
            fetch(file, QUICK)


@pytest.mark.parametrize("status", [404, 503, 204])
def test_a_refusal_is_told_with_its_number(site: Site, downloads: Path, status: int) -> None:
    site.status = status
    with pytest.raises(UnavailableError, match=f"HTTP {status}") as error:
        fetch(raw(site))
    assert site.url in one_line(error)
    assert not (downloads / "raw.bin").exists()


def test_no_network_is_told_in_one_line(downloads: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UnavailableError, match="no connection") as error:
        fetch(RawFile("demo", "raw.bin", f"http://127.0.0.1:{port}/raw.bin"), QUICK)
    assert "HTTPConnectionPool" not in one_line(error)


def test_a_download_that_is_not_the_published_file_is_refused_and_removed(site: Site, downloads: Path) -> None:
    with pytest.raises(UserError, match="not the published file") as error:
        fetch(raw(site, "0" * 64))
    assert SHA in one_line(error)
    assert kept(downloads) == set()


def test_a_cache_that_cannot_be_written_is_told(site: Site, downloads: Path) -> None:
    downloads.parent.mkdir(parents=True)
    downloads.write_text("in the way")
    with pytest.raises(UserError, match="cannot be written") as error:
        fetch(raw(site))
    assert "ZOOBENCH_CACHE" in one_line(error)


DOWNLOAD = """
import sys
from zoobench.datasets.fetch import RawFile, fetch
print(fetch(RawFile("demo", "raw.bin", sys.argv[1], sys.argv[2])), flush=True)
"""


def in_a_process(site: Site) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, site.url, SHA],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def test_nothing_is_told_of_a_quick_download(site: Site, downloads: Path) -> None:
    process = in_a_process(site)
    assert process.communicate(timeout=20) == (f"{downloads / 'raw.bin'}\n", "")


def test_after_a_kill_only_the_rest_is_fetched(site: Site, downloads: Path) -> None:
    site.pause = 0.2
    part = downloads / ".raw.bin.part" / "content"
    process = in_a_process(site)
    try:
        until(lambda: part.exists() and part.stat().st_size >= 300_000)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (downloads / "raw.bin").exists()
    here, site.pause = part.stat().st_size, 0
    assert 300_000 <= here < 1_000_000
    assert fetch(raw(site)).read_bytes() == CONTENT
    assert site.asked == ["", f"bytes={here}-"]
    assert site.sent[1] == 1_000_000 - here
    assert kept(downloads) == {"raw.bin"}


def test_two_processes_download_once(site: Site, downloads: Path) -> None:
    site.pause = 0.08
    processes = [in_a_process(site) for _ in range(2)]
    answers = [process.communicate(timeout=20) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(downloads / "raw.bin")}
    assert site.asked == [""]
