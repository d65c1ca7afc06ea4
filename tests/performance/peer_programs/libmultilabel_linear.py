"""A linear method of LibMultiLabel with its own TF-IDF and options; the second word names the training function."""

import sys
import time

import numpy as np
from exchange import answer, from_decisions, read
from libmultilabel import linear

folds = read()
names = [f"{number:04}" for number in range(len(folds.labels))]  # its binarizer takes labels as words
rows = {"x": folds.texts["train"], "y": [[names[number] for number in row] for row in folds.held["train"]]}
dataset = {"data_format": "txt", "train": rows, "classes": names}
np.random.seed(0)  # its cross-validation draws from the global generator

start = time.perf_counter()
preprocessor = linear.Preprocessor()
train = preprocessor.fit_transform(dataset)["train"]
model = getattr(linear, f"train_{sys.argv[2]}")(train["y"], train["x"], multiclass=not folds.multilabel, verbose=False)
fit_s = time.perf_counter() - start

values = {
    fold: linear.predict_values(model, preprocessor.vectorizer.transform(folds.texts[fold]))
    for fold in ("validation", "test")
}
chosen = values["test"] > 0 if folds.multilabel else values["test"].argmax(axis=1)
answer(folds, {fold: from_decisions(each, folds.multilabel) for fold, each in values.items()}, chosen, fit_s)
