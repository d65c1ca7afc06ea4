"""Where the trials of a study are kept, and how one that was killed goes on: Optuna's storages, opened with care."""

from __future__ import annotations

import os
import platform
import secrets
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from ..datasets.support.errors import UserError
from ..datasets.support.files import lock
from .search import Search

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "journal.log"
HEARTBEAT_S, GRACE_S = 20, 60
"""How often a process on a database says that it lives, and after how long a silence its trial is taken for dead."""
RETRIES, FIRST_TRIES = 1, 5
OWNER, INTERRUPTED, SECONDS, REASON, SHA256 = "owner", "interrupted", "seconds", "reason", "sha256"
"""Attributes of a trial: whose it is, whether its run was stopped, what it took, why it failed, what it answered."""


def open_storage(where: str | Path) -> BaseStorage:
    """Return the storage at a database's URL, or in a journal file.

    Raises
    ------
    UserError
        If it cannot be reached or opened; passwords are not shown.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _journal(where) if isinstance(where, Path) else _database(where)


def check_storage(url: str) -> None:
    """Refuse a storage that cannot be reached or written, by making a study in it and taking it away again."""
    import sqlalchemy.exc

    storage = open_storage(url)
    try:
        probe = storage.create_new_study(_directions(), f"zoobench-probe-{secrets.token_hex(6)}")
        storage.delete_study(probe)
        storage.remove_session()
    except (sqlalchemy.exc.SQLAlchemyError, *_storage_errors()) as error:
        raise UserError(f"--storage {shown(url)} cannot be written: {_reason(error)}") from None


def shown(url: str) -> str:
    """Return a storage's URL without its password."""
    import sqlalchemy.exc

    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return url.rpartition("@")[2]


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database, None for any other URL."""
    import sqlalchemy.exc

    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _database(url: str) -> BaseStorage:
    import optuna
    import sqlalchemy.exc

    try:
        for _ in range(FIRST_TRIES):
            try:
                return _connected(url)
            except sqlalchemy.exc.DatabaseError as error:
                if isinstance(error, sqlalchemy.exc.OperationalError) and "already exists" not in str(error):
                    raise
                time.sleep(1)  # those that came first make its tables at once: another will have made them all
        return _connected(url)
    except sqlalchemy.exc.ArgumentError:
        example = "postgresql+psycopg://user@host/name or sqlite:///studies.db"
        raise UserError(f"--storage {shown(url)} is no database URL, such as {example}") from None
    except ImportError:
        driver = sqlalchemy.make_url(url).get_driver_name()
        package = "'zoobench[postgresql]'" if driver == "psycopg" else driver
        raise UserError(f"--storage {shown(url)}: {driver} is not installed: pip install {package}") from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        raise UserError(f"--storage {shown(url)} cannot be opened: {_reason(error)}") from None


def _connected(url: str) -> BaseStorage:
    import sqlalchemy
    from optuna.storages import RDBStorage

    dialect = sqlalchemy.make_url(url).get_backend_name()
    arguments = {"postgresql": {"connect_timeout": 10}, "sqlite": {"timeout": 60}}.get(dialect, {})
    return RDBStorage(
        url,
        engine_kwargs={"connect_args": arguments, "pool_pre_ping": dialect != "sqlite"},
        heartbeat_interval=HEARTBEAT_S,
        grace_period=GRACE_S,
        heartbeat_stale_trial_callback=_retry(RETRIES),
    )


def _journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.storages.journal._file import BaseJournalFileLock

    guard = lock(path.with_suffix(".lock"))

    class KernelLock(BaseJournalFileLock):
        """Freed by the kernel when its holder dies; a lock file of Optuna's own would be waited for."""

        def acquire(self) -> bool:
            guard.acquire()
            return True

        def release(self) -> None:
            guard.release()

    try:
        with guard:
            _mend(path)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=KernelLock()))
    except Exception as error:  # whatever a line that is no entry makes of Optuna's reader
        why = error.strerror if isinstance(error, OSError) else f"it has a line that is no entry ({_reason(error)})"
        raise UserError(f"study {path} cannot be used: {why}; move its folder aside to begin anew") from None


def _mend(path: Path) -> None:
    """Cut off the line that a killed process left half written: nothing could be read or added after it."""
    if not path.exists():
        return
    with path.open("rb+") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            stream.truncate(whole)


def open_study(storage: BaseStorage, name: str, search: Search, made_of: Mapping[str, Any], seed: int) -> optuna.Study:
    """Return the study of that name, made if there is none, with what its dead processes left behind tidied up.

    Parameters
    ----------
    made_of
        What else two runs must share for their trials to belong to one study: model, task, data, folds, code.
    seed
        Of the sampler and what it draws.

    Raises
    ------
    UserError
        If the study in the storage is of another model, other data, or another search space.
    """
    import optuna

    try:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.enqueue_trial(search.start(), user_attrs={"default": True})  # by who made it: two may begin at once
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage)
    for key, value in _known_by(search, made_of).items():
        if key not in study.user_attrs:
            study.set_user_attr(key, value)
    _check_same(name, study.user_attrs, _known_by(search, made_of))
    _revive(study)
    # Drawn anew from what there is: the same seed after a stop would draw the same first trials again.
    study.sampler = _sampler(seed + len(study.trials))
    return study


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed % 2**32, multivariate=True, group=True, constant_liar=True)


def check_study(storage: BaseStorage, name: str, search: Search, made_of: Mapping[str, Any]) -> None:
    """Refuse, before anything runs, a study of that name that is of another model, other data or another space."""
    import optuna

    if name in optuna.get_all_study_names(storage):
        kept = optuna.load_study(study_name=name, storage=storage).user_attrs
        _check_same(name, kept, _known_by(search, made_of))


def _known_by(search: Search, made_of: Mapping[str, Any]) -> dict[str, Any]:
    return {"space": search.described(), "start": search.start(), **made_of}


def _check_same(study: str, kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if name in kept and kept[name] != value:
            both = f"its {name} is {kept[name]}, this run's {value}"
            raise UserError(f"study {study} in the storage is another one: {both}; name another --storage")


def _revive(study: optuna.Study) -> None:
    """Fail the trials of processes of this machine that no longer live, and queue what was cut short once more.

    A trial whose process died twice counts as failed: it may be what kills it. One that was stopped with its run
    (Ctrl-C), and the first, which every budget begins with, are tried as often as it takes.
    """
    from optuna.trial import TrialState

    gone = retried(study.trials)
    for trial in study.trials:
        stopped = trial.state == TrialState.FAIL and trial.user_attrs.get(INTERRUPTED) and trial.number not in gone
        if trial.state == TrialState.RUNNING and _is_dead(trial):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except ValueError:
                continue  # another process was faster, and queues it
        elif not stopped:
            continue
        always = stopped or trial.user_attrs.get("default")
        _retry(None if always else RETRIES)(study, study.trials[trial.number])


def _retry(most: int | None) -> Callable[[optuna.Study, FrozenTrial], None]:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=most)


def retried(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of trials that were given another try: they count for nothing."""
    return {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that came to an end, whatever it was."""
    again = retried(trials)
    return [trial for trial in trials if trial.state.is_finished() and trial.number not in again]


def owner() -> str:
    """Name this process so that no other is taken for it."""
    me = psutil.Process()
    return f"{platform.node()}~{os.getpid()}~{me.create_time():.2f}"


def _is_dead(trial: FrozenTrial) -> bool:
    """Return whether a trial's process, one of this machine, no longer lives; of another machine's nobody knows.

    One that has not said whose it is, the first thing that a process does, died before it could.
    """
    owner = trial.user_attrs.get(OWNER, "")
    if not owner:
        begun = trial.datetime_start
        return begun is not None and datetime.now() - begun > timedelta(seconds=GRACE_S)
    node, _, rest = owner.rpartition("~")[0].rpartition("~")
    started = owner.rpartition("~")[2]
    if node != platform.node():
        return False
    try:
        return f"{psutil.Process(int(rest)).create_time():.2f}" != started
    except (psutil.Error, ValueError):
        return True


def _directions() -> Sequence[Any]:
    from optuna.study import StudyDirection

    return [StudyDirection.MAXIMIZE]


def _storage_errors() -> tuple[type[Exception], ...]:
    import optuna

    return (optuna.exceptions.OptunaError, OSError)


def _reason(error: Exception) -> str:
    """Return the sentence of an error that says why; a database's begins with the name of its class."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    return " ".join(str(cause).split())[:300] or type(cause).__name__
