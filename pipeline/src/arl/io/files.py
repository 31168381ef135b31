"""Files and folders that are there whole or not at all, also after a host has lost its power.

What is written goes to the disk under a hidden name, and is renamed then. Its folder goes to the
disk as well: the record that tells of it may lie on another host, which keeps its power.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def beside(path: Path, what: str) -> Path:
    """A hidden name of this process alone: those of several containers may have one number."""
    return path.with_name(f".{path.name}.{what}.{socket.gethostname()}.{os.getpid()}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path; the file there takes the place of `path` when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path, "tmp")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # said of a folder where the file system cannot
            raise
    finally:
        os.close(opened)


def flush_tree(folder: Path) -> None:
    """Wait until all that a folder holds is on the disk, less what goes away meanwhile, as another
    process that writes the same may have it."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            flush(path)
    flush(folder)
