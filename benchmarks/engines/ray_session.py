"""A connection to a Ray cluster, or a Ray of our own on this machine for as long as a run lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...datasets.support.errors import UserError, first_line
from ..hardware import cores
from .ray_node import NAMESPACE, ROOT

CONNECT_SECONDS, CHECK_SECONDS, INIT_SECONDS = 3.0, 10.0, 30.0
CLIENT = "ray://"
_REACHABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def load(*, alone: bool = False) -> Any:
    """Return the module `ray`; one that listens on the loopback address if it is to be `alone` on this machine.

    Raises
    ------
    UserError
        If it is not installed.
    """
    # It sends nothing anywhere, and does not take the folder that a command was started in to other machines.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if alone:
        # Read at import: without it Ray replaces 127.0.0.1 by an address that others reach, and listens on all.
        os.environ.setdefault(_REACHABLE, "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--engine ray: {error}: pip install 'zoobench[ray]'") from None
    return ray


@dataclass
class Session:
    """What `connect` made; `home` is the node of this process, "" where it talks to a cluster from outside."""

    address: str
    home: str
    owned: bool
    folder: Path | None = None

    def close(self) -> None:
        """Leave the cluster, or end the Ray that was started here."""
        import ray

        if self.owned:
            ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def connect(address: str | None) -> Session:
    """Join the cluster at `address` (``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``), or start Ray here for None.

    Raises
    ------
    UserError
        If Ray is not installed, or nobody answers within some seconds.
    """
    known = sys.modules.get("ray")
    if address is not None and find_spec("ray") and not (known and known.is_initialized()):
        _knock(address)  # before the import: Ray reads then whether it has to show its token
    ray = load(alone=address is None)
    if ray.is_initialized():  # a notebook's own
        return Session(address or "this process's", ray.get_runtime_context().get_node_id(), owned=False)
    if address is None:
        try:
            return _alone(ray)
        except UserError:
            return _alone(ray)  # Ray gives itself 30 s to start, which a busy machine does not always keep
    _init(ray, address, {"address": address})
    home = "" if address.startswith(CLIENT) else ray.get_runtime_context().get_node_id()
    return Session(address, home, owned=True)


def _alone(ray: Any) -> Session:
    """Start Ray on this machine, for this process alone."""
    folder = Path(tempfile.mkdtemp(prefix=f"{ROOT}{os.getpid()}."))  # short: sockets stand in it; see `ray_node.sweep`
    options: dict[str, Any] = {
        "num_cpus": cores(),
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(folder),
        # A cell's memory is watched by its station; Ray would end the station with all of its cells.
        "_system_config": {"memory_monitor_refresh_ms": 0},
    }
    try:
        _init(ray, "this machine", options)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Session("this machine", ray.get_runtime_context().get_node_id(), owned=True, folder=folder)


def _knock(address: str) -> None:
    """Refuse an address where nobody listens, or something else: Ray would try for a minute and end this process."""
    if address == "auto":  # Ray alone knows where that is; it is this machine's, so that a token here is for it
        _show_token()
        return
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise UserError(f"--address {address} is not auto, HOST:PORT or ray://HOST:PORT")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"--address {address}: nobody answers there ({reason}): is `ray start --head` running?"
        ) from None
    _check(address.removeprefix(CLIENT), client=address.startswith(CLIENT))


def _check(address: str, *, client: bool) -> None:
    """Refuse what does not speak Ray's protocol: Ray would try for a minute, and then end this process."""
    if os.environ.get("RAY_USE_TLS") == "1":
        return  # whoever set this up has other means to look at it
    try:
        import grpc
    except ImportError:
        return  # only an error is told later then
    asked = "RayletDriver/ClusterInfo" if client else "NodeInfoGcsService/CheckAlive"
    silent = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED}
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(f"/ray.rpc.{asked}")(b"", timeout=CHECK_SECONDS)
        except grpc.RpcError as error:
            if error.code() in silent:  # any other is an answer of Ray's
                raise UserError(
                    f"--address {address}: what listens there is no Ray cluster: `ray start --head` starts one"
                ) from None
            if error.code() == grpc.StatusCode.UNAUTHENTICATED and not _show_token():
                raise UserError(
                    f"--address {address}: this cluster wants a token: set RAY_AUTH_TOKEN to what its head has in "
                    "~/.ray/auth_token, or RAY_AUTH_TOKEN_PATH to a copy of that file"
                ) from None


def _show_token() -> bool:
    """Have Ray show the token that it finds here, and say whether there is one.

    Its clusters want one by default wherever one was ever made, but a driver that joins shows none unless told to.
    """
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if found := named or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    return found


def _init(ray: Any, address: str, options: dict[str, Any]) -> None:
    """Start or join Ray, and leave the signals of this process to whoever had them."""
    failed: list[Exception] = []

    def work() -> None:
        try:
            ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR", **options)
        except Exception as error:
            failed.append(error)

    if "address" in options:
        # In a thread, for it may wait without end. What it starts itself would end with that thread.
        thread = threading.Thread(target=work, name="ray.init", daemon=True)
        thread.start()
        thread.join(INIT_SECONDS)
        if thread.is_alive():
            raise UserError(f"--address {address}: something listens there, and does not answer as a Ray cluster")
    else:
        before = signal.getsignal(signal.SIGTERM)
        work()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    if failed:
        line = first_line(failed[0]) or type(failed[0]).__name__
        with contextlib.suppress(Exception):
            ray.shutdown()
        raise UserError(f"--engine ray: {address}: {line}") from None
