"""How many bands there are where the run file does not say."""

import numpy as np
import pytest

from ical.bands import band_count


@pytest.mark.parametrize(("low", "high", "channels", "expected"), [
    (90e6, 110e6, 7, 7),        # the reference: every channel is wider than 3 %
    (90e6, 110e6, 8, 8),
    (90e6, 110e6, 64, 8),       # eight channels of 0.3 MHz are just below 3 %
    (95e6, 105e6, 2, 2),
    (140e6, 142e6, 40, 1),      # 1.4 % in all: one flat model is good enough
    (100e6, 200e6, 100, 8),     # 50 bands of 2 % would cost more than the data
    (150e6, 150e6, 1, 1),
])
def test_bands_are_as_wide_as_spectra_allow(low, high, channels, expected):
    assert band_count(np.linspace(low, high, channels), 10**6, 1024) == expected


def test_large_data_pay_for_more_bands():
    frequency = np.linspace(100e6, 200e6, 100)
    assert band_count(frequency, 10**8, 1024) == 50
    assert band_count(frequency, 10**8, 4096) == 16  # transforms of 16 times as many pixels
    assert band_count(frequency, 10**8, 8192) == 8


@pytest.mark.parametrize("channels", [3, 17, 64, 200])
def test_no_band_is_wider_than_it_may_be(channels):
    frequency = np.linspace(100e6, 120e6, channels)
    count = band_count(frequency, 10**9, 256)
    widest = -(-channels // count)
    step = 20e6 / (channels - 1)
    assert widest == 1 or widest * step <= 0.03 * 100e6 * 1.000001
