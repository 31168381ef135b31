"""Speed and quality of the named runs against the project's bars: `python -m benchmarks`."""
