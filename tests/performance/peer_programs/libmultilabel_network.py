"""KimCNN of LibMultiLabel with the settings of its rcv1 example, but for epochs: the second word says how many at most.

The example begins with GloVe's vectors, which are a download from a host of models. Here words begin with uniform
random ones of the same length, as CNN-rand of Kim 2014, https://arxiv.org/abs/1408.5882, did.
"""

import sys
import time

import numpy as np
import pandas as pd
import torch
from exchange import answer, from_decisions, read
from libmultilabel.nn.data_utils import get_dataset_loader, load_datasets, load_or_build_label, load_or_build_text_dict
from libmultilabel.nn.model import Model
from libmultilabel.nn.nn_utils import init_device, init_model, init_trainer, set_seed

WIDTH = 300
NETWORK = {"filter_sizes": [2, 4, 8], "num_filter_per_size": 128, "embed_dropout": 0.2, "post_encoder_dropout": 0.2}
folds = read()


def table(fold: str) -> pd.DataFrame:
    held = folds.held.get(fold, [[]] * len(folds.texts[fold]))
    words = [" ".join(f"{number:04}" for number in row) for row in held]
    return pd.DataFrame({"label": words, "text": folds.texts[fold]})


def logits(fold: str) -> np.ndarray:
    """Return (n, labels); a label that neither train nor validation holds is the least likely of all."""
    with torch.no_grad():
        found = np.concatenate([best(batch).numpy() for batch in loaders[fold]])
    every = np.full((len(found), len(folds.labels)), found.min() - 1)
    every[:, [int(name) for name in classes]] = found
    return every


set_seed(1337)
device = init_device(use_cpu=True)
metric = "Macro-F1" if folds.metric.endswith("macro") else "Micro-F1"
(folds.folder / "unknown.txt").write_text(f"<unk>{' 0' * WIDTH}\n")

start = time.perf_counter()
data = load_datasets(table("train"), table("test"), table("validation"))
classes = load_or_build_label(data)
words, _ = load_or_build_text_dict(data["train"], embed_file=str(folds.folder / "unknown.txt"), silent=True)
vectors = torch.empty(len(words), WIDTH).uniform_(-0.25, 0.25)
vectors[0] = 0  # padding
model = init_model(
    "KimCNN",
    NETWORK,
    classes,
    embed_vecs=vectors,
    learning_rate=0.0005,
    val_metric=metric,
    monitor_metrics=["Macro-F1", "Micro-F1"],
    multiclass=not folds.multilabel,
    loss_function="binary_cross_entropy_with_logits" if folds.multilabel else "cross_entropy",
    silent=True,
)
common = {"classes": classes, "device": device, "max_seq_length": 500, "data_workers": 0, "word_dict": words}
loaders = {
    fold: get_dataset_loader(data[name], batch_size=size, shuffle=fold == "train", **common)
    for fold, name, size in (("train", "train", 64), ("validation", "val", 256), ("test", "test", 256))
}
trainer = init_trainer(
    str(folds.folder / "checkpoints"),
    epochs=int(sys.argv[2]),
    patience=5,
    early_stopping_metric=metric,
    val_metric=metric,
    silent=True,
    use_cpu=True,
)
trainer.fit(model, loaders["train"], loaders["validation"])
best = Model.load_from_checkpoint(trainer.checkpoint_callback.best_model_path, weights_only=False).cpu().eval()
fit_s = time.perf_counter() - start
print(f"epochs: {trainer.current_epoch}")

values = {fold: logits(fold) for fold in ("validation", "test")}
scores = {fold: from_decisions(each, folds.multilabel) for fold, each in values.items()}
answer(folds, scores, scores["test"] > 0.5 if folds.multilabel else values["test"].argmax(axis=1), fit_s)
