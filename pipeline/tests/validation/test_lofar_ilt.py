"""A LOFAR field on baselines up to 1978 km, phase- and amplitude-calibrated by `ical run`.

The data are of rvweeren/lofar_facet_selfcal (.github/data/test.ms and test.skymodel): not
calibrated in DATA. The coherence |sum V| / sum |V| of a calibrated point at the phase centre is 1
but for noise; the bars are those of the data's README. The long baselines see little of the source:
min_snr is 0, so that none is lost to flags and the bars are held by solutions good and poor.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import Angle
from casacore.tables import table
from observations import unpacked

from arl.io.zarr import read_dataset
from ical.cli import _run_cli

pytestmark = [pytest.mark.validation, pytest.mark.slow]

RUN = """
name: lofar-ilt
input: {{measurement_set: lofar-ilt.ms}}
imaging:
  npixel: 256
  cell_rad: 2.4e-7
  weighting: briggs
  uv_range: {{min_m: 40.0e3}}
  clean: {{scales: [0], major_cycles: 2}}
selfcal:
  terms: {terms}
  cycles: 1
  first_cycle: {{T: 1, G: 1}}
  solution_interval: {{T: 1600.0, G: 30000.0}}
  flux_scale: {flux_scale}
  global_solution: true
  start_model: {model}
  min_snr: 0.0
  uv_range: {{min_m: 40.0e3}}
"""
POINT = "ra_deg,dec_deg,flux_jy\n{ra},{dec},0.3\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The unpacked data, with the sky model as two CSV files: a point, and what was published."""
    place = unpacked("lofar-ilt", tmp_path_factory.mktemp("ilt"))
    line = (place / "lofar-ilt.skymodel").read_text().splitlines()[-1]
    _, _, _, ra, dec, flux, *_ , major, minor, angle, reference, index, curvature = (
        [x.strip(" []") for x in line.split(",")])
    degrees, minutes, seconds = dec.split(".", 2)
    ra_deg = Angle(ra, "hourangle").degree
    dec_deg = Angle(f"{degrees}d{minutes}m{seconds}s").degree
    (place / "point.csv").write_text(POINT.format(ra=ra_deg, dec=dec_deg))
    (place / "sky.csv").write_text(
        "ra_deg,dec_deg,flux_jy,major_arcsec,minor_arcsec,position_angle_deg,"
        "reference_frequency_hz,spectral_index,spectral_curvature\n"
        f"{ra_deg},{dec_deg},{flux},{major},{minor},{angle},{reference},{index},{curvature}\n")
    return place


def calibrated(folder: Path, name: str, **choice: str) -> tuple[np.ndarray, np.ndarray]:
    """Run `ical` and read the calibrated visibilities and their baselines (m), unflagged ones."""
    (folder / f"{name}.yml").write_text(RUN.format(**choice))
    assert _run_cli(["run", str(folder / f"{name}.yml"), "--results", str(folder / "results"),
                     "--name", name]) == 0
    vis, length = [], []
    for path in sorted((folder / "results" / name / "visibilities").glob("*.zarr")):
        with read_dataset(path) as dataset:
            groups = dataset.attrs["data_groups"]  # gains that do not help are not applied
            group = groups.get("corrected", groups["base"])
            column = dataset[group["correlated_data"]].values[..., 0]
            good = ~dataset[group["flag"]].values[..., 0]
            uv = np.hypot(*np.moveaxis(dataset["UVW"].values[..., :2], -1, 0))
        vis.append(column[good])
        length.append(np.broadcast_to(uv[..., None], column.shape)[good])
    return np.concatenate(vis), np.concatenate(length)


def coherence(vis: np.ndarray, length: np.ndarray, shortest: float, longest: float) -> float:
    """|sum V| / sum |V| of baselines between two lengths in km."""
    used = vis[(length > shortest * 1e3) & (length < longest * 1e3)]
    return float(abs(used.sum()) / np.abs(used).sum())


def test_phases_solved_on_a_point_make_long_baselines_coherent(folder):
    vis, length = calibrated(folder, "phases", terms="T", flux_scale="data", model="point.csv")
    # 26,534 unflagged visibilities go in; few may be lost to flagged solutions
    assert np.sum((length > 120e3) & (length < 3000e3)) > 0.95 * 26_534
    assert coherence(vis, length, 120, 3000) >= 0.54
    assert coherence(vis, length, 40, 120) >= 0.985


def test_control_random_phases_stay_incoherent(folder):
    """What any solution could make of noise: phases drawn at random, amplitudes kept."""
    scrambled = folder / "control"
    shutil.copytree(folder / "lofar-ilt.ms", scrambled / "lofar-ilt.ms")
    shutil.copy(folder / "point.csv", scrambled)
    with table(str(scrambled / "lofar-ilt.ms"), readonly=False, ack=False) as main:
        data = main.getcol("DATA")
        phase = np.random.default_rng(1).uniform(-np.pi, np.pi, data.shape[:2])[..., None]
        main.removecols("DATA")
        main.renamecol("CORRECTED_DATA", "DATA")
        main.putcol("DATA", (data * np.exp(1j * phase)).astype(np.complex64))
    vis, length = calibrated(scrambled, "control", terms="T", flux_scale="data", model="point.csv")
    assert vis.size > 1000
    assert coherence(vis, length, 120, 3000) <= 0.27


def test_amplitudes_solved_on_the_sky_model_bring_its_flux_scale(folder):
    vis, length = calibrated(folder, "amplitudes", terms="TG", flux_scale="model",
                             model="sky.csv")
    used = vis[(length > 40e3) & (length < 120e3)]
    assert used.mean().real == pytest.approx(0.281, rel=0.02)
    assert coherence(vis, length, 40, 120) >= 0.985
