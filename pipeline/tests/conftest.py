"""A small observation that every test can afford."""

from __future__ import annotations

import numpy as np
import pytest

from arl.telescope import baseline_uvw, baselines, load_layout, within

DEC = np.radians(-60.0)


@pytest.fixture(scope="session")
def layout():
    return within(load_layout("LOWBD2"), 120.0)


@pytest.fixture(scope="session")
def uvw(layout):
    return baseline_uvw(layout, DEC, np.radians([-45.0, 0.0, 45.0]))


@pytest.fixture(scope="session")
def pairs(layout):
    return baselines(len(layout.names))
