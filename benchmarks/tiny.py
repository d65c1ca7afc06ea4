"""A transformer small enough for tests: real layers, a real tokenizer, random weights."""

from __future__ import annotations

from pathlib import Path


def tiny_encoder(folder: Path) -> str:
    """Write a BERT of two layers and 32 dimensions with the packaged MiniLM's tokenizer; return its folder.

    It stands in for every ``encoder`` of the conformance suite, which is about the contract and not about scores.

    Raises
    ------
    UnavailableError
        If the packaged MiniLM, whose tokenizer it takes, is not installed.
    """
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from ..zoo.encoders import PACKAGED, locate

    if not (folder / "config.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(locate(PACKAGED)[0])
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=128,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = BertModel(config)
        tokenizer.save_pretrained(folder)
        network.save_pretrained(folder)
    return str(folder)
