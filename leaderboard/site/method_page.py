"""What is measured and how: words, formulas, and what the protocols on this board are known to leak."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ...benchmarks.calibration import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from ...benchmarks.metrics import CALIBRATION_BINS, MAIN_METRICS, METRICS
from ...benchmarks.thresholds import POLICIES
from ..cards import leak_notes
from .core import Page, Site
from .wording import say

_PATH = "method.html"
_F1 = "2 TPₗ / (2 TPₗ + FPₗ + FNₗ)"
_MEAN, _WEIGHTED = "1/L Σₗ ", "Σₗ (TPₗ + FNₗ) "
FORMULAS = {
    "f1_micro": "2 ΣTP / (2 ΣTP + ΣFP + ΣFN)",
    "f1_macro": _MEAN + _F1,
    "f1_weighted": _WEIGHTED + f"{_F1} / Σₗ (TPₗ + FNₗ)",
    "precision_micro": "ΣTP / (ΣTP + ΣFP)",
    "precision_macro": _MEAN + "TPₗ / (TPₗ + FPₗ)",
    "precision_weighted": _WEIGHTED + "TPₗ / (TPₗ + FPₗ) / Σₗ (TPₗ + FNₗ)",
    "recall_micro": "ΣTP / (ΣTP + ΣFN)",
    "recall_macro": _MEAN + "TPₗ / (TPₗ + FNₗ)",
    "recall_weighted": "Σₗ TPₗ / Σₗ (TPₗ + FNₗ)",
    "specificity_macro": _MEAN + "TNₗ / (TNₗ + FPₗ)",
    "roc_auc_macro": _MEAN + "[P(p⁺ > p⁻) + ½ P(p⁺ = p⁻)]ₗ",
    "roc_auc_micro": "P(p⁺ > p⁻) + ½ P(p⁺ = p⁻)",
    "average_precision_macro": _MEAN + "Σₖ (Rₖ - Rₖ₋₁) Pₖ",
    "average_precision_micro": "Σₖ (Rₖ - Rₖ₋₁) Pₖ",
    "hamming_loss": "(ΣFP + ΣFN) / (N L)",
    "exact_match": "1/N Σᵢ [ŷᵢ = yᵢ]",
    "label_ranking_average_precision": "1/N Σᵢ 1/|yᵢ| Σₗ∈yᵢ |{k ∈ yᵢ: pₖ ≥ pₗ}| / |{k: pₖ ≥ pₗ}|; |yᵢ| = 0: 1",
    "brier": "1/(N L) Σ (p - y)²",
    "log_loss": "-1/(N L) Σ ln P(y)",
    "expected_calibration_error": "Σᵦ nᵦ/n |meanᵦ(p) - meanᵦ(y)|",
    "accuracy": "(ΣTP + ΣTN) / (N L)",
    "balanced_accuracy": _MEAN + "(TPₗ / (TPₗ + FNₗ) + TNₗ / (TNₗ + FPₗ)) / 2",
}
"""Of several labels a row; where a row has one class they are the same one against the rest, but for those below."""

OF_CLASSES = {
    "hamming_loss": "1 - 1/N Σᵢ [ŷᵢ = yᵢ]",
    "brier": "1/N Σᵢ Σₗ (p - y)²",
    "log_loss": "-1/N Σᵢ ln pᵢ(yᵢ)",
    "accuracy": "1/N Σᵢ [ŷᵢ = yᵢ]",
    "balanced_accuracy": _MEAN + "TPₗ / (TPₗ + FNₗ)",
}
"""What one class a row makes of them."""

PARTS = {
    "asked": 2,
    "folds": 3,
    "metrics": 3,
    "thresholds": 1,
    "intervals": 4,
    "ties": 2,
    "ranks": 2,
    "time": 4,
    "curves": 1,
    "missing": 1,
    "trust": 2,
}
"""How many paragraphs each part has, in order."""


def _set(formula: str) -> str:
    return formula.replace("-", "\N{MINUS SIGN}")


def paths(site: Site) -> Iterable[str]:
    """Return the one path."""
    del site
    return (_PATH,)


def pages(site: Site, wanted: Collection[str]) -> Iterator[Page]:
    """Yield the page, if it is wanted."""
    if _PATH not in wanted:
        return
    ranked = [name for name, metric in METRICS.items() if metric.higher_is_better is not None]
    yield Page(
        path=_PATH,
        template="method.html.jinja",
        title=say("method.title"),
        section="method",
        values={
            "parts": PARTS,
            "figures": {"bins": CALIBRATION_BINS, "lowest": LOWEST_TEMPERATURE, "highest": int(HIGHEST_TEMPERATURE)},
            "metrics": [(METRICS[name], _set(FORMULAS[name]), _set(OF_CLASSES.get(name, ""))) for name in ranked],
            "main": MAIN_METRICS,
            "policies": tuple(POLICIES),
            "states": ("failed", "timeout", "oom", "incompatible", "unavailable", "missing", "undefined"),
            "leaks": leak_notes(table.task for table in site.tables),
        },
    )
