"""Measure what the harness costs beside the work itself: python tests/performance/spine.py [--only a|b|c].

a  `zoobench run` of tfidf-logreg against the same fit in a bare script, whole processes side by side
b  the wall time that each further cell adds, less its own fit and predictions
c  1,000 bootstrap resamples of all main metrics on predictions of ChestX-ray14's size

The fourth figure, the board over 10,000 records, is measured by tests/performance/board.py.

Run it on a quiet machine. The texts are the plots of `movie-genres` where ZOOBENCH_DATA names a folder that has
them, and made-up ones of the same size otherwise. This file is also the plug-in that registers them as a task.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from zoobench.datasets.core import Examples, TaskCard, task

if TYPE_CHECKING:
    import pandas as pd

# movie-genres: rows, words in them, distinct words, and the rows that hold each genre.
ROWS, TOKENS, WORDS = 7895, 126.6, 40_000
GENRES = {
    "Drama": 3965, "Comedy": 3046, "Thriller": 2024, "Romance": 1892, "Crime": 1447, "Action": 1303,
    "Adventure": 1024, "Horror": 954, "Mystery": 759, "Sci-Fi": 723, "Fantasy": 707, "Family": 682,
    "Documentary": 419, "War": 348, "Music": 341, "Musical": 271, "History": 273, "Biography": 373,
    "Sport": 261, "Animation": 260, "Western": 237, "Film-Noir": 168, "Short": 92, "News": 7,
}  # fmt: skip
ARCHIVE = Path("movie-genres", "dataTraining.zip")

# ChestX-ray14 (Wang et al. 2017, https://arxiv.org/abs/1705.02315): images with each finding, of 112,120.
FINDINGS = (19894, 13317, 11559, 6331, 5782, 5302, 4667, 3385, 2776, 2516, 2303, 1686, 1431, 227)
IMAGES = 22_433
PATIENTS = {"the published test fold": 2_797, "a fifth of all": 6_161}

FURTHER = 20  # cells beside the first one
SETTINGS = {"ngrams": 9, "min_df": 2, "C": 100_000.0}  # a fit of 30 s in one thread; see --set
TASK = "plots"


def archive() -> Path:
    return Path(os.environ["ZOOBENCH_DATA"]) / ARCHIVE


@task(
    TaskCard(
        name=TASK,
        title="Plots",
        description="Plots of films, or made-up texts of the same size, as this script laid them out.",
        version=1,
        kind="multilabel",
        modality="text",
        labels=tuple(GENRES),
        primary_metric="f1_micro",
        group="none",
        licence="none",
        source="tests/performance/spine.py",
        citation="none",
    ),
    sources=lambda: (archive(),),
)
def read() -> Examples:
    import pandas as pd

    frame = pd.read_csv(archive(), index_col=0)
    held = [set(ast.literal_eval(genres)) for genres in frame["genres"]]
    targets = np.array([[genre in row for genre in GENRES] for row in held], dtype=np.uint8)
    ids = frame.index.astype(str).to_numpy(dtype=object)
    return Examples(ids, frame["plot"].to_numpy(dtype=object), targets, np.arange(len(frame)))


def made_up(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return texts whose words follow Zipf's law; a fifth of them follow one that the text's genres shuffle."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = np.array(
        [syllables[n % 70] + (syllables[n // 70 % 70] + syllables[n // 4900] if n > 69 else "") for n in range(WORDS)]
    )
    law = 1 / (np.arange(WORDS) + 2.7)
    lengths = np.maximum(5, rng.lognormal(np.log(TOKENS) - 0.18, 0.6, rows)).astype(int)
    drawn = np.searchsorted(np.cumsum(law) / law.sum(), rng.random(lengths.sum()))
    held = rng.random((rows, len(GENRES))) < np.array([*GENRES.values()]) / ROWS
    held[np.arange(rows), rng.integers(6, size=rows)] |= ~held.any(axis=1)
    topics = [rng.permutation(WORDS) for _ in GENRES]
    genres = [np.flatnonzero(row) for row in held]
    plots = []
    for chosen, part in zip(genres, np.split(drawn, np.cumsum(lengths)[:-1]), strict=True):
        own = rng.random(len(part)) < 0.2
        part[own] = topics[rng.choice(chosen)][part[own]]
        plots.append(" ".join(words[np.minimum(part, WORDS - 1)]))
    names = np.array([*GENRES])
    return pd.DataFrame({"plot": plots, "genres": [str(names[chosen].tolist()) for chosen in genres]})


def lay_out(data: Path, rows: int) -> str:
    """Write the first `rows` texts into the folder `data` as movie-genres has them; return what they are."""
    import pandas as pd

    given = os.environ.get("ZOOBENCH_DATA", "")
    real = Path(given, ARCHIVE) if given else None
    if real and not real.is_file():
        sys.exit(f"ZOOBENCH_DATA={given} has no {ARCHIVE}: unset it to measure on made-up texts")
    frame = pd.read_csv(real, index_col=0).head(rows) if real else made_up(rows)
    (data / ARCHIVE).parent.mkdir(parents=True)
    frame.to_csv(data / ARCHIVE, compression={"method": "zip", "archive_name": "dataTraining.csv"})
    return f"{len(frame):,} {'plots of movie-genres' if real else 'made-up texts'}"


# What someone without zoobench would write; the settings and the thread limits are those of tfidf-logreg.
BARE = r"""
import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

folds, out, threads, config = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
train = pq.read_table(folds / "train.parquet")
texts = {"train": train["input"].to_numpy()}
for fold in ("validation", "test"):
    texts[fold] = pq.read_table(folds / f"{fold}.parquet", columns=["input"])["input"].to_numpy()
model = make_pipeline(
    TfidfVectorizer(
        ngram_range=(1, config["ngrams"]),
        min_df=config["min_df"],
        sublinear_tf=config["sublinear_tf"],
        token_pattern=r"(?u)\b\w+\b",
        dtype=np.dtype(config["dtype"]),
    ),
    OneVsRestClassifier(
        LogisticRegression(
            solver="liblinear",
            C=config["C"],
            class_weight="balanced" if config["balanced"] else None,
            random_state=0,
            max_iter=1000,
        ),
        n_jobs=threads,
    ),
)
with threadpool_limits({"openmp": threads, "blas": 1}), joblib.parallel_config(backend="threading"):
    model.fit(texts["train"], np.stack(train["target"].to_numpy()))
    for fold in ("validation", "test", "train"):
        np.save(out / f"{fold}.npy", model.predict_proba(texts[fold]))
"""


@dataclass(frozen=True)
class Figure:
    """One line of the table; `reached` and `most` in the same unit."""

    name: str
    reached: float
    most: float
    unit: str
    how: str


class Bench:
    """A scratch folder with the texts laid out and prepared, and the two ways to fit them."""

    def __init__(self, scratch: Path, rows: int, threads: int) -> None:
        self.scratch, self.threads = scratch, threads
        self.texts = lay_out(scratch / "data", rows)
        self.zoobench("dummy-most-frequent")  # prepares the task and calibrates the machine
        (self.folds,) = (scratch / "cache" / "tasks" / TASK).glob("*/public")

    def zoobench(self, model: str, *words: str) -> tuple[float, Path]:
        """Run a model into a fresh results folder; return the seconds and the folder."""
        results = Path(tempfile.mkdtemp(dir=self.scratch, prefix="results-"))
        chosen = ["--task", TASK, "--model", model, "--threads", str(self.threads), "--device", "cpu"]
        places = ["--plugin", str(Path(__file__).absolute()), "--results", str(results)]
        return self._time("-m", "zoobench.leaderboard.cli", "run", *chosen, *places, *words), results

    def bare(self, config: dict[str, Any]) -> tuple[float, Path]:
        """Run the bare script into a fresh folder; return the seconds and the folder."""
        out, script = Path(tempfile.mkdtemp(dir=self.scratch, prefix="bare-")), self.scratch / "bare.py"
        script.write_text(BARE, encoding="utf-8")
        return self._time(str(script), str(self.folds), str(out), str(self.threads), json.dumps(config)), out

    def _time(self, *words: str) -> float:
        places = {"ZOOBENCH_CACHE": str(self.scratch / "cache"), "ZOOBENCH_DATA": str(self.scratch / "data")}
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.scratch,
            env={**os.environ, **places},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            sys.exit(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return seconds


def timings(results: Path) -> list[dict[str, float]]:
    records = [json.loads(path.read_bytes()) for path in sorted(results.glob("cells/*/*/*/record.json"))]
    return [record["timings"] for record in records]


def difference(results: Path, out: Path) -> float:
    """Return the largest difference of the two ways' test probabilities; stop where they fitted different things."""
    import pandas as pd

    (path,) = results.glob("cells/*/*/*/*/probabilities.parquet")
    stored = pd.read_parquet(path).query("fold == 'test'").filter(regex="^p:").to_numpy()
    bare = np.load(out / "test.npy")
    if stored.shape != bare.shape or np.abs(stored - bare).mean() > 0.02:
        sys.exit("the bare script and zoobench answer different probabilities: this measures nothing")
    return float(np.abs(stored - bare).max())


def whole_process(bench: Bench, repeats: int, settings: dict[str, str]) -> Figure:
    from zoobench.zoo.core import MODELS
    from zoobench.zoo.text import tfidf

    config: dict[str, Any] = dict(MODELS.get("tfidf-logreg").card.configure("", settings))
    words = [word for key in settings for word in ("--set", f"{key}={config[key]}")]
    config["dtype"] = np.dtype(tfidf(config).dtype).name
    ways: list[Callable[[], tuple[float, Path]]] = [
        partial(bench.bare, config),
        partial(bench.zoobench, "tfidf-logreg", *words),
    ]
    seconds: tuple[list[float], list[float]] = ([], [])
    parts: list[dict[str, float]] = []
    for repeat in range(repeats):
        folders: dict[int, Path] = {}
        for way in (0, 1) if repeat % 2 == 0 else (1, 0):
            took, folders[way] = ways[way]()
            seconds[way].append(took)
        parts += timings(folders[1])
        print(f"  a: bare {seconds[0][-1]:.1f} s, zoobench {seconds[1][-1]:.1f} s, of which {brief(parts[-1])}")
        print(f"     probabilities differ by {difference(folders[1], folders[0]):.0e} at most")
        for folder in folders.values():
            shutil.rmtree(folder)
    bare, zoobench = map(statistics.median, seconds)
    fit = statistics.median(part["fit"] for part in parts)
    how = f"{zoobench:.1f} s / {bare:.1f} s, fit {fit:.1f} s" + ("" if fit >= 30 else ": TOO SHORT, wants 30 s")
    return Figure("a  zoobench run / bare script, whole processes", zoobench / bare, 1.15, "x", how)


def brief(timing: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in timing.items() if value >= 0.05)


def further_cells(bench: Bench, repeats: int) -> Figure:
    added, own = [], []
    for _ in range(repeats):
        one, _ = bench.zoobench("dummy-uniform")
        many, results = bench.zoobench("dummy-uniform", *(f"--seed={seed}" for seed in range(FURTHER + 1)))
        kept = timings(results)
        if len(kept) != FURTHER + 1:
            sys.exit(f"{len(kept)} records of {FURTHER + 1} cells in {results}")
        added.append((many - one) / FURTHER)
        own.append(statistics.mean(timing["fit"] + timing["predict"] for timing in kept))
        print(f"  b: 1 cell {one:.2f} s, {FURTHER + 1} cells {many:.2f} s; fit and predict {own[-1]:.3f} s each")
    median = statistics.median(np.subtract(added, own).tolist())
    how = f"{statistics.median(added):.3f} s a cell, less {statistics.median(own):.3f} s of its own"
    return Figure("b  added by a further cell over its own fit", median, 0.5, "s", how)


def chest_predictions(patients: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return targets (rows, 14), probabilities (rows, 14) and patients (rows,); AUC about 0.85."""
    rng = np.random.default_rng(0)
    share = np.array(FINDINGS) / 112_120
    truth = (rng.random((rows, len(share))) < share).astype(np.uint8)
    logit = np.log(share / (1 - share)) + 1.5 * truth + rng.normal(size=truth.shape)
    # Most patients have one image or two, a few have more than a hundred.
    weight = rng.lognormal(0, 1.2, patients)
    rest = rng.choice(patients, max(0, rows - patients), p=weight / weight.sum())
    groups = np.concatenate((np.arange(patients), rest))[:rows]
    return truth, (1 / (1 + np.exp(-logit))).astype(np.float32), groups


def resampling(repeats: int, rows: int) -> list[Figure]:
    from zoobench.benchmarks.bootstrap import bootstrap, resample_weights
    from zoobench.benchmarks.metrics import MAIN_METRICS

    figures = []
    for name, patients in PATIENTS.items():
        truth, found, groups = chest_predictions(patients, rows)
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            samples = bootstrap(
                "multilabel", truth, found, (found >= 0.2).astype(np.uint8), resample_weights(groups, 1000)
            )
            seconds.append(time.perf_counter() - start)
            if set(samples) != set(MAIN_METRICS) or any(len(column) != 1000 for column in samples.values()):
                sys.exit("the bootstrap left metrics or resamples out")
        how = f"{rows:,} x {len(FINDINGS)}, {len(np.unique(groups)):,} patients ({name}), {len(MAIN_METRICS)} metrics"
        figures.append(Figure("c  bootstrap of all main metrics", statistics.median(seconds), 3.0, "s", how))
    return figures


def show(figures: Sequence[Figure]) -> None:
    print(f"\n{'figure':<48}{'target':>9}{'reached':>10}")
    for figure in figures:
        target, mark = f"<= {figure.most:g} {figure.unit}", "" if figure.reached <= figure.most else "  MISSED"
        print(f"{figure.name:<48}{target:>9}{figure.reached:>8.2f} {figure.unit}  {figure.how}{mark}")
    print("d  board over 10,000 records: python tests/performance/board.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices="abc", help="one of the figures")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; the median counts")
    parser.add_argument(
        "--rows", type=int, help=f"fewer rows, to try the script out [{ROWS:,} texts, {IMAGES:,} images]"
    )
    parser.add_argument("--threads", type=int, default=1, help="of both sides of a and b")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=f"settings of a's model [{SETTINGS}]"
    )
    given = parser.parse_args()
    settings = {key: str(value) for key, value in SETTINGS.items()} | dict(pair.split("=", 1) for pair in given.set)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="spine-") as scratch:
        if given.only in {None, "a", "b"}:
            bench = Bench(Path(scratch), given.rows or ROWS, given.threads)
            print(f"{bench.texts}, {given.threads} threads")
            figures += [whole_process(bench, given.repeats, settings)] if given.only != "b" else []
            figures += [further_cells(bench, given.repeats)] if given.only != "a" else []
    if given.only in {None, "c"}:
        figures += resampling(given.repeats, given.rows or IMAGES)
    show(figures)
    return int(any(figure.reached > figure.most for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
