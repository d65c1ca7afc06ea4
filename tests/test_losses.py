"""Losses against the published weights, scikit-learn's, torch's own and the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from zoobench.datasets.core import Kind
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.class_weights import class_weights, positive_weights
from zoobench.zoo.losses import LOSSES, Loss, loss_of

RNG = np.random.default_rng(4)
LOGITS = torch.from_numpy(RNG.normal(0, 3, (12, 4)).astype(np.float32))
HELD = (RNG.random((12, 4)) < 0.4).astype(np.uint8)
CLASSES = np.array([0, 1, 1, 3, 3, 3, 0, 1, 1, 1, 3, 0])


def mean(loss: Loss, logits: torch.Tensor, targets: torch.Tensor) -> float:
    return float(loss.total(logits, targets) / loss.weight(targets))


def test_positive_weights_are_the_published_ones_of_system_1() -> None:
    """2,852 training rows, table 4 of the report: 1.813, 2.267, 0.997, 4.932; of the last, its counts make 4.929."""
    counts = (1014, 873, 1428, 481)
    targets = (np.arange(2852)[:, None] < np.array(counts)).astype(np.uint8)
    np.testing.assert_allclose(positive_weights(targets), [(2852 - count) / count for count in counts], rtol=1e-6)
    np.testing.assert_array_equal(np.round(positive_weights(targets), 3), np.float32([1.813, 2.267, 0.997, 4.929]))


def test_a_label_without_rows_has_weight_1() -> None:
    targets = HELD.copy()
    targets[:, 2] = 0
    assert positive_weights(targets)[2] == 1
    assert positive_weights(np.ones((4, 1), np.uint8))[0] == 1, "0 would hide a label that every row holds"
    weights = class_weights(CLASSES, 4)
    assert weights[2] == 1
    np.testing.assert_allclose(
        weights[[0, 1, 3]], compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=CLASSES), rtol=1e-6
    )


def test_plain_and_balanced_are_torchs_own() -> None:
    wanted = torch.from_numpy(HELD.astype(np.float32))
    weight = torch.from_numpy(positive_weights(HELD))
    for name, own in (("plain", None), ("balanced", weight)):
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=own)(LOGITS, wanted)
        assert mean(loss_of(name, "multilabel", HELD, 4), LOGITS, wanted) == pytest.approx(float(expected), rel=1e-6)
    numbers = torch.from_numpy(CLASSES)
    for name, own in (("plain", None), ("balanced", torch.from_numpy(class_weights(CLASSES, 4)))):
        expected = torch.nn.CrossEntropyLoss(weight=own)(LOGITS, numbers)
        assert mean(loss_of(name, "multiclass", CLASSES, 4), LOGITS, numbers) == pytest.approx(
            float(expected), rel=1e-6
        )


def test_focal_and_asymmetric_follow_their_formulas() -> None:
    wanted = torch.from_numpy(HELD.astype(np.float32))
    p = 1 / (1 + np.exp(-LOGITS.numpy().astype(np.float64)))
    right = np.where(HELD == 1, p, 1 - p)
    focal = (-((1 - right) ** 2) * np.log(right)).mean()
    assert mean(loss_of("focal", "multilabel", HELD, 4), LOGITS, wanted) == pytest.approx(focal, rel=1e-5)
    shifted = np.maximum(p - 0.05, 0)
    asymmetric = -np.where(HELD == 1, np.log(p), shifted**4 * np.log(1 - shifted)).mean()
    assert mean(loss_of("asymmetric", "multilabel", HELD, 4), LOGITS, wanted) == pytest.approx(asymmetric, rel=1e-5)
    share = np.exp(LOGITS.numpy().astype(np.float64))
    share = (share / share.sum(1, keepdims=True))[np.arange(12), CLASSES]
    found = mean(loss_of("focal", "multiclass", CLASSES, 4), LOGITS, torch.from_numpy(CLASSES))
    assert found == pytest.approx((-((1 - share) ** 2) * np.log(share)).mean(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_no_loss_and_no_gradient_is_infinite(name: str, scale: float) -> None:
    logits = (LOGITS * scale).requires_grad_()
    total = loss_of(name, "multilabel", HELD, 4).total(logits, torch.from_numpy(HELD.astype(np.float32)))
    total.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(total))
    assert bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize(
    ("name", "kind", "words"), [("hinge", "multilabel", "unknown loss"), ("asymmetric", "multiclass", "many labels")]
)
def test_what_does_not_exist_is_refused(name: str, kind: Kind, words: str) -> None:
    with pytest.raises(UserError, match=words):
        loss_of(name, kind, HELD, 4)
