"""The command line. Exit status: 0 success, 1 failed cells or checks, 2 bad input, 130 stopped by Ctrl-C."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, Optional

import typer

from ..datasets.support.errors import UnavailableError, UserError
from .board_cli import BestPer, show_thinned
from .compare_cli import compare
from .confidence_cli import confidence as confidence_command
from .console import (
    Names,
    Plugins,
    Results,
    check_format,
    load_plugins,
    print_list,
    print_rich,
    print_text,
    show_board,
    warn,
)
from .curves_cli import Fractions, Picture, show_curves
from .data_cli import data_app
from .diff_cli import diff
from .ensemble_cli import ensemble
from .plan_cli import options_of, plan_like
from .recommend_cli import recommend
from .results_cli import results_app
from .run_options import Address, Cache, CellsPerGpu, Engine, Jobs, MemoryGb, ShareGpus, Tf32, Threads
from .serve_cli import serve
from .site_cli import site_app
from .study_cli import Pruner, Storage, Trials, TuneTime, study

if TYPE_CHECKING:
    from ..benchmarks.options import Request
    from ..benchmarks.runner import Finished

app = typer.Typer(
    name="zoobench",
    help="Which architecture for this task, on this hardware? Measured, not guessed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("study")(study)
new_app = typer.Typer(help="Write a file to start from.", no_args_is_help=True)
app.add_typer(new_app, name="new")
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")
app.add_typer(site_app, name="site")
app.command("ensemble")(ensemble)
app.command("confidence")(confidence_command)
app.command("compare")(compare)
app.command("recommend")(recommend)
app.command("diff")(diff)
app.command("serve")(serve)


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="Which tasks and models; see `zoobench show SUITE`.")] = "quick",
    task: Annotated[Names, typer.Option(help="Task, or your own .toml, in place of the suite's; repeatable.")] = None,
    model: Annotated[
        Names, typer.Option(help="Model (NAME or NAME@PRESET) in place of the suite's; repeatable.")
    ] = None,
    seed: Annotated[Optional[list[int]], typer.Option(help="Seed; repeatable.")] = None,  # noqa: UP045
    fractions: Fractions = None,
    setting: Annotated[
        Names,
        typer.Option("--set", metavar="KEY=VALUE", help="Model setting, such as encoder=FOLDER; repeatable."),
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    cache: Cache = None,
    jobs: Jobs = None,
    timeout: Annotated[float, typer.Option(help="Seconds a cell.")] = 3600.0,
    memory_gb: MemoryGb = None,
    threads: Threads = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cells_per_gpu: CellsPerGpu = 1,
    share_gpus: ShareGpus = False,
    tf32: Tf32 = None,
    trials: Trials = None,
    tune_time: TuneTime = None,
    storage: Storage = None,
    pruner: Pruner = "median",
    results: Results = None,
    plugin: Plugins = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run cells again that are recorded already.")] = False,
    resplit: Annotated[bool, typer.Option("--resplit", help="Deal the folds of your own table anew.")] = False,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Keep networks after each epoch; a killed cell goes on from there.")
    ] = False,
) -> None:
    """Train and score every cell of a suite that is not recorded yet, and show the board."""
    options = options_of({name: value for name, value in locals().items() if name != "suite"})
    from ..benchmarks.runner import run_suite

    finished = run_suite(suite, options)
    if finished.records:
        _print_board(finished.request)
    if finished.interrupted:
        warn("stopped; what is done is kept, and the same command goes on from there")
        raise typer.Exit(130)
    _tell_faults(finished)
    if finished.refused or finished.faults or finished.lost:
        raise typer.Exit(2 if finished.refused else 1)


app.command("plan")(plan_like(run))


@app.command()
def board(
    task: Annotated[Names, typer.Option(help="Only this task (a name, or your .toml); repeatable.")] = None,
    results: Results = None,
    format: Annotated[str, typer.Option(help="table, md, csv or json.")] = "table",
    sort: Annotated[Optional[str], typer.Option(metavar="METRIC", help="Rank by another metric.")] = None,  # noqa: UP045
    policy: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Decide by another threshold policy: fixed-0.5, global, per-label, youden, ... ."),
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="Score and seconds by training rows; see `run --fractions`.")
    ] = False,
    across: Annotated[bool, typer.Option("--across", help="Rank models over tasks: mean rank and win rate.")] = False,
    best_per: BestPer = None,
    picture: Picture = None,
) -> None:
    """Show the leaderboard of the stored records."""
    from ..benchmarks.options import default_results
    from ..datasets.own import name_of
    from .across_cli import show_across
    from .frame import load_board

    check_format(format)
    if best_per and (curves or across):
        raise UserError("--best-per thins the board of tasks: leave it out beside --curves and --across")
    folder = Path(results or default_results())
    names = list(map(name_of, task or []))
    if curves and across:
        raise UserError("--curves and --across are two boards: give one of them")
    if curves:
        if len(names) > 1:
            raise UserError("--curves shows all tasks, or one --task")
        show_curves(folder, names[0] if names else None, (sort, policy), format, picture)
    elif across:
        show_across(load_board(folder, sort=sort, policy=policy), names, format, picture)
    else:
        show_thinned(folder, names, (sort, policy), format, best_per, picture)


@app.command()
def tasks(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False, plugin: Plugins = None) -> None:
    """List the tasks."""
    from ..datasets.core import TASKS, as_mapping
    from .cards import task_table

    load_plugins(plugin)
    cards = [task.card for task in TASKS.entries().values()]
    print_list(as_json, [as_mapping(card) for card in cards], lambda: task_table(cards))


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False, plugin: Plugins = None) -> None:
    """List the models."""
    from ..zoo.core import MODELS
    from .cards import model_mapping, model_table

    load_plugins(plugin)
    cards = [model.card for model in MODELS.entries().values()]
    print_list(as_json, [model_mapping(card) for card in cards], lambda: model_table(cards))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A task (or your .toml), a model or a suite.")], plugin: Plugins = None
) -> None:
    """Show the card of a task, a model or a suite."""
    from .cards import card_of

    load_plugins(plugin)
    print_rich(card_of(name))


@app.command()
def hardware(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show this machine's hardware class, its two calibrations, and its GPUs with who uses them."""
    from dataclasses import asdict

    from ..benchmarks.gpus import visible
    from ..benchmarks.hardware import choose_device, measure
    from .cards import hardware_table

    found = measure(chosen := choose_device(device))
    there = visible() if chosen == "cuda" else ()
    values = {**found.as_json(), "visible_gpus": [asdict(each) for each in there]}
    print_list(as_json, values, lambda: hardware_table(found, there))


@app.command()
def check(
    subject: Annotated[str, typer.Argument(metavar="FILE_OR_NAME", help="A .py or .toml file, a model or a task.")],
) -> None:
    """Run the conformance suite on one model or task, or on all that a file registers."""
    from .conformance import check_subject

    problems = check_subject(subject, sys.stdout)
    raise typer.Exit(1 if problems else 0)


@new_app.command("model")
def new_model(name: Annotated[str, typer.Argument(help="Lower-case words joined by '-'.")]) -> None:
    """Write NAME.py with a working model in the current folder."""
    from .conformance import write_model

    path = write_model(name, Path.cwd())
    typer.echo(f"wrote {path.name}; next:\n  zoobench check {path.name}\n  zoobench run --plugin {path.name}")


@new_app.command("task")
def new_task(table: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, TSV, JSONL or Parquet.")]) -> None:
    """Look at a table and write a TOML in the current folder that makes it a task."""
    from ..datasets.core import TASKS
    from ..zoo.core import MODELS
    from .new_task import write_task

    for line in write_task(table, Path.cwd(), [*TASKS.entries(), *MODELS.entries()]):
        typer.echo(line)


@app.command()
def predict(
    task: Annotated[str, typer.Option(help="The task (a name, or your .toml) whose labels to predict.")],
    model: Annotated[str, typer.Option(help="The model; its best stored cell on the validation fold answers.")],
    text: Annotated[Names, typer.Option(help="A text; repeatable.")] = None,
    csv: Annotated[Optional[Path], typer.Option(metavar="FILE", help="Table: texts, columns the task has.")] = None,  # noqa: UP045
    column: Annotated[str, typer.Option(help="The table's column of texts.")] = "text",
    results: Results = None,
    plugin: Plugins = None,
    format: Annotated[str, typer.Option(help="table, csv or json.")] = "table",
    confidence: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Call less sure answers uncertain (default: 0.75 for one class, 0 for several labels)."),
    ] = None,
    calibrated: Annotated[bool, typer.Option("--calibrated", help="Scale probabilities by the temperature.")] = False,
) -> None:
    """Answer with a stored model: labels above their thresholds, and every probability."""
    from ..benchmarks.options import default_results
    from .answers import Trust, answer

    folder, trust = Path(results or default_results()), Trust(confidence, calibrated)
    answers, remarks = answer(task, model, (text or [], csv, column), folder, plugin or [], format, trust)
    print_text(answers)
    for remark in remarks:
        warn(remark)


@app.command()
def explain(
    task: Annotated[str, typer.Option(help="The task of images (a name, or your .toml).")],
    model: Annotated[str, typer.Option(help="The model; its best stored cell on the validation fold answers.")],
    image: Annotated[Names, typer.Option(help="An image file, or an id of the task; repeatable.")] = None,
    label: Annotated[
        Names, typer.Option(help="Where it looked for this label; repeatable (default: its answer).")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the pictures go.")] = Path("zoobench-explained"),
    results: Results = None,
    plugin: Plugins = None,
) -> None:
    """Answer for images with a stored model, and draw where it looked (Grad-CAM)."""
    from ..benchmarks.options import default_results
    from .explanations import explained

    folder = Path(results or default_results())
    print_text(explained(task, model, image or [], label or [], folder, plugin or [], out))


def main() -> NoReturn:
    """Run the command line; every error that a person can mend is one line on stderr and exit status 2."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        status = app(standalone_mode=False)
    except (UserError, UnavailableError) as error:
        warn(" ".join(str(error).split()))
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        warn("stopped")
        status = 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        mend = ": make room, or set ZOOBENCH_CACHE to a folder with more" if full else ""
        warn(f"{error.filename or 'output'}: {error.strerror or error}{mend}")
        status = 2
    except Exception as error:
        status = _usage(error)
    sys.exit(status if isinstance(status, int) else 0)


def _usage(error: Exception) -> int:
    """Say what is wrong with the words of a command in one line, where the parser would fill a box."""
    message = getattr(error, "format_message", None)  # the parser's own errors; their module moves between versions
    if message is None:
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message())
    else:
        warn(f"{' '.join(message().split()).rstrip('.')}. See --help.")
    return 2


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _tell_faults(finished: Finished) -> None:
    if faults := finished.faults:
        warn(f"{len(faults)} of {len(finished.records)} cells failed")
        for stored in (*finished.kept, *finished.made):
            if stored.record in faults:
                warn(f"log of {stored.record.model}: {stored.attempt / 'log.txt'}")
    for line in finished.refused:
        warn(line)
    for line in finished.lost:
        warn(f"no record of {line}; the same command tries again")


def _print_board(request: Request) -> None:
    from .frame import Board, load_board

    if min(request.fractions) < 1:
        for task in request.tasks:
            show_curves(request.results, task, (None, None), "table", None)
        return
    loaded = load_board(request.results)
    ours = loaded.frame["task"].isin(request.tasks).to_numpy()
    show_board(Board(loaded.frame.loc[ours], loaded.problems), "table")


if __name__ == "__main__":
    main()
