"""Terms solved partition by partition that then come after one that spans partitions, and back."""

from __future__ import annotations

import io
from contextlib import contextmanager

import numpy as np
import pytest
from small_runs import changed, perform
from test_start_gains import injected, written

import ical.partitions
from arl.io.zarr import read_dataset
from ical.context import RunContext
from ical.parameters import load
from ical.progress import JsonLines, Progress
from ical.stages import files
from ical.stages.loopfile import LoopKeeper
from ical.stages.run import run_selfcal
from ical.stages.selfcal import SelfCalibration
from ical.store import Store

pytestmark = pytest.mark.integration

BASELINES, TIMES, CHANNELS = 136, 20, 4
#: Two bands of two channels that share T and G, and no noise: of its own accord T has an interval
#: for each time and G one for ten.
RUN = changed({
    "observation.frequency": {"start": 97e6, "end": 100e6, "channels": CHANNELS},
    "observation.time.samples": TIMES,
    "gains": {"drift_phase": 0.3, "drift_time": 5000.0, "bandpass_phase": 0.1,
              "bandpass_amplitude": 0.2},
    "sky": {"catalogue": "one.csv"}, "imaging.bands": 2, "imaging.npixel": 64,
    "selfcal": {"cycles": 5, "start_model": "one.csv",
                "solution_bandwidth": {"T": 2e6, "G": 2e6}},
})


@pytest.fixture(name="folder")
def folder_fixture(tmp_path, monkeypatch):
    """Of runs on one source, whose bands are split into two partitions of ten times."""
    monkeypatch.setattr(ical.partitions, "MAX_PARTITION_VISIBILITIES",
                        BASELINES * TIMES * CHANNELS // 4)
    (tmp_path / "one.csv").write_text("ra_deg,dec_deg,flux_jy,spectral_index,"
                                      "reference_frequency_hz\n30.0,-60.0,50.0,0.0,1e8\n")
    return tmp_path


def product(store, terms):
    """The gains that a run wrote, (time, ant, chan)."""
    tables = [read_dataset(store.folder / "selfcal" / f"gains_{t}.zarr") for t in terms]
    return np.prod([t["GAIN"].values[..., 0] for t in tables], axis=0)


def error(found, true):
    """The most that gains (time, ant, chan) are off, but for the phase that all antennas share."""
    turn = np.sum(true * np.conj(found), axis=1, keepdims=True)
    return np.abs(found * turn / np.abs(turn) - true).max()


def of_mean_one(gain):
    """Gains whose mean amplitude is 1 at every time and channel: the flux scale of the data."""
    return gain / np.abs(gain).mean(axis=1, keepdims=True)


@pytest.mark.parametrize("terms", ["BTG", "TBG"])
def test_terms_are_solved_jointly_once_the_bandpass_has_its_turn(one_worker, folder, terms):
    """B is first solved in cycle 4: until then T and G are solved in each partition.

    Without it channels that share T and G, and differ by 20 %, could not come out.
    """
    run = changed({"selfcal.terms": terms}, RUN)
    store = perform(folder, run, one_worker, terms)
    history = store.read_stage("selfcal")["history"]
    assert [set(c["terms"]) for c in history[2:4]] == [set("TG"), set("TGB")]
    _, true = injected(changed({"sky.catalogue": str(folder / "one.csv")}, run))
    assert error(of_mean_one(product(store, terms)), of_mean_one(true)) < 0.05


def context_of(folder, name, cluster, resume=False):
    """Self-calibration of a run that there is."""
    parameters = load(folder / f"{name}.yml")
    return RunContext(parameters, Store.open(parameters, folder, run_id=name),
                      Progress("selfcal", JsonLines(io.StringIO())), cluster, resume)


@contextmanager
def killed_after(cycle):
    """A pipeline dies when the state after a cycle has been written."""
    keep = LoopKeeper.keep

    def keep_and_die(keeper, state):
        keep(keeper, state)
        if len(state.history) == cycle:
            raise RuntimeError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoopKeeper, "keep", keep_and_die)
        yield


def test_a_run_that_is_resumed_there_ends_as_one_that_nothing_happened_to(one_worker, folder):
    """Before terms are first solved jointly, and with solutions that were."""
    run = changed({"selfcal.terms": "BTG"}, RUN)
    whole = perform(folder, run, one_worker, "whole")
    for cycle in (3, 4):
        name = f"killed{cycle}"
        with killed_after(cycle), pytest.raises(RuntimeError, match="killed"):
            perform(folder, run, one_worker, name)
        context = context_of(folder, name, one_worker, resume=True)
        assert len(LoopKeeper(context).read().history) == cycle
        run_selfcal(context)
        one, other = (s.read_stage("selfcal")["history"] for s in (whole, context.store))
        assert [c | {"moved_bytes": 0} for c in one] == [c | {"moved_bytes": 0} for c in other]
        np.testing.assert_array_equal(product(whole, "BTG"), product(context.store, "BTG"))


@pytest.mark.parametrize("option", [
    {"smoothing_time": {"T": 1.0}}, {"interpolation": {"T": "linear"}},
    {"smoothing_time": {"T": 1.0}, "fixed_terms": "G", "solution_interval": {},
     "solution_bandwidth": {}}])
def test_gains_to_start_from_reach_a_term_that_is_solved_jointly(one_worker, folder, option):
    """T takes its neighbours' solutions from other partitions, so G after it is solved jointly.

    G keeps the scale of what it starts from, which is another at every time, or is what it starts
    from; phases of single channels are left to T.
    """
    run = starts_from_amplitudes(
        folder, {"terms": "TG", "solution_bandwidth": {"G": 2e6}} | option)
    store = perform(folder, run, one_worker, "begun")
    assert error(product(store, "TG"), injected(run)[1]) < 0.01


def starts_from_amplitudes(folder, selfcal):
    """A run of amplitudes that drift, whose G has an interval a time and starts from the truth."""
    run = changed({"sky.catalogue": str(folder / "one.csv"), "selfcal.cycles": 1,
                   "imaging.start_model": "one.csv",
                   "gains": {"phase_error": 0.3, "drift_amplitude": 0.2, "drift_time": 5000.0},
                   "selfcal.solution_interval": {"G": 60.0}, "selfcal.solution_bandwidth": {}}, RUN)
    setup, gain = injected(run)
    path = written(folder / "g.zarr", setup, np.abs(gain), "G")
    own = {f"selfcal.{k}": v for k, v in selfcal.items()}
    return changed({"selfcal.start_gains.G": path} | own, run)


@contextmanager
def loop_of(folder, run, cluster):
    """The loop of a run whose data are simulated."""
    perform(folder, run, cluster, "run", ("model",))
    context = context_of(folder, "run", cluster)
    with files.cluster_of(context) as workers, files.data_of(context, workers) as (setup, plan):
        imager, edges = files.imager_of(context, setup, workers, plan, "VISIBILITY")
        yield SelfCalibration(imager, context.parameters, setup, edges, 0.0), plan


def test_a_way_to_calibrate_goes_on_from_the_solutions_of_another(one_worker, folder):
    """Those of each partition serve where all are solved jointly, and the other way round.

    G keeps the scale of what it goes on from at every time, so nothing but the truth comes out.
    """
    run = starts_from_amplitudes(folder, {"terms": "BTG", "first_cycle": {"B": 1}})
    _, true = injected(run)
    with loop_of(folder, run, one_worker) as (loop, plan):
        blank = np.zeros((2, 64, 64), np.float32)
        solutions = loop.terms.begin_with()
        one = [p.name for p in plan.partitions][:2]
        for terms in ("TG", "BTG", "TG"):
            ((solutions, _),) = loop.calibrate(blank, [terms], solutions, first=True)
            shared = solutions[one[0]]["G"] is solutions[one[1]]["G"]
            assert shared == (terms == "BTG")
            for p in plan.partitions:
                found = np.prod(loop.terms.gains(solutions, terms)[p.name], axis=0)
                part = true[slice(*p.times), :, slice(*p.channels)]
                assert error(found, part) < 0.02
