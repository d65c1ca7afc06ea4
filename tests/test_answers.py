"""`zoobench predict`: the columns of a file reach the model that knows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from zoobench.benchmarks import run
from zoobench.leaderboard.answers import answer

HINTED = """
import numpy as np
from zoobench.datasets.support.texts import columns
from zoobench.zoo.core import ModelCard, model

class Hinted:
    def fit(self, X, y):
        self.labels = y.shape[1]
        return self
    def predict_proba(self, X):
        hints = columns(X).get("hint", np.full(len(X), "no"))
        return np.where(hints == "yes", 0.9, 0.1)[:, None].repeat(self.labels, axis=1)
    def save(self, folder):
        (folder / "labels").write_text(str(self.labels))
    def load(self, folder):
        self.labels = int((folder / "labels").read_text())
        return self

CARD = ModelCard(name="hinted", title="t", description="d", modality="text", framework="scikit-learn", citation="c")
hinted = model(CARD)(lambda config, context: Hinted())
"""


def test_columns_of_the_file_reach_the_model(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    plugin, csv = tmp_path / "hinted_model.py", tmp_path / "asked.csv"
    plugin.write_text(HINTED)
    csv.write_text("hint,text\nyes,first\nno,second\n")
    results, plugins = tmp_path / "r", [tiny, plugin]
    run(task="tiny", model="hinted", plugin=plugins, results=results, quiet=True)
    for given, expected in ((([], csv, "text"), [0.9, 0.1]), ((["first"], None, "text"), [0.1])):
        found = json.loads(answer("tiny", "hinted", given, results, plugins, "json")[0])
        assert [max(row["probabilities"].values()) for row in found] == pytest.approx(expected)
