"""Partitions as Zarr stores in the MSv4 layout, written whole or not at all."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arl.errors import InputError
from arl.io.files import beside, flush, flush_tree
from arl.visibility import DIMS, data_group

CORRECTED, CORRECTED_WEIGHT, CORRECTED_FLAG = (
    "VISIBILITY_CORRECTED", "WEIGHT_CORRECTED", "FLAG_CORRECTED")


def _replace(temporary: Path, path: Path) -> None:
    """Put a finished directory in its place; the last of several identical writers wins."""
    flush_tree(temporary)
    if path.exists():
        old = beside(path, "old")
        path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old)
    else:
        temporary.rename(path)
    flush(path.parent)


def write_dataset(dataset: xr.Dataset, path: str | Path) -> int:
    """Write a dataset as one Zarr store, atomically; returns its size in bytes in memory."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path, "tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    encoding: dict = {name: {"compressors": None} for name in dataset.data_vars}
    with warnings.catch_warnings():
        # Zarr v3 has no final word yet on strings and consolidated metadata; both work here
        warnings.simplefilter("ignore")
        dataset.to_zarr(temporary, mode="w", zarr_format=3, consolidated=True, encoding=encoding)
    _replace(temporary, path)
    return int(dataset.nbytes)


def read_dataset(path: str | Path) -> xr.Dataset:
    """Open a store written by `write_dataset`.

    Raises
    ------
    InputError: there is none at the path.
    """
    if not Path(path).is_dir():
        raise InputError(f"There is no store {path}: was it made on another host, or removed?")
    return xr.open_zarr(path, consolidated=True, chunks=None)


def write_corrected(
    path: str | Path, vis: np.ndarray, weight: np.ndarray, flag: np.ndarray
) -> None:
    """Add or replace the corrected visibilities, their weights and flags (time, baseline, chan,
    pol), and the data group that names them: VISIBILITY_, WEIGHT_ and FLAG_CORRECTED.

    They are written before the dataset's attributes name them, so a reader never finds a data
    group without its data.
    """
    attributes = _attributes(path)
    groups = dict(attributes["data_groups"])
    groups["corrected"] = data_group(CORRECTED, "divided by the gains", weight=CORRECTED_WEIGHT,
                                     flag=CORRECTED_FLAG)
    _add(path, xr.Dataset(
        {CORRECTED: (DIMS, vis.astype(np.complex64, copy=False), {"units": "Jy"}),
         CORRECTED_WEIGHT: (DIMS, weight.astype(np.float32, copy=False)),
         CORRECTED_FLAG: (DIMS, flag)},
        attrs=attributes | {"data_groups": groups}))


def drop_corrected(path: str | Path) -> None:
    """Remove what `write_corrected` has added, where it has.

    The data group goes before its data, so a reader never finds one without the other.
    """
    import zarr

    attributes = _attributes(path)
    groups = dict(attributes["data_groups"])
    if groups.pop("corrected", None):
        _add(path, xr.Dataset(attrs=attributes | {"data_groups": groups}))
    left = [where for name in (CORRECTED, CORRECTED_WEIGHT, CORRECTED_FLAG)
            if (where := Path(path) / name).is_dir()]
    for where in left:
        shutil.rmtree(where)
    if left:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path)


def _attributes(path: str | Path) -> dict[str, Any]:
    with xr.open_zarr(path, consolidated=True, chunks=None) as dataset:
        return dict(dataset.attrs)


def _add(path: str | Path, dataset: xr.Dataset) -> None:
    """Write variables of a dataset, and its attributes last, into a store that there is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.to_zarr(path, mode="a", zarr_format=3, consolidated=True)
    flush_tree(Path(path))
