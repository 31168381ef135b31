"""What a stage tells of its images, against images of which it is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from arl.conventions import lm_axis
from arl.restoration import Beam, gaussian
from ical.imager import BandImages
from ical.report.schema import Quality
from ical.report.verdict import Facts, judge
from ical.stages import files
from ical.stages.truth import KnownSky, flux_quality

NPIXEL, CELL, SIGMA = 400, 1.6e-3, 1e-3
BEAM = Beam(5.5e-3, 4.2e-3, 0.5)


def field(signal_to_noise: tuple[float, float]) -> KnownSky:
    """60 sources, eleven beams apart and more."""
    random = np.random.default_rng(1)
    axis = 45 * CELL * (np.arange(8) - 3.5)
    l, m = (x.ravel()[:60] + random.uniform(-1, 1, 60) * CELL for x in np.meshgrid(axis, axis))
    return KnownSky("truth", l, m, SIGMA * random.uniform(*signal_to_noise, 60), np.zeros(60))


def measured(known: KnownSky, flux: np.ndarray, east: float) -> Quality:
    """Of an image of the field with these fluxes, Jy, so many beams to the east of the truth."""
    axis = lm_axis(NPIXEL, CELL)
    noise = np.random.default_rng(2).normal(0, SIGMA, (NPIXEL, NPIXEL))
    image = noise + sum(s * gaussian(BEAM, axis[:, None] - x, axis[None, :] - y)
                        for x, y, s in zip(known.l + east * BEAM.major, known.m, flux, strict=True))
    return Quality(**flux_quality(image, noise, BEAM, CELL, known))


def test_a_residual_is_told_by_rms_robust_rms_and_peak_without_its_border():
    """Two bands of weights 1 and 3, noise of which the mean has sqrt(1/16 + 9/16) of each one's;
    a source that is left raises the rms, and not the robust one."""
    noise = np.random.default_rng(1).normal(0, 1.0, (2, 256, 256))
    noise[:, 130, 140] = -100.0
    noise[:, 3, 3] = 1e6
    found = files.residual_quality(
        BandImages(noise, np.array([1.0, 3.0])), SimpleNamespace(inner=200))
    sigma = np.sqrt(10.0) / 4
    assert found["residual_robust_rms_jy"] == pytest.approx(sigma, rel=0.01)
    assert found["residual_rms_jy"] == pytest.approx(np.hypot(sigma, 100 / 200), rel=0.01)
    assert found["residual_peak_jy"] == pytest.approx(100.0)


@pytest.mark.parametrize(("dimmed", "left", "east", "status", "text"), [
    (0, 0.0, 0.0, "PASS", "fluxes 1.000 "), (3, 0.0, 0.0, "PASS", "fluxes 1.000 "),
    (4, 0.0, 0.0, "WARN", "image: bright sources missing 6.7% (limit 5.0%)"),
    (12, 0.0, 0.0, "WARN", "image: bright sources missing 20.0% (limit 5.0%)"),
    (24, 0.0, 0.0, "FAIL", "image: bright sources missing 40.0% (limit 25.0%)"),
    (29, 0.0, 0.0, "FAIL", "image: bright sources missing 48.3% (limit 25.0%)"),
    (24, 0.2, 0.0, "FAIL", "image: bright sources missing 40.0% (limit 25.0%)"),
    (0, 0.0, 1.1, "FAIL", "image: none of 60 bright sources is within a beam of its place"),
    (0, 0.0, 1.5, "FAIL", "image: none of 60 bright sources is within a beam of its place")])
def test_sources_that_are_missing_or_elsewhere_are_found_out(dimmed, left, east, status, text):
    """Of 60 isolated ones of 500 sigma and more: medians and robust scatters see nothing of them.

    Some have `left` of their flux.
    """
    known = field((500, 2000))
    flux = known.flux * np.where(np.arange(60) < dimmed, left, 1.0)
    verdict = judge(Facts(("image",), frozenset(("image",)),
                          quality={"image": measured(known, flux, east)}))
    assert verdict.status == status
    assert text in verdict.line


def test_noise_makes_no_source_of_the_limit_a_missing_one():
    """All of them are there, between 10 and 12 sigma, and none is bright."""
    known = field((10.01, 12))
    found = measured(known, known.flux, 0.0)
    assert (found.completeness, found.bright_sources, found.bright_completeness) == (1.0, 0, None)
    half = measured(known, known.flux * (np.arange(60) < 36), 0.0)
    assert half.completeness == 0.6
