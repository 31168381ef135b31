"""The direct Fourier sum: the truth that prediction and imaging are held against."""

from __future__ import annotations

import numpy as np

from arl.conventions import C


def direct_sum(uvw, frequency, lmn, flux):
    """The measurement equation, written out in float64."""
    path = uvw @ (lmn - np.array([0.0, 0.0, 1.0])).T
    phase = 2j * np.pi * path[..., None, :] * frequency[:, None] / C
    return np.einsum("...ck,kc->...c", np.exp(phase), flux)
