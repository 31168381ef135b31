"""ICAL: predict the model, solve the gains, image the corrected data, accept or revert, clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from arl.deconvolution import CleanOptions
from arl.errors import InputError
from arl.restoration import restore
from arl.sky import Components
from ical import tasks, transitions
from ical.convergence import Measures
from ical.imager import BandImages, Imager, combine, fit_beams
from ical.parameters import Parameters
from ical.stages.image import Cleaner, clean_options
from ical.stages.loopstate import Cycle, LoopState, Solutions, Watcher
from ical.stages.observed import Observed
from ical.stages.start import start_image, start_sky
from ical.stages.terms import MODES, GainTerms
from ical.transitions import LOST, Judged, LoopPoint, Tried, advance, sure_to_try

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

    Attributes
    ----------
    terms: what is solved, on which intervals.

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
        self._unit_noise = unit_noise
        self.terms = GainTerms(imager, parameters, setup, unit_noise)
        self._schedule = self.terms.schedule
        self._start = start_sky(parameters.selfcal.start_model, setup, edges)
        self._start_image = start_image(parameters.imaging.start_model, setup, edges)
        self._options: CleanOptions = clean_options(parameters.selfcal_clean)

    def _start_in(self, band: int) -> Components | np.ndarray | None:
        """The components or the band's model image to calibrate on first."""
        start = self._start
        return start[band] if isinstance(start, np.ndarray) else start

    def calibrate(
        self, model: np.ndarray, ways: Sequence[str], before: Solutions, first: bool = False
    ) -> list[tuple[Solutions, BandImages]]:
        """For some ways to calibrate, each by some terms: their solutions, and the residual.

        Terms are solved against the model, which is predicted once for all ways; the `first` time
        against the start model, where there is one.
        """
        imager = self._imager
        bands = imager.embed(model)
        start = {p.name: self._start_in(p.band) if first else None for p in imager.plan.partitions}
        levels = self.terms.levels(before)
        work = {p.name: [self.terms.work(p, terms, before, levels, start[p.name])
                         for terms in ways] for p in imager.plan.partitions}
        passes = imager.submit_passes(
            tasks.calibrate, lambda p: (bands[p.band], work[p.name]))
        local = [w.local for w in next(iter(work.values()))]
        light = all(n == len(terms) for n, terms in zip(local, ways, strict=True))
        found: list[tuple[Solutions, BandImages]] = []
        for way, result in enumerate(imager.collect_passes(passes, light)):
            solved, residual = result.solutions, result.residual
            if result.matrices is not None:
                left = ways[way][local[way]:]
                joint = self.terms.solve_joint(result.matrices, left, before, levels)
                solved = {name: own | joint for name, own in solved.items()}
                residual = imager.residual(model, self.terms.gains(solved, ways[way]))
            assert residual is not None
            found.append((solved, residual))
        return found

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
            self._schedule, has_model=self._has_model(state, dirty), number=len(state.history) + 1,
            using=state.terms, dropped=state.dropped, measures=state.measures,
            solvable=state.solvable)
        while point.phase != "END":
            state, point = self._cycle(state, point, cleaner)
            watcher.told(state.history[-1], cycles)
            if state.history[-1].decision not in ("revert", "converged"):
                watcher.keep(state)
        if point.outcome == "FAILED":
            return _failed(dirty, psf, point.reason, state.history)
        return self._finish(state, cleaner, dirty, str(point.outcome), point.reason)

    def _begin(self, cleaner: Cleaner, dirty: BandImages) -> LoopState:
        """A first model, from the image of the data as they are, or with the gains given for them.

        None is made where one is given.

        Raises
        ------
        InputError: those gains flag all data of a band.
        """
        solutions, terms = self.terms.begin_with(), "".join(self.terms.begun)
        blank, psf = np.zeros_like(dirty.image), cleaner.psf
        if terms:
            uncorrected = dirty.weight
            dirty = self._imager.residual(blank, self.terms.gains(solutions, terms))
            self._refuse_lost(uncorrected, dirty.weight, terms)
            psf = self._psf(psf, solutions, terms, FLAGS_WORTH_A_PSF)
        model = blank if self._start_image is None else self._start_image
        if self._start is None and self._start_image is None:
            model = cleaner.imager.clean(dirty, psf, model, self._edges, cleaner.beam,
                                         self._options_at(0)).model
        measures = self._measure(blank, dirty, psf, cleaner, self._flagged(solutions))
        return LoopState(model, solutions, terms, "", measures, ())

    def _refuse_lost(self, before: np.ndarray, after: np.ndarray, terms: str) -> None:
        """Bands whose sums of weights, (band,), given gains leave nothing of: they have no image,
        and the loop would end as if its own solutions had been too faint."""
        for band in np.flatnonzero((before > 0) & (after == 0)):
            low, high = self._edges[band] / 1e6
            raise InputError(
                f"selfcal.start_gains: the gains of {' and '.join(terms)} flag all data of band "
                f"{band} ({low:.6g} to {high:.6g} MHz); give gains that are not flagged there, or "
                f"leave these frequencies out of the data.")

    def _has_model(self, state: LoopState, dirty: BandImages) -> bool:
        """Whether there is something to calibrate on: a model, and data that are not all zero."""
        known = self._start is not None or state.history or state.model.any()
        return bool(known and dirty.image.any())

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
            return replace(state, dropped=point.dropped, history=history,
                           solvable=point.solvable), point
        model = state.model
        if judged.decision != "converged":
            model = cleaner.imager.clean(kept.residual, kept.psf, model, self._edges,
                                         cleaner.beam, self._options_at(number)).model
        residual = kept.residual if judged.decision == "converged" else None
        return LoopState(model, kept.solutions, kept.terms, point.dropped, kept.measures,
                         history, residual, self.terms.is_provisional(state.solutions),
                         point.solvable), point

    def _event(self, trial: Trial | None) -> Tried:
        """What the machine is told of a trial."""
        return Tried(trial.measures, self._expected_rms(trial.psf)) if trial else Tried(None)

    def _expected_rms(self, psf: BandImages) -> float | None:
        """The rms of an image of noise alone, Jy, where it is given or known.

        s sqrt(sum of W^2 / w) / (sum of W), with s the noise of a visibility of weight 1, and W
        the imaging weights of visibilities of weight w.
        """
        given = self._parameters.selfcal.expected_rms
        if given is not None or not self._unit_noise or psf.variance is None:
            return given
        return float(self._unit_noise * np.sqrt(psf.variance.sum()) / psf.weight.sum())

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
        solutions, note = (self._as_result(state) if outcome == "REVERTED"
                           else (state.solutions, ""))
        gains = self.terms.gains(solutions, state.terms)
        residual = state.residual or self._imager.residual(state.model, gains)
        if not residual.weight.all():
            return _failed(dirty, cleaner.psf, LOST, state.history)
        psf = self._psf(cleaner.psf, solutions, state.terms, 0.0)
        last = replace(cleaner, psf=psf, gains=gains)
        deep = sum(c.number >= self._schedule.first_deep for c in state.history)
        count = max(1, self._parameters.imaging.clean.major_cycles - deep)
        model, residual, _ = last.major_cycles(state.model, residual, count, lambda number: None)
        return SelfcalResult(dirty, psf, model, residual, solutions, state.terms, outcome,
                             reason + note, state.history)

    def _as_result(self, state: LoopState) -> tuple[Solutions, str]:
        """The gains that the loop went back to, and what of them had to be flagged."""
        if not state.provisional:
            return state.solutions, ""
        solutions = self.terms.flag_provisional(state.solutions)
        before, after = (self._flagged(s) for s in (state.solutions, solutions))
        note = (f"; {after - before:.1%} of the first gains are below selfcal.min_snr: flagged"
                if after > before else "")
        return solutions, note

    def _psf(
        self, psf: BandImages, solutions: Solutions, terms: str, tolerated: float
    ) -> BandImages:
        """The PSF of the corrected data.

        Phases without flags leave the weights as they were. Within the loop a share of flags is
        `tolerated`: the next residual image mends what a minor loop with the old PSF got wrong.
        """
        gains = self.terms.gains(solutions, terms)
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


def _failed(
    dirty: BandImages, psf: BandImages, reason: str, history: tuple[Cycle, ...]
) -> SelfcalResult:
    """No gains to be applied: the images are those of the data as they are."""
    return SelfcalResult(dirty, psf, np.zeros_like(dirty.image), dirty, {}, "", "FAILED", reason,
                         history)


def _told(judged: Judged) -> Cycle:
    """A cycle's entry in the history."""
    m = judged.measures
    return Cycle(judged.number, judged.terms, m.rms, m.peak, m.minimum, m.beam_area, m.flagged,
                 judged.decision, judged.reason)
