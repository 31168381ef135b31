"""When continuum imaging ends: with an imager whose images are made up."""

from types import SimpleNamespace

import numpy as np
import pytest

from arl.deconvolution import CleanOptions, CleanResult, Levels
from ical.imager import BandImages
from ical.stages.image import Cleaner


class MadeUp:
    """Every loop stops at its final threshold or does not, and leaves residuals of a given rms."""

    def __init__(self, finished, rms, final):
        self._finished, self._rms, self._final = list(finished), list(rms), list(final)
        self.cleaned = 0

    def clean(self, residual, psf, model, *_):
        self.cleaned += 1
        return CleanResult(model + 1, 5, self._finished.pop(0), self._levels(self._final[0]))

    def residual(self, model, gains):
        self._final.pop(0)
        return BandImages(np.full((1, 2, 2), self._rms.pop(0)), np.ones(1))

    def levels(self, *_):
        return self._levels(self._final[0])

    @staticmethod
    def rms_to_clean(residual):
        return residual.rms

    @staticmethod
    def _levels(final):
        return Levels(0.01, 0.02, final, final)


@pytest.mark.parametrize(("finished", "rms", "final", "cycles"), [
    ([False, False, True], [0.5, 0.2, 0.1], [0.9, 0.6, 0.3, 0.3], 3),  # all is done
    ([True, True, True], [0.5, 0.2, 0.1], [0.9, 0.6, 0.3, 0.3], 3),  # the noise was sidelobes
    ([False, False, False], [0.5, 0.499], [0.9, 0.9, 0.9, 0.9], 2),  # it no longer helps
    ([False, False, False, False], [0.5, 0.4, 0.3, 0.2], [0.9] * 5, 4),  # all that are allowed
])
def test_it_ends_when_the_last_threshold_is_reached_or_nothing_helps(finished, rms, final, cycles):
    imager = MadeUp(finished, rms, final)
    cleaner = Cleaner(imager, None, SimpleNamespace(), np.zeros((1, 2)), CleanOptions(), {})
    told = []
    model, residual, kept = cleaner.major_cycles(
        np.zeros((1, 2, 2)), BandImages(np.ones((1, 2, 2)), np.ones(1)), 4, told.append)
    assert imager.cleaned == cycles == len(kept)
    assert told == list(range(1, cycles + 1))
    assert np.all(model == cycles)
    assert residual.rms == pytest.approx(kept[-1])
