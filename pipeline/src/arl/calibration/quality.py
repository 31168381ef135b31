"""How good solved gains are, where the true ones are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arl.conventions import C


@dataclass(frozen=True)
class GainQuality:
    """Phase errors of the unflagged gains, degrees rms.

    Attributes
    ----------
    raw_deg: the mean phase of every time and channel removed, which no visibility sees.
    aligned_deg: also the one gradient over the array removed that a shift of the whole sky makes.
    """

    raw_deg: float
    aligned_deg: float


def gain_quality(
    solved: np.ndarray, true: np.ndarray, position: np.ndarray, frequency: np.ndarray
) -> GainQuality:
    """Compare the phases of gains with the truth.

    Parameters
    ----------
    solved, true: complex (time, ant, chan); solved is NaN where flagged.
    position: u and v of the antennas at each time, metres (time, ant, 2), about any origin.
    frequency: Hz (chan,).

    A sky shifted by (dl, dm) is seen with gains turned by 2 pi nu / c (u dl + v dm).
    """
    good = np.isfinite(solved)
    ratio = np.where(good, solved, 0) * np.conj(true)
    common = ratio.sum(axis=1, keepdims=True)
    phase = np.where(good, np.angle(ratio * np.conj(common)), np.nan)
    slope = 2 * np.pi * position[..., None, :] * frequency[:, None] / C
    count = np.maximum(good.sum(axis=1, keepdims=True), 1)
    total = np.where(good[..., None], slope, 0).sum(axis=1, keepdims=True)
    slope = slope - total / count[..., None]
    centred = phase - np.where(good, phase, 0).sum(axis=1, keepdims=True) / count
    design, values = slope[good], centred[good]
    shift, *_ = np.linalg.lstsq(design, values, rcond=None)
    return GainQuality(_rms_deg(values), _rms_deg(values - design @ shift))


def _rms_deg(phase: np.ndarray) -> float:
    return float(np.degrees(np.sqrt(np.mean(np.square(phase)))))
