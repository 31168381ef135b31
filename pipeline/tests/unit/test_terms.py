"""What the gain terms of a run are given to solve with, without any data."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from arl.calibration.gains import gain_table
from arl.io.zarr import write_dataset
from ical.parameters import Parameters
from ical.partitions import Partition, Plan
from ical.stages.terms import GainTerms

N_ANTENNA = 20
NAMES = tuple(f"A{k}" for k in range(N_ANTENNA))
TIME, FREQUENCY = 10.0 * np.arange(6), 1e8 + 1e6 * np.arange(2)
#: A band of two blocks of three times.
PLAN = Plan(((0, 2),), tuple(Partition(f"time{k}", 0, (0, 2), (3 * k, 3 * k + 3), "here")
                             for k in range(2)))


def gain_terms(**selfcal):
    """The terms of a run on a Measurement Set of two partitions."""
    parameters = Parameters.model_validate(
        {"input": {"measurement_set": "a.ms"}, "selfcal": selfcal})
    setup = SimpleNamespace(antenna_names=NAMES, products=(), time=TIME, frequency=FREQUENCY)
    return GainTerms(SimpleNamespace(plan=PLAN), parameters, setup, unit_noise=0.0)


def table(path, gain):
    """Gains of G (time, ant, chan) as a file."""
    write_dataset(gain_table("G", TIME, NAMES, FREQUENCY, gain), path)
    return str(path)


@pytest.mark.parametrize(("flagged", "level"), [
    ((0, 1), 1.5), ((0, 1, 2), 1.5), (range(6), 1.0)])
def test_intervals_that_were_flagged_keep_the_flux_scale_of_the_others(tmp_path, flagged, level):
    """Of some times, of a whole partition, or of all: then nobody knows of any scale."""
    size = 1 + 0.1 * np.sin(np.arange(N_ANTENNA))
    factor = np.array([1.0, 1.4, 1.4, 1.5, 1.5, 1.7])
    gain = np.ones((6, N_ANTENNA, 2), complex) * factor[:, None, None] * (
        size / size.mean())[:, None]
    gain[list(flagged)] = np.nan
    terms = gain_terms(terms="TG", solution_interval={"T": 10.0, "G": 10.0},
                       start_gains={"G": table(tmp_path / "g.zarr", gain)})
    before = terms.begin_with()
    levels = terms.levels(before)
    scale = np.concatenate([terms.work(p, "TG", before, levels, None).scale["G"]
                            for p in PLAN.partitions])[..., 0]
    expected = np.where(np.isin(np.arange(6), list(flagged)), level, factor)
    np.testing.assert_allclose(scale, expected[:, None] * np.ones(2))
