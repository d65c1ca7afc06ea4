"""Measure the text models against plain loops and straight lines: python tests/performance/text.py [--only a|b|c|d].

a  tokens a second that `minilm` is trained on and answers, against the same network in a plain loop: shuffled
   batches, each padded to 256 tokens and tokenised as it comes (biomedical abstracts, 16 and 32 a batch)
b  words a second that `birnn` and `bilstm` read in training, and seconds to the validation accuracy of the published
   setting (batches of 32 mention pairs, padded to the longest) after `--steps` steps; both from raw texts
c  the share of this machine's rate of matrix products that a's training step reaches
d  seconds of fit of every text model over ever more rows of padchest-reports, one epoch: time a row, against that of
   the second size (it would stay 1 on a straight line)

Tokens and words are those of texts, padding is none. What is compared is measured in turns, so that what else the
machine does falls on both. a and b need the published files (ZOOBENCH_DATA); d, reports that ship in torchxrayvision.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}

import numpy as np
from zoobench.benchmarks.hardware import choose_device, cores
from zoobench.benchmarks.scoring import TaskScorer
from zoobench.benchmarks.worker import _limited
from zoobench.datasets.core import TASKS, TaskCard
from zoobench.datasets.support.errors import UnavailableError
from zoobench.zoo import adapter
from zoobench.zoo.core import MODELS, Context
from zoobench.zoo.features import FeatureCache

LENGTH, TRAINED, ASKED = 256, 16, 32
ROWS = (1_000, 4_000, 16_000, 64_000)
HELD_OUT = 256
MATRIX = (4096, 384, 1536)  # rows x inner x columns: a layer of MiniLM over a batch


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was reached, and the least (or, where `at_most`, the most) that is asked for."""

    name: str
    reached: float
    target: float | None = None
    how: str = ""
    at_most: bool = False

    @property
    def missed(self) -> bool:
        if self.target is None:
            return False
        return self.reached > self.target if self.at_most else self.reached < self.target


def context(card: TaskCard, device: str, threads: int) -> Context:
    return Context(card, 0, device, threads, FeatureCache())


class Plain:
    """The same network as `FineTuned` holds, in the loop that one writes first."""

    def __init__(self, tuned: Any, texts: Sequence[str], targets: np.ndarray) -> None:
        import torch

        self._tokenizer, self._network = tuned._tokenizer, tuned._network
        self._texts, self._targets, self._device = texts, targets, tuned._context.device
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=1e-5)

    def inputs(self, rows: np.ndarray) -> dict[str, Any]:
        chosen = [self._texts[row] for row in rows]
        found = self._tokenizer(chosen, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
        return {name: found[name].to(self._device) for name in ("input_ids", "attention_mask")}

    def step(self, rows: np.ndarray) -> None:
        import torch

        self._network.train()
        targets = torch.from_numpy(self._targets[rows].astype(np.float32)).to(self._device)
        self._optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self._network(**self.inputs(rows)), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()

    def answer(self, rows: np.ndarray) -> None:
        import torch

        self._network.eval()
        with torch.no_grad():
            self._network(**self.inputs(rows)).cpu()


def in_turns(jobs: Mapping[str, Callable[[int], int]], steps: int, device: str) -> dict[str, float]:
    """Return tokens a second by job; a job takes the number of a step and answers the tokens of its texts."""
    seconds, tokens = dict.fromkeys(jobs, 0.0), dict.fromkeys(jobs, 0)
    for number in range(steps + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            done = job(number)
            if device == "cuda":
                import torch

                torch.cuda.synchronize()
            if number:  # the first of each pays for buffers
                seconds[name] += time.perf_counter() - start
                tokens[name] += done
    return {name: tokens[name] / seconds[name] for name in jobs}


def finetuning(wanted: str, steps: int, device: str, threads: int) -> list[Figure]:
    from zoobench.zoo.tokens import buckets
    from zoobench.zoo.training import answers

    task = TASKS.get("biomedical-abstracts")
    examples = task.read()
    order = np.random.default_rng(0).permutation(len(examples.ids))
    texts, targets = [str(examples.inputs[row]) for row in order], examples.targets[order]
    model = MODELS.get("minilm")
    tuned: Any = model.build(model.card.configure("", {"max_length": LENGTH}), context(task.card, device, threads))
    tuned._build(texts)
    data, trainer = tuned._training_data(texts, None, targets, 0), tuned._trainer(targets)
    plain, lengths = Plain(tuned, texts, targets), data.rows.lengths
    shuffled = np.arange(len(texts))
    plan, asked = data.plan(0, TRAINED), buckets(lengths, ASKED, np.random.default_rng(0))

    def taking(batches: Sequence[np.ndarray], act: Callable[[np.ndarray], object]) -> Callable[[int], int]:
        def job(number: int) -> int:
            rows = batches[number % len(batches)]
            act(rows)
            return int(lengths[rows].sum())

        return job

    def tuned_step(rows: np.ndarray) -> None:
        tuned._network.train()
        trainer._step(rows, data, 0)

    cut = {size: [shuffled[at : at + size] for at in range(0, len(shuffled), size)] for size in (TRAINED, ASKED)}
    training = {"tuned": taking(plan, tuned_step), "plain": taking(cut[TRAINED], plain.step)}
    inference = {
        "tuned": taking(asked, lambda rows: answers(tuned._network, data, [rows], device)),
        "plain": taking(cut[ASKED], plain.answer),
    }
    found = {"training": in_turns(training, steps, device)}
    figures: list[Figure] = []
    if "a" in wanted:
        found["inference"] = in_turns(inference, steps, device)
        for name, rates in found.items():
            how = f"{rates['tuned']:,.0f} / {rates['plain']:,.0f} tokens a second"
            figures.append(Figure(f"a  minilm {name} / plain loop", rates["tuned"] / rates["plain"], 2.0, how))
    if "c" in wanted:
        figures.append(share_of_peak(tuned._network, found["training"]["tuned"], float(lengths.mean()), device))
    return figures


def share_of_peak(network: Any, rate: float, length: float, device: str) -> Figure:
    """Return the share of the machine's products that training does: 6 for each weight and token, and attention's."""
    config = network.encoder.config
    weights = sum(weight.numel() for name, weight in network.named_parameters() if "embeddings" not in name)
    each = 6 * weights + 12 * config.num_hidden_layers * config.hidden_size * length
    peak = product_rate(device)
    how = f"{rate * each / 1e9:,.0f} of {peak / 1e9:,.0f} GFLOP/s"
    return Figure("c  training step / rate of matrix products", rate * each / peak, None, how)


def product_rate(device: str) -> float:
    """Return the operations a second of a matrix product in the number format of training, at best."""
    import torch

    rows, inner, columns = MATRIX if device == "cpu" else (8192, 8192, 8192)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    left, right = (
        torch.ones(rows, inner, dtype=dtype, device=device),
        torch.ones(inner, columns, dtype=dtype, device=device),
    )
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(5):
            product = left @ right
        product[0, 0].item()
        best = min(best, (time.perf_counter() - start) / 5)
    return 2 * rows * inner * columns / best


class Reached(Exception):  # noqa: N818 - no error: the training has come as far as asked
    pass


class Reader:
    """A recurrent model with what it reads, one training step at a time."""

    def __init__(self, name: str, preset: str, place: Context, X: np.ndarray, y: np.ndarray) -> None:
        from zoobench.zoo.sequences import batches

        card = MODELS.get(name).card
        self.config = card.configure(preset)
        self.built: Any = MODELS.get(name).build(self.config, place)
        self._y, self._rows = y, self.built._inputs.fit(X)
        self.built._fitted = self.built._compiled(y)
        self._plan = batches(self._rows.lengths, int(self.config["batch_size"]), np.random.default_rng(0))

    def step(self, number: int) -> int:
        """Train on a batch; return its words."""
        rows = self._plan[number % len(self._plan)]
        block = self._rows.batch(rows)
        self.built._fitted.train_on_batch(block, self._y[rows])
        return int((block > 0).sum())


def recurrent(name: str, steps: int, place: Context) -> Iterator[Figure]:
    """Yield the lines of one model: the same relations as mention pairs and as they are."""
    task = TASKS.get("litcoin-relations")
    marked, pairs = task.read("random"), task.read("mention-tail")
    assert marked.folds is not None
    train, held = marked.folds == 0, marked.folds == 1
    relation = np.array(["/".join(key.split("/")[:2]) for key in pairs.ids], dtype=object)
    rows = np.isin(relation, marked.ids[train])
    _, first = np.unique(np.where(np.isin(relation, marked.ids[held]), relation, ""), return_index=True)
    asked = first[1:]  # one pair a relation; the first is "", of all others

    start = time.perf_counter()
    theirs = Reader(name, "published", place, pairs.inputs[rows], pairs.targets[rows])
    for number in range(steps):
        theirs.step(number)
    seconds = time.perf_counter() - start
    right = theirs.built.predict_proba(pairs.inputs[asked]).argmax(axis=1) == pairs.targets[asked]
    ours, reached = seconds_to(name, float(right.mean()), place, marked, train, held)
    how = f"{seconds:.0f} / {ours:.0f} s to {right.mean():.3f} ({reached:.3f})"
    yield Figure(f"b  {name} time to its accuracy", seconds / ours, 5.0, how)

    tuned = Reader(name, "pairs", place, marked.inputs[train], marked.targets[train])
    for number in range(len(tuned._plan)):  # every length of a batch was seen, and traced, once
        tuned.step(number)
    rates = in_turns({"tuned": tuned.step, "published": theirs.step}, 20, place.device)
    how = f"{rates['tuned']:,.0f} / {rates['published']:,.0f} words a second"
    yield Figure(f"b  {name} words a second / published", rates["tuned"] / rates["published"], 5.0, how)


def seconds_to(
    name: str, accuracy: float, place: Context, examples: Any, train: np.ndarray, held: np.ndarray
) -> tuple[float, float]:
    """Train with the preset for pairs; return the seconds until the validation fold is answered so well, and how well."""
    model = MODELS.get(name)
    built: Any = model.build(model.card.configure("pairs"), place)
    scores = [0.0]

    def report(step: int, total: int, **values: float) -> None:
        scores.append(values["val_score"])
        if values["val_score"] >= accuracy:
            raise Reached

    offered = {"X_val": examples.inputs[held], "y_val": examples.targets[held], "seed": 0, "report": report}
    offered["scorer"] = TaskScorer("multiclass", "accuracy")
    start = time.perf_counter()
    try:
        adapter.fit(built, examples.inputs[train], examples.targets[train], offered)
    except Reached:
        return time.perf_counter() - start, scores[-1]
    return np.inf, max(scores)


def scaling(sizes: Sequence[int], limit: float, names: Sequence[str], device: str, threads: int) -> Iterator[Figure]:
    """Yield a model's line: seconds at each size that it is expected to fit within the limit, in a process of its own."""
    task = TASKS.get("padchest-reports")
    examples = task.read()
    order = np.random.default_rng(0).permutation(len(examples.ids))[: max(sizes) + HELD_OUT]
    X, y = examples.inputs[order], examples.targets[order]
    for name, model in MODELS.entries().items():
        if model.card.modality != "text" or task.card.kind not in model.card.kinds or (names and name not in names):
            continue
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            seconds, problem = pool.submit(fits, name, X, y, sizes, limit, device, threads).result()
        if not seconds:
            print(f"d  {name}: {problem}", file=sys.stderr)
            continue
        each = [took / rows for rows, took in seconds]
        how = ", ".join(f"{rows:,} rows {took:.1f} s" for rows, took in seconds)
        target = 1.5 if len(each) > 2 else None
        yield Figure(f"d  {name}", each[-1] / each[min(1, len(each) - 1)], target, how, at_most=True)


def fits(
    name: str, X: np.ndarray, y: np.ndarray, sizes: Sequence[int], limit: float, device: str, threads: int
) -> tuple[list[tuple[int, float]], str]:
    """Return rows and seconds of each fit, the first of them twice: a framework's first fit pays for its start."""
    model, card = MODELS.get(name), TASKS.get("padchest-reports").card
    config = model.card.configure("", {"epochs": 1} if "epochs" in model.card.default else {})
    seconds: list[tuple[int, float]] = []
    for rows in (sizes[0], *sizes):
        if seconds and seconds[-1][1] * rows / seconds[-1][0] > limit:
            break
        try:
            built = model.build(config, context(card, device, threads))
            with _limited(threads, model.card.blas_threads):
                seconds.append((rows, fit_seconds(built, X[-HELD_OUT - rows :], y[-HELD_OUT - rows :])))
        except UnavailableError as error:
            return [], str(error)
    return seconds[1:] or seconds, ""


def fit_seconds(built: Any, X: np.ndarray, y: np.ndarray) -> float:
    offered = {
        "X_val": X[-HELD_OUT:],
        "y_val": y[-HELD_OUT:],
        "seed": 0,
        "scorer": TaskScorer("multilabel", "f1_macro"),
        "report": lambda step, total, **values: None,
    }
    start = time.perf_counter()
    adapter.fit(built, X[:-HELD_OUT], y[:-HELD_OUT], offered)
    return time.perf_counter() - start


def show(figure: Figure) -> None:
    target = "" if figure.target is None else f"{'<=' if figure.at_most else '>='} {figure.target:g}"
    mark = "  MISSED" if figure.missed else ""
    print(f"{figure.name:<46}{target:>8}{figure.reached:>9.2f}  {figure.how}{mark}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="abcd", help="some of the figures, by their letters")
    parser.add_argument("--steps", type=int, default=0, help="steps of a (20) and of the published runs in b (1,600)")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="sizes in d")
    parser.add_argument("--models", nargs="*", default=(), help="models in d (all)")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds of a fit in d: no larger size is tried")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    device = choose_device(given.device)
    import torch

    torch.set_num_threads(given.threads)
    print(f"{'figure':<46}{'target':>8}{'reached':>9}")
    missed = False
    for figure in measure(given, device):
        show(figure)
        missed |= figure.missed
    return int(missed)


def measure(given: argparse.Namespace, device: str) -> Iterator[Figure]:
    if {"a", "c"} & set(given.only):
        yield from finetuning(given.only, given.steps or 20, device, given.threads)
    if "b" in given.only:
        for name in ("birnn", "bilstm"):
            place = context(TASKS.get("litcoin-relations").card, device, given.threads)
            yield from recurrent(name, given.steps or 1600, place)
    if "d" in given.only:
        yield from scaling(given.rows, given.limit, given.models, device, given.threads)


if __name__ == "__main__":
    sys.exit(main())
