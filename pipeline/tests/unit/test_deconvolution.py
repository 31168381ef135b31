import threading
from dataclasses import replace

import numpy as np
import pytest
import radler

from arl import deconvolution, gridding
from arl.conventions import lm_axis, lmn
from arl.errors import InputError
from arl.restoration import fit_beam
from arl.simulation import predict_components

NPIXEL, CELL = 128, 4e-3
FREQUENCY = np.array([95e6, 105e6])
PIXELS = np.array([[70, 40], [30, 90], [100, 17]])
FLUX = np.array([10.0, 8.0, 6.0])  # all far above 6 x what sidelobes leave as noise


def images_of(uvw, vis, weight):
    return np.stack([
        gridding.invert(uvw, FREQUENCY[k:k + 1], vis[..., k:k + 1].astype(np.complex64),
                        weight[..., k:k + 1], npixel=NPIXEL, cell=CELL, epsilon=1e-4, threads=1)
        / weight[..., k].sum() for k in range(FREQUENCY.size)])


NOISE = 0.5


@pytest.fixture(scope="module")
def visibilities(uvw):
    """Three sources on pixels, no two of them mirror images, and noise."""
    axis = lm_axis(NPIXEL, CELL)
    flux = np.repeat(FLUX[:, None], FREQUENCY.size, axis=1)
    vis = predict_components(uvw, FREQUENCY, lmn(axis[PIXELS[:, 0]], axis[PIXELS[:, 1]]), flux)
    return vis + np.random.default_rng(3).normal(0, NOISE, (*vis.shape, 2)) @ [1, 1j]


@pytest.fixture(scope="module")
def observed(uvw, visibilities):
    """Dirty images, PSFs, bands."""
    weight = np.ones(visibilities.shape, np.float32)
    psf = images_of(uvw, np.ones(visibilities.shape), weight)
    bands = deconvolution.Bands(FREQUENCY[:, None] + [-5e6, 5e6], weight.sum(axis=(0, 1)),
                                fit_beam(psf[0], CELL).major, CELL)
    return images_of(uvw, visibilities, weight), psf, bands


def residual_of(uvw, vis, model):
    predicted = [gridding.predict(uvw, FREQUENCY[k:k + 1], model[k], cell=CELL, epsilon=1e-4,
                                  threads=1) for k in range(FREQUENCY.size)]
    return images_of(uvw, vis - np.concatenate(predicted, axis=-1),
                     np.ones(vis.shape, np.float32))


def options(**changes):
    return deconvolution.CleanOptions(scales=(0,), spectral_terms=1, **changes)


def clean(observed, chosen, **more):
    dirty, psf, bands = observed
    return deconvolution.clean(dirty, psf, np.zeros_like(dirty), bands, chosen, threads=1, **more)


def test_components_fall_only_where_the_mask_allows(observed):
    """A mask with no symmetry, so that a turned or mirrored one is noticed."""
    mask = np.zeros((NPIXEL, NPIXEL), bool)
    mask[28:33, 86:97] = True
    found = clean(observed, options(threshold=0.5, threshold_sigma=None), mask=mask).model
    assert not found[:, ~mask].any()
    assert found[0].argmax() == np.ravel_multi_index(PIXELS[1], found[0].shape)
    free = clean(observed, options(threshold=0.5, threshold_sigma=None)).model
    assert free[:, ~mask].any()


def blob(row, column, sigma=2.0):
    """A Gaussian of unit peak."""
    i, j = np.indices((NPIXEL, NPIXEL))
    return np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2))


def blobs(noise, *sources):
    """Residual, PSF and bands of an array whose beam has no sidelobes; sources (flux, l, m)."""
    psf = np.stack([blob(NPIXEL // 2, NPIXEL // 2)] * 2).astype(np.float32)
    bands = deconvolution.Bands(FREQUENCY[:, None] + [-5e6, 5e6], np.ones(2), 4.7 * CELL, CELL)
    drawn = np.random.default_rng(1).normal(0, noise, psf.shape)
    image = drawn + sum(flux * blob(*place) for flux, *place in sources)
    return image.astype(np.float32), psf, bands


def test_the_mask_holds_the_centres_of_extended_components():
    """One pixel may be cleaned, beside the middle of a source: the component is symmetric about
    that pixel, and reaches half of its scale beyond it."""
    residual, psf, bands = blobs(0.0)
    source = np.broadcast_to(20 * blob(64, 38, 8.0), residual.shape).astype(np.float32)
    mask = np.zeros((NPIXEL, NPIXEL), bool)
    mask[64, 35] = True
    model = clean((source, psf, bands), deconvolution.CleanOptions(
        scales=(0, 16), spectral_terms=1, threshold=1.0, threshold_sigma=None), mask=mask).model[0]
    assert model[~mask].sum() > 10 * model[mask].sum()
    around = model[64 - 8:64 + 9, 35 - 8:35 + 9]
    assert np.count_nonzero(around) == np.count_nonzero(model)
    np.testing.assert_allclose(around, around[::-1, ::-1], atol=1e-4 * model.max())


@pytest.mark.parametrize("levels", [
    {"auto_mask_sigma": 5.0}, {"threshold": 0.1, "mask_threshold": 0.5}, {}])
def test_what_lies_outside_the_mask_does_not_change_how_deep_is_cleaned(levels):
    """100 Jy there: as without it, 5 Jy are cleaned down to 0.15 of them."""
    mask = np.zeros((NPIXEL, NPIXEL), bool)
    mask[60:71, 30:41] = True
    inside, outside = (5.0, 66, 35), (100.0, 20, 100)
    found = clean(blobs(0.01, inside, outside), options(**levels), mask=mask)
    alone = clean(blobs(0.01, inside), options(**levels), mask=mask)
    assert found.iterations == alone.iterations > 0
    np.testing.assert_allclose(found.model, alone.model, rtol=1e-4, atol=1e-4)
    assert 0.83 * 5 < found.model[0].sum() < 5.1
    assert not found.model[:, ~mask].any()


@pytest.mark.parametrize("levels", [{"auto_mask_sigma": 5.0}, {"mask_threshold": 0.5}, {}])
@pytest.mark.parametrize("scales", [(0,), (0, 4)])
def test_nothing_is_found_where_all_is_zero(levels, scales):
    """In the whole image, or where the mask allows; nothing is left to be done, either."""
    residual, psf, bands = blobs(0.0)
    mask = np.zeros((NPIXEL, NPIXEL), bool)
    mask[60:71, 30:41] = True
    beside = residual.copy()
    beside[:, 20, 100] = 1.0
    how = deconvolution.CleanOptions(scales=scales, spectral_terms=1, **levels)
    for image, allowed in ((residual, None), (residual, mask), (beside, mask)):
        found = clean((image, psf, bands), how, mask=allowed)
        assert (found.iterations, found.finished) == (0, True)
        assert not found.model.any()


def test_a_mask_of_another_size_is_refused(observed):
    with pytest.raises(InputError, match="mask has shape"):
        clean(observed, options(), mask=np.ones((4, 4), bool))


def test_the_auto_mask_keeps_deep_cleaning_off_the_noise(uvw, visibilities, observed):
    """To 1 sigma in four major cycles: the residual is the noise of theory, the fluxes are true,
    and no component lies away from a source; without the mask thousands do."""
    deep = {"threshold_sigma": 1.0, "gain": 0.2, "iterations": 5_000}
    residual, psf, bands = observed
    model = np.zeros_like(residual)
    for _ in range(4):
        model = deconvolution.clean(residual, psf, model, bands,
                                    options(auto_mask_sigma=6.0, **deep), threads=1).model
        residual = residual_of(uvw, visibilities, model)
    i, j = np.indices((NPIXEL, NPIXEL))
    near = np.min([np.hypot(i - a, j - b) for a, b in PIXELS], axis=0) < 8
    assert not model[:, ~near].any()
    free = clean(observed, options(major_gain=1.0, **deep)).model
    assert np.count_nonzero(free[:, ~near]) > 1000
    flux = [model[0, a - 2:a + 3, b - 2:b + 3].sum() for a, b in PIXELS]
    np.testing.assert_allclose(flux, FLUX, rtol=0.02)
    assert residual[0].std() == pytest.approx(
        NOISE / np.sqrt(np.prod(visibilities.shape[:2])), rel=0.05)


def test_the_auto_mask_stage_stops_at_the_major_cycle_first(observed):
    """Half of a peak of about 10 Jy is above 6 sigma: nothing to mask yet."""
    found = clean(observed, options(auto_mask_sigma=6.0, major_gain=0.5))
    half = float(np.abs(observed[0].mean(axis=0)).max()) / 2
    plain = clean(observed, options(threshold=half, threshold_sigma=None, major_gain=1.0))
    assert not found.finished
    np.testing.assert_allclose(found.model, plain.model, rtol=1e-4, atol=1e-4)


def test_the_iterations_bound_both_stages_together(observed):
    found = clean(observed, options(auto_mask_sigma=6.0, major_gain=1.0, threshold_sigma=0.5,
                                    iterations=40))
    assert 0 < found.iterations <= 41
    assert not found.finished


def test_an_image_below_the_threshold_is_left_alone(observed):
    found = clean(observed, options(threshold=1e3))
    assert found.iterations == 0
    assert not found.model.any()


#: What a loop cleaned from: a peak of 1 Jy, everywhere down to 5 sigma, to 3 where it found some.
BEFORE = deconvolution.Levels(peak=1.0, search=0.05, stop=0.03, final=0.03)


@pytest.mark.parametrize(("finished", "now", "more"), [
    (True, {"peak": 0.05}, False),
    (True, {"peak": 0.054, "search": 0.0495, "final": 0.028}, False),  # no more than its noise
    (True, {"peak": 0.056}, True),                    # the PSF was wrong by as much
    (True, {"peak": 0.04, "final": 0.026}, True),     # sidelobes had hidden what is there,
    (True, {"peak": 0.04, "search": 0.02}, True),     # also where the threshold is one in Jy
    (False, {"peak": 0.2}, True),
    (False, {"peak": 0.04}, True),                    # the iterations were used up
])
def test_another_loop_is_worth_it_where_it_would_find_something_new(finished, now, more):
    found = deconvolution.CleanResult(np.zeros((1, 4, 4)), 7, finished, BEFORE)
    assert found.finds_more(replace(BEFORE, **now)) == more


def test_a_loop_leaves_what_its_levels_say(uvw, visibilities, observed):
    """6 sigma of the dirty image, whose sidelobes make most of it, are above 1 Jy."""
    chosen = options(threshold=1.0, threshold_sigma=None, auto_mask_sigma=6.0, major_gain=1.0)
    found = clean(observed, chosen)
    before, now = found.levels, deconvolution.levels_of(
        residual_of(uvw, visibilities, found.model), observed[2], chosen, None)
    assert before.peak == pytest.approx(FLUX.max(), rel=0.2)
    assert before.search > before.stop == before.final == 1.0
    assert now.peak < before.stop
    assert now.search == 1.0  # 6 sigma are less
    assert not found.finds_more(now)


def test_all_threads_that_it_is_given_clean_and_find_the_same(observed):
    dirty, psf, bands = observed
    chosen = deconvolution.CleanOptions(scales=(0, 4, 8), spectral_terms=1)
    one, two = (deconvolution.clean(dirty, psf, np.zeros_like(dirty), bands, chosen,
                                    threads=threads) for threads in (1, 2))
    assert radler.Radler.worker_thread_count == 2
    assert one.iterations == two.iterations > 0
    np.testing.assert_allclose(one.model, two.model, atol=1e-5)


@pytest.mark.parametrize("mask", [None, 5.0])
def test_the_higher_of_two_thresholds_holds(observed, mask):
    """In Jy, and in units of the noise; with the auto-mask and without."""
    deep = {"major_gain": 1.0, "auto_mask_sigma": mask}
    for both, one in (((2.0, 1.0), (2.0, None)), ((1e-3, 2.0), (0.0, 2.0))):
        found, alone = (clean(observed, options(threshold=jy, threshold_sigma=sigma, **deep))
                        for jy, sigma in (both, one))
        assert found.iterations == alone.iterations > 0
        np.testing.assert_allclose(found.model, alone.model, rtol=1e-4, atol=1e-5)


def test_one_scale_alone_is_that_scale():
    """Of a Gaussian of three beams one component takes what points take in many."""
    wide = 5.0 * blob(66, 35, 6.0)
    residual, psf, bands = blobs(0.01)
    image = (residual + wide).astype(np.float32), psf, bands
    points, scale = (clean(image, deconvolution.CleanOptions(
        scales=scales, spectral_terms=1, threshold=0.5, threshold_sigma=None, major_gain=1.0))
        for scales in ((0,), (16,)))
    assert 0 < scale.iterations < points.iterations / 2
    assert scale.model[0].max() < 0.5 * points.model[0].max()


def test_inputs_stay_as_they_were_and_the_model_is_added_to(observed):
    dirty, psf, bands = observed
    start = np.zeros_like(dirty)
    start[:, 5, 6] = 0.25
    kept = [x.copy() for x in (dirty, psf, start)]
    found = deconvolution.clean(dirty, psf, start, bands, options(threshold=2.0), threads=1)
    for now, before in zip((dirty, psf, start), kept, strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_allclose(found.model[:, 5, 6], 0.25, rtol=1e-6)
    assert found.model.sum() > start.sum()


def test_the_rim_is_cleaned(uvw):
    """The 2018 pipeline left the outer 8 pixels; a source two pixels from the edge is found."""
    axis = lm_axis(NPIXEL, CELL)
    vis = predict_components(uvw, FREQUENCY, lmn(axis[[2]], axis[[60]]), np.ones((1, 2)))
    weight = np.ones(vis.shape, np.float32)
    psf = images_of(uvw, np.ones(vis.shape), weight)
    bands = deconvolution.Bands(FREQUENCY[:, None] + [-5e6, 5e6], weight.sum(axis=(0, 1)),
                                fit_beam(psf[0], CELL).major, CELL)
    found = clean((images_of(uvw, vis, weight), psf, bands), options(threshold=0.3))
    assert found.model[0].argmax() == np.ravel_multi_index((2, 60), found.model[0].shape)


def test_the_mean_of_neighbouring_bands_is_cleaned_and_every_band_has_its_own_flux():
    """A spectrum of as many terms as are fitted is the same from its means as from all bands."""
    middle = np.array([90, 93, 96, 100, 104, 107, 110]) * 1e6
    bands = deconvolution.Bands(middle[:, None] + [-1e6, 1e6], np.arange(1.0, 8.0), 6e-3, CELL)
    groups = deconvolution.Groups.of(bands, 3)
    assert [np.flatnonzero(g).tolist() for g in groups.share] == [[0], [1, 2], [3, 4], [5], [6]]
    np.testing.assert_allclose(groups.share.sum(axis=1), 1)
    assert groups.bands.weight.tolist() == [1, 5, 9, 6, 7]
    terms = np.array([2.0, -0.7, 0.4])
    model, found = np.zeros((7, 4, 4)), np.zeros((5, 4, 4), np.float32)
    model[:, 0, 1] = 0.5
    found[:, 2, 3] = np.polyval(terms, groups.bands.edges.mean(axis=1) / 1e8)
    total = groups.add(model, found)
    np.testing.assert_allclose(total[:, 2, 3], np.polyval(terms, middle / 1e8), rtol=1e-5)
    np.testing.assert_array_equal(total[:, 0, 1], 0.5)
    assert np.count_nonzero(total) == 14


@pytest.mark.parametrize(("count", "terms", "expected"), [
    (1, 3, 1), (2, 3, 2), (4, 3, 4), (4, 2, 3), (8, 2, 3), (8, 7, 8)])
def test_bands_are_joined_where_they_are_more_than_their_spectrum_needs(count, terms, expected):
    """Bands 1 % of their frequency wide, side by side."""
    edges = 100e6 + 1e6 * (np.arange(count)[:, None] + [0, 1])
    bands = deconvolution.Bands(edges, np.ones(count), 6e-3, CELL)
    assert len(deconvolution.Groups.of(bands, terms).bands.edges) == expected
    wide = edges * np.arange(1, count + 1)[:, None]
    apart = deconvolution.Bands(wide, np.ones(count), 6e-3, CELL)
    assert len(deconvolution.Groups.of(apart, terms).bands.edges) == count


def test_the_auto_mask_is_the_grown_footprint_of_all_bands():
    model = np.zeros((2, 9, 9))
    model[0, 2, 3], model[1, 7, 7] = 1.0, -0.1
    mask = deconvolution.auto_mask(model)
    expected = np.zeros((9, 9), bool)
    expected[1:4, 2:5] = expected[6:9, 6:9] = True
    np.testing.assert_array_equal(mask, expected)
    assert np.count_nonzero(deconvolution.auto_mask(model, dilation=0)) == 2
    np.testing.assert_array_equal(deconvolution.auto_mask(model[:1], model[1:]), expected)


@pytest.mark.parametrize("scales", [(0,), (0, 4)])
def test_nothing_is_printed_and_the_output_works_afterwards(observed, capfd, scales):
    print("before", flush=True)
    clean(observed, deconvolution.CleanOptions(scales=scales, threshold=1.0))
    print("after", flush=True)
    out, err = capfd.readouterr()
    assert out == "before\nafter\n"
    assert err == ""


def test_other_threads_print_while_it_cleans(observed, capsys):
    seen = threading.Event()

    def speak():
        print("other thread")
        seen.set()

    with deconvolution._own_prints_dropped():
        print("own thread")
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
    assert seen.is_set()
    assert capsys.readouterr().out == "other thread\n"


def test_automatic_scales_take_an_extended_source_in_fewer_components_than_points_do(uvw):
    """A Gaussian of several beams, of which points leave more after as many iterations."""
    frequency, lmn = np.array([100e6]), np.array([[0.0, 0.0, 1.0]])
    vis = predict_components(uvw, frequency, lmn, np.array([[10.0]]),
                             np.array([[0.035, 0.025, 0.3]])).astype(np.complex64)
    weight = np.ones(vis.shape, np.float32)
    grid = {"npixel": 128, "cell": 4e-3, "epsilon": 1e-4, "threads": 1}
    dirty, psf = (gridding.invert(uvw, frequency, v, weight, **grid)[None] / weight.sum()
                  for v in (vis, np.ones_like(vis)))
    bands = deconvolution.Bands(np.array([[99e6, 101e6]]), weight.sum(axis=(0, 1)), 0.011, 4e-3)
    left = {}
    for scales in ((0,), ()):
        how = deconvolution.CleanOptions(scales=scales, threshold=0.01, threshold_sigma=None,
                                         major_gain=1.0, spectral_terms=1, iterations=30)
        model = deconvolution.clean(dirty, psf, np.zeros_like(psf), bands, how, threads=1).model
        predicted = gridding.predict(uvw, frequency, model[0], cell=4e-3, epsilon=1e-4, threads=1)
        left[scales] = float(np.linalg.norm(vis - predicted) / np.linalg.norm(vis))
    assert left[()] < 0.7 * left[(0,)], left
