"""Whether stored records are true: each is scored again from its probabilities and the folds as they are here.

What follows from nothing that is kept is taken as it is: times, memory, hardware, and the scores of the training fold,
whose probabilities are not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np

from ..datasets.core import Fold, TaskCard
from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.truth import Truth
from .cell import Cell, record_key
from .findings import Finding, differences
from .known import SHIPPED, Known
from .links import link_on_way, no_own_files
from .metrics import METRIC_VERSION
from .plan import card_of
from .record import Record
from .reread import AGREEMENT
from .rows import STORED, Answered, read_answers
from .schema import why_unreadable
from .scoring import Scored, evaluate
from .store import PROBABILITIES, RESAMPLES, Results, Stored, hash_files, read_record
from .verify_modes import check_ensemble, check_tuning

RESAMPLED = 1e-5
"""Between the resamples, or the temperature, of a record and those made again: sums of float32 in another order, and a
search that ends a millionth away from the least loss, come out that near on another processor."""

Outcome = Literal["verified", "refused", "missing"]


@dataclass(frozen=True)
class Verified:
    """What came of a record.

    Attributes
    ----------
    findings
        Why it is refused; empty if it is not.
    remarks
        What could not be looked at, and why.
    reason
        Of one that is ``missing``: why its task is not on this machine.
    """

    path: Path
    task: str
    model: str
    key: str
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if self.findings and self.reason:
            raise ValueError("a record is refused, or nobody could look")

    @property
    def outcome(self) -> Outcome:
        """What came of it in one word."""
        return "refused" if self.findings else "missing" if self.reason else "verified"


@dataclass
class _Look:
    """What was seen of one record so far."""

    stored: Stored
    card: TaskCard
    truth: Truth
    results: Results
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def same(self, what: str, expected: Any, found: Any, within: float = 0.0) -> bool:
        """Compare two values and keep where they differ; return whether they do not."""
        new = list(differences(what, expected, found, within))
        self.findings += new
        return not new


def verify_records(results: Results, paths: Iterable[Path]) -> Iterator[Verified]:
    """Yield what came of each record; those of one task come together, so that it is prepared once."""
    known: tuple[str, Known | str] = ("", "")
    for path in sorted(paths):
        task, model, key = path.parts[-4:-1]
        if linked := list(_linked(path, results.root)):
            yield Verified(path, task, model, key, tuple(linked))
            continue
        try:
            stored = Stored(read_record(path), path)
        except (OSError, ValueError, RecursionError) as error:
            unread = Finding("record", "one that this zoobench reads", why_unreadable(path, error))
            yield Verified(path, task, model, key, (unread,))
            continue
        if wrong := (*_identity(stored), *_not_own(stored.attempt, stored.attempt.parent)):
            yield Verified(path, task, model, key, wrong)
            continue
        if known[0] != task:
            known = (task, _known(task))
        yield _verified(stored, known[1], results)


def _verified(stored: Stored, known: Known | str, results: Results) -> Verified:
    """Return what comes of a record of a task that is known, or why it is not."""
    task, model, key = stored.path.parts[-4:-1]
    truth = known if isinstance(known, str) else known.of_record(stored.record)
    if isinstance(known, str) or isinstance(truth, str):
        return Verified(stored.path, task, model, key, reason=str(truth))
    look = _Look(stored, known.card, truth, results, list(known.wrong))
    if truth is not known.here:
        look.remarks.append(f"{known.absent or 'the data here are others'}: {SHIPPED}")
    _examine(look)
    return Verified(stored.path, task, model, key, tuple(look.findings), tuple(look.remarks))


def verify_studies(results: Results, tasks: Sequence[str]) -> Iterator[Verified]:
    """Yield the studies, of `tasks` where any are named, that hold links; their trials are looked up by a record."""
    for path in sorted((results.root / "studies").glob("*/*/*")):
        task, model, key = path.parts[-3:]
        if tasks and task not in tasks:
            continue
        if wrong := tuple(_linked(path, results.root)) or tuple(_not_own(path, path.parent)):
            yield Verified(path, task, model, key, wrong)


def _linked(path: Path, root: Path) -> Iterator[Finding]:
    """Yield the first link on the way to `path`: what it points to is none of this folder."""
    if link := link_on_way(path, root):
        yield Finding(str(link.relative_to(root)), "a file or folder of its own", "a link")


def _not_own(folder: Path, above: Path) -> Iterator[Finding]:
    """Yield what is below `folder`, or itself, and no file or folder of its own, by its path from `above`."""
    for path in no_own_files(folder):
        found = "a link" if path.is_symlink() else "neither file nor folder"
        yield Finding(str(path.relative_to(above)), "a file or folder of its own", found)


def _known(task: str) -> Known | str:
    """Return what is known of a task here, or why nothing is."""
    try:
        return Known.of(task)
    except (UserError, UnavailableError) as error:
        return str(error)


def _identity(stored: Stored) -> Iterator[Finding]:
    """Yield where a record is not that of its place, or not that of its keys."""
    record = stored.record
    task, model, key = stored.path.parts[-4:-1]
    place = {"task": task, "model": model, "key": key}
    said = {"task": record.task_name, "model": record.model, "key": record.key}
    yield from differences("folder's", place, said, 0)
    of_key = record_key(record.fit_key, record.hardware_class)
    yield from differences("key (of fit key and hardware class)", of_key, record.key, 0)
    if (of_fit := _fit_key(record)) is not None:
        yield from differences("fit key (of task, folds, model, settings, seed and code)", of_fit, record.fit_key, 0)


def _fit_key(record: Record) -> str | None:
    """Return the fit key that follows from a record's own words, None where they do not say all that went in.

    That of a tuned cell holds the space it was searched in; one of an earlier schema does not say what the folders held
    that its settings name.
    """
    folders = record.folders
    if folders is None:
        words = [value for value in record.config.values() if isinstance(value, str)]
        named = any(PurePosixPath(word).is_absolute() or PureWindowsPath(word).is_absolute() for word in words)
        folders = None if named else {}
    if record.mode == "tuned" or folders is None:
        return None
    shared = (
        *("task", "protocol", "task_version", "data_fingerprint", "split_sha256", "model", "preset", "config"),
        *("settings", "seed", "source_sha256", "primary_metric", "fraction"),
    )
    tf32 = record.settings.get("tf32")  # of the run, and said among the settings
    said = {name: getattr(record, name) for name in shared}
    return Cell(**said, folders=folders, tf32=tf32 if isinstance(tf32, bool) else None).fit_key


def _examine(look: _Look) -> None:
    record = look.stored.record
    whole = _check_files(look)
    if not _check_task(look) or record.status != "ok":
        return
    if record.metric_version != METRIC_VERSION:
        look.same("metric version", METRIC_VERSION, record.metric_version)
        return
    answers = _answers(look) if whole else None
    if answers is None:
        return
    _check_scores(look, answers)
    _check_overlap(look)
    stored, ids = look.stored, look.truth.ids
    for findings, remarks in (check_tuning(stored), check_ensemble(stored, look.results, answers, ids)):
        look.findings += findings
        look.remarks += remarks


def _check_files(look: _Look) -> bool:
    """Compare the files of a record's attempt with what it lists; return whether its probabilities are those."""
    record, folder = look.stored.record, look.stored.attempt
    here = hash_files(folder) if folder.is_dir() else {}
    needed = {PROBABILITIES, RESAMPLES} if record.status == "ok" else set[str]()
    for name in sorted(needed | set(here)):
        if name not in record.files:
            look.findings.append(Finding(f"SHA-256 of {name}", "one in the record", "nothing"))
        elif name not in here:
            look.findings.append(Finding(f"file {name}", f"there, in {folder.name}", "nothing"))
        else:
            look.same(f"SHA-256 of {name}", record.files[name], here[name])
    if set(record.files) - set(here) - needed:
        look.remarks.append("not all files that it lists are here (artefacts and the like)")
    return PROBABILITIES in here and record.files.get(PROBABILITIES) == here[PROBABILITIES]


def _check_task(look: _Look) -> bool:
    """Compare what a record says of its task with the task as it is here; return whether its rows are the same."""
    record, card, truth = look.stored.record, look.card, look.truth
    same = [
        look.same("version of the task", card.version, record.task_version),
        look.same("kind of the task", card.kind, record.kind),
        look.same("primary metric", card.primary_metric, record.primary_metric),
        look.same("data fingerprint", truth.fingerprint, record.data_fingerprint),
        look.same("SHA-256 of the folds", truth.split_sha256, record.split_sha256),
        look.same("labels", list(card.labels), record.labels),
    ]
    counted = {fold: truth.rows[fold] for fold in STORED}
    if record.fraction == 1:
        counted["train"] = truth.rows["train"]
    same.append(look.same("rows", counted, {fold: record.rows.get(fold) for fold in counted}))
    return all(same)


def _answers(look: _Look) -> Mapping[Fold, Answered] | None:
    """Return the stored probabilities if they are of the rows of the folds, in their order."""
    import pyarrow.parquet as pq

    path, ids = look.stored.attempt / PROBABILITIES, look.truth.ids
    try:
        answers = read_answers(look.stored)
    except UserError as error:
        why = str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ")
        look.findings.append(Finding(PROBABILITIES, "probabilities of the validation and test rows", why))
        return None
    same = [look.same(f"{PROBABILITIES} rows", sum(map(len, ids.values())), pq.read_metadata(path).num_rows)]
    for fold in STORED:
        wanted, found = ids[fold].astype(str), answers[fold].ids.astype(str)
        if look.same(f"ids of the {fold} rows", f"{len(wanted)} ids", f"{len(found)} ids"):
            apart = np.flatnonzero(wanted != found)
            if apart.size:
                place = f"ids of the {fold} rows, {apart.size} of {len(wanted)}, the first"
                look.findings.append(Finding.of(place, wanted[apart[0]], found[apart[0]]))
        same.append(np.array_equal(wanted, found))
    return answers if all(same) else None


def _check_scores(look: _Look, answers: Mapping[Fold, Answered]) -> None:
    """Score the probabilities again and compare every figure that a record holds of them."""
    record, truth, card = look.stored.record, look.truth, look.card
    found: dict[Fold, np.ndarray] = {fold: answers[fold].probabilities for fold in STORED}
    test = truth.test
    scored = evaluate(card.kind, card.labels, card.primary_metric, truth.targets, found, test.groups, test.subsets)
    look.same("policy", scored.policy, record.policy)
    for fold in STORED:
        _check_evaluations(look, fold, scored)
    _check_older(look, "part", scored.parts, record.parts)
    for name in record.parts.keys() & scored.parts.keys():
        look.same(f"test part {name}", scored.parts[name].model_dump(), record.parts[name].model_dump(), AGREEMENT)
    if record.temperature is None:
        look.remarks.append("older than temperatures")
    else:
        look.same("temperature", scored.temperature, record.temperature, RESAMPLED)
    if (look.stored.attempt / RESAMPLES).is_file():
        _check_resamples(look, scored)


def _check_overlap(look: _Look) -> None:
    """Compare what a record says of the data that its weights had seen with what the model's card says."""
    record = look.stored.record
    if record.mode == "ensemble":
        return  # that follows from its members
    try:
        expected = card_of(record.model).overlap(record.task, record.config)
    except (UserError, KeyError):  # KeyError: of a card that has other settings
        look.remarks.append("model not known here: whether its weights had seen the test fold is taken as it is")
        return
    look.same("overlap (of the weights with the test fold)", expected or "nothing", record.overlap or "nothing")


def _check_evaluations(look: _Look, fold: Fold, scored: Scored) -> None:
    made = scored.folds[fold]
    claimed = look.stored.record.test if fold == "test" else look.stored.record.validation
    _check_older(look, f"{fold} policy", made, claimed)
    for policy in [name for name in made if name in claimed]:
        expected, found = made[policy].model_dump(), claimed[policy].model_dump()
        bounds = expected.pop("intervals"), found.pop("intervals")
        look.same(f"{fold} {policy}", _plain(expected), _plain(found), AGREEMENT)
        look.same(f"{fold} {policy} interval", *bounds, RESAMPLED)


def _check_older(look: _Look, what: str, made: Mapping[str, Any], claimed: Mapping[str, Any]) -> None:
    """Find what nothing here makes; what a record lacks came after it, and is no fault."""
    for name in claimed.keys() - made.keys():
        look.findings.append(Finding(f"{what} {name}", "nothing", "scores"))
    if lacking := sorted(made.keys() - claimed.keys()):
        look.remarks.append(f"no {what} {', '.join(lacking)}")


def _plain(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an evaluation with its values beside its other parts: `test global f1_macro` is enough of a name."""
    return {**{name: part for name, part in evaluation.items() if name != "values"}, **evaluation["values"]}


def _check_resamples(look: _Look, scored: Scored) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(look.stored.attempt / RESAMPLES).read(use_threads=False)
        kept = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}
    except (OSError, ValueError, TypeError, pa.ArrowException):
        look.findings.append(Finding(RESAMPLES, "resamples of the main metrics", "no whole file"))
        return
    if not look.same(f"{RESAMPLES} columns", sorted(scored.resamples), sorted(kept)):
        return
    for name, made in scored.resamples.items():
        shape, rows = (len(made),), kept[name].shape
        if look.same(f"{RESAMPLES} {name}", str(shape), str(rows)):
            apart = ~np.isclose(kept[name], made, rtol=RESAMPLED, atol=RESAMPLED, equal_nan=True)
            if apart.any():
                first = int(apart.argmax())
                place = f"{RESAMPLES} {name}, {apart.sum()} of {len(made)}, the first"
                look.findings.append(Finding.of(place, float(made[first]), float(kept[name][first])))


def chosen_paths(results: Results, tasks: Sequence[str]) -> list[Path]:
    """Return the records of a folder, of `tasks` where any are named.

    Raises
    ------
    UserError
        If there is none.
    """
    paths = [path for path in results.record_paths() if not tasks or path.parts[-4] in tasks]
    if not paths:
        of = f" of {', '.join(tasks)}" if tasks else ""
        raise UserError(f"{results.root} holds no record{of}: a results folder has cells/TASK/MODEL/KEY/record.json")
    return paths
