"""Gains that drift within their solution intervals, followed by interpolation and not without."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import changed, perform

from arl.io.fits import ImageHeader, write_image
from ical.parameters import Parameters
from ical.stages.model import set_up

pytestmark = pytest.mark.integration

#: 4 hours in 48 samples; a solution of T holds for 20 minutes.
DRIFT = changed({
    "observation.time.samples": 48, "gains": {"drift_phase": 1.5, "drift_time": 5000.0},
    "selfcal.cycles": 1, "selfcal.solution_interval": {"T": 1200.0}, "selfcal.min_snr": 0.0,
})


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """The true sky as a start model, so that only the gains are to be found."""
    path, setup = tmp_path_factory.mktemp("sky") / "sky.fits", set_up(
        Parameters.model_validate(DRIFT))
    image = np.zeros((setup.npixel, setup.npixel))
    pixel = np.rint(setup.lmn[:, :2] / setup.cell).astype(int) + setup.npixel // 2
    np.add.at(image, tuple(pixel.T), setup.flux.mean(axis=1))
    write_image(path, image, ImageHeader(setup.cell, setup.phase_centre, 1e8, 2e7, "Jy/pixel", None,
                                         "2018-01-01T08:00:00", "sky", "t", "TOPO"))
    return str(path)


def found(store):
    return store.read_stage("selfcal")["quality"]


def test_interpolation_follows_a_drift_and_steps_do_not(one_worker, tmp_path, sky):
    """Most of what is left is in the first and the last half interval, which have no neighbour."""
    known = changed({"selfcal.start_model": sky}, DRIFT)
    steps = perform(tmp_path, known, one_worker, "steps")
    lines = perform(tmp_path, changed({"selfcal.interpolation": {"T": "linear"}}, known),
                    one_worker, "lines")
    error = [found(s)["gain_phase_rms_raw_deg"] for s in (steps, lines)]
    assert error[1] < error[0] / 2.5
    assert found(lines)["residual_rms_jy"] < 0.9 * found(steps)["residual_rms_jy"]
