"""How many bands a run images apart, where its file leaves that open.

A band costs gridder calls and planes of the deconvolution whatever it holds, so there are as few as
the sky's spectra allow: within a band the model is flat.
"""

from __future__ import annotations

import math

import numpy as np

from arl.cost import GRID_VISIBILITY_S, LEAST_PLANES, PLANE_PIXEL_S
from ical.forecast import CLEAN_PIXEL_S

#: The widest band as a share of its frequency. A source of index -0.8 then strays from the model by
#: 0.8 x 0.01 / sqrt(12) = 0.2 % (rms), with opposite signs at both ends of the band: residuals of
#: 1e-4 of the peak (`tests/integration/test_bands_run.py`).
WIDEST = 0.01
#: More bands than these only where a cycle's images and minor loop of them, with points and two
#: scales, cost less than gridding the visibilities.
CHEAP, SCALES = 8, 3


def band_count(frequency: np.ndarray, visibilities: int, npixel: int) -> int:
    """The number of bands for channels at `frequency` (Hz), all of `visibilities`.

    Bands of equally many channels, at most WIDEST each (a channel is a band at least), unless that
    makes so many that the images cost more than the data.
    """
    n = frequency.size
    spacing = float(np.ptp(frequency)) / max(n - 1, 1)
    wide = n if spacing == 0 else max(1, math.floor(WIDEST * frequency.min() / spacing + 1e-9))
    per_pixel = LEAST_PLANES * PLANE_PIXEL_S + SCALES * CLEAN_PIXEL_S
    affordable = max(CHEAP, math.floor(visibilities * GRID_VISIBILITY_S / (npixel**2 * per_pixel)))
    return min(math.ceil(n / wide), affordable, n)
