"""The gain terms of a run: on which intervals each is solved, what it begins with, and what is done
to its solutions before they are applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from arl.calibration import chain
from arl.calibration.conditioning import Conditioning, Smoothing, flag_faint, mean_amplitude
from arl.calibration.interpolation import interpolate
from arl.calibration.intervals import (
    aligned_blocks,
    automatic_channels,
    automatic_length,
    channel_blocks,
    is_inside,
    scan_blocks,
    scans,
    time_blocks,
)
from arl.sky import Components
from ical import tasks
from ical.imager import Imager
from ical.parameters import Parameters
from ical.partitions import Partition, cut
from ical.stages.loopstate import Solutions
from ical.stages.observed import Observed
from ical.stages.start import known_gains, reference_antenna
from ical.transitions import Schedule

MODES = {"T": "phase", "G": "amplitude_phase", "B": "amplitude_phase"}
FIRST_MIN_SNR = 1.0


class GainTerms:
    """All terms of one run.

    Attributes
    ----------
    blocks: by name, the solution intervals over the whole observation.
    begun: the gains that some of them start from, on these intervals.
    doubts: what a user should know of intervals that were chosen for him, a sentence each.
    schedule: when each one's turn comes.

    Parameters
    ----------
    unit_noise: as in `ical.stages.selfcal.SelfCalibration`.
    """

    def __init__(
        self, imager: Imager, parameters: Parameters, setup: Observed, unit_noise: float | None
    ) -> None:
        self._parameters, self._setup, self._plan = parameters, setup, imager.plan
        self._reference = reference_antenna(parameters.selfcal.reference_antenna,
                                            setup.antenna_names)
        snr = self._sample_snr(imager, unit_noise)
        self._noise_is_known = unit_noise is not None
        self.doubts: list[str] = []
        self.blocks = {name: self._term(name, snr) for name in parameters.selfcal.in_order}
        self.begun = dict(self._read_gains())
        first, terms = parameters.selfcal.first_cycle, parameters.selfcal.in_order
        # a term that has gains to start from is there from the beginning
        self.schedule = Schedule(
            terms, {t: 1 if t in self.begun else getattr(first, t) for t in terms},
            parameters.selfcal.fixed_terms, parameters.selfcal.cycles, self._rescaling())

    def _sample_snr(self, imager: Imager, unit_noise: float | None) -> float:
        """The signal-to-noise of a station's gain from one time and channel, by prediction."""
        asked = self._parameters.selfcal.solution_interval
        automatic = [t for t in self._parameters.selfcal.terms
                     if getattr(asked, t) is None and not self._is_fixed(t)]
        if unit_noise == 0 or not set(automatic) & {"T", "G"}:
            return np.inf
        uv_range = self._parameters.selfcal.uv_range
        return imager.sample_snr(unit_noise, uv_range.min_m, uv_range.max_m)

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
            pieces = cut([p.times for p in self._plan.partitions], time.size)
            times = scan_blocks(scans(time), pieces, length)
            if width is None:
                share = automatic_channels(n_channel, time.size, length)
                channels = aligned_blocks(
                    cut([p.channels for p in self._plan.partitions], n_channel), share)
            alone = name == "T" and times.max() == 0 < time.size - 1
            if not self._noise_is_known and (
                    alone or (width is None and channels.max() < n_channel - 1)):
                self._doubt(name, sample, times, channels)
        return chain.TermBlocks(
            name, MODES[name], times, channels, getattr(selfcal.jones, name),
            name in selfcal.robust_terms,
            free_amplitude=self._parameters.starts_from_model or self._amplitudes_follow(name))

    def _amplitudes_follow(self, name: str) -> bool:
        """Whether a later term begins with amplitudes: data have them when this one is solved, and
        the model, which is one of data that were corrected by them, does not."""
        selfcal = self._parameters.selfcal
        later = selfcal.in_order[selfcal.in_order.index(name) + 1:]
        return any(MODES[t] != "phase" and getattr(selfcal.start_gains, t) for t in later)

    def _doubt(
        self, name: str, sample_snr: float, times: np.ndarray, channels: np.ndarray
    ) -> None:
        """Say that one solution has to do for so many times or channels.

        What sky and gains change between neighbouring samples that lie far apart is taken for
        noise: then bright data look faint, and gains that differ are solved as one.
        """
        n_time, n_channel = (axis.size / (axis.max() + 1) for axis in (times, channels))
        self.doubts.append(
            f"{name}: neighbouring samples differ so much that a station's signal-to-noise in "
            f"one is taken to be {sample_snr:.2g}, so one solution holds {n_channel:.3g} channels "
            f"and {n_time:.3g} times; if the data are brighter, give "
            f"selfcal.solution_interval.{name} and selfcal.solution_bandwidth.{name}")

    def intervals(self, name: str, channels: np.ndarray) -> list[int]:
        """How many solution intervals a term has in time, and in frequency in some channels."""
        blocks = self.blocks[name]
        return [np.unique(blocks.time_block).size,
                np.unique(blocks.channel_block[channels]).size]

    def _is_fixed(self, name: str) -> bool:
        """Whether a term is applied as it was given."""
        return name in self._parameters.selfcal.fixed_terms

    def _with_amplitudes(self, terms: str) -> list[str]:
        """Those of some terms that are solved with amplitudes."""
        return [t for t in terms if MODES[t] != "phase" and not self._is_fixed(t)]

    def _rescaling(self) -> str:
        """The term that brings the data to the flux scale of the start model; '': none does."""
        selfcal = self._parameters.selfcal
        first = self._with_amplitudes(selfcal.terms)[:1]
        return "".join(first) if selfcal.flux_scale == "model" else ""

    def _read_gains(self) -> Iterator[tuple[str, chain.TermSolution]]:
        """The gains that terms start from; a fixed term's intervals become those of its table."""
        for name, blocks in self.blocks.items():
            path = getattr(self._parameters.selfcal.start_gains, name)
            if path is None:
                continue
            known = known_gains(path, name, self._setup, phase=MODES[name] == "phase")
            if self._is_fixed(name):
                self.blocks[name], solution = known.as_they_are(blocks)
            else:
                solution = known.on_intervals(blocks)
            yield name, solution

    def begin_with(self) -> Solutions:
        """The gains that terms start from, of every partition."""
        found: Solutions = {}
        for p in self._plan.partitions if self.begun else ():
            found[p.name] = {
                name: (chain.restrict(solution, self._part(name, p))
                       if self._is_local(self.blocks[name]) else solution)
                for name, solution in self.begun.items()}
        return found

    def _is_local(self, term: chain.TermBlocks) -> bool:
        """Whether every interval of a term lies inside one partition, and takes no neighbours.

        A fixed term needs no other partition, wherever its intervals end.
        """
        if term.mode == chain.FIXED:
            return True
        if any(self._smoothing_widths(term.name)) or self._is_interpolated(term.name):
            return False
        partitions = self._plan.partitions
        return (is_inside(term.time_block, [p.times for p in partitions])
                and is_inside(term.channel_block, [p.channels for p in partitions]))

    def _is_interpolated(self, name: str) -> bool:
        return getattr(self._parameters.selfcal.interpolation, name) == "linear"

    def _part(self, name: str, partition: Partition) -> chain.TermBlocks:
        """A term restricted to a partition's times and channels."""
        whole = self.blocks[name]
        return replace(whole, time_block=whole.time_block[slice(*partition.times)],
                       channel_block=whole.channel_block[slice(*partition.channels)])

    def work(
        self, partition: Partition, terms: str, before: Solutions, levels: dict[str, float],
        start: Components | np.ndarray | None,
    ) -> tasks.Calibration:
        """What a partition is calibrated by: `start` is the model to solve against instead of the
        image's, where there is one, and `levels` are those of the solutions before."""
        local = [self._is_local(self.blocks[name]) for name in terms]
        leading = local.index(False) if False in local else len(local)
        uv_range = self._parameters.selfcal.uv_range
        # what was solved jointly has the intervals of all partitions
        known = {name: chain.restrict(solution, self._part(name, partition))
                 for name, solution in before.get(partition.name, {}).items() if name in terms}
        return tasks.Calibration(
            tuple(self._part(name, partition) for name in terms), leading,
            {name: solution.gain for name, solution in known.items()},
            self._conditioning(before), start,
            self._scale(terms, known, levels),
            uv_range.min_m, uv_range.max_m)

    def is_provisional(self, before: Solutions) -> bool:
        """Whether what is solved after these gains is solved on a model of uncorrected data.

        What that model lacks counts as noise, and a phase known to 1 rad still improves it: so
        less is flagged. Where those after them are reverted, `flag_provisional` is due.
        """
        solved = self.schedule.solved("".join(next(iter(before.values()), {})))
        return not solved and not self._parameters.starts_from_model

    def flag_provisional(self, solutions: Solutions) -> Solutions:
        """Provisional gains that nothing better followed: flagged at the limit that was asked for.

        Smoothed ones, too: what they were smoothed with is no better.
        """
        least = self._parameters.selfcal.min_snr
        return {partition: {name: replace(s, gain=flag_faint(s.gain, s.snr, least))
                            for name, s in own.items()}
                for partition, own in solutions.items()}

    def _conditioning(self, before: Solutions) -> Conditioning:
        """What is flagged, and the reference antenna."""
        asked, least = self._parameters.selfcal, self._parameters.selfcal.min_snr
        if self.is_provisional(before):
            least = min(least, FIRST_MIN_SNR)
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
            widths, blocks = self._smoothing_widths(name), self.blocks[name]
            if any(widths):
                found[name] = Smoothing(
                    _centres(self._setup.time, blocks.time_block, matrices.times.blocks[k]),
                    _centres(self._setup.frequency, blocks.channel_block,
                             matrices.channels.blocks[k]), *widths,
                    complex_mean=blocks.jones == "full")
        return found

    def levels(self, before: Solutions) -> dict[str, float]:
        """The flux scale, of terms that keep the one they have, for intervals that have none
        because all their antennas were flagged: the median of all others; 1 where there are none.

        A term keeps that of gains that it began with, and the first may keep that of the start
        model.
        """
        found = {}
        for name in [*self._with_amplitudes("".join(self.begun)), *self._rescaling()]:
            scale = np.concatenate([mean_amplitude(s.gain, np.nan).ravel()
                                    for s in _parts(name, before)] or [np.empty(0)])
            known = scale[np.isfinite(scale)]
            found[name] = float(np.median(known)) if known.size else 1.0
        return found

    def _scale(
        self, terms: str, known: dict[str, chain.TermSolution], levels: dict[str, float]
    ) -> dict[str, np.ndarray | float]:
        """The mean amplitude of the terms that have amplitudes: the one that they keep, or 1, which
        keeps the flux scale of the data; none where a term is to take that of the start model."""
        scale: dict[str, np.ndarray | float] = {}
        for name in self._with_amplitudes(terms):
            if name in known and name in levels:
                scale[name] = mean_amplitude(known[name].gain, levels[name])
            elif name != self._rescaling():
                scale[name] = 1.0
        return scale

    def solve_joint(
        self, merged: chain.CellMatrices, terms: str, before: Solutions, levels: dict[str, float]
    ) -> dict[str, chain.TermSolution]:
        """Solve the terms whose intervals span partitions from the sum of their matrices; `levels`
        are those of the solutions before."""
        known = self._known_jointly(merged, terms, before)
        solved, _ = tasks.solve_terms(
            merged, [self.blocks[name] for name in terms],
            {name: solution.gain for name, solution in known.items()},
            self._conditioning(before), self._scale(terms, known, levels),
            self._smoothing(merged, terms))
        return solved

    def _known_jointly(
        self, merged: chain.CellMatrices, terms: str, before: Solutions
    ) -> dict[str, chain.TermSolution]:
        """What is known of terms, from all partitions, on the intervals that there are matrices of.

        A term that comes after one that spans partitions may have been solved, or read, partition
        by partition before that one's turn came.
        """
        found = {}
        for k, name in enumerate(terms):
            parts = _parts(name, before)
            if parts:
                here = replace(self.blocks[name], time_block=merged.times.blocks[k],
                               channel_block=merged.channels.blocks[k])
                found[name] = chain.restrict(chain.assemble(parts), here)
        return found

    def gains(self, solutions: Solutions, terms: str) -> dict[str, Sequence[np.ndarray]]:
        """Gains (time, ant, chan), or (..., 2, 2), of every partition, one array a term."""
        return {p.name: [self._expand(solutions[p.name][t], p) for t in terms]
                for p in self._plan.partitions}

    def without_data(self, solutions: Solutions, name: str) -> dict[str, Sequence[np.ndarray]]:
        """Where a term had nothing to solve a gain from, as `chain.without_data`, in the form of
        `gains`."""
        return {p.name: [chain.without_data(solutions[p.name][name], self._part(name, p))]
                for p in self._plan.partitions}

    def _expand(self, solution: chain.TermSolution, partition: Partition) -> np.ndarray:
        """A term's gains at a partition's times and channels, constant within their intervals or
        interpolated between the centres of them."""
        part = self._part(solution.name, partition)
        if not self._is_interpolated(solution.name):
            return chain.expand(solution, part)
        time, frequency = self._setup.time, self._setup.frequency
        return interpolate(solution, part, self.blocks[solution.name],
                           (time[slice(*partition.times)], time),
                           (frequency[slice(*partition.channels)], frequency))


def _parts(name: str, solutions: Solutions) -> list[chain.TermSolution]:
    """The solutions of a term: where it was solved jointly all partitions have the same object."""
    return list({id(own[name]): own[name] for own in solutions.values() if name in own}.values())


def _centres(axis: np.ndarray, block: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The mean time or frequency of every interval that is present, (interval,)."""
    return np.array([axis[block == b].mean() for b in np.unique(present)])
