"""Answers from an ensemble: its members' stored models, loaded and asked one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..datasets.images import Images
from ..datasets.support.errors import UserError
from ..datasets.support.texts import Texts
from .predict import Answer, Predictor, answers_of
from .record import Record, Share
from .store import ARTEFACT, RECORD, Stored, read_record


def predictor_of(
    stored: Stored, plugins: Sequence[Path] = (), temperature: float = 1.0, *, serving: bool = False
) -> Predictor | EnsemblePredictor:
    """Return what answers for a record: a stored model, or an ensemble of such; see `Predictor`."""
    made = EnsemblePredictor if stored.record.mode == "ensemble" else Predictor
    return made(stored, plugins, temperature, serving=serving)


class EnsemblePredictor:
    """The stored models of an ensemble's members.

    Parameters
    ----------
    stored
        Its record; the members' stand in the same results folder.
    plugins
        The plug-in files that their models came from.
    temperature, serving
        Divides the logits of the ensemble's answer (see `answers_of`); for the members, see `Predictor`.

    Raises
    ------
    UserError
        If a member's model is not there any more, or was trained anew since, or two need different Keras backends.
    """

    def __init__(
        self, stored: Stored, plugins: Sequence[Path] = (), temperature: float = 1.0, *, serving: bool = False
    ) -> None:
        self.record, self._temperature = stored.record, temperature
        cells = stored.path.parents[2]
        found = [
            (share.weight, _model_of(self.record, share, cells)) for share in stored.record.members if share.weight
        ]
        backends = {str(cell.record.config.get("backend")) for _, cell in found if cell.record.framework == "keras"}
        if len(backends) > 1:
            raise UserError(
                f"members of {self.record.model} need Keras on {' and '.join(sorted(backends))}: ask one alone"
            )
        # Keras last: its backend must not be imported before torch (see the servers of cells).
        found.sort(key=lambda each: each[1].record.framework == "keras")
        self._members = [(weight, Predictor(cell, plugins, serving=serving)) for weight, cell in found]

    def __call__(self, inputs: Sequence[str] | Texts | Images) -> list[Answer]:
        """Return one answer an input, in order; errors as of `Predictor`."""
        return answers_of(self.record, self.probabilities(inputs), self._temperature)

    def probabilities(self, inputs: Sequence[str] | Texts | Images) -> np.ndarray:
        """Return the (n, labels) float32 probabilities of inputs: the weighted mean of the members'."""
        parts = [weight * member.probabilities(inputs).astype(np.float64) for weight, member in self._members]
        return np.sum(parts, axis=0).clip(0, 1).astype(np.float32)


def _model_of(ensemble: Record, share: Share, cells: Path) -> Stored:
    """Return the record of a member, which must have a stored model that is the one that was weighed."""
    known: Record | None = None
    for path in sorted(cells.glob(f"*/{share.key}/{RECORD}")):
        known = read_record(path)
        stored = Stored(known, path)
        same = share.probabilities in known.files.values()
        if known.status == "ok" and same and (stored.attempt / ARTEFACT).is_dir():
            return stored
    if known is None:
        raise UserError(
            f"{ensemble.model} cannot answer: of {share.label} no model is kept; "
            f"an ensemble of cells answers, one of trials does not"
        )
    why = "was trained anew since" if share.probabilities not in known.files.values() else "keeps no model"
    raise UserError(
        f"{ensemble.model} cannot answer: its member {share.label} ({share.key}) {why}: run that again with --fresh, "
        f"and then `zoobench ensemble`"
    )
