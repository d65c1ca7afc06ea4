"""Answers that do not look at the input: the floor under every board."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, Model, ModelCard, model

_DOES = {
    "most-frequent": "Answers with each label's most frequent value.",
    "stratified": "Draws each label with its share in the training fold.",
    "uniform": "Draws each label with even odds.",
    "constant": "Answers that no label holds (multi-label), or with the first class (multi-class).",
}


def _dummy(strategy: str) -> Model:
    card = ModelCard(
        name=f"dummy-{strategy}",
        title=f"Dummy, {strategy}",
        description=_DOES[strategy],
        modality="any",
        framework="scikit-learn",
        citation="scikit-learn DummyClassifier, https://scikit-learn.org/stable/modules/model_evaluation.html",
    )

    @model(card)
    def build(config: Config, context: Context) -> Any:
        from sklearn.dummy import DummyClassifier

        constant = None
        if strategy == "constant":
            constant = [0] * len(context.task.labels) if context.task.kind == "multilabel" else 0
        return DummyClassifier(strategy=strategy.replace("-", "_"), constant=constant, random_state=context.seed)

    return build


MOST_FREQUENT = _dummy("most-frequent")
STRATIFIED = _dummy("stratified")
UNIFORM = _dummy("uniform")
CONSTANT = _dummy("constant")
