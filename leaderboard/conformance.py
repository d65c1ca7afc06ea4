"""`zoobench check` and `zoobench new model`: what an author of an entry needs."""

from __future__ import annotations

import keyword
import sys
import warnings
from importlib.resources import files
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.markup import escape

from ..datasets.core import TASKS, check_name
from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.files import write_text
from ..datasets.support.registry import import_plugin
from ..zoo.core import MODELS


def check_subject(subject: str, out: IO[str]) -> int:
    """Run the conformance suite on a file's entries, or on one entry by name; return how many checks failed.

    Raises
    ------
    UserError
        If nothing is called `subject`, or the file registers nothing.
    """
    from ..benchmarks.options import load_plugin
    from ..datasets.own import registered

    path, subject = Path(subject), registered(subject)
    if path.suffix == ".py":
        load_plugin(path)
        module = import_plugin(path)
        return _run_checks([e.card.name for e in (*MODELS.collect(module), *TASKS.collect(module))], out)
    if subject not in MODELS.entries() and subject not in TASKS.entries():
        raise unknown_name("model or task", subject, [*MODELS.entries(), *TASKS.entries()])
    return _run_checks([subject], out)


def _run_checks(names: list[str], out: IO[str]) -> int:
    from ..benchmarks.check import check_model, check_task
    from ..benchmarks.engines.quiet import prepare_process

    console, problems = Console(file=out), 0
    for name in names:
        console.print(f"[bold]{escape(name)}[/]")
        if name in MODELS.entries():
            model = MODELS.get(name)
            prepare_process(model.card, model.card.default)
            warnings.simplefilter("ignore")  # a label without a training row is what one of the checks is about
            findings = check_model(model)
        else:
            findings = check_task(TASKS.get(name))
        for finding in findings:
            problems += bool(finding.problem)
            mark = "[red]✗[/]" if finding.problem else "[green]✓[/]"
            console.print(f"  {mark} {finding.check:<50} {finding.seconds:6.1f} s", highlight=False)
            if finding.problem:
                console.print(f"    {escape(finding.problem)}", highlight=False, soft_wrap=True)
    console.print("every check passed" if not problems else f"{problems} checks failed", highlight=False)
    return problems


def write_model(name: str, folder: Path) -> Path:
    """Write a working model called `name` into `folder` and return the file.

    Raises
    ------
    UserError
        If the name cannot be used or is taken, or the file is there already.
    """
    try:
        check_name("model", name)
    except ValueError as error:
        raise UserError(str(error)) from None
    if name in MODELS.entries():
        raise UserError(f"model name {name!r} is taken: choose another name")
    stem = name.replace("-", "_")
    if stem in sys.stdlib_module_names or keyword.iskeyword(stem):
        raise UserError(f"{stem}.py would hide Python's own {stem!r} from programs started here: choose another name")
    path = folder / f"{stem}.py"
    if path.exists():
        raise UserError(f"{path.name} is there already: choose another name or move it away")
    template = (files("zoobench.zoo.templates") / "model.py.txt").read_text(encoding="utf-8")
    write_text(path, template.format(name=name, title=name.replace("-", " ").capitalize()))
    return path
