"""ICAL: predict the model, solve the gains, image the corrected data, accept or revert, clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from arl.calibration import chain
from arl.calibration.conditioning import Conditioning, Smoothing, mean_amplitude
from arl.calibration.interpolation import interpolate
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
from ical import tasks, transitions
from ical.convergence import Measures
from ical.imager import BandImages, Imager, combine, fit_beams
from ical.parameters import Parameters
from ical.partitions import Partition
from ical.stages.image import Cleaner, clean_options
from ical.stages.loopstate import Cycle, LoopState, Solutions, Watcher
from ical.stages.observed import Observed
from ical.stages.start import known_gains, start_image, start_sky
from ical.transitions import Judged, LoopPoint, Schedule, Tried, advance, sure_to_try

MODES = {"T": "phase", "G": "amplitude_phase", "B": "amplitude_phase"}
FIRST_MIN_SNR = 1.0
SHALLOW_ITERATIONS = 1000
FLAGS_WORTH_A_PSF = 0.01


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
        self._begun = dict(self._read_gains())
        first, terms = parameters.selfcal.first_cycle, parameters.selfcal.terms
        # a term that has gains to start from is there from the beginning
        self._schedule = Schedule(
            terms, {t: 1 if t in self._begun else getattr(first, t) for t in terms},
            parameters.selfcal.fixed_terms, parameters.selfcal.cycles)
        self._options: CleanOptions = clean_options(parameters.selfcal_clean)

    def _sample_snr(self) -> float:
        """The signal-to-noise of a station's gain from one time and channel, by prediction."""
        asked = self._parameters.selfcal.solution_interval
        automatic = [t for t in self._parameters.selfcal.terms
                     if getattr(asked, t) is None and not self._is_fixed(t)]
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
        return chain.TermBlocks(name, MODES[name], times, channels, getattr(selfcal.jones, name),
                                name in selfcal.robust_terms)

    def _is_fixed(self, name: str) -> bool:
        """Whether a term is applied as it was given."""
        return name in self._parameters.selfcal.fixed_terms

    def _read_gains(self) -> Iterator[tuple[str, chain.TermSolution]]:
        """The gains that terms start from; a fixed term's intervals become those of its table."""
        for name, blocks in self._blocks.items():
            path = getattr(self._parameters.selfcal.start_gains, name)
            if path is None:
                continue
            known = known_gains(path, name, self._setup, phase=MODES[name] == "phase")
            if self._is_fixed(name):
                self._blocks[name], solution = known.as_they_are(blocks)
            else:
                solution = known.on_intervals(blocks)
            yield name, solution

    def _begin_with(self) -> Solutions:
        """The gains that terms start from, of every partition."""
        found: Solutions = {}
        for p in self._imager.plan.partitions if self._begun else ():
            found[p.name] = {
                name: (chain.restrict(solution, self._part(name, p))
                       if self._is_local(self._blocks[name]) else solution)
                for name, solution in self._begun.items()}
        return found

    def _is_local(self, term: chain.TermBlocks) -> bool:
        """Whether every interval of a term lies inside one partition, and takes no neighbours.

        A fixed term needs no other partition, wherever its intervals end.
        """
        if term.mode == chain.FIXED:
            return True
        if any(self._smoothing_widths(term.name)) or self._is_interpolated(term.name):
            return False
        partitions = self._imager.plan.partitions
        return (is_inside(term.time_block, [p.times for p in partitions])
                and is_inside(term.channel_block, [p.channels for p in partitions]))

    def _work(
        self, partition: Partition, terms: str, before: Solutions, first: bool
    ) -> tasks.Calibration:
        local = [self._is_local(self._blocks[name]) for name in terms]
        leading = local.index(False) if False in local else len(local)
        known, uv_range = before.get(partition.name, {}), self._parameters.selfcal.uv_range
        return tasks.Calibration(
            tuple(self._part(name, partition) for name in terms), leading,
            {name: chain.restrict(known[name], self._part(name, partition)).gain
             for name in terms if name in known},
            self._conditioning(before), self._start_in(partition.band) if first else None,
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
        solved = self._schedule.solved("".join(next(iter(before.values()), {})))
        least = asked.min_snr if solved else min(asked.min_snr, FIRST_MIN_SNR)
        return Conditioning(least, asked.outlier_mad, self._reference)

    def _is_interpolated(self, name: str) -> bool:
        return getattr(self._parameters.selfcal.interpolation, name) == "linear"

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

        The first of them may take the scale of the start model, and then keeps it; a term that
        starts from given gains keeps theirs.
        """
        amplitudes = [t for t in terms if MODES[t] != "phase" and not self._is_fixed(t)]
        scale: dict[str, np.ndarray | float] = {
            t: mean_amplitude(known[t].gain) if t in self._begun and t in known else 1.0
            for t in amplitudes}
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
        self, model: np.ndarray, ways: Sequence[str], before: Solutions, first: bool = False
    ) -> list[tuple[Solutions, BandImages]]:
        """For some ways to calibrate, each by some terms: their solutions, and the residual.

        Terms are solved against the model, which is predicted once for all ways; the `first` time
        against the start model, where there is one.
        """
        imager = self._imager
        bands = imager.embed(model)
        work = {p.name: [self._work(p, terms, before, first) for terms in ways]
                for p in imager.plan.partitions}
        passes = {p.name: imager.submit_pass(p, tasks.calibrate, bands[p.band], work[p.name])
                  for p in imager.plan.partitions}
        local = [w.local for w in next(iter(work.values()))]
        light = all(n == len(terms) for n, terms in zip(local, ways, strict=True))
        found: list[tuple[Solutions, BandImages]] = []
        for way, (solved, residual) in enumerate(imager.collect_passes(passes, light)):
            if residual is None:
                left = ways[way][local[way]:]
                joint = self._solve_joint(imager.merged_matrices(passes, way), left, before)
                solved = {name: own | joint for name, own in solved.items()}
                residual = imager.residual(model, self.gains(solved, ways[way]))
            found.append((solved, residual))
        return found

    def _solve_joint(
        self, merged: chain.CellMatrices, terms: str, before: Solutions
    ) -> dict[str, chain.TermSolution]:
        """Solve the terms whose intervals span partitions from the sum of their matrices."""
        known = next(iter(before.values()), {})
        begin = {}
        for k, name in enumerate(terms):
            if name in known:
                here = replace(self._blocks[name], time_block=merged.times.blocks[k],
                               channel_block=merged.channels.blocks[k])
                whole = self._begun[name] if self._is_fixed(name) else known[name]
                begin[name] = chain.restrict(whole, here).gain
        solved, _ = tasks.solve_terms(
            merged, [self._blocks[name] for name in terms], begin, self._conditioning(before),
            self._scale(terms, known), self._smoothing(merged, terms))
        return solved

    def gains(self, solutions: Solutions, terms: str) -> dict[str, Sequence[np.ndarray]]:
        """Gains (time, ant, chan), or (..., 2, 2), of every partition, one array a term."""
        return {p.name: [self._expand(solutions[p.name][t], p) for t in terms]
                for p in self._imager.plan.partitions}

    def _expand(self, solution: chain.TermSolution, partition: Partition) -> np.ndarray:
        """A term's gains at a partition's times and channels, constant within their intervals or
        interpolated between the centres of them."""
        part = self._part(solution.name, partition)
        if not self._is_interpolated(solution.name):
            return chain.expand(solution, part)
        time, frequency = self._setup.time, self._setup.frequency
        return interpolate(solution, part, self._blocks[solution.name],
                           (time[slice(*partition.times)], time),
                           (frequency[slice(*partition.channels)], frequency))

    def run(self, watcher: Watcher, kept: LoopState | None = None) -> SelfcalResult:
        """Go round until it no longer helps, it gets worse, or the cycles are used up.

        `kept` is the state of an earlier process to go on from.
        """
        imager, cycles = self._imager, self._parameters.selfcal.cycles
        dirty, psf = imager.dirty_and_psf()
        cleaner = Cleaner(imager, psf, fit_beams(psf, imager.grid.cell)[0], self._edges,
                          self._options, {})
        state = kept or self._begin(cleaner, dirty)
        point = transitions.begin(
            self._schedule, has_model=self._has_model(state), number=len(state.history) + 1,
            using=state.terms, dropped=state.dropped, measures=state.measures)
        while point.phase != "END":
            state, point = self._cycle(state, point, cleaner)
            watcher.told(state.history[-1], cycles)
            if state.history[-1].decision not in ("revert", "converged"):
                watcher.keep(state)
        if point.outcome == "FAILED":
            return SelfcalResult(dirty, psf, state.model, dirty, {}, "", point.outcome,
                                 point.reason, ())
        return self._finish(state, cleaner, dirty, str(point.outcome), point.reason)

    def _begin(self, cleaner: Cleaner, dirty: BandImages) -> LoopState:
        """A first model, from the image of the data as they are, or with the gains given for them.

        None is made where one is given.
        """
        solutions, terms = self._begin_with(), "".join(self._begun)
        blank, psf = np.zeros_like(dirty.image), cleaner.psf
        if terms:
            dirty = self._imager.residual(blank, self.gains(solutions, terms))
            psf = self._psf(psf, solutions, terms, FLAGS_WORTH_A_PSF)
        model = blank if self._start_image is None else self._start_image
        if self._start is None and self._start_image is None:
            model = cleaner.imager.clean(dirty, psf, model, self._edges, cleaner.beam,
                                         self._options_at(0)).model
        measures = self._measure(blank, dirty, psf, cleaner, self._flagged(solutions))
        return LoopState(model, solutions, terms, "", measures, ())

    def _has_model(self, state: LoopState) -> bool:
        return bool(self._start is not None or state.history or state.model.any())

    def _cycle(
        self, state: LoopState, point: LoopPoint, cleaner: Cleaner
    ) -> tuple[LoopState, LoopPoint]:
        """One cycle: do what the machine asks for until it has judged, and take the outcome on."""
        trials: dict[str, Trial | None] = {}
        number = point.number
        while not trials or point.judged is None:
            if point.terms not in trials:
                trials |= self._try(sure_to_try(self._schedule, point), state, cleaner)
            point = advance(self._schedule, point, self._event(trials[point.terms]))
        judged = point.judged
        cycle, kept = _told(judged), trials[judged.kept]
        history = (*state.history, cycle)
        if kept is None or judged.decision == "revert":
            return replace(state, dropped=point.dropped, history=history), point
        model = state.model
        if judged.decision != "converged":
            model = cleaner.imager.clean(kept.residual, kept.psf, model, self._edges,
                                         cleaner.beam, self._options_at(number)).model
        residual = kept.residual if judged.decision == "converged" else None
        return LoopState(model, kept.solutions, kept.terms, point.dropped, kept.measures,
                         history, residual), point

    def _event(self, trial: Trial | None) -> Tried:
        """What the machine is told of a trial."""
        return Tried(trial.measures, self._expected_rms(trial.psf)) if trial else Tried(None)

    def _expected_rms(self, psf: BandImages) -> float | None:
        """The rms of an image of noise alone, Jy, where it is known.

        With weights of 1 / sigma^2 in units of the noise, as natural weights are, it is
        unit_noise / sqrt(sum of weights).
        """
        if not self._unit_noise or not self._imager.grid.natural:
            return None
        return float(self._unit_noise / np.sqrt(psf.weight.sum()))

    def _try(
        self, ways: Sequence[str], state: LoopState, cleaner: Cleaner
    ) -> dict[str, Trial | None]:
        """Calibrate by each of some sets of terms (or none), image and measure.

        None for one with which a band lost all its data.
        """
        solving = [terms for terms in ways if terms]
        found = dict(zip(solving, self.calibrate(
            state.model, solving, state.solutions, first=not state.history),
            strict=True)) if solving else {}
        if "" in ways:
            found[""] = ({}, self._imager.residual(state.model, {}))
        return {terms: self._trial(terms, *result, state, cleaner)
                for terms, result in found.items()}

    def _trial(
        self, terms: str, solutions: Solutions, residual: BandImages, state: LoopState,
        cleaner: Cleaner,
    ) -> Trial | None:
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
        deep = sum(c.number >= self._schedule.first_deep for c in state.history)
        count = max(1, self._parameters.imaging.clean.major_cycles - deep)
        residual = state.residual or self._imager.residual(state.model, gains)
        model, residual, _ = last.major_cycles(state.model, residual, count, lambda number: None)
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

    def _options_at(self, number: int) -> CleanOptions:
        """Shallow and of points alone until all terms are tried: the gains are still moving."""
        if number >= self._schedule.first_deep:
            return self._options
        return replace(self._options, scales=(0,),
                       iterations=min(self._options.iterations, SHALLOW_ITERATIONS))


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


def _told(judged: Judged) -> Cycle:
    """A cycle's entry in the history."""
    m = judged.measures
    return Cycle(judged.number, judged.terms, m.rms, m.peak, m.minimum, m.beam_area, m.flagged,
                 judged.decision, judged.reason)
