"""Options of ``zoobench run`` that say what of the machine its cells use."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

Jobs = Annotated[
    str, typer.Option(metavar="N|auto", help="Cells side by side; threads are divided. auto: measured here.")
]
CellsPerGpu = Annotated[int, typer.Option(help="Cells that may share a GPU.")]
ShareGpus = Annotated[bool, typer.Option("--share-gpus", help="Use GPUs that other processes use too.")]
Tf32 = Annotated[
    Optional[bool],  # noqa: UP045 - typer reads annotations at run time on every supported Python
    typer.Option(help="Products of float32 on a GPU in TF32 (default: as the framework does)."),
]
