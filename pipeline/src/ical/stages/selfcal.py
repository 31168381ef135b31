"""ICAL: predict the model, solve the gains, image the corrected data, accept or revert, clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from arl.calibration import chain
from arl.calibration.conditioning import mean_amplitude
from arl.calibration.intervals import channel_blocks, is_inside, time_blocks
from arl.deconvolution import CleanOptions
from arl.sky import load_catalogue
from ical import tasks
from ical.imager import BandImages, Imager, fit_beams
from ical.parameters import Parameters
from ical.partitions import Partition
from ical.stages.image import Cleaner, clean_options

MODES = {"T": "phase", "G": "amplitude_phase", "B": "amplitude_phase"}
#: The loop goes on while rms falls by this share, and goes back when it rises by that.
LEAST_GAIN, MOST_LOSS = 0.0125, 0.10
WHOLE_OBSERVATION_S = 1e9
FIRST_MIN_SNR = 1.0
SHALLOW_ITERATIONS = 1000
FLAGS_WORTH_A_PSF = 0.01
ENDS = {"revert": "REVERTED", "converged": "CONVERGED"}

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


@dataclass(frozen=True)
class LoopState:
    """The last accepted state of the loop: all that it goes on from.

    Attributes
    ----------
    model: on which the next cycle calibrates, (band, l, m) Jy per pixel.
    solutions: the accepted gains. terms: those they are of. dropped: terms given up.
    rms: of the residual the gains gave, Jy. history: the cycles so far.
    """

    model: np.ndarray
    solutions: Solutions
    terms: str
    dropped: str
    rms: float
    history: tuple[Cycle, ...]


@dataclass(frozen=True)
class SelfcalResult:
    """The loop's end: images (band, l, m), gains by partition and term, outcome and history."""

    dirty: BandImages
    psf: BandImages
    model: np.ndarray
    residual: BandImages
    solutions: Solutions
    terms: str
    outcome: str
    reason: str
    history: tuple[Cycle, ...]


class Watcher(Protocol):
    """Who is told of the loop's progress, and keeps its state."""

    def told(self, cycle: Cycle, cycles: int) -> None:
        """A cycle was judged."""

    def keep(self, state: LoopState) -> None:
        """The loop can go on from this state."""


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
        path = parameters.selfcal.start_model
        self._start = load_catalogue(path) if path else None
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
        known, uv_range = before.get(partition.name, {}), self._parameters.selfcal.uv_range
        return tasks.Calibration(
            tuple(self._part(name, partition) for name in terms), leading,
            {name: known[name].gain for name in terms[:leading] if name in known},
            self._min_snr(before), None if before else self._start, self._scale(terms, known),
            uv_range.min_m, uv_range.max_m)

    def _min_snr(self, before: Solutions) -> float:
        """The level below which solutions are flagged: lower while there is only a first model.

        What that model lacks counts as noise, and a phase known to 1 rad still improves it.
        """
        asked = self._parameters.selfcal.min_snr
        return asked if before else min(asked, FIRST_MIN_SNR)

    def _scale(
        self, terms: str, known: dict[str, chain.TermSolution]
    ) -> dict[str, np.ndarray | float]:
        """The mean amplitude of the terms that have amplitudes: 1, which keeps the flux scale.

        The first of them may take the scale of the start model, and then keeps it.
        """
        amplitudes = [t for t in terms if MODES[t] != "phase"]
        scale: dict[str, np.ndarray | float] = dict.fromkeys(amplitudes, 1.0)
        if amplitudes and self._parameters.selfcal.flux_scale == "model":
            del scale[amplitudes[0]]
            if amplitudes[0] in known:
                scale[amplitudes[0]] = mean_amplitude(known[amplitudes[0]].gain)
        return scale

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
        joint = self._solve_joint(passes, terms[leading:], before)
        solutions = {name: own | joint for name, own in solved.items()}
        return solutions, imager.residual(model, self.gains(solutions, terms))

    def _solve_joint(
        self, passes: dict, terms: str, before: Solutions
    ) -> dict[str, chain.TermSolution]:
        """Solve the terms whose intervals span partitions from the sum of their matrices."""
        merged = self._imager.merged_matrices(passes)
        solved, _ = tasks.solve_terms(
            merged, [self._blocks[name] for name in terms], {}, self._min_snr(before),
            self._scale(terms, next(iter(before.values()), {})))
        return solved

    def gains(self, solutions: Solutions, terms: str) -> dict[str, Sequence[np.ndarray]]:
        """Gains (time, ant, chan) of every partition, one array a term."""
        return {p.name: [chain.expand(solutions[p.name][t], self._part(t, p)) for t in terms]
                for p in self._imager.plan.partitions}

    def run(self, watcher: Watcher, kept: LoopState | None = None) -> SelfcalResult:
        """Go round until it no longer helps, it gets worse, or the cycles are used up.

        `kept` is the state of an earlier process to go on from.
        """
        imager, cycles = self._imager, self._parameters.selfcal.cycles
        dirty, psf = imager.dirty_and_psf()
        cleaner = Cleaner(imager, psf, fit_beams(psf, imager.grid.cell)[0], self._edges,
                          self._options, {})
        state = kept or self._begin(cleaner, dirty)
        if not self._has_model(state):
            return SelfcalResult(
                dirty, psf, state.model, dirty, {}, "", "FAILED",
                "the image of the data holds nothing above the threshold to calibrate on", ())
        outcome, reason = "MAX_CYCLES", f"all {cycles} cycles were used"
        while (number := len(state.history) + 1) <= cycles:
            state, cycle = self._cycle(number, state, cleaner)
            watcher.told(cycle, cycles)
            if cycle.decision in ("revert", "converged"):
                outcome, reason = ENDS[cycle.decision], cycle.reason
                break
            watcher.keep(state)
        return self._finish(state, cleaner, dirty, outcome, reason)

    def _begin(self, cleaner: Cleaner, dirty: BandImages) -> LoopState:
        """A first model, from the image of the uncalibrated data; none where one is given."""
        model = np.zeros_like(dirty.image)
        if self._start is None:
            model = cleaner.imager.clean(dirty, cleaner.psf, model, self._edges, cleaner.beam,
                                         self._options_at(0)).model
        return LoopState(model, {}, "", "", np.inf, ())

    def _has_model(self, state: LoopState) -> bool:
        return bool(self._start is not None or state.history or state.model.any())

    def _cycle(self, number: int, state: LoopState, cleaner: Cleaner) -> tuple[LoopState, Cycle]:
        """One cycle: calibrate on the model, judge the residual, and clean it when accepted."""
        terms = self._active(number, state.dropped)
        solutions, residual = self.calibrate(state.model, terms, state.solutions)
        if not residual.weight.all():
            reason = f"{terms} left a band without a solution above selfcal.min_snr"
            cycle = Cycle(number, terms, state.rms, "revert", reason)
            return replace(state, history=(*state.history, cycle)), cycle
        cycle = self._judge(number, terms, residual.rms, state)
        history = (*state.history, cycle)
        if cycle.decision == "drop":
            dropped = state.dropped + "".join(t for t in terms if t not in state.terms)
            return replace(state, dropped=dropped, history=history), cycle
        if cycle.decision == "revert":
            return replace(state, history=history), cycle
        model = state.model
        if cycle.decision == "accept":
            psf = self._psf(cleaner.psf, solutions, terms, FLAGS_WORTH_A_PSF)
            model = cleaner.imager.clean(residual, psf, model, self._edges, cleaner.beam,
                                         self._options_at(number)).model
        return LoopState(model, solutions, terms, state.dropped, residual.rms, history), cycle

    def _finish(
        self, state: LoopState, cleaner: Cleaner, dirty: BandImages, outcome: str, reason: str
    ) -> SelfcalResult:
        """Image the data corrected by the accepted gains as deep as continuum imaging would."""
        gains = self.gains(state.solutions, state.terms)
        psf = self._psf(cleaner.psf, state.solutions, state.terms, 0.0)
        last = replace(cleaner, psf=psf, gains=gains)
        deep = sum(c.number >= self._first_deep for c in state.history)
        count = max(1, self._parameters.imaging.clean.major_cycles - deep)
        model, residual, _ = last.major_cycles(
            state.model, self._imager.residual(state.model, gains),
            count, lambda number: None)
        return SelfcalResult(dirty, psf, model, residual, state.solutions, state.terms, outcome,
                             reason, state.history)

    def _psf(
        self, psf: BandImages, solutions: Solutions, terms: str, tolerated: float
    ) -> BandImages:
        """The PSF of the corrected data.

        Phases without flags leave the weights as they were. Within the loop a share of flags is
        `tolerated`: the next residual image mends what a minor loop with the old PSF got wrong.
        """
        gains = self.gains(solutions, terms)
        flags = max(float(np.mean(~np.isfinite(g))) for own in gains.values() for g in own)
        amplitudes = any(MODES[t] != "phase" for t in terms)
        same = flags <= tolerated and (tolerated > 0 or not amplitudes)
        return psf if same else self._imager.corrected_psf(gains)

    @property
    def _first_deep(self) -> int:
        """The cycle from which the minor loop is as deep as asked: when all terms are tried."""
        start = self._parameters.selfcal.first_cycle
        return max(getattr(start, t) for t in self._parameters.selfcal.terms)

    def _options_at(self, number: int) -> CleanOptions:
        """Shallow and of points alone until all terms are tried: the gains are still moving."""
        if number >= self._first_deep:
            return self._options
        return replace(self._options, scales=(0,),
                       iterations=min(self._options.iterations, SHALLOW_ITERATIONS))

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
