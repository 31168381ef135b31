"""One stream of events: order, estimates, and both of its forms."""

from __future__ import annotations

import io
import json

import pytest

from ical.progress import Fanout, JsonLines, Progress, Terminal, describe, open_sink


class Recorder:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[dict] = []
        self.closed = False

    def emit(self, event: dict) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed = True


class Clock:
    """Time that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kinds(sink: Recorder) -> list[str]:
    return [e["event"] for e in sink.events]


def test_a_stage_tells_start_progress_and_end(clock):
    sink = Recorder()
    with Progress("image", sink, clock).running() as progress:
        clock.now += 30
        progress.update(0.25, "gridding", cycle=1, cycles=5)
    assert kinds(sink) == ["stage_start", "progress", "stage_end"]
    told = sink.events[1]
    assert (told["stage"], told["fraction"], told["cycle"], told["cycles"]) == ("image", 0.25, 1, 5)
    assert told["message"] == "gridding"
    assert told["eta_s"] == pytest.approx(90)  # a quarter took 30 s
    assert (sink.events[2]["status"], sink.events[2]["wall_s"]) == ("done", 30)


def test_a_stage_that_fails_says_so(clock):
    sink = Recorder()
    with pytest.raises(RuntimeError), Progress("image", sink, clock).running():
        raise RuntimeError
    assert sink.events[-1]["status"] == "failed"


def test_fraction_never_goes_back_and_stays_below_one(clock):
    sink = Recorder()
    progress = Progress("image", sink, clock)
    for cycle, fraction in enumerate((0.5, 0.3, 7.0)):
        clock.now += 10
        progress.update(fraction, "", cycle=cycle)
    assert [e["fraction"] for e in sink.events] == [0.5, 0.5, 1.0]


def test_what_an_earlier_process_did_does_not_count_in_the_estimate(clock):
    sink = Recorder()
    with Progress("selfcal", sink, clock).running() as progress:
        progress.resume_from(0.6)
        clock.now += 20
        progress.update(0.8, "", cycle=4)
    assert sink.events[1]["eta_s"] == pytest.approx(20)


def test_no_estimate_from_nothing(clock):
    sink = Recorder()
    progress = Progress("image", sink, clock)
    progress.update(0.0, "reading")
    assert "eta_s" not in sink.events[0]


def test_a_flood_of_updates_is_thinned_but_no_cycle_is_lost(clock):
    sink = Recorder()
    progress = Progress("image", sink, clock)
    for cycle in (1, 2):
        for step in range(1000):
            clock.now += 0.001
            progress.update((cycle * 1000 + step) / 4000, "", cycle=cycle)
    progress.update(1.0, "", cycle=2)
    cycles = [e["cycle"] for e in sink.events]
    assert cycles == sorted(cycles)
    assert set(cycles) == {1, 2}
    assert len(cycles) < 10
    assert sink.events[-1]["fraction"] == 1.0


def test_warnings_are_told_and_kept(clock):
    sink = Recorder()
    progress = Progress("image", sink, clock)
    progress.warning("one antenna is dead")
    assert sink.events[0] | {"time": 0} == {"event": "warning", "time": 0, "stage": "image",
                                            "message": "one antenna is dead"}
    assert progress.warnings == ["one antenna is dead"]


def test_json_lines_are_one_object_a_line(clock):
    stream = io.StringIO()
    progress = Progress("image", JsonLines(stream), clock)
    progress.update(0.5, "two\nlines")
    progress.skip("done before")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [e["event"] for e in events] == ["progress", "stage_start", "stage_end"]
    assert events[2]["status"] == "skipped"


def test_events_are_appended_to_the_file_too(tmp_path, clock):
    path = tmp_path / "progress.jsonl"
    for _ in range(2):
        sink = open_sink(io.StringIO(), path)
        Progress("image", sink, clock).update(0.5, "")
        sink.close()
    assert len(path.read_text().splitlines()) == 2


def test_closing_closes_all():
    sinks = [Recorder(), Recorder()]
    Fanout(sinks).close()
    assert all(s.closed for s in sinks)


def test_description_for_people():
    event = {"cycle": 3, "cycles": 5, "message": "solving", "eta_s": 120}
    assert describe(event) == "cycle 3 of 5, solving, about 2 min left"
    assert describe({"message": "reading", "eta_s": 40.4}) == "reading, about 40 s left"
    assert describe({"message": "x", "eta_s": 9000}) == "x, about 2.5 h left"


def test_a_terminal_shows_bars_and_plain_brackets(clock, capsys):
    sink = Terminal()
    with Progress("selfcal", sink, clock).running() as progress:
        clock.now += 10
        progress.update(0.5, "solving", cycle=2, cycles=4)
        progress.warning("a [red] one")
    sink.emit({"event": "result", "time": 0, "message": "Done: here"})
    sink.close()
    shown = capsys.readouterr().out
    assert "warning: a [red] one" in shown
    assert "selfcal" in shown
    assert "done" in shown
    assert "Done: here" in shown
