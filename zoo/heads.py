"""Classifiers on top of features that scikit-learn's own meta-estimators leave a gap between."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from .core import Config, Context


class Binary(ClassifierMixin, BaseEstimator):
    """A binary classifier that also takes a training fold where every row holds the label, or none does.

    Parameters
    ----------
    estimator
        What is fitted where both classes are there.
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: np.ndarray) -> Binary:
        """Fit on (n, d) features and (n,) 0/1 targets."""
        self.classes_ = np.array([0, 1])
        held = np.unique(np.asarray(y).astype(int))
        self.constant_ = int(held[0]) if len(held) == 1 else -1
        estimator: Any = clone(self.estimator)
        self.estimator_ = None if self.constant_ >= 0 else estimator.fit(X, y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (n, 2) probabilities."""
        if self.estimator_ is not None:
            return self.estimator_.predict_proba(X)
        answer = np.zeros((X.shape[0], 2))
        answer[:, self.constant_] = 1.0
        return answer

    def predict(self, X: Any) -> np.ndarray:
        """Return (n,) 0/1 answers."""
        return self.predict_proba(X).argmax(axis=1)

    @property
    def coef_(self) -> np.ndarray:
        """The coefficients of the fitted estimator, none for a constant answer."""
        return np.zeros((1, 0)) if self.estimator_ is None else self.estimator_.coef_


class Calibrated(ClassifierMixin, BaseEstimator):
    """Decision values turned into probabilities by Platt's sigmoid, fitted on out-of-fold values.

    scikit-learn's ``CalibratedClassifierCV`` (one classifier fitted on all rows, one sigmoid) refuses a class with
    fewer rows than folds: here such a class gets as many folds as it has rows, and one with a single row is
    calibrated on the values of the rows that it was fitted on.

    Parameters
    ----------
    estimator
        A binary classifier with ``decision_function``.
    folds
        How many folds the out-of-fold values come from.
    """

    def __init__(self, estimator: Any = None, folds: int = 5, random_state: int | None = None) -> None:
        self.estimator, self.folds, self.random_state = estimator, folds, random_state

    def fit(self, X: Any, y: np.ndarray) -> Calibrated:
        """Fit on (n, d) features and (n,) targets of two classes."""
        self.classes_, counts = np.unique(y, return_counts=True)
        folds = min(self.folds, int(counts.min()))
        estimator: Any = clone(self.estimator)
        how: dict[str, Any] = {"ensemble": False}
        if folds < 2:
            estimator = FrozenEstimator(estimator.fit(X, y))
        else:
            how["cv"] = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
        self.calibrated_ = CalibratedClassifierCV(estimator, **how).fit(X, y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (n, 2) probabilities."""
        # scikit-learn's own `predict_proba` validates and binarises first: more than half of what a row takes.
        fitted = self._only
        second = fitted.calibrators[0].predict(fitted.estimator.decision_function(X))
        return np.stack([1 - second, second], axis=1)

    @property
    def n_parameters(self) -> int:
        """Coefficients, and the sigmoid's two."""
        linear = self._only.estimator
        return linear.coef_.size + linear.intercept_.size + 2

    @property
    def _only(self) -> Any:
        fitted: Any = self.calibrated_.calibrated_classifiers_
        return fitted[0]


def logistic_regression(config: Config, context: Context, solver: str = "liblinear") -> LogisticRegression:
    """Return the L2 logistic regression that a configuration describes by ``C`` and ``balanced``."""
    return LogisticRegression(
        solver=solver,  # pyright: ignore[reportArgumentType] - scikit-learn refuses another word
        C=float(config["C"]),
        class_weight="balanced" if config["balanced"] else None,
        random_state=context.seed,
        max_iter=1000,
    )


def forest(config: Config, context: Context) -> RandomForestClassifier:
    """Return the random forest that a configuration describes; ``max_features`` of 0 is the square root."""
    return RandomForestClassifier(
        n_estimators=int(config["trees"]),
        max_features=float(config["max_features"]) or "sqrt",  # pyright: ignore[reportArgumentType] - share or word
        min_samples_leaf=int(config["min_samples_leaf"]),
        n_jobs=context.threads,
        random_state=context.seed,
    )
