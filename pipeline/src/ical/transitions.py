"""The self-calibration loop as a state machine: what is done next, and where it ends.

`advance` is a pure function of the schedule, the state and what was measured; the rules it asks are
those of `ical.convergence`. Images, gains and models are the affair of who drives it
(`ical.stages.selfcal`).

    TRY      the cycle's terms are to be solved and imaged
    WITHOUT  so are those without the terms that are new, to see whether these help
    END      nothing: `outcome` and `reason` are there

A cycle is judged when TRY needs no WITHOUT, or after it: it is accepted and the next begins, or the
loop ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ical import convergence
from ical.convergence import Decision, Measures, Verdict

Phase = Literal["TRY", "WITHOUT", "END"]
Outcome = Literal["CONVERGED", "MAX_CYCLES", "REVERTED", "FAILED"]

NOTHING = "the image of the data holds nothing above the threshold to calibrate on"
LOST = "a band is left without a solution above selfcal.min_snr"
FAINT = ("in no cycle has every band a solution above selfcal.min_snr: the data are too faint, or "
         "the model is too far from them, to calibrate on")


@dataclass(frozen=True)
class Schedule:
    """When each term's turn comes.

    Attributes
    ----------
    terms: that are asked for, in the order in which they are solved.
    first_cycle: of each, from 1. fixed: those that are applied and not solved. cycles: at most.
    rescaling: the term that in the first cycle brings the data to the flux scale of a start model;
        '': none does.
    """

    terms: str
    first_cycle: Mapping[str, int]
    fixed: str
    cycles: int
    rescaling: str = ""

    @property
    def first_deep(self) -> int:
        """The cycle from which the model is cleaned as deep as asked: when all terms are tried."""
        return max(self.first_cycle[t] for t in self.terms)

    def active(self, number: int, dropped: str) -> str:
        """The terms of a cycle, in order, without those that were dropped.

        Where none is left of those whose turn has come, the turn of the next comes early.
        """
        left = [t for t in self.terms if t not in dropped]
        turn = max(number, min((self.first_cycle[t] for t in left), default=number))
        return "".join(t for t in left if self.first_cycle[t] <= turn)

    def solved(self, terms: str) -> str:
        """Those of some terms that are not fixed."""
        return "".join(t for t in terms if t not in self.fixed)


@dataclass(frozen=True)
class Tried:
    """An event: some terms were solved and the corrected data imaged.

    Attributes
    ----------
    measures: of that image; None: a band lost all its data to flags.
    noise: the expected rms of an image of noise alone, Jy/beam; None where it is not known.
    """

    measures: Measures | None
    noise: float | None = None


@dataclass(frozen=True)
class Judged:
    """What became of a cycle.

    Attributes
    ----------
    terms: that were tried. kept: those whose trial the decision is about.
    measures: of that trial, or of the accepted state where it has none.
    """

    number: int
    terms: str
    kept: str
    measures: Measures
    decision: Decision
    reason: str


@dataclass(frozen=True)
class LoopPoint:
    """Where the loop is.

    Attributes
    ----------
    phase: what is to be done. number: of the cycle at work, from 1.
    terms: to be tried now; "" is the data without gains.
    using, dropped, measures: terms in use, terms given up, and measures, of the accepted state.
    solvable: whether any trial yet had a solution in every band.
    trial: in WITHOUT, what the cycle's terms together led to.
    judged: the cycle that ended with this step, None within one.
    outcome, reason: of the end.
    """

    phase: Phase
    number: int
    terms: str
    using: str
    dropped: str
    measures: Measures
    solvable: bool
    trial: Tried | None = None
    judged: Judged | None = None
    outcome: Outcome | None = None
    reason: str = ""


def begin(
    schedule: Schedule, *, has_model: bool, number: int, using: str, dropped: str,
    measures: Measures, solvable: bool = False,
) -> LoopPoint:
    """The loop before its cycle `number`; without anything to calibrate on it is over."""
    point = LoopPoint("END", number, "", using, dropped, measures, solvable)
    if not has_model:
        return replace(point, outcome="FAILED", reason=NOTHING)
    return _next_cycle(schedule, replace(point, number=number - 1))


def sure_to_try(schedule: Schedule, point: LoopPoint) -> tuple[str, ...]:
    """The terms to be tried now, and those after it that will be whatever comes of these."""
    fresh, kept = _split(point)
    both = point.phase == "TRY" and fresh and schedule.solved(kept)
    return (point.terms, kept) if both else (point.terms,)


def advance(schedule: Schedule, point: LoopPoint, event: Tried) -> LoopPoint:
    """The state after what was asked for has been done.

    Raises
    ------
    ValueError: the loop is over.
    """
    solved = event.measures is not None and schedule.solved(point.terms) != ""
    point = replace(point, solvable=point.solvable or solved)
    if point.phase == "TRY":
        return _after_trial(schedule, replace(point, judged=None), event)
    if point.phase == "WITHOUT":
        return _after_control(schedule, point, event)
    raise ValueError(f"the loop is over: {point.outcome}")


def _after_trial(schedule: Schedule, point: LoopPoint, trial: Tried) -> LoopPoint:
    fresh, kept = _split(point)
    if not fresh:
        return _judge(schedule, point, point.terms, trial, None)
    why = None if schedule.solved(kept) else _first_terms(schedule, point, trial, fresh)
    if not schedule.solved(kept) and why is None:
        return _judge(schedule, point, point.terms, trial, None)
    return replace(point, phase="WITHOUT", terms=kept, trial=trial)


def _after_control(schedule: Schedule, point: LoopPoint, control: Tried) -> LoopPoint:
    tried = schedule.active(point.number, point.dropped)
    fresh, kept = _split(replace(point, terms=tried))
    trial = point.trial or Tried(None)
    comparable = schedule.solved(kept) and not _rescales(schedule, point, fresh)
    if trial.measures is None or control.measures is None or not comparable:
        why = _first_terms(schedule, point, trial, fresh)
    else:
        why = convergence.judge_terms(trial.measures, control.measures, fresh)
    point = replace(point, terms=tried, trial=None)
    if why is None:
        return _judge(schedule, point, tried, trial, None)
    return _judge(schedule, point, kept, control, why)


def _split(point: LoopPoint) -> tuple[str, str]:
    """Of the terms at work, those that are new and those in use."""
    return ("".join(t for t in point.terms if t not in point.using),
            "".join(t for t in point.terms if t in point.using))


def _rescales(schedule: Schedule, point: LoopPoint, terms: str) -> bool:
    """Whether the trial of some terms is of another flux scale than the accepted state."""
    moving = set(schedule.rescaling) & set(terms) - set(point.using)
    return bool(moving) and point.number == 1


def _first_terms(
    schedule: Schedule, point: LoopPoint, trial: Tried, fresh: str
) -> str | None:
    """Why terms are left out, where there is no image to compare with but the accepted one.

    Or none on the same flux scale.
    """
    if trial.measures is None:
        return f"{fresh} leaves a band without a solution above selfcal.min_snr"
    return convergence.judge_first_terms(trial.measures, point.measures, fresh,
                                         rescaled=_rescales(schedule, point, fresh))


def _judge(
    schedule: Schedule, point: LoopPoint, kept: str, chosen: Tried, idle: str | None
) -> LoopPoint:
    """End the cycle with the trial of some of its terms; `idle` says why its new ones are left out.

    New terms that do not help are dropped for good once the model is as deep as it gets.
    """
    deep = point.number > schedule.first_deep
    dropped = point.dropped + (_split(point)[0] if idle and deep else "")
    verdict = _verdict(schedule, point, kept, chosen, dropped)
    given_up = verdict.decision == "accept" and dropped != point.dropped
    reason = f"{idle}; {verdict.reason}" if idle else verdict.reason
    measures = chosen.measures or point.measures
    judged = Judged(point.number, point.terms, kept, measures,
                    "drop" if given_up else verdict.decision, reason)
    point = replace(point, phase="END", dropped=dropped, judged=judged, terms="")
    if verdict.decision == "revert":
        return replace(point, outcome="REVERTED", reason=reason)
    point = replace(point, using=kept, measures=measures)
    if verdict.decision == "converged":
        return replace(point, outcome="CONVERGED", reason=reason)
    return _next_cycle(schedule, point)


def _verdict(
    schedule: Schedule, point: LoopPoint, kept: str, chosen: Tried, dropped: str
) -> Verdict:
    """The rules' verdict.

    Where no gain was in use, or none on this flux scale, there is nothing yet to be worse than.
    """
    if chosen.measures is None:
        return Verdict("revert", LOST)
    first_gains = schedule.solved(kept) and not schedule.solved(point.using)
    if not point.using or first_gains or _rescales(schedule, point, kept):
        return Verdict("accept", chosen.measures.told)
    tried = set(schedule.terms) <= {*kept, *dropped}
    return convergence.judge(
        chosen.measures, point.measures, noise=chosen.noise,
        settled=tried and point.number > schedule.first_deep)


def _next_cycle(schedule: Schedule, point: LoopPoint) -> LoopPoint:
    """The beginning of the next cycle, or the end where there is none."""
    number = point.number + 1
    terms = schedule.active(number, point.dropped)
    if number <= schedule.cycles and terms:
        return replace(point, phase="TRY", number=number, terms=terms)
    if not point.using and not point.solvable:
        return replace(point, outcome="FAILED", reason=FAINT)
    if number > schedule.cycles:
        return replace(point, outcome="MAX_CYCLES",
                       reason=f"all {schedule.cycles} cycles were used")
    return replace(point, outcome="CONVERGED", reason="no gain term improves the image")
