"""What a run starts from besides its data: models of the sky that the user has."""

from __future__ import annotations

import numpy as np

from arl.io.fits import is_image, place_model, read_model
from arl.sky import Components, load_catalogue
from ical.stages.observed import Observed


def start_image(path: str | None, setup: Observed, edges: np.ndarray) -> np.ndarray | None:
    """A model image on the grid of the run's images, (band, l, m) Jy per pixel; None: none given.

    Raises
    ------
    InputError: it can't be read, or its grid or frequencies are not those of the images.
    """
    if path is None:
        return None
    return place_model(read_model(path), setup.npixel, setup.cell, setup.phase_centre, edges)


def start_sky(
    path: str | None, setup: Observed, edges: np.ndarray
) -> Components | np.ndarray | None:
    """What to calibrate on first: components of a catalogue, or a model image as above."""
    if path is None or is_image(path):
        return start_image(path, setup, edges)
    return load_catalogue(path)
