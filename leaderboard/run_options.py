"""Options of `zoobench run` that say where cells run, and what each may use."""

from __future__ import annotations

from typing import Annotated

import typer

Engine = Annotated[str, typer.Option(help="local, or ray for many machines.")]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT (default: Ray on this machine)."),
]
Cache = Annotated[
    str | None,
    typer.Option(metavar="URL", help="With ray: folder, s3:// or gs:// through which data and features go."),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Cells side by side, dividing threads (default: 1; with ray all that fit). auto: measured here.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads in all (default: all cores); with ray of each cell (default: its card's cores)."),
]
MemoryGb = Annotated[
    float | None,
    typer.Option(help="GB a cell may add (default: 0.9 of the machine's)."),
]
CellsPerGpu = Annotated[int, typer.Option(help="Cells that may share a GPU.")]
ShareGpus = Annotated[bool, typer.Option("--share-gpus", help="Use GPUs that other processes use too.")]
Tf32 = Annotated[
    bool | None,
    typer.Option(help="Products of float32 on a GPU in TF32 (default: as the framework does)."),
]
