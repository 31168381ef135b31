"""A few sources in front of 17 stations: what the Measurement Sets of tests are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from direct import direct_sum

from arl.conventions import lmn
from arl.telescope import baseline_uvw, baselines, load_layout, within

CENTRE = (np.radians(30.0), np.radians(-60.0))
CELL = 4.6e-3
#: Two sources in an image of NPIXEL pixels: their pixels and fluxes (Jy).
NPIXEL, PIXELS, FLUX = 128, np.array([[80, 50], [40, 90]]), np.array([10.0, 4.0])


@dataclass(frozen=True)
class SmallArray:
    """Stations of LOWBD2 within 120 m: their number, pairs, and uvw in metres."""

    n_antenna: int
    pairs: tuple[np.ndarray, np.ndarray]
    uvw: np.ndarray


def small_array(hour_angle: np.ndarray) -> SmallArray:
    """The array as the field's centre sees it at hour angles in degrees."""
    core = within(load_layout("LOWBD2"), 120.0)
    n = len(core.names)
    return SmallArray(n, baselines(n), baseline_uvw(core, CENTRE[1], np.radians(hour_angle)))


def seen(
    array: SmallArray, frequency: np.ndarray, pixels: np.ndarray = PIXELS - NPIXEL // 2,
    flux: np.ndarray = FLUX,
) -> np.ndarray:
    """Visibilities of sources at pixels from the centre, by the direct sum."""
    return direct_sum(array.uvw, frequency, lmn(*(pixels * CELL).T),
                      np.outer(flux, np.ones(frequency.size)))
