"""Solution intervals: which times and channels share one gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

#: Signal-to-noise that a solution of an automatic interval has at least, on average.
TARGET_SNR = {"T": 5.0, "G": 30.0}
#: G lasts at least this many times as long as T.
SLOW = 10
MOST_SAMPLES = 10**9
#: A step in time more than this many times the usual one is a gap between two scans: no whole
#: number, so that jitter of the times decides nothing.
GAP = 3.5
#: Intervals begin this part of a step before the first sample. Where they are whole or half steps
#: long, no sample is nearer to an edge than that; at 0 whole steps have samples on edges, at a half
#: (the first sample's start) half steps do, and jitter would move these to the interval before.
EARLY = 0.25


def time_blocks(time: np.ndarray, interval: float | None) -> np.ndarray:
    """The interval number of each time (s, rising), shape (time,).

    None means one solution per time; otherwise intervals of that many seconds are counted from a
    quarter of the usual step before the first time, and numbered without gaps. Intervals of whole
    and half steps are the same if times jitter by a tenth of a step; others hold a sample more or
    less where one lies on an edge.
    """
    if interval is None:
        return np.arange(time.size)
    since = time - time[0] + EARLY * _usual_step(time)
    return np.unique(np.floor(since / interval), return_inverse=True)[1]


def _usual_step(axis: np.ndarray) -> float:
    """The median step, 0 of a single sample; of two in the middle the smaller: gaps are larger."""
    step = np.diff(axis)
    return float(np.quantile(step, 0.5, method="lower")) if step.size else 0.0


def channel_blocks(frequency: np.ndarray, width: float | None) -> np.ndarray:
    """The interval number of each channel (centres, Hz, rising), shape (chan,).

    None means one solution per channel; otherwise intervals of that many Hz are counted from a
    quarter of a channel before the first one's centre, and numbered without gaps; an infinite width
    is one solution for all.
    """
    return time_blocks(frequency, width)


def is_inside(block: np.ndarray, pieces: list[tuple[int, int]]) -> bool:
    """Whether every interval lies inside one of the (start, stop) pieces of its axis."""
    return all(np.unique(block[stop:]).size == 0 or block[stop - 1] != block[stop]
               for _, stop in pieces if stop < block.size)


def automatic_channels(n_channel: int, n_time: int, length: int) -> int:
    """How many channels share a solution that needs `length` samples: one, if the times suffice."""
    return min(n_channel, max(1, math.ceil(length / n_time)))


def equal_blocks(n_time: int, length: int) -> np.ndarray:
    """Intervals of equally many times, at least `length` each (all where there are fewer)."""
    count = max(1, n_time // length)
    return np.arange(n_time) * count // n_time


def scans(time: np.ndarray) -> list[tuple[int, int]]:
    """The (start, stop) of each run of times (s), shape (time,), without a gap between them.

    Equal steps, however long, have none: snapshots are one scan.
    """
    step = np.diff(time)
    if step.size == 0:
        return [(0, time.size)]
    ends = np.flatnonzero(step > GAP * _usual_step(time)) + 1
    return list(pairwise([0, *ends.tolist(), time.size]))


def scan_blocks(
    found: Sequence[tuple[int, int]], pieces: Sequence[tuple[int, int]], length: int
) -> np.ndarray:
    """`aligned_blocks` within each (start, stop) of the `scans` found: none spans a gap.

    Gains are not known to last over a gap. But a scan of fewer than `length` samples shares its
    interval with the one after it, the last with the one before.
    """
    ends = [0]
    for _, stop in found:
        if stop - ends[-1] >= length:
            ends.append(stop)
    ends[max(1, len(ends) - 1):] = [found[-1][1]]
    blocks = [aligned_blocks([(max(start, a) - start, min(stop, b) - start)
                              for a, b in pieces if a < stop and b > start], length)
              for start, stop in pairwise(ends)]
    return _numbered(blocks)


def aligned_blocks(pieces: Sequence[tuple[int, int]], length: int) -> np.ndarray:
    """`equal_blocks` within each (start, stop) piece of an axis, that none spans two pieces.

    Across them where a piece has fewer than `length` samples.
    """
    if min(stop - start for start, stop in pieces) < length:
        return equal_blocks(pieces[-1][1], length)
    blocks = [equal_blocks(stop - start, length) for start, stop in pieces]
    return _numbered(blocks)


def _numbered(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """The blocks of consecutive pieces as those of one axis."""
    first = np.cumsum([0, *(own[-1] + 1 for own in blocks[:-1])])
    return np.concatenate([own + n for own, n in zip(blocks, first, strict=True)])


def automatic_length(term: str, sample_snr: float) -> int:
    """How many samples one solution of a term needs, given the signal-to-noise of one sample.

    T is as fast as its signal-to-noise allows. G is slow: it would else take part in what T
    solves, and amplitudes need more signal than phases before they do less harm than good.
    """
    fast = _needed(TARGET_SNR["T"], sample_snr)
    return fast if term == "T" else max(SLOW * fast, _needed(TARGET_SNR["G"], sample_snr))


def _needed(target: float, sample_snr: float) -> int:
    if sample_snr <= 0:
        return MOST_SAMPLES
    return min(MOST_SAMPLES, max(1, math.ceil((target / sample_snr) ** 2)))


def station_information(
    vis: np.ndarray, weight: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray,
    n_antenna: int, unit_noise: float,
) -> np.ndarray:
    """The squared signal-to-noise of each station's gain from one time and channel, (ant,).

    sum_q (w |V|^2 - 2 s^2) / (2 s^2), the mean over the samples: the error of g_p is
    s sqrt(2 / sum_q w |M|^2) (see `arl.calibration.solver`), and the power of the visibilities
    less that of their noise stands for |M|^2, for it does not depend on phase errors.

    Parameters
    ----------
    vis, weight: (time, baseline, chan). unit_noise: s, the noise of the real and of the imaginary
    part of a sample of weight 1.
    """
    used = (weight > 0) & (antenna1 != antenna2)[:, None]
    count = used.sum(axis=(0, 2))
    power = np.where(used, weight * np.abs(vis) ** 2, 0.0).sum(axis=(0, 2), dtype=np.float64)
    variance = 2 * unit_noise**2
    excess = np.where(count > 0, power / np.maximum(count, 1) - variance, 0.0)
    total = np.bincount(antenna1, excess, n_antenna) + np.bincount(antenna2, excess, n_antenna)
    return np.maximum(total, 0.0) / variance


def unit_noise(vis: np.ndarray, weight: np.ndarray) -> float | None:
    """The noise of the real part of a sample of weight 1, from differences of neighbours.

    The difference of two samples of variance s^2 / w in each component has a median squared
    modulus of 2 ln 2 (1 / w1 + 1 / w2) s^2. What the sky changes between neighbours adds to it, so
    the smaller of the figures along time and along frequency is taken; None: no neighbours.
    """
    found = [_difference_noise(vis, weight, axis) for axis in (0, 2) if vis.shape[axis] > 1]
    known = [x for x in found if x is not None]
    return min(known) if known else None


def _difference_noise(vis: np.ndarray, weight: np.ndarray, axis: int) -> float | None:
    one, other = (np.take(weight, range(k, weight.shape[axis] - 1 + k), axis) for k in (0, 1))
    used = (one > 0) & (other > 0)
    if not used.any():
        return None
    square = np.abs(np.diff(vis, axis=axis))[used] ** 2 / (1 / one[used] + 1 / other[used])
    return float(np.sqrt(np.median(square) / (2 * np.log(2))))
