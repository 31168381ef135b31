"""The loop's state machine: every state with every event, and every way through it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ical.convergence import Measures
from ical.transitions import LoopPoint, Schedule, Tried, advance, begin, sure_to_try

OLD = Measures(rms=0.010, peak=5.0, minimum=-0.050, beam_area=1e-5, flagged=0.0)
TG = Schedule("TG", {"T": 1, "G": 2}, "", 5)


def event(kind, old=OLD):
    """What a trial leads to, next to the accepted state."""
    return {
        "lost": Tried(None),
        "worse": Tried(replace(old, rms=1.2 * old.rms)),
        "faint": Tried(replace(old, peak=0.8 * old.peak)),
        "same": Tried(old),
        "better": Tried(replace(old, rms=0.5 * old.rms)),
        "noise": Tried(replace(old, rms=0.5 * old.rms), noise=0.5 * old.rms),
    }[kind]


EVENTS = ("lost", "worse", "faint", "same", "better", "noise")


def at(schedule, number, using="", dropped=""):
    return begin(schedule, has_model=True, number=number, using=using, dropped=dropped,
                 measures=OLD)


def outcome(point):
    """Where a step has led to: the phase, or how it ended; and the cycle's decision."""
    return (point.outcome or point.phase), (point.judged.decision if point.judged else None)


def test_without_a_model_the_loop_fails_before_it_begins():
    point = begin(TG, has_model=False, number=1, using="", dropped="", measures=OLD)
    assert (point.phase, point.outcome) == ("END", "FAILED")
    assert "nothing above the threshold to calibrate on" in point.reason


@pytest.mark.parametrize("kind", EVENTS)
def test_an_end_is_an_end(kind):
    over = begin(TG, has_model=False, number=1, using="", dropped="", measures=OLD)
    with pytest.raises(ValueError, match="the loop is over: FAILED"):
        advance(TG, over, event(kind))


#: TRY with no new term: what becomes of each event, before and after all is settled.
KNOWN_TERMS = {
    ("lost", False): ("REVERTED", "revert"), ("lost", True): ("REVERTED", "revert"),
    ("worse", False): ("REVERTED", "revert"), ("worse", True): ("REVERTED", "revert"),
    ("faint", False): ("REVERTED", "revert"), ("faint", True): ("REVERTED", "revert"),
    ("same", False): ("TRY", "accept"), ("same", True): ("CONVERGED", "converged"),
    ("better", False): ("TRY", "accept"), ("better", True): ("TRY", "accept"),
    ("noise", False): ("TRY", "accept"), ("noise", True): ("CONVERGED", "converged"),
}


@pytest.mark.parametrize(("kind", "settled"), KNOWN_TERMS)
def test_terms_that_are_in_use_are_judged_against_the_accepted_state(kind, settled):
    schedule = TG if settled else replace(TG, first_cycle={"T": 1, "G": 5})
    point = at(schedule, 3, using="TG" if settled else "T")
    after = advance(schedule, point, event(kind))
    assert outcome(after) == KNOWN_TERMS[kind, settled]
    kept = after.judged.decision != "revert"
    assert after.measures == (event(kind).measures if kept else OLD)
    assert after.using == point.using


@pytest.mark.parametrize(("kind", "settled"), KNOWN_TERMS)
def test_the_last_cycle_ends_the_loop(kind, settled):
    schedule = replace(TG, cycles=3) if settled else replace(
        TG, cycles=3, first_cycle={"T": 1, "G": 3}, terms="T")
    point = at(schedule, 3, using="TG" if settled else "T")
    expected = KNOWN_TERMS[kind, True]
    assert outcome(advance(schedule, point, event(kind))) == (
        ("MAX_CYCLES", "accept") if expected[0] == "TRY" else expected)


#: The first gains of all: the peak alone tells.
@pytest.mark.parametrize(("kind", "phase"), [
    ("lost", "WITHOUT"), ("faint", "WITHOUT"), ("worse", "TRY"), ("same", "TRY"),
    ("better", "TRY"), ("noise", "TRY")])
def test_the_first_gains_are_judged_by_the_peak(kind, phase):
    after = advance(TG, at(TG, 1), event(kind))
    assert after.phase == phase
    if phase == "TRY":
        assert (after.judged.decision, after.using, after.number) == ("accept", "T", 2)
    else:
        assert (after.judged, after.terms) == (None, "")


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("kind", EVENTS)
def test_first_gains_that_do_not_help_leave_the_data_as_they_are(kind, number):
    """They are given up for good when the model is as deep as it gets."""
    alone = Schedule("T", {"T": 1}, "", 5)
    point = advance(alone, at(alone, number), event("faint"))
    after = advance(alone, point, event(kind))
    assert after.using == ""
    if kind == "lost":
        assert outcome(after) == ("REVERTED", "revert")
    elif number == 1:
        assert outcome(after) == ("TRY", "accept")
        assert after.dropped == ""
    else:
        assert outcome(after) == ("CONVERGED", "drop")
        assert (after.dropped, after.reason) == ("T", "no gain term improves the image")


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("solvable", [False, True])
def test_what_no_term_ever_had_a_solution_for_has_failed(number, solvable):
    """Whether the terms are given up for it, or the cycles end before; noise has such images."""
    alone = Schedule("T", {"T": 1}, "", number)
    point = begin(alone, has_model=True, number=number, using="", dropped="", measures=OLD,
                  solvable=solvable)
    point = advance(alone, advance(alone, point, event("lost")), event("same"))
    assert point.phase == "END"
    if solvable:
        assert point.outcome == "MAX_CYCLES"
    else:
        assert (point.outcome, point.using) == ("FAILED", "")
        assert "the data are too faint, or the model" in point.reason


@pytest.mark.parametrize("kind", EVENTS)
def test_a_new_term_is_always_tried_without_too(kind):
    after = advance(TG, at(TG, 2, using="T"), event(kind))
    assert (after.phase, after.terms, after.judged) == ("WITHOUT", "T", None)
    assert after.trial == event(kind)


def rises(kind, other):
    """Whether peak / rms of one is by 1.25 % or more above that of another."""
    one, two = event(kind).measures, event(other).measures
    return one.peak / one.rms >= 1.0125 * two.peak / two.rms and one.rms < 1.1 * two.rms


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("control", EVENTS)
@pytest.mark.parametrize("trial", EVENTS)
def test_a_new_term_stays_when_the_image_is_better_than_without(trial, control, number):
    point = advance(TG, at(TG, number, using="T"), event(trial))
    after = advance(TG, point, event(control))
    if trial == "lost":
        helps = False
    elif control == "lost":
        helps = trial != "faint"  # nothing to compare with but the accepted image's peak
    else:
        helps = rises(trial, control)
    chosen = trial if helps else control
    assert after.judged.kept == ("TG" if helps else "T")
    assert after.judged.terms == "TG"
    given_up = "G" if not helps and number > TG.first_deep else ""
    assert after.dropped == given_up
    if chosen in ("lost", "worse", "faint"):
        assert outcome(after) == ("REVERTED", "revert")
        assert (after.using, after.measures) == ("T", OLD)
        return
    settled = number > TG.first_deep  # with G in use or given up
    if settled and chosen in ("same", "noise"):
        assert outcome(after) == ("CONVERGED", "converged")
    else:
        assert outcome(after) == ("TRY", "drop" if given_up else "accept")
        assert after.number == number + 1
    assert (after.using, after.measures) == (after.judged.kept, event(chosen).measures)
    if not helps:
        assert after.judged.reason.split("; ")[0]


def test_a_cycle_does_not_go_back_twice():
    """REVERTED leaves the accepted state as it was, and there is nothing after it."""
    after = advance(TG, at(TG, 3, using="TG"), event("worse"))
    assert (after.phase, after.measures, after.using) == ("END", OLD, "TG")
    with pytest.raises(ValueError, match="REVERTED"):
        advance(TG, after, event("better"))


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize(("using", "dropped"), [("", ""), ("T", ""), ("TG", ""), ("T", "G")])
@pytest.mark.parametrize("fixed", ["", "T"])
def test_what_is_sure_to_be_tried_is_tried(kind, using, dropped, fixed):
    """Whatever the first trial leads to; and what is not sure depends on it."""
    schedule = replace(TG, fixed=fixed)
    point = at(schedule, 2, using, dropped)
    sure = sure_to_try(schedule, point)
    assert sure[0] == point.terms
    after = advance(schedule, point, event(kind))
    assert (len(sure) == 2) == (using == "T" and not dropped and not fixed)
    if len(sure) == 2:
        assert (after.phase, after.terms) == ("WITHOUT", sure[1])
        assert sure_to_try(schedule, after) == (sure[1],)


def test_phase_comes_before_amplitude():
    schedule = Schedule("TG", {"T": 1, "G": 3}, "", 5)
    assert [schedule.active(n, "") for n in (1, 2, 3, 4)] == ["T", "T", "TG", "TG"]
    assert schedule.active(1, "T") == "G"  # its turn comes early when nothing else is left
    assert schedule.active(4, "TG") == ""
    assert Schedule("GT", {"T": 1, "G": 3}, "", 5).active(3, "") == "GT"


def test_a_fixed_term_is_no_gain_that_was_found():
    """What is tried with it first is judged as first gains are; a fixed term is never dropped."""
    schedule = Schedule("BT", {"B": 1, "T": 1}, "B", 5)
    point = at(schedule, 1, using="B")
    assert point.terms == "BT"
    assert outcome(advance(schedule, point, event("worse"))) == ("TRY", "accept")
    left = advance(schedule, at(schedule, 2, using="B"), event("faint"))
    assert (left.phase, left.terms) == ("WITHOUT", "B")
    after = advance(schedule, left, event("same"))
    assert (after.outcome, after.using, after.dropped) == ("CONVERGED", "B", "T")


def test_fixed_terms_alone_go_on_as_long_as_cleaning_helps():
    schedule = Schedule("T", {"T": 1}, "T", 3)
    point = at(schedule, 1, using="T")
    point = advance(schedule, point, event("better"))
    assert outcome(point) == ("TRY", "accept")
    assert outcome(advance(schedule, point, event("same", point.measures))) == (
        "CONVERGED", "converged")


#: Gains that bring the data to half or twice their flux scale, and what else they do.
@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("using", ["", "T"])
def test_the_first_cycle_may_move_the_flux_scale(scale, using):
    """By the term that does so, as long as peak/rms stays; the next cycles may not."""
    schedule = Schedule("TG", {"T": 1, "G": 1}, "", 5, rescaling="G")
    moved = Tried(replace(OLD, peak=scale * OLD.peak, rms=scale * OLD.rms))
    worse = Tried(replace(moved.measures, rms=1.2 * moved.measures.rms))
    helps, hurts = (advance(schedule, at(schedule, 1, using), event) for event in (moved, worse))
    if using:  # there is a control
        helps, hurts = (advance(schedule, point, Tried(OLD)) for point in (helps, hurts))
        assert (hurts.judged.kept, hurts.judged.decision) == ("T", "accept")
        assert "with G peak/rms fell by 16.7%" in hurts.judged.reason
    else:
        assert hurts.phase == "WITHOUT"
    assert (helps.judged.kept, helps.judged.decision) == ("TG", "accept")
    late = advance(schedule, at(schedule, 2), moved)
    assert late.phase == ("WITHOUT" if scale < 1 else "TRY")  # by the peak


def ways(schedule, point, steps=()):
    """Every path from a state to an end, as (steps, last state); a step is (state, event)."""
    if point.phase == "END":
        yield steps, point
        return
    for kind in ("lost", "worse", "faint", "same", "better", "noise"):
        happened = event(kind, point.measures)
        yield from ways(schedule, advance(schedule, point, happened),
                        (*steps, (point, happened)))


@pytest.mark.parametrize(("terms", "first", "fixed"), [
    ("T", {"T": 1}, ""), ("TG", {"T": 1, "G": 2}, ""), ("TG", {"T": 1, "G": 1}, ""),
    ("BT", {"B": 1, "T": 1}, "B"), ("G", {"G": 2}, "")])
def test_every_way_through_the_loop_ends_as_it_must(terms, first, fixed):
    schedule = Schedule(terms, first, fixed, 3)
    seen = set()
    for steps, end in ways(schedule, at(schedule, 1, using=fixed)):
        seen.add(end.outcome)
        assert end.outcome in ("CONVERGED", "MAX_CYCLES", "REVERTED", "FAILED")
        assert end.reason
        assert len(steps) <= 2 * schedule.cycles
        given_up: set[str] = set()
        for point, _ in steps:
            assert given_up <= set(point.dropped)  # what is dropped stays dropped
            assert not set(point.terms) & set(point.dropped)
            assert not set(point.using) & set(point.dropped)
            given_up |= set(point.dropped)
        if end.outcome == "CONVERGED":
            assert set(terms) <= {*end.using, *end.dropped}
        if end.outcome == "REVERTED":
            began = next(p for p, _ in reversed(steps) if p.phase == "TRY")
            assert (end.using, end.measures) == (began.using, began.measures)
        if end.outcome == "MAX_CYCLES":
            assert end.judged.number == schedule.cycles
        if end.outcome != "REVERTED":
            never = all(event.measures is None for point, event in steps
                        if schedule.solved(point.terms))
            assert (end.outcome == "FAILED") == (never and not end.using)
    assert {"CONVERGED", "REVERTED", "MAX_CYCLES"} | ({"FAILED"} if not fixed else set()) == seen


def test_the_state_is_all_that_a_step_depends_on():
    """A loop that goes on from a checkpoint takes the same way."""
    point = advance(TG, at(TG, 1), event("better"))
    again = begin(TG, has_model=True, number=point.number, using=point.using,
                  dropped=point.dropped, measures=point.measures, solvable=point.solvable)
    assert replace(point, judged=None) == again
    assert isinstance(again, LoopPoint)
