"""Gains between the centres of their solution intervals.

Along time, then along frequency, a sample lies between the centre of its own interval and that of
the next one on its side. Amplitude and phase run linearly from one to the other, the phase on the
shorter way round; the elements of full Jones matrices, which may vanish, run linearly as complex
numbers. Before the first centre and after the last, and beside a flagged neighbour, gains are those
of the sample's own interval; a flagged interval stays flagged.
"""

from __future__ import annotations

import numpy as np

from arl.calibration.chain import TermBlocks, TermSolution


def interpolate(
    solution: TermSolution, term: TermBlocks, whole: TermBlocks, times: tuple[np.ndarray, ...],
    channels: tuple[np.ndarray, ...],
) -> np.ndarray:
    """The gains of the times and channels of a term, (time, ant, chan), or (..., 2, 2).

    Parameters
    ----------
    solution: on all intervals of the `whole` observation that there are data of.
    term: the part of `whole` that gains are asked for.
    times, channels: those of the part, and those of the whole observation (s; Hz).
    """
    complex_linear = term.jones == "full"
    gain = solution.gain
    for axis, present, block, wanted, all_blocks, all_samples in (
        (0, solution.time_blocks, term.time_block, times[0], whole.time_block, times[1]),
        (1, solution.channel_blocks, term.channel_block, channels[0], whole.channel_block,
         channels[1]),
    ):
        centre = np.array([all_samples[all_blocks == b].mean() for b in present])
        own = np.searchsorted(present, block)
        gain = np.moveaxis(_along(np.moveaxis(gain, axis, 0), centre, own, wanted,
                                  complex_linear), 0, axis)
    return np.swapaxes(gain, 1, 2)


def _along(
    gain: np.ndarray, centre: np.ndarray, own: np.ndarray, wanted: np.ndarray,
    complex_linear: bool,
) -> np.ndarray:
    """Gains (interval, ...) at samples that lie in the intervals `own`: (sample, ...)."""
    side = np.where(wanted < centre[own], -1, 1)
    other = np.clip(own + side, 0, centre.size - 1)
    distance = np.where(other == own, 1.0, centre[other] - centre[own])
    share = np.where(other == own, 0.0, (wanted - centre[own]) / distance)
    share = share.reshape(-1, *[1] * (gain.ndim - 1))
    here, there = gain[own], gain[other]
    if complex_linear:
        mixed = here + share * (there - here)
    else:
        size = np.abs(here) + share * (np.abs(there) - np.abs(here))
        mixed = size * np.exp(1j * (np.angle(here) + share * np.angle(there * np.conj(here))))
    return np.where(np.isfinite(there), mixed, here)
