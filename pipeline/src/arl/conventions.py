"""The conventions of the whole project: signs, units, coordinates and axis order.

Visibility. With (u, v, w) in metres as in the UVW column of a Measurement Set,

    V_pq(nu) = sum_k S_k(nu) exp(+2 pi i (u l + v m + w (n - 1)) nu / c),

the convention of WSClean and DP3. There is no factor 1/n: an image pixel is a flux.
Our simulation makes uvw = position(antenna2) - position(antenna1), turned to the phase centre:
u to the east, v to the north, w to the source (Thompson, Moran & Swenson 2017, eq. 4.1).

Gain. V_observed = g_p V_true conj(g_q), p = antenna1, q = antenna2.

Arrays. Visibilities (time, baseline, chan); uvw (time, baseline, 3); gains (time, antenna, chan);
images [l, m] or [band, l, m] with pixel (i, j) at l = (i - N//2) cell, m = (j - N//2) cell, N even.
A weight of 0 is a flag. Fluxes are in Jy, angles in rad, frequencies in Hz, times in UTC seconds
since 1970.
"""

from __future__ import annotations

import numpy as np

C = 299_792_458.0

#: The standard deviation of normal numbers over their median absolute deviation.
MAD_TO_SIGMA = 1.482602218505602

#: What makes ducc0's wgridder follow the convention above.
GRIDDER = {"do_wgridding": True, "flip_u": True, "flip_v": True, "divide_by_n": False}


def lm_axis(npixel: int, cell: float) -> np.ndarray:
    """Direction cosines of the pixels along one image axis, shape (npixel,)."""
    return (np.arange(npixel) - npixel // 2) * cell


def radec_to_lmn(
    ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float
) -> np.ndarray:
    """Direction cosines (..., 3) of sky positions (rad); n < 0 is behind the tangent plane.

    SIN projection (Greisen & Calabretta 2002, A&A 395, 1077, eq. 59 ff.).
    """
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    d_ra = ra - ra0
    l = np.cos(dec) * np.sin(d_ra)
    m = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(d_ra)
    n = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(d_ra)
    return np.stack([l, m, n], axis=-1)


def lmn(l: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Complete (l, m) with n = sqrt(1 - l^2 - m^2): shape (..., 3)."""
    l, m = np.asarray(l, float), np.asarray(m, float)
    return np.stack([l, m, np.sqrt(np.maximum(0.0, 1.0 - l**2 - m**2))], axis=-1)


def lmn_to_radec(
    l: np.ndarray, m: np.ndarray, ra0: float, dec0: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sky positions (rad) of direction cosines; the inverse of `radec_to_lmn`."""
    n = lmn(l, m)[..., 2]
    dec = np.arcsin(np.clip(m * np.cos(dec0) + n * np.sin(dec0), -1, 1))
    ra = ra0 + np.arctan2(l, n * np.cos(dec0) - m * np.sin(dec0))
    return np.mod(ra, 2 * np.pi), dec


def uvw_rotation(hour_angle: float, dec: float) -> np.ndarray:
    """The matrix (3, 3) that turns equatorial (X, Y, Z) into (u, v, w).

    X points to hour angle 0 on the equator, Y to hour angle -6 h (east), Z to the pole
    (Thompson, Moran & Swenson 2017, eq. 4.1).
    """
    sin_h, cos_h = np.sin(hour_angle), np.cos(hour_angle)
    sin_d, cos_d = np.sin(dec), np.cos(dec)
    return np.array([
        [sin_h, cos_h, 0.0],
        [-sin_d * cos_h, sin_d * sin_h, cos_d],
        [cos_d * cos_h, -cos_d * sin_h, sin_d],
    ])


def to_fits_axes(image: np.ndarray) -> np.ndarray:
    """[l, m] to FITS order (dec, ra) with right ascension increasing to the left."""
    return image.T[:, ::-1]


def from_fits_axes(data: np.ndarray) -> np.ndarray:
    """FITS order (dec, ra) to [l, m]."""
    return data[:, ::-1].T
