"""The Dask cluster of a run: the Swarm's when an address is given, else one on this machine.

Data stay on the host that owns them. Every worker carries the Dask resource `data@<host>`, and a
partition's tasks ask for it: unlike a worker's address, which dies with the worker, the resource
is there again as soon as any worker of that host is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dask
from dask.utils import funcname
from distributed import Client, Future, LocalCluster, Worker
from distributed.comm import CommClosedError
from distributed.comm.addressing import parse_host_port
from distributed.utils import get_mp_context

from arl.errors import InputError
from ical import prefork
from ical.metrics import host_name
from ical.traffic import Transfer, between_hosts, sent_with

CONNECT_TIMEOUT_S = 60
REACH_TIMEOUT_S = 20
#: A host without workers for so long is lost; one that starts again is back in half of that.
LOST_AFTER_S = 120
WATCH_S = 5
#: A swarm takes up to a minute to find that a host is gone, and starts its tasks elsewhere.
MOVED_AFTER_S = 300
#: Tasks are pure, so a task that failed with its worker is simply run again.
RETRIES = 2
#: One task takes one unit; a worker has enough of them that only its threads limit it.
RESOURCE_UNITS = 1000
#: What tasks and questions end with when the scheduler is lost.
SCHEDULER_LOST = (CancelledError, CommClosedError)


class HostLostError(Exception):
    """A host that holds data of the run has no workers any more; the text is for the user."""


PREFIX = "data@"
#: By host, what each of its workers holds.
Held = Mapping[str, Sequence[Future]]


def data_resource(host: str) -> str:
    """The name of the Dask resource that the workers on a host carry."""
    return PREFIX + host


def _existing(paths: list[str]) -> tuple[str, list[str]]:
    """This worker's host, and those of the paths that are there."""
    return host_name(), [path for path in paths if os.path.isdir(path)]


@dataclass(frozen=True)
class WorkerInfo:
    """One worker: its Dask address, the host it runs on and its number of library threads."""

    address: str
    host: str
    threads: int


def library_threads() -> int:
    """How many threads one task of this process may use, for every library alike."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def holding() -> None:
    """What a worker holds: see `Cluster.hold`."""


def _beside(others: object, function: Callable[..., Any], *arguments: Any) -> Any:
    return told_where(function, *arguments)


def told_where(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives on a worker.

    Raises
    ------
    InputError: there is no room on a disk, told with the host whose it is.
    """
    try:
        return function(*arguments)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        file = f" ({error.filename})" if error.filename else ""
        raise InputError(f"{error.strerror} of {host_name()}{file}: make room there, and a resumed "
                         "run goes on from its last checkpoint") from error


def _describe() -> tuple[str, int]:
    return host_name(), library_threads()


class Cluster:
    """A connected cluster: who its workers are and how to place tasks on them.

    Tasks are pure, but no two are alike: that Dask need not hash their images, they are not told.

    Attributes
    ----------
    threads: how many this process may use while all workers wait for it.
    kept: what a stage leaves for the next one, and what it was made of.
    """

    def __init__(self, client: Client, threads: int) -> None:
        self.client, self.threads = client, threads
        self.kept: tuple[object, Any] | None = None
        self._sent: list[Transfer] = []

    def ask(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """What a function gives on each worker of this moment, by the worker's address.

        Raises
        ------
        InputError: there is no worker, nor came one back within `LOST_AFTER_S`.
        """
        if answers := self.client.run(function, *arguments):
            return answers
        try:
            self.client.wait_for_workers(1, timeout=LOST_AFTER_S)
        except TimeoutError:
            raise InputError("no host has Dask workers any more: start one again, and a resumed "
                             "run goes on from its last checkpoint") from None
        return self.client.run(function, *arguments)

    def workers(self) -> list[WorkerInfo]:
        """The workers of this moment in a fixed order."""
        described = self.ask(_describe)
        return sorted((WorkerInfo(a, h, t) for a, (h, t) in described.items()),
                      key=lambda w: (w.host, w.address))

    def hosts(self) -> list[str]:
        """The names of the hosts that have workers, sorted."""
        return sorted({w.host for w in self.workers()})

    def addresses(self) -> dict[str, list[str]]:
        """The workers of each host, as the scheduler knows them; no worker is asked."""
        found: dict[str, list[str]] = {}
        for address, worker in self.client.scheduler_info(n_workers=-1)["workers"].items():
            for name in worker["resources"]:
                if name.startswith(PREFIX):
                    found.setdefault(name.removeprefix(PREFIX), []).append(address)
        return found

    def wait_for_hosts(self, needed: set[str]) -> set[str]:
        """Those of the hosts that have no worker, and got none within `LOST_AFTER_S`."""
        limit = time.monotonic() + LOST_AFTER_S
        while (missing := needed - self.addresses().keys()) and time.monotonic() < limit:
            time.sleep(1)
        return missing

    def paths_there(self, paths: list[str]) -> dict[str, set[str]]:
        """Which of some paths there are on each host."""
        found: dict[str, set[str]] = {}
        for host, there in self.ask(_existing, paths).values():
            found.setdefault(host, set()).update(there)
        return found

    @contextmanager
    def watching(self, hosts: set[str]) -> Iterator[None]:
        """Wait for tasks of these hosts' data no longer than there is hope for them.

        Raises
        ------
        HostLostError: one of the hosts was without workers for `LOST_AFTER_S`.
        """
        over = threading.Event()
        lost: set[str] = set()
        watch = threading.Thread(target=self._watch, args=(hosts, over, lost), daemon=True)
        watch.start()
        try:
            yield
        except CancelledError:
            if lost:
                raise HostLostError(
                    f"{', '.join(sorted(lost))} had no workers for {LOST_AFTER_S} s and is given "
                    f"up") from None
            raise
        finally:
            over.set()
            watch.join()

    def _watch(self, hosts: set[str], over: threading.Event, lost: set[str]) -> None:
        """Cancel all tasks, so that nobody waits for them, once a host is lost.

        Also those that a pipeline, which was busy with its own then, submits only later.
        """
        seen = dict.fromkeys(hosts, time.monotonic())
        while not over.wait(WATCH_S):
            try:
                known = self.addresses().keys()
            except (OSError, TimeoutError):  # the scheduler is busy, or gone: the client will tell
                continue
            now = time.monotonic()
            seen.update(dict.fromkeys(hosts & known, now))
            lost.update(host for host, last in seen.items() if now - last > LOST_AFTER_S)
            if lost:
                self.client.cancel([Future(key, self.client) for key in list(self.client.futures)])

    @staticmethod
    def place(host: str) -> dict[str, float]:
        """What a task asks for that is to run on a host."""
        return {data_resource(host): 1}

    def submit(
        self, host: str, function: Callable[..., Any], *arguments: Any, held: Held | None = None
    ) -> Future:
        """Run one task on the host that owns its data; `held` is that of a round of them."""
        if host != host_name():
            self._sent.append(sent_with(arguments))
        beside = held.get(host, []) if held else []
        return self.client.submit(
            _beside, beside, function, *arguments, resources=self.place(host), retries=RETRIES,
            pure=False, key=f"{funcname(function)}-{uuid4()}")

    def hold(self) -> Held:
        """What has Dask share a round of tasks evenly among the workers of each host.

        It looks for a task's place only among the workers that hold something the task needs, so
        that the one that has a density grid or a model gets nearly all tasks, and the others none.
        Hence each task needs besides something of every worker of its host. Wherever such a worker
        is lost it may be made anywhere: then a round is less even, and goes on.
        """
        try:
            found = self.addresses()
        except (OSError, TimeoutError):  # the scheduler is busy, or gone: the tasks will tell
            return {}
        return {host: [self.client.submit(holding, workers=[address], allow_other_workers=True,
                                          retries=RETRIES, priority=1, pure=False)
                       for address in sorted(workers)]
                for host, workers in found.items() if len(workers) > 1}

    def submit_anywhere(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Run one task that needs no host's data: before others, as it makes less of much."""
        self._sent.append(sent_with(arguments))
        return self.client.submit(function, *arguments, retries=RETRIES, pure=False, priority=1)

    def moved(self, since: float) -> list[Transfer]:
        """What travelled since a time, between hosts and to and from the pipeline."""
        sent = [transfer for transfer in self._sent if transfer.time >= since]
        return between_hosts(self.client, since) + sent


@contextmanager
def connect(
    scheduler: str | None, *, workers: int, threads: int, memory_limit: str | None
) -> Iterator[Cluster]:
    """Connect to the scheduler at an address, or start a local cluster when there is none.

    Raises
    ------
    InputError: nobody answers at the address, or no worker comes within a minute.
    """
    # images travel with their task, so that it can be run again when its worker is lost
    # and come from the workers that have them, not by way of the scheduler, once more each
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "2 GB",
                     "distributed.client.direct-to-workers": True})
    if scheduler:
        with _connect_remote(scheduler) as client:
            yield Cluster(client, len(os.sched_getaffinity(0)))
        return
    with _start_local(workers, threads, memory_limit) as local, Client(local) as client:
        yield Cluster(client, workers * threads)


def _connect_remote(address: str) -> Client:
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S)
    except OSError as error:
        raise InputError(
            f"No Dask scheduler answers at {address}: is the cluster up (status.yml shows it)?"
        ) from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
    except TimeoutError as error:
        client.close()
        raise InputError(
            f"The Dask scheduler at {address} has no workers: status.yml shows their state."
        ) from error
    return client


def wait_for_scheduler(address: str) -> None:
    """Wait until a scheduler with a worker answers, `MOVED_AFTER_S` at most.

    Raises
    ------
    InputError: none does.
    """
    limit = time.monotonic() + MOVED_AFTER_S
    while True:
        try:
            with _connect_remote(address):
                return
        except InputError:
            if time.monotonic() > limit:
                raise


def _start_local(workers: int, threads: int, memory_limit: str | None) -> LocalCluster:
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    get_mp_context()  # Dask names what it needs, once; all of it is among what `prefork` imports
    prefork.start(threads)
    # nobody looks at the profile of a worker's threads, which is taken a hundred times a second
    dask.config.set({"distributed.worker.profile.enabled": False})
    # nor at how late its loops are, fifty times a second, and what they use: in all processes
    # together that took a twentieth of a processor
    dask.config.set({"distributed.admin.tick.interval": "1s",
                     "distributed.admin.system-monitor.interval": "5s"})
    # of a function whose time is not known yet: so long that what it would take to fetch a large
    # image for it does not make one worker do what two should
    dask.config.set({"distributed.scheduler.unknown-task-duration": "60s"})
    # of a process that begins as a copy no variable can be set before it begins
    dask.config.set({"distributed.nanny.environ": prefork.thread_environment(threads)})
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
        memory_limit=memory_limit or "auto", resources={data_resource(host_name()): RESOURCE_UNITS},
        silence_logs="ERROR",
    )


async def _census(warm_up: bool, dask_worker: Worker) -> dict[str, Any]:
    """What one worker is: asked by the third readiness gate; Dask fills in dask_worker."""
    import distributed

    import arl

    if warm_up:
        from ical.warmup import warm_up as compile_kernels

        # beside the worker's loop: a slow host compiles for longer than the scheduler waits for a
        # worker that is silent
        await asyncio.to_thread(compile_kernels)
    return {"host": host_name(), "threads": library_threads(), "python": sys.version.split()[0],
            "arl_file": arl.__file__, "arl_digest": os.environ.get("ARL_DIGEST", ""),
            "distributed": distributed.__version__,
            "memory_limit": int(dask_worker.memory_manager.memory_limit or 0)}


async def reach(scheduler: str, name: str, dask_worker: Worker) -> str:
    """Why a worker's host does not reach the scheduler at its address and find it by its name.

    '' if it does: with this worker's certificate, on a connection of its own. Dask fills in
    dask_worker.
    """
    host, _ = parse_host_port(scheduler)
    named, port = parse_host_port(name)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(named, port, family=socket.AF_INET)
        if host not in {str(entry[4][0]) for entry in found}:
            return f"there {named} is {found[0][4][0]}, not {host}"
        asked = dask_worker.rpc(scheduler).identity(n_workers=0)
        await asyncio.wait_for(asked, REACH_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        return str(error) or f"no answer within {REACH_TIMEOUT_S} s"
    return ""


def probe(
    scheduler: str, expect_workers: int, arl_digest: str, by_name: str | None = None
) -> list[dict[str, Any]]:
    """Prove the cluster: a task on every worker, equal versions, the same library everywhere.

    With the scheduler's address by name also that every worker's host finds it by that, and
    reaches it. Returns one entry per worker (host, threads, memory limit, versions), sorted by
    host.

    Raises
    ------
    InputError: too few workers, differing versions, a library that is not the expected one, or a
        host from where the scheduler is out of reach.
    """
    with connect(scheduler, workers=0, threads=1, memory_limit=None) as cluster:
        client = cluster.client
        _wait_for_workers(client, expect_workers)
        _check_versions(client)
        found = client.run(_census, True)
        reached = client.run(reach, scheduler, by_name) if by_name else {}
    for worker, reason in reached.items():
        if reason:
            raise InputError(
                f"From {found[worker]['host']} the scheduler is not within reach ({reason}): run "
                f"site.yml --tags swarm,dask, which proves the network between all hosts."
            )
    entries = [{"worker": a, **entry} for a, entry in found.items()]
    for entry in entries:
        if not entry["arl_file"].startswith("/opt/arl/") or entry["arl_digest"] != arl_digest:
            raise InputError(
                f"The worker on {entry['host']} imports arl from {entry['arl_file']} with digest "
                f"{entry['arl_digest'] or 'unknown'}, not {arl_digest}: run site.yml --tags "
                f"arl,dask again."
            )
    return sorted(entries, key=lambda e: (e["host"], e["worker"]))


def retire(scheduler: str, hosts: Sequence[str]) -> list[str]:
    """Have the workers on some hosts hand what they hold to the others, and end.

    Returns their addresses.
    """
    with connect(scheduler, workers=0, threads=1, memory_limit=None) as cluster:
        # as the scheduler knows them: one that is dead, on any host, would not answer
        leaving = [address for host, workers in cluster.addresses().items() if host in hosts
                   for address in workers]
        if leaving:
            cluster.client.retire_workers(leaving)
    return leaving


def _wait_for_workers(client: Client, expected: int) -> None:
    try:
        client.wait_for_workers(expected, timeout=CONNECT_TIMEOUT_S)
    except TimeoutError as error:
        present = len(client.scheduler_info(n_workers=-1)["workers"])
        raise InputError(
            f"{present} of {expected} Dask workers are connected after {CONNECT_TIMEOUT_S} s: "
            f"status.yml -e follow=NAME shows the log of one that is missing."
        ) from error


def _check_versions(client: Client) -> None:
    try:
        client.get_versions(check=True)
    except ValueError as error:
        raise InputError(
            f"Scheduler, workers and pipeline do not run the same versions: {error}"
        ) from error
