"""What a server is told: where its results stand, whom it answers, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...datasets.support.errors import UserError

MB = 1_000_000
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to be told from an address, not to be listened on


@dataclass(frozen=True)
class Limits:
    """How much a request may ask; each is refused with an error of its own.

    Attributes
    ----------
    body_mb
        MB (10^6 bytes) of a request's body.
    text
        Characters of a text.
    texts
        Texts of a request.
    pixels
        Pixels of an image, known before it is decoded.
    seconds
        Until a body must have arrived, and until an answer must be there.
    waiting
        Texts or images that may wait for one model.
    """

    body_mb: float = 10.0
    text: int = 20_000
    texts: int = 64
    pixels: int = 25_000_000
    seconds: float = 60.0
    waiting: int = 512

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not 0 < getattr(self, name) < float("inf"):
                option = "timeout" if name == "seconds" else f"max-{name.replace('_', '-')}"
                raise UserError(f"--{option} {getattr(self, name):g} must be more than 0, and finite")


@dataclass(frozen=True)
class Batching:
    """How predictions of several requests are joined: up to `texts`, for which the first waits `wait_ms` at most.

    While a model answers, requests gather by themselves; waiting beyond that pays only for few and slow clients.
    """

    # Of an encoder on a processor, whose states leave the caches beyond (see `finetune.PART_TOKENS`).
    texts: int = 8
    wait_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.texts < 1 or not 0 <= self.wait_ms <= 1000:
            raise UserError(f"batches of {self.texts} texts after {self.wait_ms:g} ms cannot be: 1 or more, 0 to 1000")


@dataclass(frozen=True)
class Settings:
    """A server's settings.

    Attributes
    ----------
    site
        The folder of a built site, served below "/".
    hosts
        Names in a Host header that are answered beside this machine's own; "*" answers any.
    models
        How many models are kept in memory.
    threads
        In which models answer side by side; each model answers one batch at a time.
    refresh_s
        Seconds for which the results folder is believed not to have changed.
    """

    results: Path
    plugins: tuple[Path, ...] = ()
    site: Path | None = None
    hosts: tuple[str, ...] = ()
    models: int = 4
    threads: int = 2
    refresh_s: float = 2.0
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)

    def __post_init__(self) -> None:
        if self.models < 1 or self.threads < 1:
            raise UserError(f"{self.models} models in {self.threads} threads cannot answer: give 1 or more of both")
        if self.site is not None and not (self.site / "index.html").is_file():
            raise UserError(f"--site {self.site} holds no site: `zoobench site build --out DIR` makes one")

    def knows_host(self, name: str) -> bool:
        """Return whether a request to this host is meant for this server, and not for a name that points here."""
        return "*" in self.hosts or name in LOOPBACK or name in self.hosts
