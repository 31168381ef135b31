"""How many bands a run images apart, where its file leaves that open.

A band costs gridder calls and planes of the deconvolution whatever it holds, so there are as few as
the sky's spectra allow: within a band the model is flat.
"""

from __future__ import annotations

import math

import numpy as np

from ical.forecast import GRID_PLANE_PIXEL_S, GRID_VISIBILITY_S, LEAST_PLANES

#: The widest band as a share of its frequency. A source of index -0.8 then strays from the model by
#: 0.8 x 0.03 / sqrt(12) = 0.7 % (rms), with opposite signs at both ends of the band.
WIDEST = 0.03
#: More bands than these only where their transforms cost less than gridding the visibilities.
CHEAP = 8


def band_count(frequency: np.ndarray, visibilities: int, npixel: int) -> int:
    """The number of bands for channels at `frequency` (Hz), all of `visibilities`.

    Bands of equally many channels, at most WIDEST each (a channel is a band at least), unless that
    makes so many that the images cost more than the data.
    """
    n = frequency.size
    spacing = float(np.ptp(frequency)) / max(n - 1, 1)
    wide = n if spacing == 0 else max(1, math.floor(WIDEST * frequency.min() / spacing + 1e-9))
    affordable = max(CHEAP, math.floor(
        visibilities * GRID_VISIBILITY_S / (LEAST_PLANES * npixel**2 * GRID_PLANE_PIXEL_S)))
    return min(math.ceil(n / wide), affordable, n)
