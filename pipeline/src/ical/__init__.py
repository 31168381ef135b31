"""ical: self-calibration and imaging of radio-interferometric data as a Dask workflow.

The application around the library `arl`. Importing it, or its command line, loads no science.
"""

__version__ = "1.0.0"
