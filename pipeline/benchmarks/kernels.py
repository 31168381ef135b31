"""Each kernel alone: seconds and nanoseconds a visibility or pixel, on one thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from arl import deconvolution, gridding, restoration, simulation, weighting
from arl.calibration import apply, normal, solver
from arl.telescope import baseline_uvw, baselines, load_layout, within
from ical.prefork import thread_environment
from ical.warmup import warm_up

R_MAX_M, CELL_RAD, EPSILON = 500.0, 1e-3, 1e-4
COMPONENTS, SOURCES_JY = 100, 1.0


def kernels_alone(samples: int, npixel: int, repeats: int) -> list[dict[str, Any]]:
    """One row a kernel: CPU and wall seconds (median, lowest, highest), and for what.

    190 stations, one channel, so many times over four hours, images of npixel x npixel.
    """
    os.environ.update(thread_environment(1))
    warm_up()
    return [_timed(name, size, unit, call, repeats)
            for name, (size, unit, call) in _calls(samples, npixel).items()]


def _timed(
    name: str, size: int, unit: str, call: Callable[[], Any], repeats: int
) -> dict[str, Any]:
    call()
    wall, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return {"kernel": name, "size": size, "unit": unit, "repeats": repeats,
            "cpu_s": _spread(cpu), "wall_s": _spread(wall),
            "cpu_ns_each": float(np.median(cpu)) / size * 1e9}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": float(np.median(seconds)), "low": min(seconds), "high": max(seconds)}


def _calls(samples: int, npixel: int) -> dict[str, tuple[int, str, Callable[[], Any]]]:
    """Kernels by name: how much one call does, of what, and the call."""
    random = np.random.default_rng(1)
    layout = within(load_layout("LOWBD2"), R_MAX_M)
    n_station = len(layout.names)
    first, second = baselines(n_station)
    uvw = baseline_uvw(layout, -1.0, np.linspace(-0.5, 0.5, samples))
    frequency = np.array([1e8])
    cell = CELL_RAD * 512 / npixel
    angles = random.uniform(-0.2, 0.2, (2, COMPONENTS))
    lmn = np.stack([*angles, np.sqrt(1 - np.square(angles).sum(axis=0))], axis=1)
    flux = np.full((COMPONENTS, 1), SOURCES_JY)
    vis = simulation.predict_components(uvw, frequency, lmn, flux).astype(np.complex64)
    weight = np.ones(vis.shape, np.float32)
    model = np.zeros((npixel, npixel), np.float32)
    model[tuple(np.rint(angles / cell).astype(int) + npixel // 2)] = SOURCES_JY
    grid = {"npixel": npixel, "cell": cell}
    density = weighting.uv_density(uvw, frequency, weight, **grid)
    dirty = gridding.invert(uvw, frequency, vis, weight, **grid, epsilon=EPSILON, threads=1)
    psf = gridding.psf(uvw, frequency, weight, **grid, epsilon=EPSILON, threads=1)
    total = weight.sum()
    beam = restoration.fit_beam(psf / total, cell)
    gains = np.exp(1j * random.normal(0, 0.5, (samples, n_station, 1)))
    times, channels = np.arange(samples), np.zeros(1, int)
    corrupted = simulation.corrupt(vis, gains, first, second).astype(np.complex64)
    matrices = normal.reduce(corrupted, vis, weight, first, second, n_station, times, channels)
    bands = deconvolution.Bands(np.array([[99e6, 101e6]]), np.ones(1), beam.major, cell)
    options = deconvolution.CleanOptions(scales=(0, 3, 10), auto_mask_sigma=5.0)
    n, pixels = vis.size, npixel**2

    def solve() -> Any:
        return solver.solve(*matrices, mode="amplitude_phase", start=None, tolerance=1e-6,
                            max_iterations=100)

    return {
        "direct prediction of 100 components": (n, "visibility", lambda: (
            simulation.predict_components(uvw, frequency, lmn, flux))),
        "predict (degridding)": (n, "visibility", lambda: gridding.predict(
            uvw, frequency, model, cell=cell, epsilon=EPSILON, threads=1)),
        "invert (gridding)": (n, "visibility", lambda: gridding.invert(
            uvw, frequency, vis, weight, **grid, epsilon=EPSILON, threads=1)),
        "uv density": (n, "visibility", lambda: weighting.uv_density(
            uvw, frequency, weight, **grid)),
        "Briggs weights": (n, "visibility", lambda: weighting.reweight(
            uvw, frequency, weight, density, scheme="briggs", robust=0.0, cell=cell)),
        "reduce to normal matrices": (n, "visibility", lambda: normal.reduce(
            corrupted, vis, weight, first, second, n_station, times, channels)),
        "solve": (samples * n_station, "gain", solve),
        "apply gains": (n, "visibility", lambda: apply.correct(
            corrupted, weight, gains, first, second)),
        "minor loop, multi-scale": (pixels, "pixel", lambda: deconvolution.clean(
            dirty[None] / total, psf[None] / total, np.zeros((1, npixel, npixel), np.float32),
            bands, options, threads=1)),
        "restore": (pixels, "pixel", lambda: restoration.restore(
            model, dirty / total, beam, cell)),
    }


def in_words(row: dict[str, Any]) -> str:
    """One line of the table."""
    cpu = row["cpu_s"]
    return (f"  {row['kernel']:<36} {cpu['median']:>8.3f} s ({cpu['low']:.3f} to {cpu['high']:.3f})"
            f" {row['cpu_ns_each']:>9.1f} ns a {row['unit']}")
