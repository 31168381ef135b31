"""What is done to solutions before they are applied: flag, smooth, reference, normalise.

Gains are (time block, channel block, ant), or (time block, channel block, ant, 2, 2) where they are
Jones matrices; NaN marks a flagged one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arl.calibration.solver import Solution
from arl.conventions import MAD_TO_SIGMA

#: Neighbours farther than this many standard deviations of the kernel take no part.
REACH = 3.0
#: How well levels of antennas are known, and the most steps to find them.
LEVEL_ACCURACY, LEVEL_STEPS = 1e-6, 200


@dataclass(frozen=True)
class Smoothing:
    """Gaussian kernels along time and frequency, by their standard deviations.

    Attributes
    ----------
    time, frequency: centres of the solution intervals (s; Hz), (time block,), (channel block,).
    time_width, frequency_width: standard deviations, in s and Hz; 0: none.
    complex_mean: as complex numbers, for the elements of full Jones matrices, which may vanish;
        else amplitudes and phases are smoothed apart.
    """

    time: np.ndarray
    frequency: np.ndarray
    time_width: float
    frequency_width: float
    complex_mean: bool = False


@dataclass(frozen=True)
class Conditioning:
    """How solutions are made ready.

    Attributes
    ----------
    min_snr: solutions below it are flagged.
    outlier_mad: amplitudes farther than this many (scaled) median absolute deviations from their
        antenna's median are flagged; None: none are.
    reference: number of the antenna whose phase is zero; None: the first that has at least half as
        many solutions as any other.
    """

    min_snr: float
    outlier_mad: float | None = None
    reference: int | None = None


def condition(
    solution: Solution, how: Conditioning, *, normalise: bool, smoothing: Smoothing | None = None
) -> np.ndarray:
    """Gains ready to be applied: flagged, referenced, smoothed, and normalised when asked to.

    A solution below the least signal-to-noise, or of an antenna without data, is flagged, never
    applied as if it were good.
    """
    good = reliable(solution.snr, how.min_snr)
    if how.outlier_mad is not None:
        good &= ~outliers(amplitude(solution.gain, good), how.outlier_mad)
    gain = _where(good, solution.gain)
    gain = reference_phases(gain, how.reference)
    if smoothing is not None:
        gain = smooth(gain, smoothing)
    return normalise_amplitudes(gain) if normalise else gain


def flag_faint(gain: np.ndarray, snr: np.ndarray, min_snr: float) -> np.ndarray:
    """Gains that are NaN where their signal-to-noise is below a limit."""
    return _where(reliable(snr, min_snr), gain)


def reliable(snr: np.ndarray, min_snr: float) -> np.ndarray:
    """Whether solutions reach a signal-to-noise; one of no data, 0, does not, whatever is asked."""
    return (snr > 0) & (snr >= min_snr)


def _is_jones(gain: np.ndarray) -> bool:
    return gain.ndim == 5


def _where(good: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Gains that are NaN where they are not good (time block, channel block, ant)."""
    return np.where(good[..., None, None] if _is_jones(gain) else good, gain, np.nan)


def amplitude(gain: np.ndarray, good: np.ndarray | None = None) -> np.ndarray:
    """|g|, or the root of half the squares of a Jones matrix (time block, channel block, ant).

    NaN where it is not `good`.
    """
    size = (np.sqrt(np.sum(np.abs(gain) ** 2, axis=(-1, -2)) / 2) if _is_jones(gain)
            else np.abs(gain))
    return size if good is None else np.where(good, size, np.nan)


def outliers(size: np.ndarray, limit: float) -> np.ndarray:
    """Amplitudes far from the median of their antenna's, the same shape (..., ant).

    The deviation is counted in 1.4826 median absolute deviations, the standard deviation of
    Gaussian numbers. Where more than half of an antenna's amplitudes are the same none is one.
    """
    flat = size.reshape(-1, size.shape[-1])
    known = np.isfinite(flat).any(axis=0)
    middle, spread = np.full((2, size.shape[-1]), np.nan)
    middle[known] = np.nanmedian(flat[:, known], axis=0)
    spread[known] = MAD_TO_SIGMA * np.nanmedian(np.abs(flat - middle)[:, known], axis=0)
    # numbers that agree to their last digits have no spread that could tell an outlier
    return (spread > 1e-9 * middle) & (np.abs(size - middle) > limit * spread)


def reference_phases(gain: np.ndarray, reference: int | None = None) -> np.ndarray:
    """Turn every interval so that the reference antenna's phases are zero.

    Where it is flagged the others go on from the intervals beside (see `_carry_on`): phases
    referenced to another antenna would jump there, and neither smoothing nor interpolation could
    cross that. Without a reference, or where it has no solution at all, it is the first antenna
    that has at least half as many as any other: one that misses a few serves all partitions. A
    Jones matrix is multiplied from the right by the unitary matrix that makes the reference's
    Hermitian (its polar decomposition): an unpolarised sky does not see it.
    """
    matrix = gain if _is_jones(gain) else gain[..., None, None]
    good = np.isfinite(gain).all(axis=(-1, -2)) if _is_jones(gain) else np.isfinite(gain)
    number = _reference_of(good, reference)
    known = good[..., number]
    turn = _adjoint(_unitary(np.where(known[..., None, None], matrix[:, :, number], 0.0)))
    for axis in (0, 1):
        if not known.all():
            turn, known = (np.moveaxis(x, 0, axis) for x in _carry_on(
                *(np.moveaxis(x, axis, 0) for x in (turn, known, matrix, good))))
    return gain @ turn[..., None, :, :] if _is_jones(gain) else gain * turn[..., 0]


def _reference_of(good: np.ndarray, asked: int | None) -> int:
    """The reference antenna, by which solutions are good (time block, channel block, ant)."""
    counts = good.sum(axis=(0, 1))
    if asked is not None and counts[asked]:
        return asked
    return int(np.argmax(2 * counts >= counts.max()))


def _carry_on(
    turn: np.ndarray, known: np.ndarray, gain: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turns of intervals where there is no reference, from those before and after along axis 0.

    Turned so that all antennas together move least from interval to interval, gains are continuous
    whichever of them are flagged. What is left of the turns changes as slowly as the reference's
    phase does, and is interpolated; before the first and after the last known one it is held.

    turn: unitary (interval, other, k, k), and whether it is known (interval, other). gain:
    (interval, other, ant, k, k), and where it is not flagged (interval, other, ant).
    """
    steady = _steady_turns(gain, good)
    left = _adjoint(steady) @ turn
    number = np.arange(len(known))[:, None]
    before = np.maximum.accumulate(np.where(known, number, -1))
    after = np.minimum.accumulate(np.where(known, number, len(known))[::-1])[::-1]
    first = np.where(before < 0, after, before) % len(known)  # the modulus: none is known
    last = np.where(after == len(known), before, after)
    share = np.clip((number - first) / np.maximum(last - first, 1), 0.0, 1.0)
    own = np.arange(known.shape[1])
    between = _part_way(left[first, own], left[last, own], share)
    return np.where(known[..., None, None], turn, steady @ between), known | known.any(axis=0)


def _steady_turns(gain: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Unitary (interval, other, k, k) by which all antennas move least from each to the next.

    An antenna that is flagged in either takes no part: one that comes back after long would turn
    all the others by how far it has moved. An interval without any solution is passed over.
    """
    latest, turns = np.zeros_like(gain[0]), np.empty((*gain.shape[:2], *gain.shape[3:]), complex)
    for k, there in enumerate(good):
        here = np.where(there[..., None, None], gain[k], 0.0)
        turns[k] = _unitary(np.sum(_adjoint(here) @ latest, axis=1))
        some = there.any(axis=-1)[:, None, None, None]
        latest = np.where(some, here @ turns[k][:, None], latest)
    return turns


def _unitary(matrix: np.ndarray) -> np.ndarray:
    """The unitary factors of matrices' polar decompositions (..., k, k); of 0 the unit matrix."""
    if matrix.shape[-1] == 1:
        size = np.abs(matrix)
        return np.divide(matrix, size, out=np.ones_like(matrix), where=size > 0)
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _part_way(first: np.ndarray, last: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Unitary matrices (..., k, k) at a share (...) of the shorter way from some to others.

    A phase common to both receptors runs linearly, and so does the angle of the rotation
    cos(angle) + i sin(angle) n.sigma that is left, at most pi/2.
    """
    change, share = _adjoint(first) @ last, share[..., None, None]
    k = change.shape[-1]
    common = np.exp(1j * np.angle(np.linalg.det(change)) / k)[..., None, None]
    cosine = np.trace(change / common, axis1=-2, axis2=-1).real[..., None, None] / k
    common = np.where(cosine < 0, -common, common)
    angle = np.arccos(np.minimum(np.abs(cosine), 1.0))
    rest = change / common - np.cos(angle) * np.eye(k)
    slow = np.divide(np.sin(share * angle), np.sin(angle), out=share.copy(), where=angle > 1e-6)
    turned = np.cos(share * angle) * np.eye(k) + slow * rest
    return first @ turned * np.exp(1j * share * np.angle(common))


def _adjoint(matrix: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(matrix, -1, -2))


def smooth(gain: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    """Means of neighbours in time and frequency, weighted by Gaussians and without flagged ones.

    A mean of complex numbers is shorter than they are where their phases differ, and would move
    the flux scale: the phase is that of the mean of e^(i phase), and the amplitude the mean of
    amplitudes. A flagged solution is interpolated from neighbours within the kernel's reach;
    where there are none it stays flagged.
    """
    if smoothing.complex_mean:
        return _mean_of_neighbours(gain, smoothing)
    size = np.abs(gain)
    turn = np.divide(gain, size, out=np.where(np.isnan(gain), np.nan, 1.0 + 0j), where=size > 0)
    phase = np.angle(_mean_of_neighbours(turn, smoothing))
    return _mean_of_neighbours(size, smoothing) * np.exp(1j * phase)


def _mean_of_neighbours(value: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    good = np.isfinite(value)
    kernels = (_kernel(smoothing.time, smoothing.time_width),
               _kernel(smoothing.frequency, smoothing.frequency_width))
    total, weight = (np.einsum("tT,cC,TC...->tc...", *kernels, x)
                     for x in (np.where(good, value, 0.0), good.astype(float)))
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def _kernel(centre: np.ndarray, width: float) -> np.ndarray:
    if not width:
        return np.eye(centre.size)
    distance = (centre[:, None] - centre[None, :]) / width
    return np.where(np.abs(distance) <= REACH, np.exp(-0.5 * distance**2), 0.0)


def normalise_amplitudes(gain: np.ndarray) -> np.ndarray:
    """Divide every interval by the mean of its amplitudes, so that the flux scale stays.

    The scale of baseline pq is |g_p g_q|, whose mean over baselines is the square of the mean
    amplitude; a geometric mean would move it by the variance of the amplitudes.
    """
    return gain / _spread(mean_amplitude(gain), gain)


def scale_amplitudes(gain: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Gains times a factor for all, or for each interval (time block, channel block, 1)."""
    return gain * _spread(np.asarray(scale), gain)


def _spread(per_antenna: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Numbers (..., ant or 1) in a shape that multiplies gains."""
    return per_antenna[..., None, None] if _is_jones(gain) and per_antenna.ndim else per_antenna


def mean_amplitude(gain: np.ndarray, empty: float = 1.0) -> np.ndarray:
    """The mean amplitude of every interval over its antennas (last axis, kept as 1).

    An antenna that is flagged there, and not everywhere, counts with the level that it has beside
    the others elsewhere: or the mean, and with it the flux scale, would move with the flags. Where
    all are flagged it is `empty`.
    """
    size = amplitude(gain)
    good = np.isfinite(size) & (size != 0)
    known = np.where(good, size, 0.0)
    seen = known.sum(axis=-1, keepdims=True)
    expected = np.where(good, _levels(known, good), 0.0).sum(axis=-1, keepdims=True)
    return np.divide(seen, expected, out=np.full_like(seen, empty), where=expected > 0)


def _levels(size: np.ndarray, good: np.ndarray) -> np.ndarray:
    """The amplitude of every antenna beside the others (ant,), the mean of all that have any 1.

    `size` (..., ant), 0 where not `good`, is in each interval a multiple of them; multiples and
    levels are found in turns. Where no antenna comes and goes there is nothing to find: all 1.
    """
    level, ever = np.ones(size.shape[-1]), good.any(axis=tuple(range(good.ndim - 1)))
    if (good == ever).all():
        return level
    some = good.any(axis=-1)
    value, known = size[some], good[some].astype(float)
    total, count = value.sum(axis=1), known.sum(axis=0)
    for _ in range(LEVEL_STEPS):
        found = np.divide(((known @ level) / total) @ value, count, out=np.ones_like(level),
                          where=ever)
        found /= found[ever].mean()
        moved, level = np.abs(found - level)[ever].max(), found
        if moved < LEVEL_ACCURACY:
            break
    return level


def flagged_fraction(gain: np.ndarray) -> np.ndarray:
    """The fraction of flagged solutions of each antenna, shape (ant,)."""
    return np.mean(~np.isfinite(amplitude(gain)), axis=(0, 1))
