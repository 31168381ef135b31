"""Correct visibilities for gains."""

from __future__ import annotations

import numpy as np


def correct(
    vis: np.ndarray,
    weight: np.ndarray,
    gains: np.ndarray,
    antenna1: np.ndarray,
    antenna2: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """V / (g_p conj(g_q)) and w |g_p|^2 |g_q|^2, so that w |V - gMg|^2 stays what it was.

    vis, weight: (time, baseline, chan); gains: (time, ant, chan). A gain that is not finite or
    is zero flags its visibilities: both vis and weight become 0.
    """
    usable = np.isfinite(gains) & (gains != 0)
    inverse = np.divide(1.0, gains, out=np.zeros_like(gains), where=usable).astype(vis.dtype)
    power = np.where(usable, np.abs(gains) ** 2, 0.0).astype(weight.dtype)
    corrected = vis * inverse[:, antenna1] * np.conj(inverse[:, antenna2])
    return corrected, weight * power[:, antenna1] * power[:, antenna2]
