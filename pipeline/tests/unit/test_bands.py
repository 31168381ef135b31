"""How many bands there are where the run file does not say."""

import numpy as np
import pytest

from ical.bands import band_count


@pytest.mark.parametrize(("low", "high", "channels", "expected"), [
    (90e6, 110e6, 7, 7),        # the reference: every channel is wider than 1 %
    (90e6, 110e6, 8, 8),
    (90e6, 110e6, 64, 8),       # 32 bands of 1 % would cost more than the data
    (95e6, 105e6, 2, 2),
    (140e6, 142e6, 40, 2),      # 1.4 % in all
    (140e6, 141e6, 40, 1),      # 0.7 %: one flat model is good enough
    (150e6, 150e6, 1, 1),
])
def test_bands_are_as_wide_as_spectra_allow(low, high, channels, expected):
    assert band_count(np.linspace(low, high, channels), 10**6, 1024) == expected


def test_large_data_pay_for_more_bands():
    frequency = np.linspace(100e6, 200e6, 100)
    many, fewer = (band_count(frequency, 10**9, n) for n in (1024, 4096))
    assert many == 100
    assert 8 < fewer < 100
    assert band_count(frequency, 10**9, 16384) == 8


@pytest.mark.parametrize("channels", [3, 17, 64, 400])
def test_no_band_is_wider_than_it_may_be(channels):
    frequency = np.linspace(100e6, 120e6, channels)
    count = band_count(frequency, 10**10, 256)
    widest = -(-channels // count)
    step = 20e6 / (channels - 1)
    assert widest == 1 or widest * step <= 0.01 * 100e6 * 1.000001
