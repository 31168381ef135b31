"""A Measurement Set of two receptors, their phases and leakages apart, through the whole run."""

from __future__ import annotations

import numpy as np
import pytest
from small_field import CELL, CENTRE, FLUX, NPIXEL, PIXELS, seen, small_array
from written_ms import all_rows, write_ms

from arl.io.fits import read_image
from arl.io.h5parm import read_h5parm
from arl.io.zarr import read_dataset
from ical.cli import _run_cli

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FREQUENCY = np.array([95e6, 105e6])
RUN = f"""
input: {{measurement_set: a.ms}}
imaging:
  npixel: {NPIXEL}
  cell_rad: {CELL}
  clean: {{scales: [0], major_cycles: 3}}
selfcal:
  terms: TG
  first_cycle: {{T: 1, G: 2}}
  cycles: 6
  solution_interval: {{T: 60.0, G: 1.0e5}}
  jones: {{T: diagonal, G: full}}
  reference_antenna: A3
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The results' folder, the sky's visibilities, and the corrupted ones (..., 2, 2)."""
    folder = tmp_path_factory.mktemp("jones")
    array = small_array(np.array([-30.0, 0.0, 30.0]))
    n, (first, second) = array.n_antenna, array.pairs
    ideal = seen(array, FREQUENCY)
    generator = np.random.default_rng(8)
    phase = np.exp(1j * generator.normal(scale=0.5, size=(3, n, 2, 2)))
    phase[:, 3, :, 1] = phase[:, 3, :, 0]  # a diagonal T takes the reference's receptors as in step
    leak = 0.1 * (generator.standard_normal((n, 2, 2)) + 1j * generator.standard_normal((n, 2, 2)))
    jones = phase[..., None] * (np.eye(2) + leak)[None, :, None]
    vis = jones[:, first] @ (ideal[..., None, None] * np.eye(2)) @ np.conj(
        np.swapaxes(jones, -1, -2))[:, second]
    rows = all_rows(array.uvw, 1.5e9 + 7200.0 * np.arange(3), array.pairs,
                    vis.reshape(*vis.shape[:3], 4))
    write_ms(folder / "a.ms", rows, FREQUENCY, n_antenna=n, phase_centre=CENTRE)
    (folder / "run.yml").write_text(RUN)
    assert _run_cli(["run", str(folder / "run.yml"), "--results", str(folder), "--name", "one"
                     ]) == 0
    return folder / "one", ideal, vis


def test_the_sky_and_the_correlations_come_out_right(run):
    folder, ideal, vis = run
    image, _ = read_image(folder / "selfcal" / "restored_combined.fits")
    found = [image[i - 3:i + 4, j - 3:j + 4].max() for i, j in PIXELS]
    np.testing.assert_allclose(found, FLUX, rtol=0.05)
    for channel in range(2):
        name = f"band{channel:03d}_time0000.zarr"
        with read_dataset(folder / "visibilities" / name) as dataset:
            corrected = dataset["VISIBILITY_CORRECTED"].values[..., 0, :]
            assert dataset["polarization"].values.tolist() == ["XX", "XY", "YX", "YY"]
        size = np.linalg.norm(ideal[..., channel])
        for hand in (0, 3):
            # most of what is left is a shift of the sky and a rotation of the receptors, both
            # free to a self-calibration
            before = vis.reshape(*vis.shape[:3], 4)[:, :, channel, hand]
            error = np.linalg.norm(corrected[..., hand] - ideal[..., channel])
            assert error < 0.2 * size < np.linalg.norm(before - ideal[..., channel])
        for cross in (1, 2):
            before = vis.reshape(*vis.shape[:3], 4)[:, :, channel, cross]
            assert np.linalg.norm(corrected[..., cross]) < 0.1 * np.linalg.norm(before)


def test_its_gain_tables_correct_the_data_of_another_run_alike(run):
    """Diagonal and full matrices, read from h5parm and applied as they are."""
    folder, *_ = run
    again = RUN + "  start_gains: {T: one/selfcal/gains_T.h5, G: one/selfcal/gains_G.h5}\n"
    again = again.replace("  first_cycle: {T: 1, G: 2}\n", "").replace(
        "  solution_interval: {T: 60.0, G: 1.0e5}\n", "  fixed_terms: TG\n")
    place = folder.parent
    (place / "again.yml").write_text(again)
    assert _run_cli(["run", str(place / "again.yml"), "--results", str(place), "--name", "two"
                     ]) == 0
    for channel in range(2):
        name = f"visibilities/band{channel:03d}_time0000.zarr"
        a, b = (read_dataset(place / one / name)["VISIBILITY_CORRECTED"].values
                for one in ("one", "two"))
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_its_gain_tables_hold_what_each_term_is(run):
    folder, *_ = run
    for term, receptors in (("T", ["XX", "YY"]), ("G", ["XX", "XY", "YX", "YY"])):
        found = read_h5parm(folder / "selfcal" / f"gains_{term}.h5", term)
        with read_dataset(folder / "selfcal" / f"gains_{term}.zarr") as table:
            assert table["receptor"].values.tolist() == receptors
            np.testing.assert_allclose(found["GAIN"].values, table["GAIN"].values, atol=1e-12)
            np.testing.assert_allclose(found["time"].values, table["time"].values)
        reference = found["GAIN"].sel(antenna_name="A3")
        assert np.abs(np.angle(reference.sel(receptor="XX"))).max() < 1e-9
    assert np.allclose(np.abs(read_h5parm(folder / "selfcal" / "gains_T.h5")["GAIN"]), 1)
