"""Gain tables: the solutions of one term as a dataset with named dims."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from arl.errors import InputError

LINEAR = ("XX", "XY", "YX", "YY")


def gain_table(
    term: str,
    time: np.ndarray,
    antenna_names: tuple[str, ...],
    frequency: np.ndarray,
    gain: np.ndarray,
    products: tuple[str, ...] = LINEAR,
    no_data: np.ndarray | None = None,
) -> xr.Dataset:
    """A gain table with dims (time, antenna_name, frequency, receptor): GAIN, FLAG and NO_DATA.

    Parameters
    ----------
    time, frequency: centres of the solution intervals (UTC s; Hz).
    gain: complex (time, antenna, frequency), or Jones matrices (time, antenna, frequency, 2, 2);
        NaN where flagged. Of matrices all four elements are written, or the diagonal where the
        others are zero throughout.
    products: names of the elements, such as XX and YY, or all four.
    no_data: bool (time, antenna, frequency), where there was nothing to solve a gain from: NO_DATA
        is true of what is flagged for that. None: it is not known, and there is no NO_DATA.
    """
    dims = ("time", "antenna_name", "frequency", "receptor")
    flat = gain.reshape(*gain.shape[:3], -1)
    names = ("I",) if flat.shape[-1] == 1 else products
    if flat.shape[-1] == 4 and not np.nan_to_num(flat[..., 1:3]).any():
        flat, names = flat[..., [0, 3]], (products[0], products[-1])
    flag = ~np.isfinite(flat)
    empty = {} if no_data is None else {"NO_DATA": (dims, flag & no_data[..., None])}
    return xr.Dataset(
        {"GAIN": (dims, np.where(flag, 1.0, flat)), "FLAG": (dims, flag), **empty},
        coords={"time": time, "antenna_name": list(antenna_names), "frequency": frequency,
                "receptor": list(names)},
        attrs={"type": f"extension:{term.lower()}.gains.ical", "schema_version": "1", "term": term,
               "convention": "V_observed = g_p V_true conj(g_q)"},
    )


def table_gains(
    table: xr.Dataset, antenna_names: Sequence[str], products: tuple[str, ...]
) -> np.ndarray:
    """The gains of a table for some antennas, complex (time, ant, freq), NaN where flagged.

    With `products`, the correlations of two receptors that are calibrated, they are Jones matrices
    (time, ant, freq, 2, 2), whatever the table holds.

    Raises
    ------
    InputError: an antenna is missing, or the table has two receptors where one gain is asked for,
    or others than the data.
    """
    known = [str(n) for n in table["antenna_name"].values]
    missing = [n for n in antenna_names if n not in known]
    if missing:
        raise InputError(f"there are no gains of {len(missing)} antennas ({', '.join(missing[:3])}"
                         f"{', ...' if len(missing) > 3 else ''}); the table has {known[0]} to "
                         f"{known[-1]}.")
    index = [known.index(n) for n in antenna_names]
    order = ("time", "antenna_name", "frequency", "receptor")
    gain, flag = (table[n].transpose(*order).values[:, index] for n in ("GAIN", "FLAG"))
    gain = np.where(flag, np.nan, gain).astype(complex)
    n_receptor = gain.shape[-1]
    named = [str(r) for r in table["receptor"].values]
    if not products:
        if n_receptor > 1:
            raise InputError(f"the gains are of several receptors ({', '.join(named)}), and Stokes "
                             f"I alone is calibrated; set selfcal.jones of the term to diagonal.")
        return gain[..., 0]
    if n_receptor > 1 and named[0] != products[0]:
        raise InputError(f"the gains are of {', '.join(named)}, and the data have "
                         f"{', '.join(products)}; give gains of the same receptors.")
    matrix = np.zeros((*gain.shape[:3], 4), complex)
    matrix[..., {1: [0, 3], 2: [0, 3], 4: [0, 1, 2, 3]}[n_receptor]] = gain
    return matrix.reshape(*gain.shape[:3], 2, 2)


def nearest_sample(axis: np.ndarray, wanted: np.ndarray, what: str) -> np.ndarray:
    """The number of the table's time or frequency that is nearest to each wanted one, (wanted,).

    A single one holds for all.

    Raises
    ------
    InputError: some lie farther outside than the table's own samples are apart.
    """
    order = np.argsort(axis)
    points = np.asarray(axis, float)[order]
    if points.size == 1:
        return np.zeros(len(wanted), int)
    reach = np.diff(points).max()
    if wanted.min() < points[0] - reach or wanted.max() > points[-1] + reach:
        raise InputError(f"the gains have {what} from {points[0]:.10g} to {points[-1]:.10g}, and "
                         f"the data from {wanted.min():.10g} to {wanted.max():.10g}.")
    middle = (points[1:] + points[:-1]) / 2
    return order[np.searchsorted(middle, wanted)]
