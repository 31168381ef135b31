"""The process that the workers of this machine begin as copies of.

It imports what their tasks need once for all of them, and while the pipeline imports its own: a
worker begins in a fraction of a second, and shares the memory of the libraries. Light: imports
nothing of science or Dask.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver

#: What sets the threads of ducc0, numba, BLAS and radler; read when they are imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                    "NUMBA_NUM_THREADS")
NEEDED = ("distributed", "ical.ready", "casacore.tables", "zarr")


def thread_environment(threads: int) -> dict[str, str]:
    """The variables that give every library so many threads."""
    return {name: str(threads) for name in THREAD_VARIABLES}


def start(threads: int) -> None:
    """Start it, with so many library threads for each worker; nothing where it runs already."""
    os.environ.update(thread_environment(threads))
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(NEEDED))
    forkserver.ensure_running()
