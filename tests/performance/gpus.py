"""Prove on a machine with NVIDIA GPUs what tests can only pretend: python tests/performance/gpus.py [--keras].

Real cells, each in a process of its own, with the zoo's own fine-tuning loop on a random BERT of two layers:

- four cells side by side: no two at a time on one GPU, every GPU used, scikit-learn sees none and goes on meanwhile;
- the record: name, driver, CUDA and UUID of the GPU, peak memory above 0, the device, whether TF32 was used;
- `--tf32` and `--no-tf32` reach torch; bf16 trains;
- what fits no GPU is `oom` with the GPU's memory in its reason;
- a GPU that another process computes on is refused for `--device cuda`, and shared by `--share-gpus`;
- `--keras`: the Keras model on its torch and its tensorflow backend; tensorflow must be built for CUDA then.

A line for each; exit status 1 where one is not so, 3 where there is no GPU. Two minutes, and no data but its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from zoobench.benchmarks.gpus import visible  # noqa: E402
from zoobench.benchmarks.tiny import tiny_encoder  # noqa: E402

from tests.conftest import TASK  # noqa: E402 - found by the line above

MODELS = '''

import json, os, time
from zoobench.zoo.core import MODELS, ModelCard, model

FINE = dict(MODELS.get("minilm").card.default, encoder={encoder!r}, epochs=2, batch_size=8)


def card(name, framework, **default):
    return ModelCard(
        name=name, title="t", description="d", modality="text", framework=framework, citation="c", default=default
    )


class Told:
    """A model that says which GPU its process sees, and when it fitted; `hungry` wants more than any GPU has."""

    def __init__(self, inner, hungry=False):
        self.inner, self.hungry = inner, hungry

    def fit(self, X, y, **given):
        start = time.time()
        if self.hungry:
            import torch

            held = [torch.empty(2**33, dtype=torch.uint8, device="cuda") for _ in range(100)]
        if hasattr(self.inner, "_network"):
            self.inner.fit(X, y, **given)
        else:
            self.inner.fit([str(text) for text in X], y)
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        time.sleep(1.0)  # long enough that cells which could meet do
        self.notes_ = (json.dumps(dict(seen=seen, start=start, end=time.time())), *getattr(self.inner, "notes_", ()))
        return self

    def predict_proba(self, X):
        return self.inner.predict_proba(X)


def entry(name, **more):
    @model(card(name, "torch", **dict(FINE, hungry=False) | more))
    def build(config, context):
        from zoobench.zoo.finetune import FineTuned

        return Told(FineTuned(config, context), config["hungry"])

    return build


FINES = [entry(f"fine{number}") for number in range(4)]
HUNGRY, BF16 = entry("hungry", hungry=True), entry("bf16", number_format="bf16")


@model(card("plain", "scikit-learn"))
def plain(config, context):
    from sklearn.dummy import DummyClassifier
    from sklearn.multiclass import OneVsRestClassifier

    return Told(OneVsRestClassifier(DummyClassifier(strategy="prior")))
'''
HOLDER = """
import sys, torch
held = torch.ones(2 * 10**9, dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""
Records = dict[str, dict[str, Any]]


def zoobench(*words: str | Path, gpu: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command; `gpu` is the one that it sees, by default as many as this process."""
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=seeing(gpu))


def seeing(gpu: str) -> dict[str, str]:
    return {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}


class Proof:
    """A folder with the plug-in, and the lines so far."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.missed, self._runs = folder, 0, itertools.count()
        self.plugin = folder / "proof.py"
        encoder = tiny_encoder(folder / "encoder")
        self.plugin.write_text(TASK + MODELS.replace("{encoder!r}", repr(encoder)))

    def run(self, models: Sequence[str], *words: str, gpu: str = "") -> tuple[Records, str]:
        """Run cells; return their records by model, and what was said."""
        results = self.folder / f"results-{next(self._runs)}"
        wanted = itertools.chain.from_iterable(("--model", each) for each in models)
        fixed = ("--plugin", self.plugin, "--task", "tiny", "--results", results, "--timeout", "300")
        done = zoobench("run", *fixed, *wanted, "--device", "cuda", *words, gpu=gpu)
        found = [json.loads(path.read_text()) for path in results.glob("cells/*/*/*/record.json")]
        return {record["model"]: record for record in found}, done.stderr

    def line(self, name: str, found: object, *, right: bool) -> None:
        self.missed += not right
        print(f"{name:<58} {'ok' if right else 'MISSED'}  {found}", flush=True)

    def check(self, name: str, right: Callable[[], tuple[object, bool]]) -> None:
        """Print a line; what cannot even be asked is missed."""
        try:
            found, fits = right()
        except (KeyError, IndexError, TypeError, ValueError) as error:
            found, fits = f"{type(error).__name__}: {error}", False
        self.line(name, found, right=fits)


def told(record: dict[str, Any]) -> dict[str, Any]:
    if record["status"] != "ok":
        raise ValueError(f"{record['status']}: {record['reason']}")
    return json.loads(record["notes"][0])


def side_by_side(proof: Proof, uuids: list[str]) -> None:
    fines = [f"fine{number}" for number in range(4)]
    records, said = proof.run([*fines, "plain"], "--jobs", "5")
    if len(records) < 5:
        proof.line("five cells have a record", said[-500:], right=False)

    def apart() -> tuple[object, bool]:
        found = [told(records[name]) for name in fines]
        pairs = itertools.combinations(found, 2)
        together = [(a["seen"], b["seen"]) for a, b in pairs if a["start"] < b["end"] and b["start"] < a["end"]]
        seen = {each["seen"] for each in found}
        right = all(a != b for a, b in together) and seen <= set(uuids) and len(seen) == min(4, len(uuids))
        return f"{len(seen)} of {len(uuids)} GPUs used; side by side: {len(together)} pairs", right

    def sees_none() -> tuple[object, bool]:
        record = records["plain"]
        return (told(record)["seen"], record["device"]), told(record)["seen"] == "-1" and record["device"] == "cpu"

    def described() -> tuple[object, bool]:
        record = records["fine0"]
        gpu = record["hardware"]["gpu"]
        return f"{gpu}, {record['gpus']}", all(gpu.values()) and record["gpus"] == [told(record)["seen"]]

    def peak() -> tuple[object, bool]:
        peaks = [records[name]["memory"]["gpu_gb"] for name in fines]
        right = all(each and 0 < each < 20 for each in peaks) and records["plain"]["memory"]["gpu_gb"] is None
        return f"{peaks} GB", right

    proof.check("no two cells at a time on a GPU, and all are used", apart)
    proof.check("scikit-learn sees no GPU", sees_none)
    proof.check("the record names the GPU, its driver, CUDA and UUID", described)
    proof.check("peak memory of the GPU", peak)


def precision(proof: Proof) -> None:
    for word, wanted in (("--tf32", True), ("--no-tf32", False)):
        records, _ = proof.run(["fine0"], word)
        proof.check(f"{word} reaches torch and stands in the record", lambda records=records, wanted=wanted: (
            records["fine0"]["precision"], set(records["fine0"]["precision"].values()) == {wanted}
        ))  # fmt: skip
    records, _ = proof.run(["bf16"])
    proof.check("bf16 autocast trains, and the record says so", lambda: (
        records["bf16"]["notes"][1:], "trained in bf16" in records["bf16"]["notes"] and records["bf16"]["status"] == "ok"
    ))  # fmt: skip


def memory(proof: Proof) -> None:
    records, _ = proof.run(["hungry"])
    proof.check("what fits no GPU is oom, with the memory at death", lambda: (
        f"{records['hungry']['status']}: {records['hungry']['reason'][-160:]}",
        records["hungry"]["status"] == "oom" and "of the GPU's" in records["hungry"]["reason"],
    ))  # fmt: skip


def busy(proof: Proof) -> None:
    gpu = visible()[0].uuid
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=seeing(gpu)
    )
    try:
        if holder.stdout is None or holder.stdout.readline() != "held\n":
            proof.line("another process holds 2 GB of a GPU", "it could not", right=False)
            return
        shown = " ".join(zoobench("hardware", "--device", "cuda").stdout.split())
        proof.line("zoobench hardware shows who has it", shown[-300:], right="used by" in shown)
        records, said = proof.run(["fine0"], gpu=gpu)
        proof.line("a GPU in use is refused", said.strip()[-200:], right=not records and "is used by" in said)
        records, said = proof.run(["fine0"], "--share-gpus", gpu=gpu)
        proof.check("… and shared where that is asked for", lambda: (said[:200], records["fine0"]["status"] == "ok"))
    finally:
        holder.communicate("")


def keras(proof: Proof) -> None:
    for backend in ("torch", "tensorflow"):
        records, said = proof.run(["kim-cnn"], "--set", f"backend={backend}")
        proof.check(f"Keras on {backend} computes on the GPU", lambda records=records, said=said: (
            (records["kim-cnn"]["memory"] or {}).get("gpu_gb") or records["kim-cnn"]["reason"] or said[-300:],
            bool(records["kim-cnn"]["memory"]["gpu_gb"]),
        ))  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras", action="store_true")
    options = parser.parse_args()
    found = visible()
    for each in found:
        print(f"GPU {each.index}: {each.kind.name}, {each.uuid}, {'used by ' + each.users if each.taken else 'free'}")
    if not found:
        print("no NVIDIA GPU answers on this machine: nothing was proved")
        return 3
    with tempfile.TemporaryDirectory(prefix="zoobench.gpus.") as folder:
        proof = Proof(Path(folder))
        side_by_side(proof, [each.uuid for each in found if not each.taken])
        precision(proof)
        memory(proof)
        if options.keras:
            keras(proof)
        busy(proof)
    return int(proof.missed > 0)


if __name__ == "__main__":
    sys.exit(main())
