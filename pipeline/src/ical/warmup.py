"""Compile the numba kernels once per machine, so that no stage pays for it."""

from __future__ import annotations

import numpy as np


def warm_up() -> None:
    """Run every compiled kernel on a tiny observation; the code goes to numba's cache."""
    from arl.calibration.apply import correct
    from arl.calibration.normal import reduce
    from arl.calibration.robust import squared_residuals
    from arl.calibration.solver import solve
    from arl.simulation import predict_components
    from arl.weighting import reweight, uv_density

    antenna1, antenna2 = np.triu_indices(4, 1)
    uvw = np.zeros((1, antenna1.size, 3))
    frequency = np.array([1.0e8, 1.01e8])
    vis = predict_components(uvw, frequency, np.array([[0.0, 0.0, 1.0]]), np.ones((1, 2)))
    weight = np.ones(vis.shape, np.float32)
    block, blocks = np.zeros(1, int), np.zeros(2, int)
    a, b = reduce(vis.astype(np.complex64), vis.astype(np.complex64), weight, antenna1, antenna2,
                  4, block, blocks)
    gain = np.ones((1, 4, 2), complex)
    correct(vis.astype(np.complex64), weight, gain, antenna1, antenna2)
    grid = uv_density(uvw, frequency, weight, npixel=4, cell=1e-3)
    reweight(uvw, frequency, weight, grid, scheme="uniform", robust=0.0, cell=1e-3)
    squared_residuals(vis.astype(np.complex64), vis.astype(np.complex64), weight, antenna1,
                      antenna2, gain)
    for mode in ("phase", "amplitude_phase"):
        solve(a, b, mode=mode, start=None, tolerance=1e-6, max_iterations=5)
