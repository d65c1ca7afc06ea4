"""Frameworks in a process whose error stream a person reads: no warm server stands between them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping

from ...zoo.core import ModelCard, Scalar
from .servers import environment, server_of


def import_quietly(module: str) -> None:
    """Import a module, if it is installed, and keep what its libraries write to the error stream unless that fails.

    Tensorflow logs its processor and the GPUs that it did not find, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    if importlib.util.find_spec(module) is None:
        return  # whoever needs it says how to install it
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            importlib.import_module(module)
        except BaseException:
            kept.seek(0)
            with open(shown, "wb", closefd=False) as stream:
                shutil.copyfileobj(kept, stream)
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


def prepare_process(card: ModelCard, config: Mapping[str, Scalar]) -> None:
    """Make this process one that a model of `card` can be built in, on the CPU: its variables, and Keras imported."""
    os.environ.update(environment(server_of(card, config), "cpu"))
    if card.framework == "keras":
        import_quietly("keras")
