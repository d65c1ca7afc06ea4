"""Classification heads: an encoder's hidden states to logits. Padding reaches none of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ...datasets.support.errors import UserError, unknown_name
from ..core import Config


class First(nn.Module):
    """The first token's state ([CLS])."""

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool (rows, tokens, d) to (rows, d); `mask` (rows, tokens) is true where a token is."""
        del mask
        return hidden[:, 0]


class Mean(nn.Module):
    """The mean over the tokens."""

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool (rows, tokens, d) to (rows, d)."""
        return masked_mean(hidden, mask)


class Attention(nn.Module):
    """A learnt weighted mean over the tokens (Yang et al. 2016, https://aclanthology.org/N16-1174)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense, self.query = nn.Linear(width, width), nn.Linear(width, 1, bias=False)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool (rows, tokens, d) to (rows, d)."""
        scores = self.query(torch.tanh(self.dense(hidden))).squeeze(-1)
        shares = scores.masked_fill(~mask.bool(), -torch.inf).softmax(1)
        return torch.einsum("rt,rtd->rd", shares, hidden)


class Pooler(nn.Module):
    """The first token's state through BERT's pooler, dense and tanh; the encoder's own weights where it has them."""

    def __init__(self, width: int, trained: nn.Linear | None) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        if trained is not None:
            self.dense.load_state_dict(trained.state_dict())

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool (rows, tokens, d) to (rows, d)."""
        del mask
        return torch.tanh(self.dense(hidden[:, 0]))


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return (rows, d): the mean of (rows, tokens, d) over the tokens of `mask`, zeros where it has none."""
    kept = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * kept).sum(1) / kept.sum(1).clamp(min=1)


class Linear(nn.Module):
    """Pooling, dropout, one linear layer: the plain head of BERT (Devlin et al. 2019)."""

    def __init__(self, pooling: nn.Module, width: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.pooling, self.dropout, self.classifier = pooling, nn.Dropout(dropout), nn.Linear(width, labels)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, hidden: Tensor, mask: Tensor, ids: Tensor) -> Tensor:
        """Return (rows, labels) logits of (rows, tokens, d) states."""
        del ids
        return self.classifier(self.dropout(self.pooling(hidden, mask)))


class ImprovedPrinted(nn.Module):
    """System 1's printed class: pooling, dropout, one linear layer (Xavier), half that dropout on the logits."""

    def __init__(self, pooling: nn.Module, width: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.pooling, self.classifier = pooling, _xavier(nn.Linear(width, labels))
        self.before, self.after = nn.Dropout(dropout), nn.Dropout(dropout / 2)

    def forward(self, hidden: Tensor, mask: Tensor, ids: Tensor) -> Tensor:
        """Return (rows, labels) logits of (rows, tokens, d) states."""
        del ids
        return self.after(self.classifier(self.before(self.pooling(hidden, mask))))


class Improved(nn.Module):
    """System 1's head as described: attention over the tokens with a residual, pooling, an MLP that narrows.

    Parameters
    ----------
    heads
        Of the extra attention layer; 0 leaves the layer out.
    """

    def __init__(self, pooling: nn.Module, width: int, labels: int, dropout: float, heads: int) -> None:
        super().__init__()
        self.pooling, self.dropout = pooling, nn.Dropout(dropout)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True) if heads else None
        self.norm = nn.LayerNorm(width) if heads else None
        narrow = [width, width // 2, width // 4]
        self.mlp = nn.Sequential(
            *(layer for wide, thin in pairwise(narrow) for layer in _block(wide, thin, dropout)),
            _xavier(nn.Linear(narrow[-1], labels)),
        )

    def forward(self, hidden: Tensor, mask: Tensor, ids: Tensor) -> Tensor:
        """Return (rows, labels) logits of (rows, tokens, d) states."""
        del ids
        if self.attention is not None and self.norm is not None:
            seen, _ = self.attention(hidden, hidden, hidden, key_padding_mask=~mask.bool(), need_weights=False)
            hidden = self.norm(hidden + self.dropout(seen))
        return self.mlp(self.dropout(self.pooling(hidden, mask)))


class Entities(nn.Module):
    """The two entities' starts beside the pooled text (R-BERT: Wu and He 2019, https://arxiv.org/abs/1905.08284).

    Each entity is the mean state of its opening markers, one at every mention; like R-BERT, both entities share a
    dense layer and the text (R-BERT pools [CLS]) has its own, each behind tanh.
    """

    def __init__(self, pooling: nn.Module, width: int, labels: int, dropout: float, starts: Sequence[int]) -> None:
        super().__init__()
        self.pooling, self.starts = pooling, tuple(starts)
        self.dropout = nn.Dropout(dropout)
        self.first, self.entity = _xavier(nn.Linear(width, width)), _xavier(nn.Linear(width, width))
        self.classifier = _xavier(nn.Linear(width * (1 + len(self.starts)), labels))

    def forward(self, hidden: Tensor, mask: Tensor, ids: Tensor) -> Tensor:
        """Return (rows, labels) logits of (rows, tokens, d) states; `ids` (rows, tokens) hold the markers."""
        whole = self.first(self.dropout(torch.tanh(self.pooling(hidden, mask))))
        entities = [masked_mean(hidden, ids == start) for start in self.starts]
        pooled = [whole, *(self.entity(self.dropout(torch.tanh(entity))) for entity in entities)]
        return self.classifier(self.dropout(torch.cat(pooled, -1)))


def _block(wide: int, thin: int, dropout: float) -> tuple[nn.Module, ...]:
    return _xavier(nn.Linear(wide, thin)), nn.ReLU(), nn.LayerNorm(thin), nn.Dropout(dropout)


def _xavier(layer: nn.Linear) -> nn.Linear:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


HEADS = ("linear", "improved-printed", "improved", "entities")
POOLINGS = ("cls", "mean", "attention", "pooler")


def head_of(config: Config, encoder: Any, labels: int, starts: Sequence[int]) -> nn.Module:
    """Return the head that the settings ``head``, ``pooling``, ``attention`` and ``dropout`` describe.

    Parameters
    ----------
    encoder
        Gives width and pooler; a pooler is taken from it, since its gradients would otherwise be computed for nothing.
    starts
        Ids of the opening entity markers, () where the training texts hold none.

    Raises
    ------
    UserError
        For unknown names, and for entities that the training texts do not mark.
    """
    name, width, dropout = str(config["head"]), int(encoder.config.hidden_size), float(config["dropout"])
    pooling = _pooling(str(config["pooling"]), encoder, width)
    if name == "linear":
        return Linear(pooling, width, labels, dropout)
    if name == "improved-printed":
        return ImprovedPrinted(pooling, width, labels, dropout)
    if name == "improved":
        heads = int(encoder.config.num_attention_heads) if config["attention"] else 0
        return Improved(pooling, width, labels, dropout, heads)
    if name != "entities":
        raise unknown_name("head", name, HEADS)
    if not starts:
        raise UserError("head entities: the training texts hold no [E1] and [E2] markers; use another head")
    return Entities(pooling, width, labels, dropout, starts)


def _pooling(name: str, encoder: Any, width: int) -> nn.Module:
    trained = getattr(encoder, "pooler", None)
    if trained is not None:
        encoder.pooler = None
    if name == "pooler":
        return Pooler(width, trained if isinstance(trained, nn.Linear) else getattr(trained, "dense", None))
    if name == "attention":
        return Attention(width)
    if name not in POOLINGS:
        raise unknown_name("pooling", name, POOLINGS)
    return First() if name == "cls" else Mean()
