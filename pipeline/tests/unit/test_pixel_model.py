"""Components as pixels, against the visibilities of the components themselves."""

from __future__ import annotations

import numpy as np
import pytest
from direct import direct_sum

from arl.conventions import lm_axis, lmn, lmn_to_radec
from arl.errors import InputError
from arl.simulation import predict_components
from arl.sky import Components, pixel_model

CENTRE, CELL, NPIXEL = (0.5, -1.0), 2e-3, 64
FREQUENCY = np.array([95e6, 105e6])


def components(l, m, flux, shape):
    ra, dec = lmn_to_radec(np.array(l), np.array(m), *CENTRE)
    n = len(l)
    return Components(ra, dec, np.array(flux), np.full(n, -0.8), np.zeros(n), np.full(n, 1e8),
                      np.array(shape, float))


def test_points_on_pixels_are_there_with_their_spectra():
    given = components([5 * CELL, -7 * CELL], [3 * CELL, 0.0], [2.0, 1.0], np.zeros((2, 3)))
    found = pixel_model(given, *CENTRE, NPIXEL, CELL, FREQUENCY)
    assert np.argwhere(found[0]).tolist() == [[25, 32], [37, 35]]
    np.testing.assert_allclose(found[:, 37, 35], 2.0 * (FREQUENCY / 1e8) ** -0.8, rtol=1e-6)


def test_a_gaussian_has_the_visibilities_of_the_gaussian(uvw):
    """Off the pixels' centres, six by three pixels wide, askew; the envelope leaves out that w
    changes across it, which is what differs here."""
    shape = np.array([[6 * CELL, 3 * CELL, 0.6]])
    l, m = [3.3 * CELL], [-4.7 * CELL]
    found = pixel_model(components(l, m, [3.0], shape), *CENTRE, NPIXEL, CELL, FREQUENCY)
    assert found.sum(axis=(1, 2)) == pytest.approx(3.0 * (FREQUENCY / 1e8) ** -0.8, rel=1e-5)
    flux = 3.0 * (FREQUENCY / 1e8)[None] ** -0.8
    true = predict_components(uvw, FREQUENCY, lmn(np.array(l), np.array(m)), flux, shape)
    i, j = np.nonzero(found[0])
    axis = lm_axis(NPIXEL, CELL)
    drawn = direct_sum(uvw, FREQUENCY, lmn(axis[i], axis[j]), found[:, i, j].T)
    assert np.abs(drawn - true).max() < 1e-2 * np.abs(true).max()


def test_at_the_rim_a_gaussian_is_cut_and_keeps_its_flux():
    shape = np.array([[6 * CELL, 6 * CELL, 0.0]])
    found = pixel_model(components([-32 * CELL], [31 * CELL], [3.0], shape), *CENTRE, NPIXEL, CELL,
                        FREQUENCY[:1])
    assert found.sum() == pytest.approx(3.0 * 0.95**-0.8, rel=1e-5)


def test_what_is_outside_is_left_out_and_nothing_else_is_an_error():
    outside = components([40 * CELL, 0.0], [0.0, 0.0], [2.0, 1.0], np.zeros((2, 3)))
    found = pixel_model(outside, *CENTRE, NPIXEL, CELL, np.array([1e8]))
    assert np.argwhere(found[0]).tolist() == [[32, 32]]
    assert found.sum() == pytest.approx(1.0)
    with pytest.raises(InputError, match="no component inside the images"):
        pixel_model(outside.select(np.array([0])), *CENTRE, NPIXEL, CELL, np.array([1e8]))
