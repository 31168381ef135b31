"""One simulated observation as a Measurement Set that both sides read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr
from casacore.tables import default_ms, makearrcoldesc, makedminfo, maketabdesc, table

from arl.io.measurement_set import UNIX_EPOCH
from arl.io.zarr import read_dataset
from arl.telescope import baselines
from ical.parameters import Parameters
from ical.stages.model import IDEAL, Setup, plan_run, set_up, simulate_partition

CORRELATIONS = np.array([9, 10, 11, 12], np.int32)  # XX, XY, YX, YY
#: LOWBD2 within 2,100 m: 294 stations, beam 1.8 arcmin at 110 MHz.
R_MAX_M, CELL_RAD, CHANNELS = 2100.0, 2.4e-4, 8
#: Per visibility of Stokes I: 2 mJy per beam for 6.9e6 of them, naturally weighted.
NOISE_JY = 5.0
SIDEREAL_SECONDS_PER_DEGREE = 86164.0905 / 360


@dataclass(frozen=True)
class Size:
    """How large an observation and its images are."""

    samples: int
    npixel: int
    r_max: float = R_MAX_M
    cell: float = CELL_RAD

    @classmethod
    def of(cls, text: str, r_max: float) -> Size:
        """`3:1024`: three times, images of 1024 x 1024 pixels.

        Raises
        ------
        ValueError: it is nothing of that kind.
        """
        samples, _, npixel = text.partition(":")
        if not (samples.isdigit() and npixel.isdigit() and int(samples) > 1):
            raise ValueError(f"{text} is not TIMES:PIXELS with two times at least")
        return cls(int(samples), int(npixel), r_max, CELL_RAD * R_MAX_M / r_max)


def parameters(size: Size, seed: int, gains: dict[str, float] | None) -> Parameters:
    """The simulation: GLEAM sources in the field, noise, and gain errors where they are given."""
    span = 90.0  # degrees of hour angle
    return Parameters.model_validate({
        "name": "simulated", "seed": seed,
        "observation": {
            "layout": "LOWBD2", "r_max": size.r_max, "phase_centre": {"ra": 30.0, "dec": -60.0},
            "frequency": {"start": 100e6, "end": 110e6, "channels": CHANNELS},
            "time": {"start_hour_angle": -span / 2, "end_hour_angle": span / 2,
                     "samples": size.samples,
                     "integration": span / (size.samples - 1) * SIDEREAL_SECONDS_PER_DEGREE},
        },
        "sky": {"flux_limit": 0.5}, "noise": {"sigma": NOISE_JY}, "gains": gains,
        "imaging": {"npixel": size.npixel, "cell_rad": size.cell, "bands": 1},
    })


def simulate(chosen: Parameters, path: Path) -> Setup:
    """Write a Measurement Set of a simulation, with its gain errors where it has some."""
    setup = set_up(chosen)
    plan = plan_run(chosen, setup, ["here"])
    column = "VISIBILITY" if chosen.gains else IDEAL
    with _new_measurement_set(path, setup) as main, TemporaryDirectory(dir=path.parent) as folder:
        main.addrows(setup.time.size * setup.n_baseline)
        for partition in plan.partitions:
            where = f"{folder}/{partition.name}.zarr"
            simulate_partition(chosen, setup, partition, where)
            _write_rows(main, setup, read_dataset(where), column, partition.times, chosen.seed)
    _write_subtables(str(path), setup)
    return setup


def _new_measurement_set(path: Path, setup: Setup) -> table:
    """Large columns in tiles, as correlators write them."""
    shape = [setup.frequency.size, CORRELATIONS.size]
    columns = maketabdesc([
        makearrcoldesc(name, value, valuetype=kind, shape=shape, options=5,
                       datamanagertype="TiledColumnStMan", datamanagergroup=f"Tiled{name}")
        for name, value, kind in (("DATA", 0j, "complex"), ("FLAG", False, "boolean"))])
    return default_ms(str(path), columns, makedminfo(columns))


def _write_rows(
    main: table, setup: Setup, data: xr.Dataset, column: str, times: tuple[int, int], seed: int
) -> None:
    """The rows of a block of times.

    XX and YY have noise of their own, XX = I + d and YY = I - d, so that their mean has that of I.
    """
    vis = np.asarray(data[column].values)[..., 0].reshape(-1, setup.frequency.size)
    start, count, n_time = times[0] * setup.n_baseline, len(vis), times[1] - times[0]
    random = np.random.default_rng([seed, times[0]])
    own = random.normal(0, setup.sigma, (*vis.shape, 2)).view(complex)[..., 0]
    cube = np.zeros((*vis.shape, CORRELATIONS.size), np.complex64)
    cube[..., 0], cube[..., 3] = vis + own, vis - own
    first, second = baselines(len(setup.antenna_names))
    time = np.repeat(setup.time[slice(*times)] + UNIX_EPOCH, setup.n_baseline)
    interval = np.full(count, np.diff(setup.time).mean())
    ones = np.ones((count, CORRELATIONS.size), np.float32)
    for name, values in (
        ("DATA", cube), ("FLAG", np.zeros(cube.shape, bool)), ("TIME", time),
        ("TIME_CENTROID", time), ("INTERVAL", interval), ("EXPOSURE", interval),
        ("ANTENNA1", np.tile(first, n_time)), ("ANTENNA2", np.tile(second, n_time)),
        ("UVW", data["UVW"].values.reshape(-1, 3)), ("WEIGHT", ones), ("SIGMA", ones),
        ("SCAN_NUMBER", np.ones(count, int)),
    ):
        main.putcol(name, values, start, count)


def _write_subtables(path: str, setup: Setup) -> None:
    n, direction = len(setup.antenna_names), np.array([setup.phase_centre])
    width = np.full(setup.frequency.size, setup.channel_width)
    columns = {
        "ANTENNA": {"NAME": list(setup.antenna_names), "STATION": list(setup.antenna_names),
                    "POSITION": setup.antenna_positions, "DISH_DIAMETER": np.full(n, 35.0),
                    "MOUNT": ["X-Y"] * n, "TYPE": ["GROUND-BASED"] * n},
        "FIELD": {"NAME": ["simulated"], "PHASE_DIR": direction[None],
                  "DELAY_DIR": direction[None], "REFERENCE_DIR": direction[None],
                  "TIME": setup.time[:1] + UNIX_EPOCH},
        "SPECTRAL_WINDOW": {
            "CHAN_FREQ": setup.frequency[None], "CHAN_WIDTH": width[None],
            "EFFECTIVE_BW": width[None], "RESOLUTION": width[None],
            "NUM_CHAN": [setup.frequency.size], "REF_FREQUENCY": [setup.frequency.mean()],
            "MEAS_FREQ_REF": [5], "TOTAL_BANDWIDTH": [width.sum()]},
        "POLARIZATION": {"NUM_CORR": [CORRELATIONS.size], "CORR_TYPE": CORRELATIONS[None],
                         "CORR_PRODUCT": np.array([[[0, 0], [0, 1], [1, 0], [1, 1]]], np.int32)},
        "DATA_DESCRIPTION": {"SPECTRAL_WINDOW_ID": [0], "POLARIZATION_ID": [0]},
        "OBSERVATION": {"TELESCOPE_NAME": ["SKA1-Low"], "TIME_RANGE": (
            setup.time[[0, -1]] + UNIX_EPOCH)[None]},
    }
    for name, values in columns.items():
        with table(f"{path}::{name}", readonly=False, ack=False) as sub:
            sub.addrows(len(next(iter(values.values()))))
            for column, cells in values.items():
                sub.putcol(column, cells)
