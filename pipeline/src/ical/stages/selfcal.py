"""ICAL: predict the model, solve the gains, image the corrected data, accept or revert, clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from arl.calibration import chain
from arl.calibration.conditioning import Conditioning, Smoothing, mean_amplitude
from arl.calibration.intervals import (
    automatic_channels,
    automatic_length,
    channel_blocks,
    equal_blocks,
    is_inside,
    time_blocks,
)
from arl.deconvolution import CleanOptions
from arl.errors import InputError
from arl.restoration import restore
from arl.sky import Components
from ical import convergence, tasks
from ical.convergence import Measures, Verdict
from ical.imager import BandImages, Imager, combine, fit_beams
from ical.parameters import Parameters
from ical.partitions import Partition
from ical.stages.image import Cleaner, clean_options
from ical.stages.loopstate import Cycle, LoopState, Solutions, Watcher
from ical.stages.observed import Observed
from ical.stages.start import start_image, start_sky

MODES = {"T": "phase", "G": "amplitude_phase", "B": "amplitude_phase"}
FIRST_MIN_SNR = 1.0
SHALLOW_ITERATIONS = 1000
FLAGS_WORTH_A_PSF = 0.01
ENDS = {"revert": "REVERTED", "converged": "CONVERGED"}


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


@dataclass(frozen=True)
class Trial:
    """A model's residual with the gains that some terms found on it, and what it is judged by.

    `psf` is that of the data as these gains flag them.
    """

    terms: str
    solutions: Solutions
    residual: BandImages
    psf: BandImages
    measures: Measures


class SelfCalibration:
    """The loop over one run's partitions.

    Parameters
    ----------
    setup: the observation.
    edges: of the bands, Hz (band, 2).
    unit_noise: of the real and of the imaginary part of a visibility of weight 1, Jy; 0: there is
        none; None: not known, to be found from the data where it is needed.
    """

    def __init__(
        self, imager: Imager, parameters: Parameters, setup: Observed,
        edges: np.ndarray, unit_noise: float | None,
    ) -> None:
        self._imager, self._parameters, self._edges = imager, parameters, edges
        self._unit_noise, self._setup = unit_noise, setup
        self._reference = _antenna_number(parameters.selfcal.reference_antenna,
                                          setup.antenna_names)
        self._start = start_sky(parameters.selfcal.start_model, setup, edges)
        self._start_image = start_image(parameters.imaging.start_model, setup, edges)
        snr = self._sample_snr()
        self._blocks = {name: self._term(name, snr)
                        for name in parameters.selfcal.terms}
        self._options: CleanOptions = clean_options(parameters.selfcal_clean)

    def _sample_snr(self) -> float:
        """The signal-to-noise of a station's gain from one time and channel, by prediction."""
        asked = self._parameters.selfcal.solution_interval
        automatic = [t for t in self._parameters.selfcal.terms if getattr(asked, t) is None]
        if self._unit_noise == 0 or not set(automatic) & {"T", "G"}:
            return np.inf
        uv_range = self._parameters.selfcal.uv_range
        return self._imager.sample_snr(self._unit_noise, uv_range.min_m, uv_range.max_m)

    def _term(self, name: str, snr: float) -> chain.TermBlocks:
        """A term's solution intervals: as asked, or else by signal-to-noise; B has just one."""
        selfcal, time = self._parameters.selfcal, self._setup.time
        frequency, n_channel = self._setup.frequency, self._setup.frequency.size
        joint = selfcal.global_solution and name != "B"
        asked = getattr(selfcal.solution_interval, name)
        width = np.inf if joint else getattr(selfcal.solution_bandwidth, name)
        channels = channel_blocks(frequency, width)
        if asked:
            times = time_blocks(time, asked)
        elif name == "B":
            times = np.zeros(time.size, int)
        else:
            sample = snr * np.sqrt(n_channel / (channels.max() + 1))
            length = automatic_length(name, sample)
            times = equal_blocks(time.size, length)
            if width is None:
                share = automatic_channels(n_channel, time.size, length)
                channels = equal_blocks(n_channel, share)
        return chain.TermBlocks(name, MODES[name], times, channels, getattr(selfcal.jones, name))

    def _is_local(self, term: chain.TermBlocks) -> bool:
        """Whether every interval of a term lies inside one partition, and takes no neighbours."""
        if any(self._smoothing_widths(term.name)):
            return False
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
            self._conditioning(before), None if before else self._start_in(partition.band),
            self._scale(terms, known),
            uv_range.min_m, uv_range.max_m)

    def _start_in(self, band: int) -> Components | np.ndarray | None:
        """The components or the band's model image to calibrate on first."""
        start = self._start
        return start[band] if isinstance(start, np.ndarray) else start

    def _conditioning(self, before: Solutions) -> Conditioning:
        """What is flagged: by a lower signal-to-noise while there is only a first model.

        What that model lacks counts as noise, and a phase known to 1 rad still improves it.
        """
        asked = self._parameters.selfcal
        least = asked.min_snr if before else min(asked.min_snr, FIRST_MIN_SNR)
        return Conditioning(least, asked.outlier_mad, self._reference)

    def _smoothing_widths(self, name: str) -> tuple[float, float]:
        """Standard deviations in time (s) and frequency (Hz), 0 where there is no smoothing."""
        selfcal = self._parameters.selfcal
        return (getattr(selfcal.smoothing_time, name) or 0.0,
                getattr(selfcal.smoothing_frequency, name) or 0.0)

    def _smoothing(self, matrices: chain.CellMatrices, terms: str) -> dict[str, Smoothing]:
        """How the terms that are smoothed are, on the intervals that there are matrices of."""
        found = {}
        for k, name in enumerate(terms):
            widths, blocks = self._smoothing_widths(name), self._blocks[name]
            if any(widths):
                found[name] = Smoothing(
                    _centres(self._setup.time, blocks.time_block, matrices.times.blocks[k]),
                    _centres(self._setup.frequency, blocks.channel_block,
                             matrices.channels.blocks[k]), *widths)
        return found

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
        return replace(whole, time_block=whole.time_block[slice(*partition.times)],
                       channel_block=whole.channel_block[slice(*partition.channels)])

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
            merged, [self._blocks[name] for name in terms], {}, self._conditioning(before),
            self._scale(terms, next(iter(before.values()), {})), self._smoothing(merged, terms))
        return solved

    def gains(self, solutions: Solutions, terms: str) -> dict[str, Sequence[np.ndarray]]:
        """Gains (time, ant, chan), or (..., 2, 2), of every partition, one array a term."""
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
            if not self._active(number, state.dropped):
                outcome, reason = "CONVERGED", "no gain term improves the image"
                break
            state, cycle = self._cycle(number, state, cleaner)
            watcher.told(cycle, cycles)
            if cycle.decision in ENDS:
                outcome, reason = ENDS[cycle.decision], cycle.reason
                break
            watcher.keep(state)
        return self._finish(state, cleaner, dirty, outcome, reason)

    def _begin(self, cleaner: Cleaner, dirty: BandImages) -> LoopState:
        """A first model, from the image of the uncalibrated data; none where one is given."""
        model = np.zeros_like(dirty.image) if self._start_image is None else self._start_image
        if self._start is None and self._start_image is None:
            model = cleaner.imager.clean(dirty, cleaner.psf, model, self._edges, cleaner.beam,
                                         self._options_at(0)).model
        measures = self._measure(np.zeros_like(model), dirty, cleaner.psf, cleaner, 0.0)
        return LoopState(model, {}, "", "", measures, ())

    def _has_model(self, state: LoopState) -> bool:
        return bool(self._start is not None or state.history or state.model.any())

    def _cycle(self, number: int, state: LoopState, cleaner: Cleaner) -> tuple[LoopState, Cycle]:
        """One cycle: calibrate on the model, judge the residual, and clean it when accepted.

        Terms that are not yet in use are measured against the same cycle without them. When they
        do not help they are left out, and dropped for good when the model is as deep as it gets.
        """
        terms, dropped = self._active(number, state.dropped), state.dropped
        trial, idle = self._weigh(terms, state, cleaner)
        if idle and number > self._first_deep:
            dropped += "".join(t for t in terms if t not in state.terms)
        verdict = self._judge(number, trial, state, dropped)
        measures = trial.measures if trial else state.measures
        cycle = _told(number, terms, measures, verdict, idle, dropped != state.dropped)
        history = (*state.history, cycle)
        if trial is None or verdict.decision == "revert":
            return replace(state, dropped=dropped, history=history), cycle
        model = state.model
        if verdict.decision == "accept":
            model = cleaner.imager.clean(trial.residual, trial.psf, model, self._edges,
                                         cleaner.beam, self._options_at(number)).model
        return LoopState(model, trial.solutions, trial.terms, dropped, measures, history), cycle

    def _weigh(
        self, terms: str, state: LoopState, cleaner: Cleaner
    ) -> tuple[Trial | None, str | None]:
        """Try terms; without the new ones, and why, when these do not help."""
        trial = self._try(terms, state, cleaner)
        fresh = "".join(t for t in terms if t not in state.terms)
        if not fresh:
            return trial, None
        kept = "".join(t for t in terms if t in state.terms)
        control = self._try(kept, state, cleaner) if kept else None
        why = _why_not(trial, control, state.measures, fresh)
        if why is None:
            return trial, None
        return control or self._try(kept, state, cleaner), why

    def _judge(
        self, number: int, trial: Trial | None, state: LoopState, dropped: str
    ) -> Verdict:
        """The rules' verdict on a cycle."""
        if trial is None:
            return Verdict("revert", "a band is left without a solution above selfcal.min_snr")
        if not state.terms:
            return Verdict("accept", trial.measures.told)
        tried = set(self._parameters.selfcal.terms) <= {*trial.terms, *dropped}
        return convergence.judge(
            trial.measures, state.measures, noise=self._expected_rms(trial.psf),
            settled=tried and number > self._first_deep)

    def _expected_rms(self, psf: BandImages) -> float | None:
        """The rms of an image of noise alone, Jy, where it is known.

        With weights of 1 / sigma^2 in units of the noise, as natural weights are, it is
        unit_noise / sqrt(sum of weights).
        """
        if not self._unit_noise or not self._imager.grid.natural:
            return None
        return float(self._unit_noise / np.sqrt(psf.weight.sum()))

    def _try(self, terms: str, state: LoopState, cleaner: Cleaner) -> Trial | None:
        """Calibrate by some terms (or none), image and measure; None: a band lost all its data."""
        if terms:
            solutions, residual = self.calibrate(state.model, terms, state.solutions)
        else:
            solutions, residual = {}, self._imager.residual(state.model, {})
        if not residual.weight.all():
            return None
        psf = self._psf(cleaner.psf, solutions, terms, FLAGS_WORTH_A_PSF)
        measures = self._measure(state.model, residual, psf, cleaner, self._flagged(solutions))
        return Trial(terms, solutions, residual, psf, measures)

    def _measure(
        self, model: np.ndarray, residual: BandImages, psf: BandImages, cleaner: Cleaner,
        flagged: float,
    ) -> Measures:
        """What the rules look at, all of the bands' weighted mean."""
        cell, weight = self._imager.grid.cell, residual.weight
        restored = restore(combine(model, weight), combine(residual.image, weight), cleaner.beam,
                           cell)
        area = float(np.mean([beam.area for beam in fit_beams(psf, cell)]))
        return Measures(residual.rms, float(restored.max()), float(restored.min()), area, flagged)

    @staticmethod
    def _flagged(solutions: Solutions) -> float:
        """The share of flagged solutions of the term that has most of them."""
        shares: dict[str, list[float]] = {}
        for own in solutions.values():
            for name, solution in own.items():
                shares.setdefault(name, []).append(float(np.mean(~np.isfinite(solution.gain))))
        return max((float(np.mean(s)) for s in shares.values()), default=0.0)

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
        flags = max((float(np.mean(~np.isfinite(g))) for own in gains.values() for g in own),
                    default=0.0)
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
        """The terms of a cycle, in order, without those that were dropped.

        Where none is left of those whose turn has come, the turn of the next comes early.
        """
        start = self._parameters.selfcal.first_cycle
        left = [t for t in self._parameters.selfcal.terms if t not in dropped]
        turn = max(number, min((getattr(start, t) for t in left), default=number))
        return "".join(t for t in left if getattr(start, t) <= turn)


def _antenna_number(name: str | None, names: tuple[str, ...]) -> int | None:
    if name is None:
        return None
    if name not in names:
        raise InputError(f"selfcal.reference_antenna: there is no {name}; the antennas are "
                         f"{', '.join(names)}.")
    return names.index(name)


def _centres(axis: np.ndarray, block: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The mean time or frequency of every interval that is present, (interval,)."""
    return np.array([axis[block == b].mean() for b in np.unique(present)])


def _why_not(
    trial: Trial | None, control: Trial | None, before: Measures, terms: str
) -> str | None:
    """Why terms are left out of a trial, None when they help; `control` is the trial without."""
    if trial is None:
        return f"{terms} leaves a band without a solution above selfcal.min_snr"
    if control is None:
        return convergence.judge_first_terms(trial.measures, before, terms)
    return convergence.judge_terms(trial.measures, control.measures, terms)


def _told(
    number: int, terms: str, measures: Measures, verdict: Verdict, idle: str | None, dropped: bool
) -> Cycle:
    """A cycle's entry in the history; `idle` says why its new terms are left out."""
    decision = "drop" if dropped and verdict.decision == "accept" else verdict.decision
    reason = f"{idle}; {verdict.reason}" if idle else verdict.reason
    return Cycle(number, terms, measures.rms, measures.peak, measures.minimum, measures.beam_area,
                 measures.flagged, decision, reason)
