"""Gain tables as h5parm files, the form that DP3 and losoto read and write (HDF5).

A file holds solution sets (`sol000`), a set holds tables of real numbers, such as `amplitude000`
and `phase000`, each with its axes, a weight of 0 for a flagged solution, and the tables `antenna`
and `source` beside them (de Gasperin et al. 2019, A&A 622, A5, section 3). Times are MJD seconds.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from arl.calibration.gains import LINEAR, gain_table
from arl.errors import InputError
from arl.io.files import replacing

#: MJD seconds of 1970.
UNIX_EPOCH = 40587 * 86400.0
VERSION = "1.0"
QUANTITIES = ("amplitude", "phase")
#: How DP3 names what it writes beside solutions: how well they fit.
ERRORS = "error"
#: The order in which a solution table is looked at.
ORDER = ("time", "ant", "freq", "pol")
POLARIZATIONS = ((), ("I",), ("XX", "YY"), ("XX", "XY", "YX", "YY"), ("RR", "LL"),
                 ("RR", "RL", "LR", "LL"))


def write_h5parm(
    table: xr.Dataset, path: str | Path, positions: np.ndarray,
    phase_centre: tuple[float, float],
) -> None:
    """Write a gain table (see `arl.calibration.gains`) as sol000/amplitude000 and phase000.

    Parameters
    ----------
    positions: ITRF of the antennas, m (antenna, 3). phase_centre: ICRS, rad.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group("sol000")
        group.attrs["h5parm_version"] = _text(VERSION)
        names = [str(n) for n in table["antenna_name"].values]
        size = max(16, *(len(n.encode()) for n in names))
        kind = np.dtype([("name", f"S{size}"), ("position", np.float32, 3)])
        group["antenna"] = np.array(
            [(n.encode(), tuple(x)) for n, x in zip(names, positions, strict=True)], kind)
        source = np.dtype([("name", "S128"), ("dir", np.float32, 2)])
        group["source"] = np.array([(b"[POINTING]", phase_centre)], source)
        gain = table["GAIN"].values
        _write_table(group, "amplitude", table, np.abs(gain))
        _write_table(group, "phase", table, np.angle(gain))


def _text(value: str) -> np.bytes_:
    """A string of fixed length: DP3 reads no other."""
    return np.bytes_(value.encode())


def _write_table(group: h5py.Group, kind: str, table: xr.Dataset, values: np.ndarray) -> None:
    own = group.create_group(f"{kind}000")
    own.attrs["TITLE"] = _text(kind)
    own.attrs["h5parm_version"] = _text(VERSION)
    axes = ORDER if table["receptor"].size > 1 else ORDER[:3]
    flag = table["FLAG"].values
    if len(axes) == 3:
        values, flag = values[..., 0], flag[..., 0]
    else:
        own["pol"] = np.array([str(r).encode() for r in table["receptor"].values], "S2")
    names = [str(n).encode() for n in table["antenna_name"].values]
    own["time"] = np.asarray(table["time"].values, float) + UNIX_EPOCH
    own["ant"] = np.array(names, f"S{max(16, *map(len, names))}")
    own["freq"] = np.asarray(table["frequency"].values, float)
    own["val"] = np.where(flag, np.nan, values)
    own["weight"] = (~flag).astype(np.float32)
    for name in ("val", "weight"):
        own[name].attrs["AXES"] = _text(",".join(axes))


def read_h5parm(path: str | Path, term: str = "G", solution_set: str = "sol000") -> xr.Dataset:
    """The gains of the amplitude and the phase table of a set; one of them may lack.

    Times become UTC s since 1970. Axes in any order; a table without a time or frequency axis is
    one of a single time or frequency, and a direction axis must have just one direction.

    Raises
    ------
    InputError: it is no h5parm, has neither table, or more tables of solutions than these, a table
    lacks values, weights or an axis, or its axes are others than these.
    """
    try:
        with h5py.File(path, "r") as file:
            if solution_set not in file:
                raise InputError(f"{path} has no solution set {solution_set}; it has "
                                 f"{', '.join(file) or 'none'}.")
            names = _chosen(file[solution_set], path, solution_set)
            found = {kind: _read_table(file[solution_set][name], f"{path}: {name}")
                     for kind, name in names.items()}
    except OSError as error:
        raise InputError(f"{path} can't be read as an h5parm: {error}.") from error
    axes, first = next(iter(found.values()))
    if not all(_is_same(own[name], axes[name]) for own, _ in found.values() for name in ORDER):
        raise InputError(f"{path}: amplitudes and phases in {solution_set} have different axes.")
    gain = np.ones(first.shape, complex)
    if "amplitude" in found:
        gain = gain * found["amplitude"][1]
    if "phase" in found:
        gain = gain * np.exp(1j * found["phase"][1])
    return gain_table(term, axes["time"] - UNIX_EPOCH, tuple(axes["ant"]), axes["freq"],
                      _as_jones(gain), tuple(axes["pol"]) or LINEAR)


def _chosen(group: h5py.Group, path: str | Path, solution_set: str) -> dict[str, str]:
    """The names of a set's amplitude and phase table, by quantity.

    Raises
    ------
    InputError: it has neither, or further tables of solutions (a second phase, TEC, clock,
    rotation): gains without them would be others than those that were solved.
    """
    tables = [n for n in sorted(group) if isinstance(group[n], h5py.Group)]
    first = {kind: next((n for n in tables if n.startswith(kind)), "") for kind in QUANTITIES}
    chosen = {kind: name for kind, name in first.items() if name}
    if not chosen:
        has = f" (it has {', '.join(tables)})" if tables else ""
        raise InputError(f"{path} has no amplitudes and no phases in {solution_set}{has}; give "
                         f"gains as an amplitude table, a phase table, or both.")
    others = [n for n in tables if n not in chosen.values() and "val" in group[n]
              and not n.startswith(ERRORS)]
    if others:
        raise InputError(f"{path} has {' and '.join(chosen.values())} in {solution_set}, and also "
                         f"{', '.join(others)}, which {'is' if len(others) == 1 else 'are'} not "
                         f"read; combine them into one amplitude and one phase table (losoto), or "
                         f"remove those that are not to be applied.")
    return chosen


def _is_same(axis: np.ndarray, other: np.ndarray) -> bool:
    """Whether two axes have the same names or numbers, these to 0.05 s and 1 mHz."""
    if axis.shape != other.shape or axis.dtype.kind != "f":
        return np.array_equal(axis, other)
    return np.allclose(axis, other, rtol=1e-11, atol=0.0)


def _as_jones(gain: np.ndarray) -> np.ndarray:
    """Gains (time, ant, freq) of one receptor, matrices (time, ant, freq, 2, 2) of two or four."""
    if gain.shape[-1] == 1:
        return gain[..., 0]
    jones = np.zeros((*gain.shape[:3], 4), complex)
    jones[..., [0, 3] if gain.shape[-1] == 2 else slice(None)] = gain
    return jones.reshape(*gain.shape[:3], 2, 2)


def _read_table(table: h5py.Group, where: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Axes and values (time, ant, freq, pol), NaN where flagged, of a table that is `where`."""
    names = _axis_names(table, where)
    values = np.where(table["weight"][()] == 0, np.nan, table["val"][()])
    for axis in [n for n in names if n not in ORDER]:
        if values.shape[names.index(axis)] != 1:
            raise InputError(f"{where} has several values along its axis {axis}; only "
                             f"{', '.join(ORDER)} are read.")
        values = np.take(values, 0, axis=names.index(axis))
        names.remove(axis)
    axes = {n: _axis(table[n][()]) for n in names}
    for axis in [n for n in ORDER if n not in names]:
        values, names = values[..., None], [*names, axis]
        axes[axis] = np.zeros(1)
    pol = tuple(axes["pol"]) if axes["pol"].dtype.kind != "f" else ()
    if pol not in POLARIZATIONS or "ant" not in table:
        raise InputError(f"{where} has no antennas, or the polarisations {', '.join(pol)}; I, the "
                         f"parallel hands, or all four are read.")
    return axes, np.transpose(values, [names.index(n) for n in ORDER])


def _axis_names(table: h5py.Group, where: str) -> list[str]:
    """The names of a table's axes in their order; all that is read of the table is there.

    Weights may not lack: without them nobody knows what is flagged, and DP3 reads no such table.
    """
    holders = [node for node in (table, table.get("val")) if node is not None]
    title = next((node.attrs["AXES"] for node in holders if "AXES" in node.attrs), None)
    if title is None:
        raise InputError(f"{where} has no values with an attribute AXES, so it is no table of "
                         f"solutions.")
    names = (title.decode() if isinstance(title, bytes) else str(title)).split(",")
    needed = ["val", "weight", *(n for n in names if n in ORDER)]
    missing = [n for n in needed if not isinstance(table.get(n), h5py.Dataset)]
    if missing:
        raise InputError(f"{where} lacks {' and '.join(missing)}; an h5parm has val, weight (0: "
                         f"flagged, else 1) and the values of each axis: add what is missing.")
    # an axis that is not read needs no values, but a place in val
    own = (*table["val"].shape, *[0] * len(names))
    shape = tuple(table[n].size if n in table else own[k] for k, n in enumerate(names))
    if not table["val"].shape == table["weight"].shape == shape:
        raise InputError(f"{where} has val and weight of shapes {table['val'].shape} and "
                         f"{table['weight'].shape}, and its axes {', '.join(names)} have {shape}.")
    return names


def _axis(values: np.ndarray) -> np.ndarray:
    """An axis' numbers, or its names as text."""
    if values.dtype.kind == "S":
        return np.array([v.decode() for v in values])
    return values
