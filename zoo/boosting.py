"""Gradient-boosted trees on sparse features: LightGBM, its features binned once for all labels."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from .processes import spread


class LightGBM(ClassifierMixin, BaseEstimator):
    """LightGBM (Ke et al. 2017, NeurIPS 30): one booster a label, or one multi-class booster.

    Boosters are stored in LightGBM's own text format.

    Parameters
    ----------
    params
        LightGBM's own parameters, without objective, threads and seed.
    rounds
        Trees of a booster (of each class, where classes exclude each other).
    threads
        The answer does not depend on it.
    """

    def __init__(
        self, params: dict[str, Any] | None = None, rounds: int = 100, threads: int = 1, random_state: int | None = None
    ) -> None:
        self.params, self.rounds, self.threads, self.random_state = params, rounds, threads, random_state

    def fit(self, X: Any, y: np.ndarray) -> LightGBM:
        """Fit on (n, d) sparse features and targets: (n, labels) 0/1, or (n,) class numbers."""
        y = np.asarray(y)
        if y.ndim == 1:
            self.classes_, y = np.unique(y, return_inverse=True)
            params = {"objective": "multiclass", "num_class": len(self.classes_), "num_threads": self.threads}
        else:
            params = {"objective": "binary", "num_threads": 1}
        columns = [y] if y.ndim == 1 else list(y.T)
        # What a booster cannot learn from: every row alike.
        self.constants_ = [float(column[0]) if np.ptp(column) == 0 else None for column in columns]
        learnt = [place for place, constant in enumerate(self.constants_) if constant is None]
        self.boosters_: list[Any] = [None] * len(columns)
        if not learnt:
            return self
        params |= self._settings()
        data = lgb.Dataset(X.astype(np.float32), label=columns[learnt[0]], params=params).construct()

        def train(label: int) -> str:
            return lgb.train(params, data.set_label(columns[label]), self.rounds).model_to_string()

        # A process a label: one thread on each of two labels is faster than two threads on one label after another.
        for place, text in spread(learnt, train, self.threads):
            self.boosters_[learnt[place]] = lgb.Booster(model_str=text)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (n, labels) probabilities; of classes, those of the training fold, in their order."""
        X = X.astype(np.float32)
        if hasattr(self, "classes_"):
            booster = self.boosters_[0]
            return np.ones((X.shape[0], 1)) if booster is None else self._ask(booster, X)
        answer = np.empty((X.shape[0], len(self.boosters_)))
        for label, (booster, constant) in enumerate(zip(self.boosters_, self.constants_, strict=True)):
            answer[:, label] = constant if booster is None else self._ask(booster, X)
        return answer

    @property
    def n_parameters(self) -> int:
        """The number of leaves and splits of all trees."""
        frames = [booster.dump_model()["tree_info"] for booster in self.boosters_ if booster is not None]
        return sum(2 * tree["num_leaves"] - 1 for trees in frames for tree in trees)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**super().__getstate__()}  # pyright: ignore[reportGeneralTypeIssues]
        if "boosters_" in state:
            state["boosters_"] = [booster and booster.model_to_string() for booster in state["boosters_"]]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "boosters_" in state:
            texts = state["boosters_"]
            state = state | {"boosters_": [text and lgb.Booster(model_str=text) for text in texts]}
        super().__setstate__(state)

    def _settings(self) -> dict[str, Any]:
        fixed = {
            "verbosity": -1,
            "deterministic": True,
            "force_col_wise": True,  # with `deterministic`, the same trees on any number of threads
            "seed": (self.random_state or 0) % 2**31,
        }
        return {**(self.params or {}), **fixed}

    def _ask(self, booster: lgb.Booster, X: Any) -> np.ndarray:
        return np.asarray(booster.predict(X, num_threads=self.threads))
