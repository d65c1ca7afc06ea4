"""A results folder that has all that a site must show, and names that it must not obey."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from .records import Cell, Outcome, outcome

TASKS = ("ants", "bees", "cows")
FAST, SLOW = "Fast CPU, 8 cores", "Test CPU, 2 cores"
HOSTILE = "<img src=x onerror=alert(1)>"
CLOSING = "</script><script>alert(1)</script>"
LONG = "x" * 200
SKILLS = {"good": 1.5, "fair": 0.9, "poor": 0.2}
COSTS = {"good": 60.0, "fair": 8.0, "poor": 9.0, "cheap": 1.0}
"""Milliseconds: `poor` costs more than `fair` and is worse."""


def _costs(model: str) -> dict[str, object]:
    ms = COSTS[model]
    return {
        "speed": {"latency_p50_ms": ms, "latency_p95_ms": 2 * ms, "rows_per_second": 1000 / ms},
        "memory": {"added_gb": ms / 100, "baseline_gb": 0.2},
        "parameters": int(1000 * ms),
        "timings": {"fit": ms / 2, "predict": 0.1},
        "framework": "torch" if model == "good" else "scikit-learn",
    }


def with_values(found: Outcome, value: float) -> Outcome:
    """Return an outcome whose F1 macro, the metric that ranks, is `value`; so are its replicates, with a little noise."""
    noise = np.random.default_rng(1).normal(0, 0.01, len(next(iter(found.replicates.values()))))
    moved = {"f1_macro": value}
    return dataclasses.replace(found, values=found.values | moved, replicates={"f1_macro": value + noise})


class Seen(HTMLParser):
    """What a page has: addresses, tags with their attributes, and text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside != "script":
            self.text += data

    def links(self) -> list[str]:
        return [value for _, held in self.tags for name, value in held.items() if name in {"href", "src"} and value]


def fill(root: Path) -> Path:
    """Store four models on three tasks, and what else happens: failures, seeds, machines, parts of the rows, hostility."""
    for number, task in enumerate(TASKS):
        kind = "multiclass" if task == "cows" else "multilabel"
        for model, skill in SKILLS.items():
            found = outcome(skill, seed=number, kind=kind)
            Cell(model, found, task, created=f"2025-01-0{number + 1}T00:00:00Z", changes=_costs(model)).store(root)
    for seed in range(2):
        Cell("cheap", outcome(0.6, seed=seed), "ants", seed=seed, changes=_costs("cheap")).store(root)
    Cell("cheap", None, "ants", seed=2, changes={"reason": f"ValueError: {CLOSING}"}).store(root)
    Cell("good", outcome(1.5, seed=0), "ants", hardware=FAST, changes=_costs("good")).store(root)
    Cell("good", outcome(1.4, seed=5), "ants", changes=_costs("good") | {"mode": "tuned"}).store(root)
    Cell("broken", None, "ants").store(root)
    Cell("broken", None, "dogs").store(root)
    Cell("hungry", None, "bees", changes={"status": "oom", "reason": "the GPU has 1 GB"}).store(root)
    Cell(HOSTILE, outcome(0.4), "ants", changes={"settings": {"path": CLOSING}, "framework": HOSTILE}).store(root)
    Cell(LONG, outcome(0.3), "ants").store(root)
    curve(root)
    return root


def curve(root: Path) -> None:
    """Store a learning curve of one model on the task `ants`, 4,000 training rows and less."""
    for part in (0.1, 0.25, 0.5, 1.0):
        rows = {"train": int(4000 * part), "validation": 60, "test": 120}
        more = {"fraction": part, "rows": rows, "timings": {"fit": 4 * part, "predict": 0.1}}
        Cell("grows", with_values(outcome(1.0), 0.6 - 5 * (4000 * part) ** -0.5), "ants", changes=more).store(root)
