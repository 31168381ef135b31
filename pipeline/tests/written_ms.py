"""Measurement Sets as casacore itself makes them, small, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from casacore.tables import default_ms, makearrcoldesc, maketabdesc, table

CODES = {"I": 1, "RR": 5, "RL": 6, "LR": 7, "LL": 8, "XX": 9, "XY": 10, "YX": 11, "YY": 12}
UNIX_EPOCH = 40587 * 86400.0
LINEAR = ("XX", "XY", "YX", "YY")


def write_ms(
    path: Path, rows: dict[str, np.ndarray], frequency: np.ndarray, *,
    correlations: tuple[str, ...] = LINEAR, fields: tuple[str, ...] = ("target",),
    windows: int = 1, n_antenna: int = 4, diameter: float | np.ndarray = 35.0,
    phase_centre: tuple[float, float] = (0.5, -1.0), spectrum: bool = True,
) -> str:
    """Write a Measurement Set whose main columns are `rows`, by name.

    What `rows` leaves out (weights, flags, field, window, interval) is the same in all rows: 1,
    not flagged, 0, 0, 10 s. TIME is UTC s since 1970. Every window has the channels `frequency`.
    """
    shape = (frequency.size, len(correlations))
    columns = [makearrcoldesc("DATA", 0j, valuetype="complex", ndim=2)]
    if spectrum:
        columns.append(makearrcoldesc("WEIGHT_SPECTRUM", 0.0, valuetype="float", ndim=2))
    n = len(rows["TIME"])
    filled = {
        "INTERVAL": np.full(n, 10.0), "FLAG": np.zeros((n, *shape), bool),
        "FLAG_ROW": np.zeros(n, bool), "WEIGHT": np.ones((n, shape[1]), np.float32),
        "SIGMA": np.ones((n, shape[1]), np.float32), "FIELD_ID": np.zeros(n, int),
        "DATA_DESC_ID": np.zeros(n, int), **rows, "TIME": rows["TIME"] + UNIX_EPOCH}
    if spectrum:
        filled.setdefault("WEIGHT_SPECTRUM", np.ones((n, *shape), np.float32))
    with default_ms(str(path), maketabdesc(columns)) as main:
        main.addrows(n)
        for name, values in filled.items():
            main.putcol(name, values)
    _write_subtables(str(path), frequency, correlations, fields, windows, phase_centre)
    with table(f"{path}::ANTENNA", readonly=False, ack=False) as antennas:
        antennas.addrows(n_antenna)
        antennas.putcol("NAME", [f"A{k}" for k in range(n_antenna)])
        antennas.putcol("DISH_DIAMETER", np.broadcast_to(diameter, n_antenna).copy())
    return str(path)


def _write_subtables(path, frequency, correlations, fields, windows, phase_centre) -> None:
    with table(f"{path}::FIELD", readonly=False, ack=False) as field:
        field.addrows(len(fields))
        for k, name in enumerate(fields):
            field.putcell("NAME", k, name)
            field.putcell("PHASE_DIR", k, np.array([phase_centre]))
    with table(f"{path}::SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        window.addrows(windows)
        width = np.full(frequency.size, np.diff(frequency)[0] if frequency.size > 1 else 1e6)
        for k in range(windows):
            window.putcell("CHAN_FREQ", k, frequency)
            window.putcell("CHAN_WIDTH", k, width)
            window.putcell("NUM_CHAN", k, frequency.size)
            window.putcell("MEAS_FREQ_REF", k, 5)
    with table(f"{path}::POLARIZATION", readonly=False, ack=False) as polarization:
        polarization.addrows(1)
        polarization.putcell("NUM_CORR", 0, len(correlations))
        polarization.putcell("CORR_TYPE", 0, np.array([CODES[c] for c in correlations], np.int32))
    with table(f"{path}::DATA_DESCRIPTION", readonly=False, ack=False) as description:
        description.addrows(windows)
        description.putcol("SPECTRAL_WINDOW_ID", np.arange(windows))
        description.putcol("POLARIZATION_ID", np.zeros(windows, int))


def all_rows(uvw: np.ndarray, time: np.ndarray, pairs: tuple[np.ndarray, np.ndarray],
             vis: np.ndarray) -> dict[str, np.ndarray]:
    """Main columns of a whole grid: uvw (time, baseline, 3), vis (time, baseline, chan, corr)."""
    n_baseline = pairs[0].size
    return {"TIME": np.repeat(time, n_baseline), "ANTENNA1": np.tile(pairs[0], time.size),
            "ANTENNA2": np.tile(pairs[1], time.size), "UVW": uvw.reshape(-1, 3),
            "DATA": vis.reshape(-1, *vis.shape[2:]).astype(np.complex64)}


def taken(rows: dict[str, np.ndarray], index: np.ndarray) -> dict[str, np.ndarray]:
    """Some of the rows, in the order of `index` (or those where it holds)."""
    return {name: values[index] for name, values in rows.items()}


def smallest_ms(path: Path) -> str:
    """Two antennas, one time and one channel."""
    rows = {"TIME": np.array([1.5e9]), "ANTENNA1": np.array([0]), "ANTENNA2": np.array([1]),
            "UVW": np.array([[100.0, 0.0, 10.0]]), "DATA": np.ones((1, 1, 4), np.complex64)}
    return write_ms(path, rows, np.array([1e8]), n_antenna=2)
