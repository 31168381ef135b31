"""Model, imaging and self-calibration of a small observation on a real local Dask cluster."""

from __future__ import annotations

import numpy as np
import pytest

from arl.calibration import chain
from arl.conventions import lmn_to_radec
from ical.cluster import connect
from ical.imager import Imager
from ical.metrics import StageMeter
from ical.parameters import Parameters
from ical.stages import image, model, selfcal
from ical.tasks import Source

RUN = {
    "seed": 11,
    "observation": {
        "r_max": 200.0, "phase_centre": {"ra": 30.0, "dec": -60.0},
        "frequency": {"start": 95e6, "end": 105e6, "channels": 2},
        "time": {"start_hour_angle": -30.0, "end_hour_angle": 30.0, "samples": 3},
    },
    "sky": {"flux_limit": 5.0, "positions": "pixel"},
    "gains": {"phase_error": 1.0},
    "imaging": {"npixel": 256, "clean": {"scales": [0], "major_cycles": 6}},
    "selfcal": {"terms": "T", "cycles": 8},
}


class Silent:
    """A watcher that keeps the last state and says nothing."""

    state = None

    def told(self, cycle, cycles):
        """Nothing is told."""

    def keep(self, state):
        """Remember the state."""
        self.state = state


@pytest.fixture(scope="module")
def cluster():
    with connect(None, workers=2, threads=1, memory_limit=None) as connected:
        yield connected


@pytest.fixture(scope="module")
def observed(cluster, tmp_path_factory):
    """A simulated observation whose partitions lie in Zarr stores."""
    parameters = Parameters.model_validate(RUN)
    setup = model.set_up(parameters)
    plan = model.plan_run(parameters, setup, cluster.hosts())
    folder = tmp_path_factory.mktemp("data")
    paths = {p.name: str(folder / f"{p.name}.zarr") for p in plan.partitions}
    meter = StageMeter(cluster.client).start()
    sizes = model.simulate(cluster, parameters, setup, plan, paths)
    return parameters, setup, plan, paths, sizes, meter.stop()


def imager_of(cluster, observed, column):
    parameters, setup, plan, paths, *_ = observed
    grid = image.grid_of(parameters, setup)
    sources = {name: Source(path, column) for name, path in paths.items()}
    edges = image.band_edges(plan, setup.frequency, setup.channel_width)
    return Imager(cluster, plan, sources, grid, joint_density=False), edges


def loop_of(imager, parameters, setup, edges):
    return selfcal.SelfCalibration(imager, parameters, setup, edges, float(setup.sigma > 0))


def brightest(setup, images, band):
    """Apparent fluxes and pixels of the two brightest components: true, model's 5 x 5 pixels."""
    order = np.argsort(setup.flux[:, band])[::-1][:2]
    pixel = np.rint(setup.lmn[order, :2] / setup.cell).astype(int) + setup.npixel // 2
    found = [images[band, i - 2:i + 3, j - 2:j + 3].sum() for i, j in pixel]
    return setup.flux[order, band], np.array(found)


def test_the_tasks_ran_on_this_host_and_were_counted(observed):
    _, setup, plan, _, sizes, cost = observed
    (host,) = cost["tasks"]
    assert cost["tasks"][host]["kinds"]["simulate_partition"] == len(plan.partitions) == 2
    n = len(setup.layout.names)
    rows = 3 * n * (n - 1) // 2
    # two columns of complex64, a float32 weight and a flag a channel; uvw once a partition
    assert sum(sizes.values()) >= 2 * rows * (2 * 8 + 4 + 1 + 3 * 8)
    assert cost["cpu_s"] > 0
    assert cost["peak_rss_mb"] > 100
    assert 10 < cost["worker_peak_mb"] < cost["peak_rss_mb"] + 1
    assert 10 < cost["driver_peak_mb"] < cost["peak_rss_mb"] + 1


def test_continuum_imaging_of_ideal_data_finds_the_fluxes(cluster, observed):
    parameters, setup, *_ = observed
    imager, edges = imager_of(cluster, observed, model.IDEAL)
    result = image.image(imager, parameters, edges, lambda number: None)
    true, found = brightest(setup, result.model, 0)
    np.testing.assert_allclose(found, true, rtol=0.02)
    assert result.rms[-1] < 0.05 * result.rms[0]


def test_self_calibration_from_a_blank_start_recovers_gains_and_fluxes(cluster, observed):
    parameters, setup, plan, *_ = observed
    imager, edges = imager_of(cluster, observed, "VISIBILITY")
    loop = loop_of(imager, parameters, setup, edges)
    result = loop.run(Silent())
    assert result.outcome in ("CONVERGED", "MAX_CYCLES"), result.reason
    assert result.residual.rms < 0.1 * result.history[0].rms_jy
    true, found = brightest(setup, result.model, 0)
    np.testing.assert_allclose(found, true, rtol=0.03)
    errors = []
    everywhere = model.injected_gains(parameters, setup)
    for partition in plan.partitions:
        (gain,) = loop.terms.gains(result.solutions, "T")[partition.name]
        injected = everywhere[slice(*partition.times), :, slice(*partition.channels)]
        turned = gain * np.conj(injected)
        turned = turned / np.exp(1j * np.angle(turned.mean(axis=1, keepdims=True)))
        errors.append(np.angle(turned))
    assert np.degrees(np.sqrt(np.mean(np.square(errors)))) < 5.0


def test_noise_alone_fails_with_its_reason(cluster, observed, tmp_path):
    quiet = RUN | {"sky": {"flux_limit": 5.0, "primary_beam": str(tmp_path / "blind.csv")},
                   "noise": {"sigma": 1.0}}
    (tmp_path / "blind.csv").write_text("# frequency_hz: 1e8\nangle_deg,power\n0,0\n90,0\n")
    deep = {"auto_threshold": 6.0, "scales": [0], "algorithm": "generic"}
    quiet["imaging"] = {"npixel": 256, "clean": deep}
    parameters = Parameters.model_validate(quiet)
    setup = model.set_up(parameters)
    plan = model.plan_run(parameters, setup, cluster.hosts())
    paths = {p.name: str(tmp_path / f"{p.name}.zarr") for p in plan.partitions}
    model.simulate(cluster, parameters, setup, plan, paths)
    imager, edges = imager_of(cluster, (parameters, setup, plan, paths), "VISIBILITY")
    result = loop_of(imager, parameters, setup, edges).run(Silent())
    assert result.outcome == "FAILED"
    assert "nothing above the threshold" in result.reason


def test_joint_terms_are_solved_from_the_summed_matrices(cluster, observed):
    parameters, setup, plan, *_ = observed
    one = parameters.model_copy(update={
        "selfcal": parameters.selfcal.model_copy(update={"terms": "G", "global_solution": True})})
    imager, edges = imager_of(cluster, observed, "VISIBILITY")
    loop = loop_of(imager, one, setup, edges)
    ((solutions, _),) = loop.calibrate(np.ones((2, 256, 256), np.float32) * 1e-3, ["G"], {})
    first, second = (solutions[p.name]["G"] for p in plan.partitions)
    assert isinstance(first, chain.TermSolution)
    np.testing.assert_array_equal(first.gain, second.gain)
    assert first.gain.shape[:2] == (1, 1)


def test_a_loop_goes_on_from_what_was_kept_to_the_same_image(cluster, observed):
    parameters, setup, *_ = observed
    imager, edges = imager_of(cluster, observed, "VISIBILITY")
    loop = loop_of(imager, parameters, setup, edges)
    whole = loop.run(Silent())

    class Killed(Silent):
        def keep(self, state):
            self.state = state
            if len(state.history) == 2:
                raise RuntimeError("killed")

    watcher = Killed()
    with pytest.raises(RuntimeError, match="killed"):
        loop.run(watcher)
    resumed = loop.run(Silent(), watcher.state)
    assert resumed.history == whole.history
    assert np.abs(resumed.residual.image - whole.residual.image).max() <= 1e-5 * np.abs(
        whole.dirty.image).max()


def test_a_start_model_is_calibrated_on_first(cluster, observed, tmp_path):
    parameters, setup, *_ = observed
    ra, dec = lmn_to_radec(setup.lmn[:, 0], setup.lmn[:, 1], *setup.phase_centre)
    path = tmp_path / "start.csv"
    rows = [f"{np.degrees(a)},{np.degrees(d)},{s}"
            for a, d, s in zip(ra, dec, setup.flux[:, 0], strict=True)]
    path.write_text("\n".join(["ra_deg,dec_deg,flux_jy", *rows]))
    known = parameters.model_copy(update={
        "selfcal": parameters.selfcal.model_copy(update={"start_model": str(path)})})
    imager, edges = imager_of(cluster, observed, "VISIBILITY")
    rms = {}
    for name, run in (("blank", parameters), ("known", known)):
        loop = loop_of(imager, run, setup, edges)
        blank = np.zeros((2, 256, 256), np.float32)
        ((solutions, _),) = loop.calibrate(blank, ["T"], {}, first=True)
        gains = loop.terms.gains(solutions, "T")
        rms[name] = np.abs(imager.residual(np.zeros((2, 256, 256)), gains).image).max()
    # with the true sky as its model the image of the corrected data has the true peak
    assert rms["known"] == pytest.approx(setup.flux.max(), rel=0.1)
    assert rms["blank"] < 0.7 * setup.flux.max()
