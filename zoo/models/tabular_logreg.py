"""Age, sex and view alone: what is given away beside an image."""

from __future__ import annotations

from typing import Any

from ...datasets.support.errors import UnavailableError
from ..core import Choice, Config, Context, ModelCard, Range, model
from ..images import beside

CARD = ModelCard(
    name="tabular-logreg",
    title="Logistic regression on age, sex and view",
    description="What stands beside an image, without the image: the score that any network has to pass. A number that "
    "is not known is the training fold's median, and said to be unknown by a column of its own.",
    modality="image",
    framework="scikit-learn",
    citation="Cox 1958, J R Stat Soc B 20:215-242",
    default={"C": 1.0, "balanced": True},
    space={"C": Range(0.01, 100.0, log=True), "balanced": Choice((True, False))},
    blas_threads=1,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline.

    Raises
    ------
    UnavailableError
        If the task has nothing beside its images.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    if not context.task.tabular:
        raise UnavailableError(f"task {context.task.name} has nothing beside its images: take a model that looks")
    one = LogisticRegression(
        C=float(config["C"]),
        class_weight="balanced" if config["balanced"] else None,
        random_state=context.seed,
        max_iter=1000,
    )
    return make_pipeline(
        FunctionTransformer(beside),
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        OneVsRestClassifier(one),
    )
