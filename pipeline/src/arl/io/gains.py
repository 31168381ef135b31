"""Gain tables from files, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from arl.errors import InputError
from arl.io.h5parm import read_h5parm
from arl.io.zarr import read_dataset


def read_gains(path: str | Path, term: str) -> xr.Dataset:
    """A gain table (see `arl.calibration.gains`) from an h5parm, or a Zarr store of our own.

    Raises
    ------
    InputError: it is neither.
    """
    if not Path(path).is_dir():
        return read_h5parm(path, term)
    try:
        table = read_dataset(path)
    except Exception as error:  # zarr raises many kinds for a folder that is no store
        raise InputError(f"{path} can't be read as a gain table: {error}.") from error
    if not {"GAIN", "FLAG"} <= set(table):
        raise InputError(f"{path} is not a gain table: it has no GAIN and FLAG.")
    return table
