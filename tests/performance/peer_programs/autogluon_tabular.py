"""AutoGluon's table predictor on one column of texts, one predictor a label; the second word is its seconds in all."""

import sys
import time

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor
from exchange import answer, read

folds = read()
texts = {fold: pd.DataFrame({"text": rows}) for fold, rows in folds.texts.items()}


def fitted(name: str, targets: dict[str, np.ndarray], metric: str, seconds: float) -> TabularPredictor:
    tables = {fold: texts[fold].assign(target=targets[fold]) for fold in ("train", "validation")}
    predictor = TabularPredictor("target", eval_metric=metric, path=str(folds.folder / "models" / name), verbosity=1)
    return predictor.fit(tables["train"], tuning_data=tables["validation"], time_limit=seconds)


seconds = float(sys.argv[2])
targets = {fold: folds.targets(fold) for fold in ("train", "validation")}
start = time.perf_counter()
if folds.multilabel:
    metric = "roc_auc" if folds.metric.startswith("roc_auc") else "f1"
    columns = range(len(folds.labels))
    each = {number: {fold: rows[:, number] for fold, rows in targets.items()} for number in columns}
    share = seconds / len(columns)
    predictors = [fitted(str(number), each[number], metric, share) for number in columns]
else:
    predictors = [fitted("all", targets, "accuracy" if folds.metric == "accuracy" else "f1_macro", seconds)]
fit_s = time.perf_counter() - start

scores = {}
for fold in ("validation", "test"):
    found = [predictor.predict_proba(texts[fold], as_multiclass=True) for predictor in predictors]
    if folds.multilabel:
        scores[fold] = np.column_stack([table[1].to_numpy() for table in found])
    else:
        scores[fold] = found[0].reindex(columns=range(len(folds.labels)), fill_value=0.0).to_numpy()
chosen = [predictor.predict(texts["test"]).to_numpy() for predictor in predictors]
answer(folds, scores, np.column_stack(chosen) if folds.multilabel else chosen[0], fit_s)
