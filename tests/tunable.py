"""A plug-in to tune: the tiny tasks under names of their own, and a model that knows as much as it is told."""

from __future__ import annotations

from .conftest import TASK

MODELS = '''
import os, time
import numpy as np
from zoobench.zoo.core import Choice, ModelCard, Range, model

WORDS = ("fever", "fracture", "nodule")


class Knows:
    """Answers the truth as far as `skill` goes; the rest is noise from the seed."""

    def __init__(self, config, context):
        self.config, self.context = config, context

    def fit(self, X, y, report):
        kind = self.config["kind"]
        if kind == "breaks":
            raise ValueError("this kind never fits")
        if kind == "greedy":
            raise MemoryError("this kind wants it all")
        for epoch in range(1, 6):
            report(epoch * 10, 50, score=self.config["skill"] * epoch / 5)
            time.sleep(self.config["nap"])
        return self

    def predict_proba(self, X):
        truth = np.array([[word in text for word in WORDS] for text in X], dtype=float)
        noise = np.random.default_rng(len(X)).random(truth.shape)
        told = self.config["skill"] * truth + (1 - self.config["skill"]) * noise
        return told / told.sum(axis=1, keepdims=True) if self.context.task.kind == "multiclass" else told


CARD = ModelCard(
    name="knows", title="t", description="d", modality="text", framework="scikit-learn", citation="c",
    default={"skill": 0.2, "kind": "plain", "depth": 3, "nap": 0.0},
    space={
        "kind": Choice(("plain", "deep", "breaks", "greedy")),
        "skill": Range(0.0, 1.0, when={"kind": ("plain", "deep")}),
        "depth": Range(1, 9, when={"kind": ("deep",)}),
    },
)


@model(CARD)
def build(config, context):
    return Knows(config, context)
'''

SOURCE = TASK.replace('"tiny', '"searched') + MODELS
"""The task `searched`, and the model `knows`: kinds that fail, and settings that only some kinds have."""
