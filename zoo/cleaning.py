"""Cleaning: what a text is made into before a model reads it; one setting, `cleaning`, for every text model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ..datasets.support.errors import unknown_name

_SPACE = re.compile(r"\s+")
# The slash of a closing entity marker stays: without it [/E1] would read [ E1].
_FOREIGN = re.compile(r"[^\w\s\-.,:;()\[\]/]|/(?!(?<=\[/)E[12]\])")


def _biomedical(texts: Sequence[str]) -> list[str]:
    return [_FOREIGN.sub(" ", _SPACE.sub(" ", text)).strip() for text in texts]


def _clinical(texts: Sequence[str]) -> list[str]:
    from .clinical import normalise

    return [normalise(text) for text in texts]


def _clinical_ner(texts: Sequence[str]) -> list[str]:
    from .clinical import load_ner, normalise, remove_people

    return [normalise(text) for text in remove_people(texts, load_ner())]


CLEANINGS: Mapping[str, Callable[[Sequence[str]], list[str]]] = MappingProxyType(
    {"none": list, "biomedical": _biomedical, "clinical": _clinical, "clinical-ner": _clinical_ner}
)
"""What `clean` knows, by name.

none
    The texts as they are.
biomedical
    System 1's `clean_text` as published: whitespace folded, then every character outside ``\\w\\s-.,:;()[]`` to a
    space, ends stripped. Its two repairs of scanned text (``~`` to ``-``, ``|`` to ``I``) come after that step and
    so find nothing to repair: a printed ``~`` is a space here as there.
clinical
    System 5's domain preprocessing: abbreviations, values and units, medication names, and personal health
    information, names of people only after a title (Dr., Mrs.). See `clinical.normalise`.
clinical-ner
    The same, with names of people found by spaCy's en_core_web_sm as well.
"""


def clean(name: str, texts: Sequence[str]) -> list[str]:
    """Return (n,) `texts` under the cleaning `name`; an empty text stays one, entity markers ([E1], [/E2]) stay.

    Raises
    ------
    UserError
        If no cleaning has that name.
    UnavailableError
        If `name` is "clinical-ner" and its spaCy model is not installed.
    """
    if name not in CLEANINGS:
        raise unknown_name("cleaning", name, CLEANINGS)
    return CLEANINGS[name](texts)
