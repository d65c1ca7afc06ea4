"""The harness's one way to drive any estimator: fit, probabilities, size, and what is stored of it."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.core import TaskCard
from ..datasets.support.errors import UnavailableError, UserError
from .memory import out_of_memory

SKOPS = "model.skops"
LOSSES, OPTIMIZER = "losses.csv", "optimizer.safetensors"


def seed_generators(estimator: Any, seed: int) -> None:
    """Set every ``random_state`` of a scikit-learn estimator that is still None, nested ones too."""
    if not (hasattr(estimator, "get_params") and hasattr(estimator, "set_params")):
        return
    unset = {
        name: seed
        for name, value in estimator.get_params(deep=True).items()
        if name.rpartition("__")[2] == "random_state" and value is None
    }
    if unset:
        estimator.set_params(**unset)


def fit(estimator: Any, X: Any, y: np.ndarray, offered: Mapping[str, Any]) -> Any:
    """Fit `estimator` with those of the `offered` keywords that its ``fit`` names."""
    named = inspect.signature(estimator.fit).parameters
    estimator.fit(X, y, **{name: value for name, value in offered.items() if name in named})
    return estimator


def probabilities(estimator: Any, X: Any, card: TaskCard) -> np.ndarray:
    """Return what ``predict_proba`` answers as one (n, labels) array in the order of the card's labels.

    scikit-learn answers a list of (n, classes) arrays for several outputs, and leaves classes out that were
    not in the training fold; both are aligned here. Any other shape is returned as it is, to be refused.
    """
    raw = estimator.predict_proba(X)
    classes = getattr(estimator, "classes_", None)
    if isinstance(raw, list) and classes is not None and card.kind == "multilabel":
        columns = [_share_of_one(part, known) for part, known in zip(raw, classes, strict=True)]
        return np.stack(columns, axis=1)
    answer = np.asanyarray(raw)
    if answer.dtype == object and answer.ndim == 0:
        raise TypeError(f"predict_proba answered {type(raw).__name__}, not an array of numbers")
    if card.kind == "multiclass" and classes is not None and answer.ndim == 2 and len(classes) == answer.shape[1]:
        full = np.zeros((len(answer), len(card.labels)), answer.dtype)
        full[:, np.asarray(classes, dtype=int)] = answer
        return full
    return answer


def _share_of_one(part: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the column of class 1 of one output, zeros where the training fold had none."""
    found = np.flatnonzero(np.asarray(classes) == 1)
    return part[:, found[0]] if len(found) else np.zeros(len(part), part.dtype)


def count_parameters(estimator: Any) -> int | None:
    """Return the number of fitted numbers: ``n_parameters`` where given, else coefficients and tree nodes.

    None where neither is known, rather than a guess.
    """
    own = getattr(estimator, "n_parameters", None)
    if own is not None:
        return int(own)
    if parts := _parts(estimator):
        counted = [count for part in parts if (count := count_parameters(part)) is not None]
        return sum(counted) if counted else None
    if hasattr(estimator, "tree_"):
        return int(estimator.tree_.node_count)
    arrays = [getattr(estimator, name, None) for name in ("coef_", "intercept_", "idf_", "feature_log_prob_")]
    sizes = [array.size for array in arrays if isinstance(array, np.ndarray)]
    return sum(sizes) if sizes else None


def notes(estimator: Any) -> tuple[str, ...]:
    """Return what an estimator and its parts say of their own fit (a batch that did not fit and was halved, …)."""
    own = tuple(str(note)[:500] for note in getattr(estimator, "notes_", ()))
    return tuple(dict.fromkeys((*own, *(note for part in _parts(estimator) for note in notes(part)))))


def _parts(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline, the members of a union or the fitted estimators of an ensemble."""
    named = getattr(estimator, "steps", None) or getattr(estimator, "transformer_list", [])
    return [part for _, part in named] or list(getattr(estimator, "estimators_", []))


def save(estimator: Any, folder: Path) -> None:
    """Write the artefact of a fitted estimator into `folder`: its own format, or skops; never pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(estimator, "save"):
        estimator.save(folder)
        return
    from .storage import skops_io

    skops_io.dump(estimator, folder / SKOPS, compression=zipfile.ZIP_DEFLATED, compresslevel=1)


def save_training(estimator: Any, folder: Path) -> None:
    """Write what an estimator kept of its training: ``losses_``, one a step, and the state of ``optimizer_``."""
    if (losses := getattr(estimator, "losses_", None)) is not None:
        lines = [f"{step},{float(loss):.7g}" for step, loss in enumerate(losses, start=1)]
        (folder / LOSSES).write_text("\n".join(["step,loss", *lines, ""]), encoding="utf-8")
    if (optimizer := getattr(estimator, "optimizer_", None)) is not None:
        from .optimizer_state import save_optimizer

        save_optimizer(optimizer, folder / OPTIMIZER)


def load(built: Any, folder: Path, plugins: tuple[str, ...] = ()) -> Any:
    """Return the estimator that `save` wrote, given a fresh one from the same builder.

    Parameters
    ----------
    plugins
        Names of plug-in modules whose types may be loaded beside scikit-learn's, NumPy's and the zoo's.

    Raises
    ------
    UserError
        If the artefact names a type from anywhere else: loading it would run foreign code.
    """
    if hasattr(built, "load"):
        try:
            return built.load(folder)
        except (UserError, UnavailableError, MemoryError):
            raise
        except ModuleNotFoundError as error:
            name = (error.name or "").partition(".")[0]
            raise UnavailableError(f"{next(iter(str(error).splitlines()), name)}: pip install {name}") from error
        except Exception as error:  # each framework has errors of its own for a damaged file
            if out_of_memory(error):
                raise
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"artefact {folder} cannot be read ({line}): run its cell again with --fresh") from error
    from .storage import skops_io

    path = folder / SKOPS
    try:
        found = skops_io.get_untrusted_types(file=path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"artefact {path} cannot be read ({error}): run its cell again with --fresh") from error
    known = ("sklearn.", "numpy.", "scipy.", "zoobench.zoo.", *(f"{name}." for name in plugins))
    if strange := [name for name in found if not name.startswith(known)]:
        raise UserError(
            f"artefact {path} holds types that are not trusted: {', '.join(strange[:3])}; it was not loaded"
        )
    return skops_io.load(path, trusted=found)
