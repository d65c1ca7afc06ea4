"""What the Try-it page asks for by task, its colours, and texts to begin with. The texts are made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...datasets.core import TaskCard

FIELDS: Mapping[str, tuple[str, ...]] = {"biomedical-abstracts": ("title_field", "abstract"), "movie-genres": ("plot",)}
"""The fields of a task's text; one field `text` elsewhere."""

JOINED: Mapping[str, str] = {"biomedical-abstracts": ". "}
"""What stands between the fields in the text, as the task's reader joins them."""

_PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "biomedical-abstracts": {
        "cardiovascular": "#3B82F6",
        "hepatorenal": "#10B981",
        "neurological": "#8B5CF6",
        "oncological": "#EF4444",
    }
}
"""The colours of the published page."""

# Okabe and Ito 2008, told apart by the colour-blind; black is left out, which a dark page would swallow.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

_PAIR = (
    "[E1] Metformin [/E1] and lactic acidosis: a case report. A patient with renal failure who took "
    "[E1] metformin [/E1] developed severe [E2] lactic acidosis [/E2], which resolved after haemodialysis."
)
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "biomedical-abstracts": (
        "Renal function after acute myocardial infarction",
        "Background: Patients with acute myocardial infarction and heart failure often develop renal insufficiency. "
        "Methods: We followed 214 patients with coronary artery disease and measured serum creatinine for a year. "
        "Results: Chronic kidney disease doubled the risk of cardiovascular death.",
    ),
    "movie-genres": (
        "a retired detective is drawn back into the city he left when a killer whom he once let go begins to "
        "murder the witnesses of an old bank robbery , and the only one who believes him is the daughter of the first "
        "victim .",
    ),
    "openi-reports": (
        "Heart size is enlarged. There is a small left pleural effusion with adjacent atelectasis. No pneumothorax. "
        "Degenerative changes of the thoracic spine.",
    ),
    "padchest-reports": ("cardiomegalia . pequeno derrame pleural izquierdo . sin signos de neumotorax .",),
    "medical-abstracts": (
        "Long-term survival after resection of hepatic metastases from colorectal carcinoma. We reviewed 120 patients "
        "who underwent liver resection for metastatic tumours and analysed recurrence by number and size of lesions.",
    ),
    "litcoin-relations": (_PAIR,),
    "litcoin-novelty": (_PAIR,),
    "biored-pairs": (_PAIR,),
}
"""By task a text for each of its fields."""


def colours_of(card: TaskCard) -> dict[str, str]:
    """Return a colour for each label: the published ones, or those of a palette in turn."""
    published = _PUBLISHED.get(card.name, {})
    return {label: published.get(label, _PALETTE[place % len(_PALETTE)]) for place, label in enumerate(card.labels)}
