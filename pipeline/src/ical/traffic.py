"""What travels between hosts: from Dask's own log of transfers, and what tasks are sent with."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dask.sizeof import sizeof
from distributed import Client, Worker
from distributed.utils import key_split

from ical.metrics import host_name

#: What is sent with a task, among the kinds of what travels.
ARGUMENTS = "arguments"


def size_by_fields(*kinds: type) -> None:
    """Have Dask take sizes of dataclasses from their fields: it knows arrays, not what has some.

    By them it decides what to move and what to spill, and logs what it moved.
    """
    for kind in kinds:
        sizeof.register(kind, lambda item: sum(sizeof(getattr(item, f.name)) for f in fields(item)))


@dataclass(frozen=True)
class Transfer:
    """Bytes that went from one host to another, or between a worker and the pipeline.

    Attributes
    ----------
    time: of the scheduler's clock, s since 1970. kind: the function whose result they are.
    """

    time: float
    kind: str
    size: int


def _outgoing(since: float, dask_worker: Worker) -> tuple[str, list[tuple[float, Any, dict]]]:
    """A worker's host, and what it has sent: when, to whom, bytes by task."""
    sent = [(entry["stop"], entry["who"], {str(k): n for k, n in entry["keys"].items()})
            for entry in dask_worker.transfer_outgoing_log if entry["stop"] >= since]
    return host_name(), sent


def between_hosts(client: Client, since: float) -> list[Transfer]:
    """What workers sent since a time to other hosts' workers, and to the pipeline."""
    logs = client.run(_outgoing, since)
    hosts = {worker: host for worker, (host, _) in logs.items()}
    return [Transfer(when, key_split(key), size) for host, sent in logs.values()
            for when, who, keys in sent if hosts.get(who) != host for key, size in keys.items()]


def sent_with(arguments: Sequence[Any]) -> Transfer:
    """What the pipeline sends now with a task."""
    return Transfer(time.time(), ARGUMENTS, int(sizeof(list(arguments))))


def total(transfers: Iterable[Transfer]) -> dict[str, int]:
    """Bytes by kind, largest first."""
    found: dict[str, int] = defaultdict(int)
    for transfer in transfers:
        found[transfer.kind] += transfer.size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def by_cycle(
    transfers: Sequence[Transfer], began: float, ends: Mapping[int, float]
) -> dict[int, int]:
    """Bytes within each cycle, by its number; they ended at `ends`, the first went from `began`."""
    starts = [began, *ends.values()]
    return {number: sum(t.size for t in transfers if start <= t.time < end)
            for start, (number, end) in zip(starts, ends.items(), strict=False)}
