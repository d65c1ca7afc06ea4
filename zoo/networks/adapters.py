"""Low-rank adapters (LoRA: Hu et al. 2022, https://arxiv.org/abs/2106.09685) in an encoder, through peft."""

from __future__ import annotations

import warnings
from typing import Any

from ...datasets.support.errors import UnavailableError

SCALE = 2
"""LoRA's alpha over its rank: adapters start at that factor, whatever the rank."""


def add_adapters(encoder: Any, rank: int, dropout: float) -> Any:
    """Put adapters of `rank` on every linear layer of `encoder`, and freeze the rest of it.

    Returns
    -------
    peft.LoraModel
        Its ``merge_and_unload()`` returns the encoder with the adapters added to its weights.

    Raises
    ------
    UnavailableError
        If peft is not installed.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise UnavailableError("setting lora needs peft: pip install peft") from error
    settings = LoraConfig(r=rank, lora_alpha=SCALE * rank, lora_dropout=dropout, target_modules="all-linear")
    with warnings.catch_warnings():
        # peft wonders at a configuration without a task type; the head is ours.
        warnings.simplefilter("ignore")
        return LoraModel(encoder, settings, "default")
