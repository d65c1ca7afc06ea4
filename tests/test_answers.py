"""`zoobench predict`: the columns of a file reach the model that knows them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from zoobench.benchmarks import run
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.texts import Texts
from zoobench.leaderboard.answers import _texts, answer

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


def test_what_a_table_asks(tmp_path: Path) -> None:
    """Every row has an answer, numbers beside a text stay numbers, and what is no text is refused with its row."""

    def asked(name: str, content: str, column: str = "text") -> Texts:
        (tmp_path / name).write_text(content)
        return _texts([], tmp_path / name, column)

    assert list(asked("alone.csv", "text\nfirst\n\nthird\n\n")) == ["first", "", "third", ""]
    assert list(asked("two.csv", "text,n\nfirst,1\n\nsecond,2\n")) == ["first", "second"]
    rows = asked("typed.jsonl", '{"text": "a", "year": 1999, "who": "x"}\n{"text": null, "year": null, "who": null}\n')
    assert list(rows) == ["a", ""]
    np.testing.assert_array_equal(rows.columns["year"], [1999.0, np.nan])
    assert list(rows.columns["who"]) == ["x", ""]
    with pytest.raises(UserError, match=r"row 2, column 'text': \['q'\] is no text"):
        asked("lists.jsonl", '{"text": "a"}\n{"text": ["q"]}\n')
    with pytest.raises(UserError, match=r"unknown column of index\.csv ''"):
        asked("index.csv", ",text\n0,a\n", "")


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
