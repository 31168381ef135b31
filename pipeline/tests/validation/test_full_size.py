"""The run reference-noise at full size against the design's bars; run by `make bench` alone.

94 stations, 336,567 visibilities, 7 channels from 90 to 110 MHz, images of 512 x 512 pixels, 1 mJy
per beam and channel of noise. Figures at 90 MHz unless a bar says otherwise. The seed is the time:
none seen before.
"""

import time

import numpy as np
import pytest

from arl.io.fits import read_image
from arl.quality import image_statistics, off_source
from benchmarks.runs import do_run
from ical.parameters import Parameters, load
from ical.stages.model import set_up
from ical.store import read_json

pytestmark = [pytest.mark.bench, pytest.mark.validation]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    asked = load("reference-noise").to_dict() | {"seed": int(time.time())}
    # the image with the true gains as deep as that after ICAL, which has had more major cycles
    asked["imaging"]["clean"]["major_cycles"] = 8
    do_run(Parameters.model_validate(asked), folder, "reference-noise", workers=2)
    run = folder / "reference-noise"
    parameters = Parameters.model_validate(read_json(run / "parameters.json"))
    return run, set_up(parameters)


def off_source_statistics(run, setup, stage):
    """Of the residual of all channels, away from the sources."""
    residual, header = read_image(run / stage / "residual_combined.fits")
    radius = 1.5 * np.radians(header["BMAJ"])
    where = off_source(setup.npixel, setup.cell, setup.lmn[:, 0], setup.lmn[:, 1], radius)
    return image_statistics(residual, where)


def test_with_noise_fluxes_and_positions_are_right_and_the_rms_is_that_of_true_gains(
    noisy, measured_as
):
    run, setup = noisy
    quality = read_json(run / "report.json")["quality"]
    found, flux = quality["selfcal"], "component flux, S/N > 50"
    rms = off_source_statistics(run, setup, "selfcal").rms
    ratio = rms / off_source_statistics(run, setup, "image").rms
    measured_as("after ICAL, off-source rms", "full size: over that with the true gains", ratio,
                "1 ± 0.05")
    measured_as("gains after ICAL from a blank start", "full size: phase rms, aligned, degrees",
                found["gain_phase_rms_deg"], "≤ 1")
    measured_as(flux, "full size: median ratio", found["flux_ratio_median"], "1 ± 0.01")
    measured_as(flux, "full size: scatter", found["flux_ratio_scatter"], "≤ 0.03")
    measured_as("position", "full size: median offset, beams", found["position_offset_beam"],
                "< 0.05")
    assert ratio == pytest.approx(1.0, abs=0.05)
    assert quality["selfcal"]["gain_phase_rms_deg"] <= 1.0
    assert quality["selfcal"]["flux_ratio_median"] == pytest.approx(1.0, abs=0.01)
    assert quality["selfcal"]["flux_ratio_scatter"] <= 0.03
    assert quality["selfcal"]["position_offset_beam"] < 0.05


def test_with_noise_the_residual_off_source_is_gaussian(noisy, measured_as):
    found = off_source_statistics(*noisy, "selfcal")
    measured_as("residual off-source", "full size: skew", found.skew, "± 0.1")
    measured_as("residual off-source", "full size: excess kurtosis", found.kurtosis, "± 0.3")
    assert abs(found.skew) < 0.1
    assert abs(found.kurtosis) < 0.3
