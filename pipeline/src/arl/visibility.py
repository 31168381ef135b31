"""The Visibility dataset: xarray in the MSv4 schema (names, dims and attributes of xradio)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

import arl
from arl.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

DIMS = ("time", "baseline_id", "frequency", "polarization")
#: Correlations whose mean is Stokes I, for linear and for circular feeds.
PARALLEL_HANDS = (("XX", "YY"), ("RR", "LL"))


@dataclass(frozen=True)
class Frame:
    """All that describes visibilities but their values.

    Attributes
    ----------
    time: UTC seconds since 1970, shape (time,). integration_time: s.
    frequency: Hz, shape (chan,). channel_width: Hz.
    uvw: metres, shape (time, baseline, 3).
    antenna1, antenna2: station numbers, shape (baseline,). antenna_names: of the stations.
    phase_centre: ICRS right ascension and declination, rad. field_name: of that direction.
    scan: number of the scan of each time, (time,).
    frequency_frame: such as TOPO, as xradio spells it. telescope: name of the array.
    """

    time: np.ndarray
    integration_time: float
    frequency: np.ndarray
    channel_width: float
    uvw: np.ndarray
    antenna1: np.ndarray
    antenna2: np.ndarray
    antenna_names: tuple[str, ...]
    phase_centre: tuple[float, float]
    field_name: str
    scan: np.ndarray
    frequency_frame: str
    telescope: str


def make_visibility(
    frame: Frame,
    vis: np.ndarray,
    weight: np.ndarray,
    flag: np.ndarray,
    polarization: Sequence[str] = ("I",),
    others: dict[str, np.ndarray] | None = None,
) -> xr.Dataset:
    """Put visibilities (time, baseline, chan, pol) and what describes them into one dataset.

    `weight` and `flag` have the same shape; `others` holds further versions of the
    visibilities by column name (upper-case, such as VISIBILITY_IDEAL).
    """
    import xarray as xr  # slow to come, and of no use to who only looks at what a file holds

    others = others or {}
    arrays = {"VISIBILITY": vis, "WEIGHT": weight, "FLAG": flag, **others}
    names = np.array(frame.antenna_names)
    data = {name: (DIMS, value, {"units": "Jy"} if value.dtype.kind == "c" else {})
            for name, value in arrays.items()}
    return xr.Dataset(
        data | {"UVW": (("time", "baseline_id", "uvw_label"), frame.uvw,
                        {"type": "uvw", "frame": "icrs", "units": "m"})},
        coords={
            "time": ("time", frame.time, _time_attributes(frame.integration_time)),
            "baseline_id": ("baseline_id", np.arange(frame.antenna1.size)),
            "frequency": ("frequency", frame.frequency, _frequency_attributes(frame)),
            "polarization": ("polarization", list(polarization)),
            "uvw_label": ("uvw_label", ["u", "v", "w"]),
            "field_name": ("time", [frame.field_name] * frame.time.size),
            "scan_name": ("time", frame.scan.astype(str), {"scan_intents": ["OBSERVE_TARGET"]}),
            "baseline_antenna1_name": ("baseline_id", names[frame.antenna1]),
            "baseline_antenna2_name": ("baseline_id", names[frame.antenna2]),
        },
        attrs=_attributes(frame, tuple(others)),
    )


def _attributes(frame: Frame, columns: tuple[str, ...]) -> dict[str, object]:
    """What the schema of MSv4 asks for, and what we need besides."""
    now = _now()
    groups = {"base": data_group("VISIBILITY", "as observed", now)}
    groups |= {name: data_group(c, f"{name}, simulated", now) for c in columns
               if (name := c.removeprefix("VISIBILITY_").lower())}
    return {"schema_version": "4.0.0", "type": "visibility", "data_groups": groups,
            "creator": {"software_name": "arl", "version": arl.__version__}, "creation_date": now,
            "observation_info": {"observer": ["unknown"], "project_UID": "unknown",
                                 "release_date": now},
            "processor_info": {"type": "CORRELATOR", "sub_type": "unknown"},
            "phase_centre_rad": list(frame.phase_centre), "telescope": frame.telescope,
            "antenna_names": list(frame.antenna_names)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")


def data_group(
    column: str, description: str, date: str | None = None, *, weight: str = "WEIGHT",
    flag: str = "FLAG",
) -> dict[str, str]:
    """An entry of `data_groups`: a version of the visibilities and what belongs to it."""
    return {"correlated_data": column, "weight": weight, "flag": flag, "uvw": "UVW",
            "field_and_source": "field_and_source_base_xds", "description": description,
            "date": date or _now()}


def _time_attributes(integration_time: float) -> dict[str, object]:
    return {"type": "time", "units": "s", "scale": "utc", "format": "unix",
            "integration_time": _quantity(integration_time, {"type": "quantity", "units": "s"})}


def _frequency_attributes(frame: Frame) -> dict[str, object]:
    spectral = {"type": "spectral_coord", "units": "Hz", "observer": frame.frequency_frame}
    return spectral | {
        "spectral_window_name": "", "spectral_window_intents": ["UNSPECIFIED"],
        "reference_frequency": _quantity(float(frame.frequency.mean()), spectral),
        "channel_width": _quantity(frame.channel_width, {"type": "quantity", "units": "Hz"})}


def _quantity(value: float, attributes: dict[str, str]) -> dict[str, object]:
    """A number as xarray writes an array without dims."""
    return {"attrs": attributes, "data": value, "dims": []}


def antennas(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """antenna1, antenna2 (baseline,) and the names of the stations they number."""
    names = [str(n) for n in dataset.attrs["antenna_names"]]
    number = {name: k for k, name in enumerate(names)}
    first, second = (
        np.array([number[str(n)] for n in dataset[f"baseline_antenna{k}_name"].values])
        for k in (1, 2)
    )
    return first, second, tuple(names)


def stokes_i(
    dataset: xr.Dataset, column: str = "VISIBILITY"
) -> tuple[np.ndarray, np.ndarray]:
    """Stokes I of a column and its weights, both (time, baseline, chan).

    I is the mean of the two parallel hands, each weighted alike, and a sample counts only where
    neither is flagged; its weight is that of the mean, 4 / (1/w1 + 1/w2). Weights and flags are
    those of the column's data group.

    Returns
    -------
    vis complex64 and weight float32; where the weight is 0 so is the visibility.

    Raises
    ------
    InputError: the dataset has no such column, or neither I nor two parallel hands.
    """
    if column not in dataset:
        raise InputError(f"The visibilities have no column {column}.")
    products = [str(p) for p in dataset["polarization"].values]
    hands = ("I",) if "I" in products else next(
        (pair for pair in PARALLEL_HANDS if set(pair) <= set(products)), None)
    if hands is None:
        raise InputError(f"Stokes I can't be made from correlations {', '.join(products)}.")
    index = slice(None) if len(hands) == len(products) else [products.index(h) for h in hands]
    columns = (column, *_weight_and_flag(dataset, column))
    shape = dataset[column].shape[:-1]
    vis, weight = np.empty(shape, np.complex64), np.empty(shape, np.float32)
    for times in _chunks_of(dataset[column]):
        part = dataset.isel(time=times)
        vis[times], weight[times] = combine_hands(
            *(part[name].values[..., index] for name in columns))
    return vis, weight


def _weight_and_flag(dataset: xr.Dataset, column: str) -> tuple[str, str]:
    """The names of a column's weights and flags."""
    group = next(g for g in dataset.attrs["data_groups"].values()
                 if g["correlated_data"] == column)
    return group["weight"], group["flag"]


def _chunks_of(array: xr.DataArray) -> Iterator[slice]:
    """Slices of times as they are stored together: what is read at once, to save memory."""
    count = array.sizes["time"]
    step = (array.encoding.get("chunks") or (count,))[0]
    for start in range(0, count, step):
        yield slice(start, start + step)


def receptors(dataset: xr.Dataset, column: str = "VISIBILITY") -> np.ndarray | None:
    """Correlations of two receptors as matrices (time, baseline, chan, 2, 2); None: Stokes I."""
    return as_matrices(dataset[column].values) if dataset.sizes["polarization"] > 1 else None


def as_matrices(values: np.ndarray) -> np.ndarray:
    """Visibilities, or weights, of two receptors' correlations (..., pol) as matrices (..., 2, 2).

    Where only the parallel hands were kept the others are zero.
    """
    if values.shape[-1] == 2:
        four = np.zeros((*values.shape[:-1], 4), values.dtype)
        four[..., [0, 3]] = values
        values = four
    return values.reshape(*values.shape[:-1], 2, 2)


def combine_hands(
    vis: np.ndarray, weight: np.ndarray, flag: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Stokes I (...) of correlations (..., hand), I alone or two parallel hands, and its weight.

    `weight` may have fewer channels than `vis` where it holds for all of them (length 1).

    Returns
    -------
    vis complex64 and weight float32; where the weight is 0 so is the visibility.
    """
    used = np.where(flag, 0.0, weight)
    good = np.all((used > 0) & np.isfinite(used) & np.isfinite(vis), axis=-1)
    with np.errstate(divide="ignore"):
        combined = vis.shape[-1] ** 2 / np.sum(1.0 / used, axis=-1)
    mean = vis.mean(axis=-1)
    return (np.where(good, mean, 0).astype(np.complex64),
            np.where(good, combined, 0).astype(np.float32))
