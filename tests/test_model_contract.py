"""Every registered model against the conformance suite: no builder and no default escapes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoobench.benchmarks.check import MODEL_CHECKS, Bench, card_is_complete, check_model
from zoobench.zoo.core import MODELS


def _distinct() -> list[str]:
    """Return the models without those that a tiny encoder in place of theirs makes the same as another."""
    found: dict[str, str] = {}
    for name, model in MODELS.entries().items():
        rest = {key: value for key, value in model.card.default.items() if key != "encoder"}
        found.setdefault(repr((model.module, rest)) if "encoder" in model.card.default else name, name)
    return list(found.values())


CASES = [(name, kind) for name in _distinct() for kind in MODELS.get(name).card.kinds]


@pytest.mark.parametrize("name", MODELS.entries())
def test_every_card_is_complete(name: str, tmp_path: Path) -> None:
    card_is_complete(Bench(MODELS.get(name), MODELS.get(name).card.kinds[0], tmp_path))


@pytest.fixture(scope="module", params=CASES, ids=[f"{name}-{kind}" for name, kind in CASES])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    name, kind = request.param
    return Bench(MODELS.get(name), kind, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("check", MODEL_CHECKS)
def test_model(check: str, bench: Bench) -> None:
    MODEL_CHECKS[check](bench)


BROKEN = """
import numpy as np
from zoobench.zoo.core import Choice, ModelCard, model

class Base:
    def __init__(self, context):
        self.labels, self.kind = len(context.task.labels), context.task.kind
    def fit(self, X, y):
        return self
    def predict_proba(self, X):
        return np.full((len(X), self.labels), 1 / self.labels)

class Narrow(Base):
    def predict_proba(self, X):
        return np.zeros((len(X), self.labels - 1))

class Moody(Base):
    def predict_proba(self, X):
        raw = np.random.default_rng().random((len(X), self.labels))
        return raw / raw.sum(axis=1, keepdims=True)

class Sociable(Base):
    def predict_proba(self, X):
        return super().predict_proba(X) if len(X) > 1 else np.eye(self.labels)[:1]

class Grabby(Base):
    def fit(self, X, y):
        X[0] = "mine"
        return self

class Fussy(Base):
    def predict_proba(self, X):
        assert all(x.strip() for x in X), "an empty text"
        return super().predict_proba(X)

class Forgetful(Base):
    def fit(self, X, y):
        self.handle = open(__file__)
        return self

class Blind(Base):
    def fit(self, X, y):
        self.seen = len(np.unique(y)) if y.ndim == 1 else int((y.sum(axis=0) > 0).sum())
        return self
    def predict_proba(self, X):
        return np.full((len(X), self.seen), 1 / self.seen)

def card(name, **more):
    return ModelCard(**{"name": name, "title": "t", "description": "d", "modality": "text",
                        "framework": "scikit-learn", "citation": "c", **more})

narrow = model(card("narrow"))(lambda config, context: Narrow(context))
moody = model(card("moody"))(lambda config, context: Moody(context))
sociable = model(card("sociable"))(lambda config, context: Sociable(context))
grabby = model(card("grabby"))(lambda config, context: Grabby(context))
fussy = model(card("fussy"))(lambda config, context: Fussy(context))
forgetful = model(card("forgetful"))(lambda config, context: Forgetful(context))
blind = model(card("blind"))(lambda config, context: Blind(context))
untitled = model(card("untitled", title=" "))(lambda config, context: Base(context))
astray = model(card("astray", default={"a": 3}, space={"a": Choice((1, 2))}))(lambda config, context: Base(context))
"""


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("narrow", "answers probabilities"),
        ("moody", "repeats itself"),
        ("sociable", "answers each row by itself"),
        ("grabby", "leaves inputs alone"),
        ("fussy", "takes odd inputs"),
        ("forgetful", "comes back from disk"),
        ("blind", "survives an absent label"),
        ("untitled", "card is complete"),
        ("astray", "card is complete"),
    ],
)
def test_each_check_catches_what_it_is_for(name: str, check: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "broken_models.py"
    path.write_text(BROKEN)
    from zoobench.benchmarks.options import load_plugin

    load_plugin(path)
    found = {finding.check: finding.problem for finding in check_model(MODELS.get(name))}
    assert found[f"{check} (multilabel)"], f"{name} passed {check}"
