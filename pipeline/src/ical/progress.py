"""One stream of events: bars on a terminal, JSON lines elsewhere, and a copy in progress.jsonl.

Events are dicts with "event" (forecast, stage_start, progress, stage_end, warning, error, result)
and "time" (UTC seconds); most have "stage". A progress event has fraction, message, eta_s where it
is known, and cycle and cycles inside a loop; a forecast has a message and, under "forecast", its
numbers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

Event = dict[str, Any]
#: Progress of the same cycle is told at most this often.
MIN_INTERVAL_S = 0.5
#: No estimate is made from less than this.
MIN_FRACTION, MIN_ELAPSED_S = 0.01, 1.0


class Sink(Protocol):
    """Where events go."""

    def emit(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """No event will follow."""


class JsonLines:
    """One line of JSON per event on a text stream, at once."""

    def __init__(self, stream: TextIO, *, owned: bool = False) -> None:
        self._stream, self._owned = stream, owned

    def emit(self, event: Event) -> None:
        """Write one line."""
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the stream where it is ours."""
        if self._owned:
            self._stream.close()


class Terminal:
    """A bar per stage, warnings above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._console = Console()
        self._bars = Bars(
            TextColumn("{task.fields[stage]:8}"), BarColumn(),
            TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(),
            TextColumn("{task.description}"), console=self._console,
        )
        self._tasks: dict[str, Any] = {}

    def emit(self, event: Event) -> None:
        """Move a bar, or print a line."""
        kind, stage = event["event"], event.get("stage", "")
        if kind == "stage_start":
            self._bars.start()
            self._tasks[stage] = self._bars.add_task("", total=1.0, stage=stage)
        elif kind == "progress" and stage in self._tasks:
            self._bars.update(self._tasks[stage], completed=event["fraction"],
                              description=describe(event))
        elif kind == "stage_end":
            self._end(stage, event)
        elif kind in ("warning", "forecast"):  # errors are said on stderr, as in logs
            self._console.print(f"{kind}: {event['message']}", markup=False, highlight=False)
        elif kind == "result":
            self._bars.stop()
            self._console.print(event["message"], markup=False, highlight=False)

    def _end(self, stage: str, event: Event) -> None:
        if stage in self._tasks:
            completed = None if event["status"] == "failed" else 1.0
            self._bars.update(
                self._tasks[stage], completed=completed, description=event["status"])
        self._bars.stop()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bars.stop()


class Fanout:
    """Gives each event to several sinks."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def emit(self, event: Event) -> None:
        """Give one event to all."""
        for sink in self._sinks:
            sink.emit(event)

    def close(self) -> None:
        """Close all."""
        for sink in self._sinks:
            sink.close()


def open_sink(stream: TextIO, path: Path | None) -> Sink:
    """Bars when `stream` is a terminal, JSON lines otherwise; appended to `path` as well."""
    shown: Sink = Terminal() if stream.isatty() else JsonLines(stream)
    if path is None:
        return shown
    return Fanout([shown, JsonLines(open(path, "a", encoding="utf-8"), owned=True)])


def describe(event: Event) -> str:
    """A progress event as text: 'cycle 3 of 5, solving, about 2 min left'."""
    parts = []
    if "cycle" in event:
        of = f" of {event['cycles']}" if "cycles" in event else ""
        parts.append(f"cycle {event['cycle']}{of}")
    if event.get("message"):
        parts.append(event["message"])
    eta = event.get("eta_s")
    if eta is not None:
        parts.append(f"about {_duration(eta)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Progress of one stage.

    Parameters
    ----------
    stage: its name. sink: where events go.
    clock: seconds that never go back; for tests.
    """

    def __init__(
        self, stage: str, sink: Sink, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stage = stage
        self._sink, self._clock = sink, clock
        self._fraction = 0.0
        self._base = (clock(), 0.0)
        self._told: tuple[float, int | None] | None = None
        self.warnings: list[str] = []

    @contextmanager
    def running(self) -> Iterator[Progress]:
        """Tell the start of the stage, and its end: done, or failed when the block raises."""
        self._base = (self._clock(), 0.0)
        self._emit("stage_start")
        try:
            yield self
        except BaseException:
            self._emit("stage_end", status="failed", wall_s=self._elapsed())
            raise
        self._emit("stage_end", status="done", wall_s=self._elapsed())

    def skip(self, reason: str) -> None:
        """Tell that the stage need not run."""
        self._emit("stage_start")
        self._emit("stage_end", status="skipped", message=reason)

    def resume_from(self, fraction: float) -> None:
        """Begin at a fraction that an earlier process did, so that the estimate ignores it."""
        self._fraction = fraction
        self._base = (self._clock(), fraction)

    def update(
        self, fraction: float, message: str, cycle: int | None = None, cycles: int | None = None
    ) -> None:
        """Tell how much of the stage is done (0 to 1; it never goes back) and what is going on."""
        self._fraction = min(1.0, max(self._fraction, fraction))
        now = self._clock()
        if self._told and self._told[1] == cycle and self._fraction < 1.0 \
                and now - self._told[0] < MIN_INTERVAL_S:
            return
        self._told = (now, cycle)
        loop = {k: v for k, v in (("cycle", cycle), ("cycles", cycles)) if v is not None}
        eta = self._eta()
        self._emit("progress", fraction=round(self._fraction, 4), **loop,
                   **({} if eta is None else {"eta_s": round(eta, 1)}), message=message)

    def warning(self, text: str) -> None:
        """Tell of something that the user should know; kept in `warnings` for stage.json."""
        self.warnings.append(text)
        self._emit("warning", message=text)

    def forecast(self, text: str, numbers: dict[str, Any]) -> None:
        """Tell what the run will cost."""
        self._emit("forecast", message=text, forecast=numbers)

    def _elapsed(self) -> float:
        return round(self._clock() - self._base[0], 3)

    def _eta(self) -> float | None:
        began, start = self._base
        elapsed, gained = self._clock() - began, self._fraction - start
        if gained < MIN_FRACTION or elapsed < MIN_ELAPSED_S:
            return None
        return elapsed * (1.0 - self._fraction) / gained

    def _emit(self, event: str, **content: Any) -> None:
        self._sink.emit(
            {"event": event, "time": round(time.time(), 3), "stage": self.stage, **content})
