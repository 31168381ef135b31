"""What the kernels cost: seconds of one thread of a present-day core, from measurements of each.

They choose between two ways to the same visibilities, and predict how long a run takes.
"""

from __future__ import annotations

import math

#: Gridding or degridding one visibility.
GRID_VISIBILITY_S = 3e-7
#: One w-plane of one gridder call, per pixel: a transform of the image padded by half.
PLANE_PIXEL_S = 8.5e-9
#: Planes that any call has: the support of the kernel.
LEAST_PLANES = 7
#: One component at one visibility of the direct sum.
COMPONENT_VISIBILITY_S = 1.7e-9


def w_planes(longest_w: float, half_diagonal: float) -> int:
    """Planes over w from 0 to `longest_w` wavelengths, for a field of that radius (as a sine).

    The phase w (n - 1), with n - 1 centred in its range, is sampled at 1.5 times the Nyquist rate
    (Arras et al. 2021, section 4; negative w are folded by conjugation).
    """
    depth = 1.0 - math.sqrt(max(0.0, 1.0 - half_diagonal**2))
    return math.ceil(1.5 * longest_w * depth)


def gridder_call(visibilities: int, planes: int, npixel: int) -> float:
    """Seconds of one call of the gridder, either way."""
    return (visibilities * GRID_VISIBILITY_S
            + (LEAST_PLANES + planes) * npixel**2 * PLANE_PIXEL_S)


def direct_sum(visibilities: int, components: int) -> float:
    """Seconds of the direct sum of components."""
    return visibilities * components * COMPONENT_VISIBILITY_S
