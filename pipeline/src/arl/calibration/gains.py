"""Gain tables: the solutions of one term as a dataset with named dims."""

from __future__ import annotations

import numpy as np
import xarray as xr

LINEAR = ("XX", "XY", "YX", "YY")


def gain_table(
    term: str,
    time: np.ndarray,
    antenna_names: tuple[str, ...],
    frequency: np.ndarray,
    gain: np.ndarray,
    products: tuple[str, ...] = LINEAR,
) -> xr.Dataset:
    """A gain table with dims (time, antenna_name, frequency, receptor).

    Parameters
    ----------
    time, frequency: centres of the solution intervals (UTC s; Hz).
    gain: complex (time, antenna, frequency), or Jones matrices (time, antenna, frequency, 2, 2);
        NaN where flagged. Of matrices all four elements are written, or the diagonal where the
        others are zero throughout.
    products: names of the elements, such as XX and YY, or all four.
    """
    dims = ("time", "antenna_name", "frequency", "receptor")
    flat = gain.reshape(*gain.shape[:3], -1)
    names = ("I",) if flat.shape[-1] == 1 else products
    if flat.shape[-1] == 4 and not np.nan_to_num(flat[..., 1:3]).any():
        flat, names = flat[..., [0, 3]], (products[0], products[-1])
    flag = ~np.isfinite(flat)
    return xr.Dataset(
        {"GAIN": (dims, np.where(flag, 1.0, flat)), "FLAG": (dims, flag)},
        coords={"time": time, "antenna_name": list(antenna_names), "frequency": frequency,
                "receptor": list(names)},
        attrs={"type": f"extension:{term.lower()}.gains.ical", "schema_version": "1", "term": term,
               "convention": "V_observed = g_p V_true conj(g_q)"},
    )
