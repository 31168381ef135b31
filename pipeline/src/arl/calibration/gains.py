"""Gain tables: the solutions of one term as a dataset with named dims."""

from __future__ import annotations

import numpy as np
import xarray as xr


def gain_table(
    term: str,
    time: np.ndarray,
    antenna_names: tuple[str, ...],
    frequency: np.ndarray,
    gain: np.ndarray,
) -> xr.Dataset:
    """A gain table with dims (time, antenna_name, frequency, receptor).

    Parameters
    ----------
    time, frequency: centres of the solution intervals (UTC s; Hz).
    gain: complex (time, antenna, frequency), NaN where flagged.
    """
    dims = ("time", "antenna_name", "frequency", "receptor")
    flag = ~np.isfinite(gain)
    return xr.Dataset(
        {"GAIN": (dims, np.where(flag, 1.0, gain)[..., None]), "FLAG": (dims, flag[..., None])},
        coords={"time": time, "antenna_name": list(antenna_names), "frequency": frequency,
                "receptor": ["I"]},
        attrs={"type": f"extension:{term.lower()}.gains.ical", "schema_version": "1", "term": term,
               "convention": "V_observed = g_p V_true conj(g_q)"},
    )
