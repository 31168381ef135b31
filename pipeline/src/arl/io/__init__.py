"""Files: Measurement Sets, MSv4 Zarr and FITS."""
