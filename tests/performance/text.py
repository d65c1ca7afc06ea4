"""Measure the text models against plain loops and straight lines: python tests/performance/text.py [--only a|b|c|d].

a  tokens a second that `minilm` is trained on and answers, against the same network in a plain loop: shuffled
   batches, each padded to 256 tokens and tokenised as it comes (biomedical abstracts, 16 and 32 a batch)
b  `birnn` and `bilstm` on the published relations: seconds from raw texts to the validation accuracy that the published
   setting (batches of 32 mention pairs, padded to the longest) has after `--steps` steps, and words a second that each
   reads in training. Both know the same words and have the same sizes
c  the share of this machine's rate of matrix products that a's training step reaches
d  seconds of fit of the text models over ever more rows of padchest-reports, one epoch: the exponent of rows in a
   power law through them (1 is a straight line; what does not grow with the rows makes it less)

A line gives what was reached, what is asked, and the figures behind it; `MISSED` marks what is less, and the exit
status is then 1. Tokens and words are those of texts, padding is none. Rates are measured in turns, so that what else
the machine does falls on both. a, b and c need the published files (ZOOBENCH_DATA); d takes reports that ship in
torchxrayvision. Each letter takes up to 12 minutes on two cores; --quick runs all on generated texts and small sizes
in seconds: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}

import numpy as np
from figures import Figure, head, in_turns, product_rate, show
from text_samples import GENERATED, PUBLISHED, Sample, Samples
from zoobench.benchmarks.engines.quiet import import_quietly
from zoobench.benchmarks.hardware import choose_device, cores
from zoobench.benchmarks.scoring import TaskScorer
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.benchmarks.worker import _limited
from zoobench.datasets.core import TaskCard
from zoobench.datasets.support.errors import UnavailableError
from zoobench.zoo import adapter
from zoobench.zoo.core import MODELS, Config, Context
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.lanes import lanes

LENGTH, TRAINED, ASKED = 256, 16, 32
ROWS = (1_000, 4_000, 16_000, 64_000)
HELD_OUT = 256
SAME = ("vocabulary", "min_count", "embedding", "units")
"""Settings of the published recurrent models that those beside them take over: only the way of training differs."""
MATRIX = (4096, 384, 1536)  # rows x inner x columns: a layer of MiniLM over a batch


def context(card: TaskCard, device: str, threads: int) -> Context:
    return Context(card, 0, device, threads, FeatureCache())


class Plain:
    """The same network as `FineTuned` holds, in the loop that one writes first."""

    def __init__(self, tuned: Any, texts: Sequence[str], targets: np.ndarray) -> None:
        import torch

        # A copy from before a trainer puts its own dropout into the network: torch's is the untuned one.
        self._tokenizer, self._network = tuned._tokenizer, copy.deepcopy(tuned._network)
        self._texts, self._targets, self._device = texts, targets, tuned._context.device
        self._length = tuned._layout.max_length
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=1e-5)

    def inputs(self, rows: np.ndarray) -> dict[str, Any]:
        chosen = [self._texts[row] for row in rows]
        asked = {"padding": "max_length", "truncation": True, "max_length": self._length, "return_tensors": "pt"}
        found = self._tokenizer(chosen, **asked)
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


def finetuning(
    wanted: str, steps: int, found: Sample, settings: Mapping[str, Any], device: str, threads: int
) -> list[Figure]:
    texts, targets = [str(text) for text in found.X], found.y
    model = MODELS.get("minilm")
    config = model.card.configure("", {"max_length": LENGTH, **settings})
    tuned: Any = model.build(config, context(found.card, device, threads))
    tuned._build(texts)
    plain = Plain(tuned, texts, targets)
    data, trainer = tuned._training_data(texts, None, targets, 0), tuned._trainer(targets)
    lengths = data.rows.lengths
    shuffled = np.arange(len(texts))
    plan = data.plan(0, TRAINED)

    def taking(batches: Sequence[np.ndarray], act: Callable[[np.ndarray], object]) -> Callable[[int], int]:
        def job(number: int) -> int:
            rows = batches[number % len(batches)]
            act(rows)
            return int(lengths[rows].sum())

        return job

    def tuned_step(rows: np.ndarray) -> None:
        tuned._network.train()
        with lanes(trainer._threads) as trainer._each:  # as `fit` opens them; the plain loop keeps all its threads
            trainer._step(rows, data, 0)

    cut = {size: [shuffled[at : at + size] for at in range(0, len(shuffled), size)] for size in (TRAINED, 4 * ASKED)}
    training = {"tuned": taking(plan, tuned_step), "plain": taking(cut[TRAINED], plain.step)}
    # Both from the texts to the probabilities: each text is tokenised in the time that is measured.
    inference = {
        "tuned": taking(cut[4 * ASKED], lambda rows: tuned.predict_proba(found.X[rows])),
        "plain": taking(cut[4 * ASKED], lambda rows: [plain.answer(part) for part in np.array_split(rows, 4)]),
    }
    rates = {"training": in_turns(training, steps, device)}
    figures: list[Figure] = []
    if "a" in wanted:
        rates["inference"] = in_turns(inference, -(-steps // 4), device)
        for name, rate in rates.items():
            how = f"{rate['tuned']:,.0f} / {rate['plain']:,.0f} tokens a second"
            figures.append(Figure(f"a  minilm {name} / plain loop", rate["tuned"] / rate["plain"], 2.0, how))
    if "c" in wanted:
        figures.append(share_of_peak(tuned._network, rates["training"]["tuned"], float(lengths.mean()), device))
    return figures


def share_of_peak(network: Any, rate: float, length: float, device: str) -> Figure:
    """Return the share of the machine's products that training does: 6 for each weight and token, and attention's."""
    config = network.encoder.config
    weights = sum(weight.numel() for name, weight in network.named_parameters() if "embeddings" not in name)
    each = 6 * weights + 12 * config.num_hidden_layers * config.hidden_size * length
    peak = product_rate(device, MATRIX)
    how = f"{rate * each / 1e9:,.0f} of {peak / 1e9:,.0f} GFLOP/s"
    return Figure("c  training step / rate of matrix products", rate * each / peak, None, how)


class Reached(Exception):  # noqa: N818 - no error: the training has come as far as asked
    pass


class Reader:
    """A recurrent model with what it reads, one training step at a time."""

    def __init__(self, name: str, config: Config, place: Context, found: Sample) -> None:
        import_quietly("keras")
        import keras
        from zoobench.zoo.keras_graphs import trace_training
        from zoobench.zoo.ragged import buckets

        keras.utils.set_random_seed(0)
        self.built: Any = MODELS.get(name).build(config, place)
        self._y, self._rows = found.y[found.train], self.built._inputs.fit(found.X[found.train])
        self.built._fitted = self.built._compiled(self._y)
        trace_training(self.built._fitted, self._y)
        self.plan = buckets(self._rows.lengths, int(config["batch_size"]), np.random.default_rng(0))

    def step(self, number: int) -> int:
        """Train on a batch; return its words."""
        rows = self.plan[number % len(self.plan)]
        block = self._rows.batch(rows)
        self.built._fitted.train_on_batch(block, self._y[rows], np.ones(len(rows), np.float32))
        return int((block > 0).sum())


def recurrent(name: str, steps: int, turns: int, place: Context, marked: Sample, pairs: Sample) -> Iterator[Figure]:
    """Yield the lines of one model: the same relations as mention pairs and as they are."""
    card = MODELS.get(name).card
    published = card.configure("published")
    config = card.configure("pairs", {setting: published[setting] for setting in SAME})

    start = time.perf_counter()
    theirs = Reader(name, published, place, pairs)
    for number in range(steps):
        theirs.step(number)
    seconds = time.perf_counter() - start
    right = theirs.built.predict_proba(pairs.X[pairs.held]).argmax(axis=1) == pairs.y[pairs.held]
    ours, reached = seconds_to(name, config, float(right.mean()), place, marked)
    how = f"{seconds:.0f} / {ours:.0f} s to {right.mean():.3f} ({reached:.3f})"
    yield Figure(f"b  {name} published seconds / ours", seconds / ours, 5.0, how)

    tuned = Reader(name, config, place, marked)
    for number in range(len(tuned.plan)):  # every length of a batch was seen, and traced, once
        tuned.step(number)
    rates = in_turns({"tuned": tuned.step, "published": theirs.step}, turns, place.device)
    how = f"{rates['tuned']:,.0f} / {rates['published']:,.0f} words a second"
    yield Figure(f"b  {name} words a second / published", rates["tuned"] / rates["published"], 5.0, how)


def seconds_to(name: str, config: Config, accuracy: float, place: Context, found: Sample) -> tuple[float, float]:
    """Train; return the seconds until the validation fold is answered so well, infinite without that, and how well."""
    built: Any = MODELS.get(name).build(config, place)
    scores = [0.0]

    def report(step: int, total: int, **values: float) -> None:
        scores.append(values.get("val_score", 0.0))  # an epoch's steps are reported without one
        if scores[-1] >= accuracy:
            raise Reached

    offered = {"X_val": found.X[found.held], "y_val": found.y[found.held], "seed": 0, "report": report}
    offered["scorer"] = TaskScorer("multiclass", "accuracy")
    start = time.perf_counter()
    try:
        adapter.fit(built, found.X[found.train], found.y[found.train], offered)
    except Reached:
        return time.perf_counter() - start, scores[-1]
    return np.inf, max(scores)


def scaling(given: argparse.Namespace, found: Sample, device: str) -> Iterator[Figure]:
    """Yield a model's line: seconds at each size that it is expected to fit within the limit, in a process of its own."""
    rows = max(given.rows) + HELD_OUT
    X, y = found.X[:rows], found.y[:rows]
    names = given.models or [name for name, model in MODELS.entries().items() if model.card.modality == "text"]
    for name in names:
        if found.card.kind not in MODELS.get(name).card.kinds:
            continue
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            seconds, problem = pool.submit(fits, name, X, y, given, device).result()
        if len(seconds) < 2:
            print(f"d  {name}: {problem or f'{seconds[0][1]:.1f} s for {seconds[0][0]:,} rows: too slow for more'}")
            continue
        how = ", ".join(f"{rows:,} rows {took:.1f} s" for rows, took in seconds)
        yield Figure(f"d  {name} exponent of rows", exponent(seconds), 1.15, how, at_most=True)


def exponent(seconds: Sequence[tuple[int, float]]) -> float:
    """Return the slope of log seconds over log rows."""
    rows, took = np.log(np.array(seconds, float)).T
    return float(np.polyfit(rows, took, 1)[0])


def fits(
    name: str, X: np.ndarray, y: np.ndarray, given: argparse.Namespace, device: str
) -> tuple[list[tuple[int, float]], str]:
    """Return rows and seconds of each fit, the first of them twice: a framework's first fit pays for its start."""
    model, card = MODELS.get(name), (GENERATED if given.quick else PUBLISHED).card()
    warnings.simplefilter("ignore")  # of labels that no row of a small size has
    if model.card.framework == "keras":
        import_quietly("keras")
    config = model.card.configure("", {"epochs": 1} if "epochs" in model.card.default else {})
    seconds: list[tuple[int, float]] = []
    for rows in (given.rows[0], *given.rows):
        if seconds and seconds[-1][1] * rows / seconds[-1][0] > given.limit:
            break
        try:
            built = model.build(config, context(card, device, given.threads))
            with _limited(given.threads, model.card.blas_threads):
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="abcd", help="some of the figures, by their letters")
    parser.add_argument("--steps", type=int, default=1600, help="steps of the published runs in b")
    parser.add_argument("--turns", type=int, default=20, help="batches whose time gives a rate in a and b")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="sizes in d")
    parser.add_argument("--models", nargs="*", default=(), help="models in d (all)")
    parser.add_argument("--limit", type=float, default=15.0, help="seconds of a fit in d: no larger size is tried")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="generated texts, small sizes, two models")
    given = parser.parse_args()
    if given.quick:
        given.steps, given.turns, given.rows, given.models = 2, 1, [48, 96, 192], given.models or ["tfidf-logreg"]
    device = choose_device(given.device)
    import torch

    torch.set_num_threads(given.threads)
    head(" ".join(["python tests/performance/text.py", *sys.argv[1:]]))
    missed = False
    try:
        for figure in measure(given, GENERATED if given.quick else PUBLISHED, device):
            show(figure)
            missed |= figure.missed
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    return int(missed and not given.quick)


def measure(given: argparse.Namespace, samples: Samples, device: str) -> Iterator[Figure]:
    if {"a", "c"} & set(given.only):
        with tempfile.TemporaryDirectory() as folder:
            settings = {"encoder": tiny_encoder(Path(folder))} if given.quick else {}
            yield from finetuning(given.only, given.turns, samples.abstracts(), settings, device, given.threads)
    if "b" in given.only:
        marked, pairs = samples.relations()
        for name in ("birnn",) if given.quick else ("birnn", "bilstm"):
            place = context(marked.card, device, given.threads)
            yield from recurrent(name, given.steps, given.turns, place, marked, pairs)
    if "d" in given.only:
        yield from scaling(given, samples.reports(), device)


if __name__ == "__main__":
    sys.exit(main())
