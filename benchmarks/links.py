"""Links in a results folder of somebody else: what they point to is none of that folder, and is not read or copied."""

from __future__ import annotations

from pathlib import Path


def link_on_way(path: Path, root: Path) -> Path | None:
    """Return the first link on the way from below `root` to `path`, which may be one itself; None if there is none.

    `root` itself may be a link: whoever runs the command has named it.
    """
    way = [path, *path.parents]
    below = way[: way.index(root)]
    return next((each for each in reversed(below) if each.is_symlink()), None)


def no_own_files(folder: Path) -> list[Path]:
    """Return what is below `folder` and neither a file nor a folder of its own, such as links and pipes; in order."""
    if folder.is_symlink():
        return [folder]
    found = sorted(folder.rglob("*"))
    return [each for each in found if each.is_symlink() or not (each.is_file() or each.is_dir())]
