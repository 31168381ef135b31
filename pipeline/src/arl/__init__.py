"""arl: radio-interferometric imaging and self-calibration, from arrays to arrays.

The library knows no Dask, no Docker and no command line; `ical` is the application that does.
Signs, units and axis orders are those of `arl.conventions`.
"""

__version__ = "1.0.0"
