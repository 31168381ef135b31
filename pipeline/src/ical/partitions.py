"""The plan of partitions: which sub-band and which time block is one task's data.

The plan is a pure function of the observation's shape and the imaging bands, never of how many
workers there are, so that one worker and many make the same images. It is stored with the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

#: A partition holds at most this many visibilities, so that a task fits in a small worker (see
#: `ical.memory`).
MAX_PARTITION_VISIBILITIES = 2_000_000
#: As many partitions' images are added in one task, so that few of them wait in a worker.
ADDED_AT_ONCE = 4


@dataclass(frozen=True)
class Partition:
    """One (sub-band, time block) of the observation and the host that owns its data."""

    name: str
    band: int
    channels: tuple[int, int]
    times: tuple[int, int]
    host: str

    @property
    def channel_index(self) -> np.ndarray:
        """Global channel numbers, shape (chan,)."""
        return np.arange(*self.channels)

    @property
    def time_index(self) -> np.ndarray:
        """Global time numbers, shape (time,)."""
        return np.arange(*self.times)


@dataclass(frozen=True)
class Plan:
    """All partitions of a run; bands are contiguous runs of channels."""

    bands: tuple[tuple[int, int], ...]
    partitions: tuple[Partition, ...]

    def of_band(self, band: int) -> list[Partition]:
        """The partitions of one band in their order, the fixed one of every sum."""
        return [p for p in self.partitions if p.band == band]

    def without(self, bands: set[int]) -> Plan:
        """The plan without some bands, the others numbered anew; partitions keep their names."""
        kept = [b for b in range(len(self.bands)) if b not in bands]
        return Plan(tuple(self.bands[b] for b in kept), tuple(
            replace(p, band=kept.index(p.band)) for p in self.partitions if p.band in kept))

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready form; `from_dict` is its inverse."""
        return {"bands": [list(b) for b in self.bands],
                "partitions": [asdict(p) for p in self.partitions]}

    @classmethod
    def from_dict(cls, data: dict) -> Plan:
        """Read back what `to_dict` wrote."""
        partitions = tuple(
            Partition(p["name"], p["band"], tuple(p["channels"]), tuple(p["times"]), p["host"])
            for p in data["partitions"]
        )
        return cls(tuple(tuple(b) for b in data["bands"]), partitions)


def split(n: int, parts: int) -> list[tuple[int, int]]:
    """Cut range(n) into `parts` contiguous, nearly equal (start, stop) pieces."""
    edges = np.linspace(0, n, parts + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def cut(spans: Iterable[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    """What the ends of some (start, stop) spans cut range(n) into."""
    ends = {0, n}.union(*spans)
    return list(pairwise(sorted(ends)))


def share(n: int, hosts: Sequence[str]) -> list[str]:
    """The host of each of n things: neighbours together, and every host as many."""
    return [hosts[k * len(hosts) // n] for k in range(n)]


def make_plan(
    n_time: int, n_baseline: int, n_channel: int, n_band: int, hosts: Sequence[str]
) -> Plan:
    """Cut an observation into partitions, and share them among the hosts.

    A band is split in time until a partition holds at most `MAX_PARTITION_VISIBILITIES`, and in
    frequency where even a single time holds more. What a band is made of lies together, so that
    its images are added up where they are made.
    """
    bands = split(n_channel, n_band)
    widest = max(stop - start for start, stop in bands)
    blocks = min(n_time, -(-n_time * n_baseline * widest // MAX_PARTITION_VISIBILITIES))
    longest = -(-n_time // blocks)
    parts = -(-longest * n_baseline * widest // MAX_PARTITION_VISIBILITIES) if longest == 1 else 1
    pieces = [(b, t, c) for b in range(n_band) for t in range(blocks)
              for c in range(min(parts, bands[b][1] - bands[b][0]))]
    times = split(n_time, blocks)
    partitions = tuple(
        Partition(_name(b, t, c if parts > 1 else None), b, _channels(bands[b], parts)[c],
                  times[t], host)
        for (b, t, c), host in zip(pieces, share(len(pieces), hosts), strict=True)
    )
    return Plan(tuple(bands), partitions)


def _channels(band: tuple[int, int], parts: int) -> list[tuple[int, int]]:
    """The pieces of a band, none of them empty."""
    start, stop = band
    return [(start + a, start + b) for a, b in split(stop - start, min(parts, stop - start))]


def _name(band: int, time: int, part: int | None) -> str:
    return f"band{band:03d}_time{time:04d}" + ("" if part is None else f"_chan{part:04d}")
