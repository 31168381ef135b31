import numpy as np
import pytest

from arl.calibration.quality import gain_quality
from arl.conventions import C

FREQUENCY = np.array([90e6, 110e6])


@pytest.fixture
def case():
    generator = np.random.default_rng(3)
    position = generator.uniform(-150, 150, (4, 30, 2))
    true = np.exp(1j * generator.standard_normal((4, 30, 2)))
    return generator, position, true


def test_what_no_visibility_sees_is_no_error(case):
    generator, position, true = case
    turned = true * np.exp(1j * generator.uniform(-3, 3, (4, 1, 2)))
    found = gain_quality(turned, true, position, FREQUENCY)
    assert found.raw_deg < 1e-10


def test_a_shift_of_the_sky_is_removed_from_the_aligned_figure_alone(case):
    _, position, true = case
    shift = np.array([2e-4, -1e-4])
    phase = 2 * np.pi * np.einsum("tax,x->ta", position, shift)[..., None] * FREQUENCY / C
    found = gain_quality(true * np.exp(1j * phase), true, position, FREQUENCY)
    assert found.raw_deg > 0.3
    assert found.aligned_deg < 1e-8


def test_independent_errors_are_measured(case):
    generator, position, true = case
    error = np.radians(2.0) * generator.standard_normal(true.shape)
    found = gain_quality(true * np.exp(1j * error), true, position, FREQUENCY)
    assert found.raw_deg == pytest.approx(2.0, rel=0.15)
    assert found.aligned_deg <= found.raw_deg


def test_flagged_gains_do_not_count(case):
    _, position, true = case
    solved = true.copy()
    solved[:, 5] = np.nan
    assert gain_quality(solved, true, position, FREQUENCY).raw_deg < 1e-10
