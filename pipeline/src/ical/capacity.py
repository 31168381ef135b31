"""What the cluster has, and whether a forecast fits in it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from distributed import Worker
from distributed.system import MEMORY_LIMIT

from arl.errors import InputError
from ical.cluster import Cluster, library_threads
from ical.forecast import Forecast, human_bytes
from ical.metrics import host_name
from ical.parameters import Resources


@dataclass(frozen=True)
class WorkerRoom:
    """What one worker has; bytes.

    Attributes
    ----------
    threads: of its libraries. memory: up to which Dask gives it tasks. machine: memory of its host.
    disk: free where its host's partitions are to go.
    """

    host: str
    threads: int
    memory: int
    machine: int
    disk: int


@dataclass(frozen=True)
class Capacity:
    """The workers' room, and that of the process that leads the run on its host, bytes."""

    workers: tuple[WorkerRoom, ...]
    driver_host: str
    driver_memory: int
    driver_disk: int

    @property
    def resources(self) -> Resources:
        """Number of workers and threads of each, as the forecast takes them."""
        return Resources(workers=len(self.workers), threads=min(w.threads for w in self.workers))


def free_bytes(folder: str) -> int:
    """Free disk space where a folder is or will be made."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _room(data: str, dask_worker: Worker) -> WorkerRoom:
    manager = dask_worker.memory_manager
    limit = (manager.memory_limit or MEMORY_LIMIT) * (manager.memory_pause_fraction or 1.0)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return WorkerRoom(host_name(), library_threads(), int(limit), machine, free_bytes(data))


def survey(cluster: Cluster, data: Path, results: Path) -> Capacity:
    """Ask every worker for its room; `data` and `results` are the run's folders."""
    found = cluster.ask(_room, str(data))
    return Capacity(tuple(sorted(found.values(), key=lambda w: w.host)), host_name(), MEMORY_LIMIT,
                    free_bytes(str(results)))


def require_memory(predicted: Forecast, capacity: Capacity) -> None:
    """Refuse a run that takes more memory than a worker, the driver or a host has.

    Raises
    ------
    InputError: one sentence: what is short, and what to change.
    """
    smaller = _smaller(predicted)
    least = min(capacity.workers, key=lambda w: w.memory)
    _require(
        predicted.memory_per_worker, least.memory, f"memory in a worker on {least.host}",
        f"give each worker more (fewer workers, resources.memory_limit, or dask_worker_memory in "
        f"the inventory), or {smaller}")
    _require(
        predicted.memory_driver, capacity.driver_memory, "memory in the process that leads it",
        f"give that one more (dask_scheduler_memory in the inventory), or {smaller}")
    for host, count in _workers_of(capacity).items():
        driver = predicted.memory_driver if host == capacity.driver_host else 0
        machine = next(w.machine for w in capacity.workers if w.host == host)
        _require(predicted.memory_per_worker * count + driver, machine, f"memory on {host}",
                 f"use fewer than its {count} workers, or {smaller}")


def require_disk(predicted: Forecast, capacity: Capacity) -> None:
    """Refuse a run whose files do not fit: partitions on each host, images on the driver's.

    Raises
    ------
    InputError: one sentence: what is short, and what to change.
    """
    hosts = _workers_of(capacity)
    images = predicted.disk - predicted.disk_visibilities
    most = -(-predicted.partitions // len(hosts)) / predicted.partitions
    room = "make room (in a swarm where Docker keeps its volumes), give another folder"
    smaller = _smaller(predicted)
    _require(images, capacity.driver_disk, "disk for its results",
             f"{room} (--results), or {smaller}")
    for host in hosts:
        free = min(w.disk for w in capacity.workers if w.host == host)
        here = images if host == capacity.driver_host else 0
        advice = f"{room} (--data), or have fewer visibilities or more hosts that share them"
        _require(predicted.disk_visibilities * most + here, free, f"disk on {host}",
                 f"{advice}, or {smaller}" if here else advice)


def _smaller(predicted: Forecast) -> str:
    """What to change in the run file for smaller images."""
    return f"make imaging.npixel ({predicted.npixel}) or imaging.bands ({predicted.bands}) less"


def _workers_of(capacity: Capacity) -> Counter[str]:
    """Number of workers by host."""
    return Counter(w.host for w in capacity.workers)


def _require(needed: float, there: float, what: str, advice: str) -> None:
    if needed > there:
        raise InputError(f"The run needs {human_bytes(needed)} of {what}, and there are "
                         f"{human_bytes(there)}: {advice}.")
