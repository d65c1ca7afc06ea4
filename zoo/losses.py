"""The losses of networks that classify, each as a sum over rows and a weight, so that parts of a batch add up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.core import Kind
from ..datasets.support.errors import UserError, unknown_name
from .class_weights import class_weights, positive_weights

if TYPE_CHECKING:
    from torch import Tensor

LOSSES = ("plain", "balanced", "focal", "asymmetric")
"""`plain`: cross-entropy (of each label, or of the classes); `balanced`: with weights from the training fold."""

GAMMA = 2.0
"""Focal: the value that Lin et al. found best."""
GAMMA_NEGATIVE, MARGIN = 4.0, 0.05
"""Asymmetric: the published setting (positives are not focused)."""


class Loss:
    """A loss over logits.

    Parameters
    ----------
    rows
        (rows, labels) logits and their targets -> (rows,) losses, weighted.
    weights
        Targets -> (rows,) weights of the rows; None is 1 each.
    """

    def __init__(
        self, rows: Callable[[Tensor, Tensor], Tensor], weights: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self._rows, self._weights = rows, weights

    def total(self, logits: Tensor, targets: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return the sum of the rows' losses, in float32 whatever the logits are.

        Parameters
        ----------
        counts
            (rows,) how much each row counts; None is 1 each.
        """
        losses = self._rows(logits.float(), targets)
        return losses.sum() if counts is None else (losses * counts).sum()

    def weight(self, targets: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return what a total is divided by for a mean over the rows of `targets`."""
        import torch

        counts = torch.ones(len(targets), device=targets.device) if counts is None else counts
        return (self._weights(targets) * counts).sum() if self._weights else counts.sum()


def loss_of(name: str, kind: Kind, targets: np.ndarray, labels: int) -> Loss:
    """Return the loss `name` for a task.

    Parameters
    ----------
    targets
        Of the training fold: (n, labels) 0/1, or (n,) class numbers; only `balanced` reads them.

    Raises
    ------
    UserError
        For an unknown name, or `asymmetric` on classes that exclude one another.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    if kind == "multilabel":
        return _of_labels(name, targets)
    if name == "asymmetric":
        raise UserError("loss asymmetric is for tasks with many labels a row: use plain, balanced or focal")
    return _of_classes(name, targets, labels)


def _of_labels(name: str, targets: np.ndarray) -> Loss:
    if name == "balanced":
        return weighted(positive_weights(targets))
    return Loss({"focal": _focal_of_labels, "asymmetric": _asymmetric_of_labels}.get(name, _entropy_of_labels))


def weighted(weights: np.ndarray) -> Loss:
    """Return the cross-entropy of each label, whose positives weigh (labels,) `weights`."""
    import torch

    return Loss(partial(_entropy_of_labels, weight=torch.from_numpy(weights.astype(np.float32))))


def _of_classes(name: str, targets: np.ndarray, labels: int) -> Loss:
    import torch

    if name != "balanced":
        return Loss(_focal_of_classes if name == "focal" else _entropy_of_classes)
    weight = torch.from_numpy(class_weights(targets, labels))
    return Loss(partial(_entropy_of_classes, weight=weight), partial(_weights_of, weight=weight))


# Functions of the module, not of a call: a loss goes to the processes of other GPUs.


def _entropy_of_labels(logits: Tensor, wanted: Tensor, weight: Tensor | None = None) -> Tensor:
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    positive = None if weight is None else weight.to(logits.device)
    return cross_entropy(logits, wanted, pos_weight=positive, reduction="none").mean(1)


def _focal_of_labels(logits: Tensor, wanted: Tensor) -> Tensor:
    return focal(logits, wanted).mean(1)


def _asymmetric_of_labels(logits: Tensor, wanted: Tensor) -> Tensor:
    return asymmetric(logits, wanted).mean(1)


def _entropy_of_classes(logits: Tensor, wanted: Tensor, weight: Tensor | None = None) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, wanted, weight=None if weight is None else weight.to(logits.device), reduction="none")


def _focal_of_classes(logits: Tensor, wanted: Tensor) -> Tensor:
    import torch

    entropy = _entropy_of_classes(logits, wanted)
    return (1 - torch.exp(-entropy)) ** GAMMA * entropy


def _weights_of(wanted: Tensor, weight: Tensor) -> Tensor:
    return weight.to(wanted.device)[wanted]


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Return (rows, labels) focal losses, gamma 2, no alpha (Lin et al. 2017, https://arxiv.org/abs/1708.02002)."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    entropy = cross_entropy(logits, targets, reduction="none")
    return (1 - torch.exp(-entropy)) ** GAMMA * entropy


def asymmetric(logits: Tensor, targets: Tensor) -> Tensor:
    """Return (rows, labels) asymmetric losses (Ridnik et al. 2021, https://arxiv.org/abs/2009.14119).

    Negatives are focused by gamma 4 and their probability is lowered by a margin of 0.05; positives are plain.
    """
    import torch
    from torch.nn.functional import logsigmoid

    shifted = (torch.sigmoid(logits) - MARGIN).clamp(min=0)
    negatives = -(shifted**GAMMA_NEGATIVE) * torch.log1p(-shifted)
    return -targets * logsigmoid(logits) + (1 - targets) * negatives
