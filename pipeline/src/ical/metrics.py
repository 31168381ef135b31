"""What a stage cost: wall and CPU seconds, memory, compilation, and where its tasks ran.

CPU seconds and memory are those of every process that took part: the pipeline's own, the
scheduler's and the workers'. Memory is PSS (shared pages counted once), sampled in each process on
one common grid of time, so that the samples of all processes can be added up.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

from distributed import Client
from distributed.utils import key_split

SAMPLE_INTERVAL_S = 0.5
#: The kernel walks all pages of a process to tell its PSS, which takes it 10 ms and more.
PSS_INTERVAL_S = 10.0
#: Kinds of tasks that are no work: `ical.cluster.Cluster.hold` places the others with them.
OF_PLACEMENT = frozenset({"holding"})


def host_name() -> str:
    """The host's name as the deployment knows it (a container's own name is not it)."""
    return os.environ.get("ICAL_HOST") or socket.gethostname()


def pss_bytes() -> int:
    """Proportional set size of this process."""
    with open("/proc/self/smaps_rollup") as lines:
        for line in lines:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def resident_bytes() -> int:
    """Resident set size of this process, shared pages and all: cheap to ask for."""
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memory:
    """The PSS of this process, read now and then and carried on by its resident size meanwhile.

    Pages that come and go while it works are its own, and count in full in both.
    """

    def __init__(self) -> None:
        self._read = float("-inf")
        self._shared = 0

    def now(self) -> int:
        """Bytes at this moment."""
        resident = resident_bytes()
        if time.monotonic() - self._read >= PSS_INTERVAL_S:
            self._read, self._shared = time.monotonic(), resident - pss_bytes()
        return resident - self._shared


class ProcessMeter:
    """Samples one process; there is one per process, started when first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: dict[int, int] = {}
        self._compile_s = 0.0
        self._memory = Memory()
        self._listen_to_numba()
        threading.Thread(target=self._sample_for_ever, daemon=True, name="meter").start()

    def _listen_to_numba(self) -> None:
        from numba.core import event

        meter = self

        class Listener(event.TimingListener):
            def on_end(self, what: event.Event) -> None:
                super().on_end(what)
                if self.done:
                    meter._compile_s += self.duration

        event.register("numba:compile", Listener())

    def _sample_for_ever(self) -> None:
        while True:
            self.sample()
            time.sleep(SAMPLE_INTERVAL_S - time.time() % SAMPLE_INTERVAL_S)

    def sample(self) -> None:
        """Take one sample now, kept as the largest of its grid point."""
        tick = int(time.time() / SAMPLE_INTERVAL_S)
        with self._lock:
            size = self._memory.now()
            self._samples[tick] = max(size, self._samples.get(tick, 0))

    def read(self, since: float) -> dict[str, object]:
        """CPU seconds so far, compile seconds so far, and the samples since a time."""
        self.sample()
        first = int(since / SAMPLE_INTERVAL_S)
        used = os.times()
        with self._lock:
            self._samples = {t: s for t, s in self._samples.items() if t >= first}
            return {"cpu_s": used.user + used.system, "compile_s": self._compile_s,
                    "samples": dict(self._samples), "host": host_name()}


_meter: ProcessMeter | None = None
_meter_lock = threading.Lock()


def read_process(since: float) -> dict[str, object]:
    """Read this process's meter, starting it the first time."""
    global _meter
    with _meter_lock:
        if _meter is None:
            _meter = ProcessMeter()
    return _meter.read(since)


def _tag() -> tuple[str, str, int]:
    # scheduler and pipeline share one process in a local cluster: the tag tells
    return host_name(), socket.gethostname(), os.getpid()


def _read_tagged(since: float) -> dict[str, object]:
    return read_process(since) | {"process": _tag()}


@dataclass
class StageMeter:
    """Measures one stage between `start` and `stop`."""

    client: Client
    began: float = field(default_factory=time.time)
    _first: dict = field(default_factory=dict)

    def start(self) -> StageMeter:
        """Begin: note what every process has used so far."""
        self.client.get_task_stream(plot=False)  # the scheduler records from the first call on
        self.began = time.time()
        self._first = self._read_all()
        return self

    def _read_all(self) -> dict[tuple, dict]:
        readings = list(self.client.run(_read_tagged, self.began).values())
        readings.append(self.client.run_on_scheduler(_read_tagged, self.began))
        readings.append(_read_tagged(self.began))
        return {tuple(r["process"]): r for r in readings}

    def stop(self) -> dict[str, object]:
        """End: what the stage used, ready for stage.json."""
        wall = time.time() - self.began
        last = self._read_all()
        used = {key: sum(self._grown(pid, r, key) for pid, r in last.items())
                for key in ("cpu_s", "compile_s")}
        return {"wall_s": round(wall, 3), "cpu_s": round(used["cpu_s"], 3),
                "compile_s": round(used["compile_s"], 3),
                "peak_rss_mb": round(_peak(last) / 1e6, 1), **self._peaks(last),
                "tasks": self._tasks()}

    def _peaks(self, readings: dict[tuple, dict]) -> dict[str, float]:
        """The peak of the worker that took most, and that of pipeline and scheduler together."""
        leading = {_tag(), tuple(self.client.run_on_scheduler(_tag))}
        workers = max((_peak({k: r}) for k, r in readings.items() if k not in leading), default=0)
        driver = _peak({k: r for k, r in readings.items() if k in leading})
        return {"worker_peak_mb": round(workers / 1e6, 1), "driver_peak_mb": round(driver / 1e6, 1)}

    def _grown(self, pid: tuple, reading: dict, key: str) -> float:
        before = self._first.get(pid)
        return reading[key] - (before[key] if before else 0.0)

    def _tasks(self) -> dict[str, dict]:
        """Tasks and their seconds per host and kind, from Dask's task stream."""
        info = self.client.scheduler_info(n_workers=-1)["workers"]
        hosts = self.client.run(host_name)
        stream = self.client.get_task_stream(start=self.began, plot=False)
        per_host: dict[str, dict] = defaultdict(lambda: {"tasks": 0, "seconds": 0.0, "kinds": {}})
        for record in stream:
            kind = key_split(record["key"])
            if kind in OF_PLACEMENT:
                continue
            name = hosts.get(record["worker"]) or info.get(record["worker"], {}).get("host")
            if name is None:  # a worker that died meanwhile
                name = "lost"
            entry = per_host[name]
            entry["tasks"] += 1
            entry["seconds"] += sum(s["stop"] - s["start"] for s in record["startstops"])
            entry["kinds"][kind] = entry["kinds"].get(kind, 0) + 1
        return {h: e | {"seconds": round(e["seconds"], 3)} for h, e in sorted(per_host.items())}


def _peak(readings: dict[tuple, dict]) -> int:
    """Largest sum over the processes of samples taken at the same time."""
    total: dict[int, int] = defaultdict(int)
    for reading in readings.values():
        for tick, size in reading["samples"].items():
            total[tick] += size
    return max(total.values(), default=0)
