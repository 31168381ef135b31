import numpy as np
import pytest

from arl import weighting
from arl.conventions import C
from arl.errors import InputError

FREQUENCY = np.array([80e6, 120e6])


def plane(frequency):
    """Samples that fill the uv plane evenly out to 60 wavelengths at a frequency."""
    axis = np.arange(-60, 61) * C / frequency
    u, v = np.meshgrid(axis, axis)
    return np.stack([u.ravel(), v.ravel(), 0 * u.ravel()], axis=-1)[None]


@pytest.mark.parametrize("channel", [0, 1])
def test_a_taper_alone_makes_a_beam_of_its_width(channel):
    """The direct sum over an evenly filled plane, at half the width from the centre: a half."""
    fwhm = 0.03
    uvw = plane(FREQUENCY[channel])
    weight = weighting.taper(uvw, FREQUENCY, np.ones((*uvw.shape[:2], 2)), fwhm=fwhm)[..., channel]
    for angle in (0.0, 1.0):
        offset = fwhm / 2 * np.array([np.cos(angle), np.sin(angle)])
        phase = 2 * np.pi * uvw[..., :2] @ offset * FREQUENCY[channel] / C
        assert np.sum(weight * np.cos(phase)) / weight.sum() == pytest.approx(0.5, abs=1e-3)


def test_a_taper_keeps_flags_and_short_baselines(uvw):
    weight = np.full((*uvw.shape[:2], 2), 3.0, np.float32)
    weight[0, 0] = 0.0
    found = weighting.taper(np.zeros_like(uvw), FREQUENCY, weight, fwhm=0.1)
    np.testing.assert_array_equal(found, weight)
    assert found.dtype == np.float32


@pytest.mark.parametrize("fwhm", [0.0, -1.0, np.nan])
def test_a_taper_without_width_is_refused(uvw, fwhm):
    with pytest.raises(InputError, match="positive width"):
        weighting.taper(uvw, FREQUENCY, np.ones((*uvw.shape[:2], 2)), fwhm=fwhm)


@pytest.mark.parametrize("scheme", ["uniform", "briggs"])
def test_a_shared_density_grid_gives_partitions_the_weights_of_the_whole(uvw, scheme):
    weight = np.random.default_rng(1).uniform(0.5, 2, (*uvw.shape[:2], 2)).astype(np.float32)
    grid = {"npixel": 128, "cell": 4e-3}
    whole = weighting.uv_density(uvw, FREQUENCY, weight, **grid)
    parts = [weighting.uv_density(uvw[t:t + 1], FREQUENCY[c:c + 1], weight[t:t + 1, :, c:c + 1],
                                  **grid) for t in range(3) for c in range(2)]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-12)
    more = {"scheme": scheme, "robust": 0.5, "cell": 4e-3}
    together = weighting.reweight(uvw, FREQUENCY, weight, whole, **more)
    alone = weighting.reweight(uvw[1:2], FREQUENCY[1:], weight[1:2, :, 1:], whole, **more)
    np.testing.assert_array_equal(alone, together[1:2, :, 1:])


def test_briggs_is_its_formula():
    """Two cells that hold weights 4 and 1: f2 = (5 / 10^R)^2 / (17 / 5), w / (1 + W f2)."""
    uvw = np.array([[[5.0, 3.0, 0], [5.0, 3.0, 0], [20.0, 9.0, 0]]]) * C / 80e6
    weight = np.array([[[3.0], [1.0], [1.0]]], np.float32)
    grid = {"npixel": 64, "cell": 1 / 64}
    density = weighting.uv_density(uvw, FREQUENCY[:1], weight, **grid)
    found = weighting.reweight(uvw, FREQUENCY[:1], weight, density, scheme="briggs", robust=0.5,
                               cell=1 / 64)
    f2 = 25 / 10 / (17 / 5)
    np.testing.assert_allclose(
        found.ravel(), [3 / (1 + 4 * f2), 1 / (1 + 4 * f2), 1 / (1 + f2)], rtol=1e-6)
