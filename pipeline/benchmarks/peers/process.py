"""What a program costs: wall, CPU of all its processes, and their memory."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SAMPLE_INTERVAL_S = 0.5
#: linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds, and the largest memory (PSS of all processes together), MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float

    @classmethod
    def of_sequence(cls, costs: Iterable[Cost]) -> Cost:
        """Of programs that ran one after the other."""
        each = list(costs)
        return cls(sum(c.wall_s for c in each), sum(c.cpu_s for c in each),
                   max(c.peak_mb for c in each))


def run(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Cost:
    """Run a program to its end and measure it; what it prints goes to the end of `log`.

    Raises
    ------
    RuntimeError: it failed.
    """
    with _adopting_orphans():
        began = time.perf_counter()
        with open(log, "ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                       env=environment)
        watch = _Watch(process.pid)
        watch.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        watch.stop()
        cpu = used.ru_utime + used.ru_stime + sum(map(_ended, watch.seen - {process.pid}))
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: see {log}")
    return Cost(wall, cpu, watch.peak / 1e6)


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Processes that outlive the program that started them become children of this one.

    Those that the program waited for are in its own CPU seconds, and those in theirs.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _ended(pid: int) -> float:
    """CPU seconds of an orphan, when it has ended; 0 where it was none."""
    try:
        _, _, used = os.wait4(pid, 0)
    except ChildProcessError:
        return 0.0
    return used.ru_utime + used.ru_stime


class _Watch(threading.Thread):
    """Samples the memory of a process and of all its descendants, and which these are."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak, self.seen = 0, {pid}
        self._pid, self._ended = pid, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_INTERVAL_S):
            tree = _tree(self._pid)
            self.seen.update(tree)
            self.peak = max(self.peak, sum(map(_pss, tree)))

    def stop(self) -> None:
        """No more samples."""
        self._ended.set()
        self.join()


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found, new = [], [pid]
    while new:
        found += new
        new = [child for parent in new for child in _children(parent)]
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        lists = [(task / "children").read_text() for task in tasks]
    except OSError:  # it ended
        return []
    return [int(child) for text in lists for child in text.split()]


def _pss(pid: int) -> int:
    """Proportional set size, bytes: pages that processes share count once in all."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
