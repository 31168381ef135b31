"""Times at which the noise is known to be too high: their solutions are in no result."""

from __future__ import annotations

import numpy as np
import pytest
from small_field import CELL, CENTRE, seen, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from arl.io.zarr import read_dataset

pytestmark = pytest.mark.integration

FREQUENCY, TIME, NPIXEL, FLUX = np.array([95e6, 100e6]), 1.5e9 + 1200.0 * np.arange(6), 64, 10.0
#: By theory (see test_calibration): S sqrt(N - 1) / (sqrt(2) sigma), of one time and channel.
CLEAR, NOISY, LIMIT = 20.0, 2.0, 5.0


def observe(folder, snr):
    """A point source and small phase errors, with the noise that gives each time its S/N."""
    array, generator = small_array(np.linspace(-30, 30, TIME.size)), np.random.default_rng(5)
    first, second = array.pairs
    turn = np.exp(0.3j * generator.standard_normal((TIME.size, array.n_antenna, 1)))
    vis = seen(array, FREQUENCY, np.zeros((1, 2)), np.array([FLUX]))
    vis = vis * turn[:, first] * np.conj(turn[:, second])
    sigma = FLUX * np.sqrt(array.n_antenna - 1) / (np.sqrt(2) * np.asarray(snr))
    noise = generator.standard_normal((2, *vis.shape)) * sigma[:, None, None]
    vis = vis + noise[0] + 1j * noise[1]
    write_ms(folder / "a.ms", all_rows(array.uvw, TIME, array.pairs,
                                       vis[..., None].repeat(2, axis=-1)), FREQUENCY,
             correlations=("XX", "YY"), n_antenna=array.n_antenna, phase_centre=CENTRE)
    (folder / "sky.csv").write_text("ra_deg,dec_deg,flux_jy,spectral_index\n30,-60,10,0\n")


def calibrate(folder, cluster, **selfcal):
    return perform(folder, {
        "input": {"measurement_set": "a.ms"},
        "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "clean": {"scales": [0]}},
        "selfcal": {"terms": "T", "solution_interval": {"T": 60.0}, "min_snr": LIMIT, **selfcal},
    }, cluster, "run")


START = {"start_model": "sky.csv"}


@pytest.mark.parametrize(("cycles", "start"), [(1, START), (3, START), (3, {})])
def test_what_is_below_the_limit_is_flagged_in_the_result(one_worker, tmp_path, cycles, start):
    """With a model of the user's in the first cycle, else in those after it."""
    observe(tmp_path, [CLEAR, NOISY] * 3)
    store = calibrate(tmp_path, one_worker, cycles=cycles, **start)
    with read_dataset(store.folder / "selfcal" / "gains_T.zarr") as table:
        flagged = table["FLAG"].values[..., 0]
    assert not flagged[::2].any()
    assert flagged[1::2].all()


def test_a_loop_that_leaves_no_solution_fails(one_worker, tmp_path):
    """From a blank start: it goes back to first gains that are no better than noise."""
    observe(tmp_path, [NOISY] * TIME.size)
    store = calibrate(tmp_path, one_worker, cycles=3)
    record = store.read_stage("selfcal")
    assert [c["decision"] for c in record["history"]] == ["accept", "revert"]
    assert record["outcome"] == {
        "status": "FAILED", "reason": "a band is left without a solution above selfcal.min_snr"}
    assert not (store.folder / "selfcal" / "gains_T.zarr").exists()


def test_a_start_model_without_a_solution_is_left_out(one_worker, tmp_path):
    observe(tmp_path, [NOISY] * TIME.size)
    record = calibrate(tmp_path, one_worker, cycles=1, **START).read_stage("selfcal")
    assert record["history"][0]["reason"].startswith(
        "T leaves a band without a solution above selfcal.min_snr")
    assert not (tmp_path / "run" / "selfcal" / "gains_T.zarr").exists()
