"""What a stage tells of its images, against images of which it is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ical.imager import BandImages
from ical.stages import files


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
