"""Ours beside what users would pick instead, WSClean and DP3: `python -m benchmarks.peers`."""
