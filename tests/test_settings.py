"""Settings of models: what each is, what it may be, and that all else is refused before a cell runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.core import MODELS, Choice, Config, Model, ModelCard, Range, Scalar, model
from zoobench.zoo.settings import LIMITS, MEANINGS


@pytest.mark.parametrize(
    ("model", "setting", "reason"),
    [
        ("minilm", "epochs=0", "from 1 to 100,000"),
        ("minilm", "batch_size=-4", "from 1 to 100,000"),
        ("minilm", "dropout=1.5", "from 0 to 0.99"),
        ("minilm", "learning_rate=0.0", "more than 0, up to 1e+38"),
        ("minilm", "learning_rate=-0.1", "more than 0, up to 1e+38"),
        ("minilm", "lora=-1", "from 0 to 1,000"),
        ("minilm", "lora=100000", "from 0 to 1,000"),
        ("minilm", "layer_decay=1.5", "more than 0, up to 1"),
        ("tfidf-logreg", "C=0.0", "from 1e-06 to 1,000,000"),
        ("tfidf-logreg", "C=1e+300", "from 1e-06 to 1,000,000"),
        ("tfidf-linear-svc", "folds=1", "from 2 to 100"),
        ("tfidf-complement-nb", "alpha=0.0", "more than 0, up to 1,000"),
        ("minilm", f"epochs=1{'0' * 400}", "from 1 to 100,000"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(model: str, setting: str, reason: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(UserError) as caught:
        MODELS.get(model).card.configure("", {name: value})
    shown = value if len(value) < 40 else f"{value[:39]}…"
    assert str(caught.value) == f"{model}: setting {name}={shown} is not {reason}"


def test_minus_zero_is_zero() -> None:
    found = MODELS.get("minilm").card.configure("", {"dropout": "-0"})["dropout"]
    assert math.copysign(1, float(found)) == 1


SHIPPED = [pytest.param(model.card, id=name) for name, model in MODELS.entries().items()]
"""Listed before any test of this process registers a model of its own."""


@pytest.mark.parametrize("card", SHIPPED)
def test_every_number_of_a_setting_has_limits(card: ModelCard) -> None:
    for name, value in card.default.items():
        assert isinstance(value, (str, bool)) == (name not in card.limits), name
    for preset in ("", *card.presets):
        for name, value in card.configure(preset).items():
            low, high = card.limits.get(name) or (-math.inf, math.inf)
            assert isinstance(value, str) or low <= value <= high, (preset, name)


@pytest.mark.parametrize("card", SHIPPED)
def test_every_setting_says_what_it_does(card: ModelCard) -> None:
    assert not {name for name in card.default if not card.meanings.get(name)}


def test_no_shared_word_of_a_setting_is_left_over() -> None:
    used = {name for param in SHIPPED for name in param.values[0].default}
    assert set(MEANINGS) | set(LIMITS) <= used


@pytest.mark.parametrize("card", SHIPPED)
def test_every_word_of_a_setting_is_known_before_a_run(card: ModelCard) -> None:
    """A setting that takes words names those that it takes, or folders; a model without it fails in its cell."""
    words = {key for key, value in card.default.items() if isinstance(value, str)}
    assert words == {*card.choices, *card.folders}
    for key in card.choices:
        assert card.default[key] in card.choices[key]
        with pytest.raises(UserError, match=f"unknown {key} of {card.name} 'soap'"):
            card.configure("", {key: "soap"})


def test_words_of_settings_are_those_that_the_code_knows() -> None:
    pytest.importorskip("torch")
    from zoobench.zoo import cleaning, finetune, losses, preprocessing, tokens
    from zoobench.zoo.networks import heads

    bag, tuned = MODELS.get("tfidf-logreg").card.choices, MODELS.get("minilm").card.choices
    known = {
        "cleaning": cleaning.CLEANINGS, "head": heads.HEADS, "pooling": heads.POOLINGS, "loss": losses.LOSSES,
        "truncation": tokens.TRUNCATIONS, "augmentation": finetune.AUGMENTATIONS,
    }  # fmt: skip
    assert {name: set(words) for name, words in known.items()} == {name: set(tuned[name]) for name in known}
    assert set(bag["preprocessing"]) == set(preprocessing.PREPROCESSINGS)
    assert set(bag["cleaning"]) == set(cleaning.CLEANINGS)


def test_groups_of_two_letters_are_refused() -> None:
    with pytest.raises(UserError, match="letters=2: groups are of 3 letters or more"):
        MODELS.get("tfidf-logreg").card.configure("", {"letters": 2})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lora": 4, "frozen_embeddings": True}, "no effect with lora"),
        ({"attention": False}, "attention=false has no effect with head=linear"),
        ({"encoder": "./nowhere"}, "'./nowhere' is not there"),
        ({"encoder": ""}, "'' is not there"),
        ({"encoder": "a/b/c"}, "is not there"),
        ({"encoder": "tests"}, "holds no config.json"),
        ({"max_length": 2}, "max_length=2 is not from 3 to 1,000,000"),
    ],
)
def test_settings_that_make_no_sense_together(
    settings: dict[str, Scalar], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    with pytest.raises(UserError, match=words):
        MODELS.get("minilm").card.configure("", settings)


def card(**more: Any) -> ModelCard:
    about = {"name": "mine", "title": "t", "description": "d", "citation": "c"}
    settings = {"epochs": 3, "weight": 0.5, "how": "one"}
    return ModelCard(**{**about, "modality": "text", "framework": "torch", "default": settings, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"limits": {"epochs": (5, 2)}},
        {"limits": {"epochs": (math.nan, 9)}},
        {"limits": {"epochs": (1,)}},
        {"limits": {"epochs": 9}},
        {"limits": {"epochs": ("1", "9")}},
        {"limits": {"epochs": (4, 9)}},
        {"limits": {"how": (0, 1)}},
        {"limits": {"epochs": (1, 9)}, "presets": {"many": {"epochs": 10}}},
        {"limits": {"epochs": (1, 9)}, "space": {"epochs": Range(1, 10)}},
        {"presets": {"many": {"epochs": "many"}}},
        {"presets": {"half": {"epochs": 1.5}}},
        {"choices": {"how": ("two",)}},
        {"choices": {"how": ("one",)}, "presets": {"other": {"how": "two"}}},
        {"meanings": {"epochs": 5}},
        {"meanings": {"epoch": "Times that all is read"}},
    ],
)
def test_a_card_that_contradicts_itself_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="model mine: "):
        card(**more)


def test_a_strangers_settings_are_their_own() -> None:
    """A name that the zoo uses means what its card says: other bounds, and no sentence about other models."""
    mine: Model = model(card(limits={"epochs": (0, math.inf)}, space={"how": Choice(("one", "two"))}))(_build)
    assert not mine.card.meanings
    assert mine.card.configure("", {"epochs": 0, "weight": -1e9})["weight"] == -1e9
    with pytest.raises(UserError, match=r"setting epochs=-1 is not 0 or more$"):
        mine.card.configure("", {"epochs": -1})


def _build(config: Config, context: Any) -> Any:
    raise NotImplementedError
