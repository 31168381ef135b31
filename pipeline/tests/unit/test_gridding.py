import numpy as np
import pytest
from direct import direct_sum

from arl import gridding
from arl.conventions import lm_axis, lmn
from arl.errors import InputError

FREQUENCY = np.array([90e6, 100e6])
NPIXEL, CELL = 128, 4e-3  # 29 degrees: w matters


@pytest.fixture
def model():
    image = np.zeros((NPIXEL, NPIXEL))
    generator = np.random.default_rng(5)
    i, j = generator.integers(4, NPIXEL - 4, (2, 15))
    image[i, j] = generator.uniform(0.5, 3.0, 15)
    return image


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(("real", "epsilon"), [(np.float32, 1e-4), (np.float64, 1e-10)])
def test_predict_is_the_direct_sum(uvw, model, real, epsilon):
    i, j = np.nonzero(model)
    axis = lm_axis(NPIXEL, CELL)
    flux = np.repeat(model[i, j][:, None], FREQUENCY.size, axis=1)
    expected = direct_sum(uvw, FREQUENCY, lmn(axis[i], axis[j]), flux)
    found = gridding.predict(uvw, FREQUENCY, model.astype(real), cell=CELL, epsilon=epsilon,
                             threads=1)
    assert relative(found, expected) <= epsilon


@pytest.mark.parametrize(("kind", "epsilon"), [(np.complex64, 1e-4), (np.complex128, 1e-10)])
def test_invert_is_the_direct_sum(uvw, kind, epsilon):
    generator = np.random.default_rng(2)
    shape = (*uvw.shape[:2], FREQUENCY.size)
    vis = (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)).astype(kind)
    weight = generator.uniform(0.5, 2.0, shape).astype(np.float32)
    found = gridding.invert(uvw, FREQUENCY, vis, weight, npixel=NPIXEL, cell=CELL,
                            epsilon=epsilon, threads=1)
    axis = lm_axis(NPIXEL, CELL)
    picks = generator.integers(0, NPIXEL, (40, 2))
    expected = [
        np.sum((weight * vis * np.conj(direct_sum(
            uvw, FREQUENCY, lmn(axis[i], axis[j])[None], np.ones((1, 2))))).real)
        for i, j in picks
    ]
    rms = np.sqrt(np.mean(np.square(found)))
    assert np.abs(found[tuple(picks.T)] - expected).max() <= 10 * epsilon * rms


def test_invert_is_the_adjoint_of_predict(uvw, model):
    generator = np.random.default_rng(3)
    shape = (*uvw.shape[:2], FREQUENCY.size)
    vis = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    options = {"cell": CELL, "epsilon": 1e-10, "threads": 1}
    there = np.vdot(gridding.predict(uvw, FREQUENCY, model, **options), vis).real
    back = np.sum(model * gridding.invert(
        uvw, FREQUENCY, vis, np.ones(shape), npixel=NPIXEL, **options))
    assert abs(there - back) <= 1e-12 * np.linalg.norm(vis) * np.linalg.norm(model) * vis.size**0.5


def test_the_psf_peaks_at_the_middle_with_the_sum_of_weights(uvw):
    weight = np.full((*uvw.shape[:2], 2), 0.5, np.float32)
    image = gridding.psf(uvw, FREQUENCY, weight, npixel=NPIXEL, cell=CELL, epsilon=1e-4, threads=1)
    assert np.unravel_index(image.argmax(), image.shape) == (NPIXEL // 2, NPIXEL // 2)
    assert image.max() == pytest.approx(weight.sum(), rel=1e-4)


def test_a_noise_image_has_the_rms_of_theory(uvw):
    generator = np.random.default_rng(9)
    shape = (*uvw.shape[:2], 2)
    sigma = generator.uniform(1.0, 3.0, shape)
    vis = sigma * (generator.standard_normal(shape) + 1j * generator.standard_normal(shape))
    weight = (1 / sigma**2).astype(np.float32)
    image = gridding.invert(uvw, FREQUENCY, vis.astype(np.complex64), weight, npixel=NPIXEL,
                            cell=CELL, epsilon=1e-4, threads=1) / weight.sum()
    assert image.std() == pytest.approx(1 / np.sqrt(np.sum(1 / sigma**2)), rel=0.05)


def test_advice_for_the_2018_run():
    from arl.telescope import baseline_uvw, load_layout, within

    core = within(load_layout("LOWBD2"), 300.0)
    uvw = baseline_uvw(core, np.radians(-60), np.linspace(-np.pi / 3, np.pi / 3, 11))
    advice = gridding.advise(uvw, np.linspace(90e6, 110e6, 7), diameter=35.0, guard_band=8.0,
                             rounding="power_of_two")
    assert advice.npixel == 512
    assert advice.cell == pytest.approx(1.5904e-3, rel=1e-4)


def test_baselines_of_no_length_are_refused():
    with pytest.raises(InputError, match="zero length"):
        gridding.advise(np.zeros((1, 3, 3)), FREQUENCY, diameter=35.0, guard_band=8.0,
                        rounding="fft")


@pytest.mark.parametrize(("wanted", "size"), [(479, 480), (511, 512), (7, 8), (1, 2), (241, 250)])
def test_good_sizes(wanted, size):
    assert gridding.good_size(wanted) == size


def test_powers_of_two():
    assert [gridding.power_of_two(n) for n in (0, 0.3, 2, 3, 479, 512)] == [2, 2, 2, 4, 512, 512]


@pytest.mark.parametrize(("l", "m"), [(0.176, 0.0), (-0.18, 0.22), (0.03, -0.33)])
def test_sources_10_to_20_degrees_away_are_exact_and_the_sign_of_w_matters(uvw, l, m):
    """At these offsets a wrong sign of w is an error of order one, not a detail."""
    cell, npixel = 5.5e-3, 128
    i, j = round(l / cell) + npixel // 2, round(m / cell) + npixel // 2
    image = np.zeros((npixel, npixel))
    image[i, j] = 2.0
    axis = lm_axis(npixel, cell)
    where, flux = lmn(axis[i], axis[j])[None], np.full((1, 2), 2.0)
    assert 9 < np.degrees(np.arccos(where[0, 2])) < 20
    found = gridding.predict(uvw, FREQUENCY, image, cell=cell, epsilon=1e-8, threads=1)
    assert relative(found, direct_sum(uvw, FREQUENCY, where, flux)) <= 1e-8
    assert relative(found, direct_sum(uvw * [1, 1, -1], FREQUENCY, where, flux)) > 0.1


def test_samples_of_weight_zero_do_not_count(uvw):
    shape = (*uvw.shape[:2], 2)
    vis = np.random.default_rng(6).standard_normal(shape).astype(np.complex64)
    weight = np.ones(shape, np.float32)
    weight[1, ::3], weight[2, 5, 0] = 0.0, 0.0
    options = {"npixel": NPIXEL, "cell": CELL, "epsilon": 1e-4, "threads": 1}
    image = gridding.invert(uvw, FREQUENCY, vis, weight, **options)
    spoiled = np.where(weight > 0, vis, 1e6 + 1e6j).astype(np.complex64)
    np.testing.assert_allclose(gridding.invert(uvw, FREQUENCY, spoiled, weight, **options), image,
                               atol=1e-3)
