"""ICAL: predict the model, solve the gains, image the corrected data, accept or revert, clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from arl.calibration import chain
from arl.calibration.intervals import channel_blocks, is_inside, time_blocks
from arl.deconvolution import CleanOptions
from ical import tasks
from ical.imager import BandImages, Imager, fit_beams
from ical.parameters import Parameters
from ical.partitions import Partition
from ical.stages.image import clean_options

MODES = {"T": "phase", "G": "amplitude_phase", "B": "amplitude_phase"}
#: The loop goes on while rms falls by this share, and goes back when it rises by that.
LEAST_GAIN, MOST_LOSS = 0.0125, 0.10
WHOLE_OBSERVATION_S = 1e9

#: Solutions by partition and term.
Solutions = dict[str, dict[str, chain.TermSolution]]


@dataclass(frozen=True)
class Cycle:
    """What one cycle did: its terms, the residual's rms (Jy) and the decision with its reason."""

    number: int
    terms: str
    rms: float
    decision: str
    reason: str


@dataclass
class LoopState:
    """The last accepted state of the loop."""

    model: np.ndarray
    residual: BandImages
    solutions: Solutions = field(default_factory=dict)
    terms: str = ""
    rms: float = np.inf
    dropped: str = ""


@dataclass(frozen=True)
class SelfcalResult:
    """The loop's end: images (band, l, m), gains by partition and term, outcome and history."""

    model: np.ndarray
    residual: BandImages
    solutions: Solutions
    terms: str
    outcome: str
    reason: str
    history: tuple[Cycle, ...]


class SelfCalibration:
    """The loop over one run's partitions.

    Parameters
    ----------
    time: UTC s of all times of the run. n_channel: of all its channels.
    edges: of the bands, Hz (band, 2).
    """

    def __init__(
        self, imager: Imager, parameters: Parameters, time: np.ndarray, n_channel: int,
        edges: np.ndarray,
    ) -> None:
        self._imager, self._parameters, self._edges = imager, parameters, edges
        self._blocks = {name: self._term(name, time, n_channel)
                        for name in parameters.selfcal.terms}
        self._options: CleanOptions = clean_options(parameters.selfcal_clean)

    def _term(self, name: str, time: np.ndarray, n_channel: int) -> chain.TermBlocks:
        """A term's solution intervals: T per time, G and B over the observation, by default."""
        selfcal = self._parameters.selfcal
        asked = getattr(selfcal.solution_interval, name)
        interval = asked if name == "T" else asked or WHOLE_OBSERVATION_S
        joint = selfcal.global_solution and name != "B"
        return chain.TermBlocks(name, MODES[name], time_blocks(time, interval),
                                channel_blocks(n_channel, joint))

    def _is_local(self, term: chain.TermBlocks) -> bool:
        """Whether every interval of a term lies inside one partition."""
        plan = self._imager.plan
        times = [p.times for p in plan.of_band(0)]
        return (is_inside(term.time_block, times)
                and is_inside(term.channel_block, list(plan.bands)))

    def _work(self, partition: Partition, terms: str, before: Solutions) -> tasks.Calibration:
        local = [self._is_local(self._blocks[name]) for name in terms]
        leading = local.index(False) if False in local else len(local)
        known = before.get(partition.name, {})
        return tasks.Calibration(
            tuple(self._part(name, partition) for name in terms), leading,
            {name: known[name].gain for name in terms[:leading] if name in known},
            self._parameters.selfcal.min_snr)

    def _part(self, name: str, partition: Partition) -> chain.TermBlocks:
        """A term restricted to a partition's times and channels."""
        whole = self._blocks[name]
        return chain.TermBlocks(name, whole.mode, whole.time_block[slice(*partition.times)],
                                whole.channel_block[slice(*partition.channels)])

    def calibrate(
        self, model: np.ndarray, terms: str, before: Solutions
    ) -> tuple[Solutions, BandImages]:
        """Solve all terms against the model and image the residual of the corrected data."""
        imager = self._imager
        bands = imager.embed(model)
        work = {p.name: self._work(p, terms, before) for p in imager.plan.partitions}
        passes = {p.name: imager.submit_pass(p, tasks.calibrate, bands[p.band], work[p.name])
                  for p in imager.plan.partitions}
        leading = next(iter(work.values())).local
        solved = imager.gather_solutions(passes)
        if leading == len(terms):
            return solved, imager.collect(imager.images_of(passes))
        joint = self._solve_joint(passes, terms[leading:])
        solutions = {name: own | joint for name, own in solved.items()}
        return solutions, imager.residual(model, self.gains(solutions, terms))

    def _solve_joint(self, passes: dict, terms: str) -> dict[str, chain.TermSolution]:
        """Solve the terms whose intervals span partitions from the sum of their matrices."""
        merged = self._imager.merged_matrices(passes)
        solved, _ = tasks.solve_terms(
            merged, [self._blocks[name] for name in terms], {}, self._parameters.selfcal.min_snr)
        return solved

    def gains(self, solutions: Solutions, terms: str) -> dict[str, Sequence[np.ndarray]]:
        """Gains (time, ant, chan) of every partition, one array a term."""
        return {p.name: [chain.expand(solutions[p.name][t], self._part(t, p)) for t in terms]
                for p in self._imager.plan.partitions}

    def run(self) -> SelfcalResult:
        """Go round until it no longer helps, it gets worse, or the cycles are used up."""
        imager, selfcal = self._imager, self._parameters.selfcal
        dirty, psf = imager.dirty_and_psf()
        beam = fit_beams(psf, imager.grid.cell)[0]
        first = imager.clean(dirty, psf, np.zeros_like(dirty.image), self._edges, beam,
                             self._options)
        state, history = LoopState(first.model, dirty), []
        if not state.model.any():
            reason = "the image of the data holds nothing above the threshold to calibrate on"
            return SelfcalResult(state.model, dirty, {}, "", "FAILED", reason, ())
        outcome, reason = "MAX_CYCLES", f"all {selfcal.cycles} cycles were used"
        for number in range(1, selfcal.cycles + 1):
            terms = self._active(number, state.dropped)
            solutions, residual = self.calibrate(state.model, terms, state.solutions)
            cycle = self._judge(number, terms, residual.rms, state)
            history.append(cycle)
            if cycle.decision == "drop":
                state.dropped += "".join(t for t in terms if t not in state.terms)
                continue
            if cycle.decision == "revert":
                outcome, reason = "REVERTED", cycle.reason
                break
            state = LoopState(state.model, residual, solutions, terms, residual.rms, state.dropped)
            if cycle.decision == "converged":
                outcome, reason = "CONVERGED", cycle.reason
                break
            cleaned = imager.clean(residual, self._psf(psf, solutions, terms), state.model,
                                   self._edges, beam, self._options)
            state.model = cleaned.model
        final = imager.residual(state.model, self.gains(state.solutions, state.terms))
        return SelfcalResult(state.model, final, state.solutions, state.terms, outcome, reason,
                             tuple(history))

    def _psf(self, psf: BandImages, solutions: Solutions, terms: str) -> BandImages:
        """The PSF of the corrected data; phases without flags leave the weights as they were."""
        gains = self.gains(solutions, terms)
        unchanged = all(np.isfinite(g).all() and MODES[t] == "phase"
                        for own in gains.values() for t, g in zip(terms, own, strict=True))
        return psf if unchanged else self._imager.corrected_psf(gains)

    def _active(self, number: int, dropped: str) -> str:
        """The terms of a cycle, in order, without those that were dropped."""
        start = self._parameters.selfcal.first_cycle
        return "".join(t for t in self._parameters.selfcal.terms
                       if getattr(start, t) <= number and t not in dropped)

    def _judge(self, number: int, terms: str, rms: float, state: LoopState) -> Cycle:
        """Accept, drop the new terms, revert or stop: DESIGN's rules on the residual's rms."""
        new = "".join(t for t in terms if t not in state.terms)
        wanted = "".join(t for t in self._parameters.selfcal.terms if t not in state.dropped)
        change = rms / state.rms - 1
        if change > MOST_LOSS and new and state.terms:
            return Cycle(number, terms, rms, "drop", f"with {new} the rms rose by {change:.1%}")
        if change > MOST_LOSS:
            return Cycle(number, terms, rms, "revert", f"the rms rose by {change:.1%}")
        if change > -LEAST_GAIN and set(terms) == set(wanted) and not new:
            return Cycle(number, terms, rms, "converged",
                         f"the rms changed by {change:.2%}, less than {LEAST_GAIN:.2%}")
        return Cycle(number, terms, rms, "accept", f"rms {rms * 1e3:.3f} mJy")
