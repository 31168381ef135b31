"""write_set.py PATH : a Measurement Set of 17 stations and 5 times with phase errors of 0.5 rad.

It is the simulation, and the writer, that the benchmarks against other programs have.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "pipeline"))

from benchmarks.peers.observation import Size, parameters, simulate

if __name__ == "__main__":
    size = Size(samples=5, npixel=128, r_max=120.0, cell=4.6e-3)
    simulate(parameters(size, 1, {"phase_error": 0.5}), Path(sys.argv[1]))
