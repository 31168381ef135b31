"""The folder of a run on other hosts, too, so that one of them can go on when this one is lost.

Every host has a folder of results under the same path. What differs there is sent to a worker of
the host, as tasks of the cluster: nothing else has to be open between the hosts. A host without
workers gets no copy; one that is to go on with a run brings the newest copy there is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from arl.io.files import replacing
from ical.cluster import Cluster, HostLostError, told_where
from ical.context import Connector, RunContext

VARIABLE = "ICAL_MIRROR"
#: Written last: what they tell of must be there already.
LAST = ("state.json", "stage.json")


def wanted() -> list[str]:
    """The hosts on which the deployment wants a copy."""
    return [host for host in os.environ.get(VARIABLE, "").split(",") if host]


def keep_copies(context: RunContext) -> None:
    """Bring the folder of the run to every host that is to have a copy and has workers.

    Raises
    ------
    HostLostError: one of them lost its workers meanwhile.
    """
    hosts = wanted()
    if hosts:
        with context.cluster.connect() as cluster:
            for host in sorted(set(hosts) & cluster.addresses().keys()):
                with cluster.watching({host}):
                    update(cluster, host, context.store.folder, context.store.folder)


def bring_copy(connector: Connector, folder: Path) -> None:
    """Bring the folder of a run, which is not here, from the host with the newest copy, if one has
    it and the deployment wants copies.

    Raises
    ------
    HostLostError: that host lost its workers meanwhile.
    """
    if not wanted():
        return
    with connector.connect() as cluster:
        copies: dict[str, dict[str, tuple[int, int]]] = {}
        for host in sorted(cluster.addresses()):
            with suppress(HostLostError), cluster.watching({host}):
                copies[host] = _there(cluster, host, snapshot, folder)
        whole = [host for host, known in copies.items() if "parameters.json" in known]
        if whole:
            newest = max(whole, key=lambda host: max(time for _, time in copies[host].values()))
            with cluster.watching({newest}):
                _fetch(cluster, newest, copies[newest], folder)


def _fetch(cluster: Cluster, host: str, known: dict[str, tuple[int, int]], folder: Path) -> None:
    """Make a folder here like that of another host: all of it or nothing."""
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        brought = Path(made) / folder.name
        for name, (_, changed_ns) in known.items():
            content = _there(cluster, host, Path.read_bytes, folder / name)
            write_copy(brought / name, content, changed_ns)
        os.replace(brought, folder)


def update(cluster: Cluster, host: str, folder: Path, target: Path) -> None:
    """Make a folder of another host like one of this: new and changed files, then what is gone."""
    here, known = snapshot(folder), _there(cluster, host, snapshot, target)
    for name, seen in here.items():
        if known.get(name) != seen:
            _there(cluster, host, write_copy, target / name, (folder / name).read_bytes(), seen[1])
    _there(cluster, host, remove_copies, [target / name for name in known if name not in here])


def _there(cluster: Cluster, host: str, task: Callable[..., Any], *arguments: object) -> Any:
    """What a task finds or does on a host; the same call again is another task, as that changes."""
    return cluster.client.submit(
        told_where, task, *arguments, pure=False, resources=cluster.place(host)).result()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change (ns) of every file of a folder, in the order of writing.

    Hidden files are somebody's in the middle of writing, or a lock.
    """
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    found = [(str(name), (folder / name).stat())
             for name in sorted(shown, key=lambda name: (name.name in LAST, name))]
    return {name: (status.st_size, status.st_mtime_ns) for name, status in found}


def write_copy(target: Path, content: bytes, changed_ns: int) -> None:
    """Task: write one file as it is elsewhere, atomically."""
    with replacing(target) as temporary:
        temporary.write_bytes(content)
        os.utime(temporary, ns=(changed_ns, changed_ns))


def remove_copies(targets: list[Path]) -> None:
    """Task: remove files that are no longer there elsewhere, and the folders that this empties.

    A store of which the folders are left would be read as one.
    """
    for target in targets:
        target.unlink(missing_ok=True)
        with suppress(OSError):  # the first that holds something
            for folder in target.parents:
                folder.rmdir()
