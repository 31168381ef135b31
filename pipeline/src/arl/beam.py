"""Primary beams: the power with which a station sees a direction, relative to its centre."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from arl.conventions import C
from arl.errors import InputError


def airy_power(
    l: np.ndarray, m: np.ndarray, frequency: np.ndarray, diameter: float
) -> np.ndarray:
    """Power pattern of a uniformly lit circular aperture, shape (direction, chan).

    (2 J1(x) / x)^2 with x = pi D sin(theta) nu / c (Born & Wolf, 8.5.2); sin(theta) is the
    length of (l, m).
    """
    from scipy.special import j1

    sin_theta = np.hypot(l, m)[:, None]
    x = np.pi * diameter * sin_theta * np.asarray(frequency)[None, :] / C
    safe = np.where(x < 1e-6, 1.0, x)
    return np.where(x < 1e-6, 1.0, (2 * j1(safe) / safe) ** 2)


def beam_power(
    kind: str, l: np.ndarray, m: np.ndarray, frequency: np.ndarray, diameter: float
) -> np.ndarray:
    """Power (direction, chan) of the beam called `kind`: airy, none, or a profile's path.

    A profile is a CSV file with columns angle_deg and power at frequency_hz (a comment line
    `# frequency_hz: ...`); the angle scales with wavelength.

    Raises
    ------
    InputError: the file is missing or not of this form.
    """
    if kind == "airy":
        return airy_power(l, m, frequency, diameter)
    if kind == "none":
        return np.ones((np.size(l), np.size(frequency)))
    angle, power, reference = read_profile(kind)
    theta = np.arcsin(np.clip(np.hypot(l, m), 0, 1))[:, None]
    scaled = theta * np.asarray(frequency)[None, :] / reference
    return np.interp(scaled, angle, power, right=0.0)


def read_profile(path: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Angles (rad), rising, the power at each, and the frequency (Hz) of a profile's file.

    Raises
    ------
    InputError: as for `beam_power`.
    """
    try:
        lines = Path(path).read_text().splitlines()
        note = next(line for line in lines if line.startswith("# frequency_hz:"))
        table = np.genfromtxt([x for x in lines if not x.startswith("#")], delimiter=",",
                              names=True)
        angle, power = np.radians(table["angle_deg"]), np.asarray(table["power"], float)
        frequency = float(note.split(":")[1])
    except (OSError, StopIteration, ValueError, IndexError) as error:
        reason = "the frequency is missing" if isinstance(error, StopIteration) else error
        raise InputError(
            f"Primary beam {path!r} is not airy, none, or a CSV file with columns angle_deg, "
            f"power and a line '# frequency_hz: ...': {reason}.") from error
    if angle.ndim != 1 or not (np.diff(angle) > 0).all() or not np.isfinite(power).all() or (
            not frequency > 0):
        raise InputError(f"Primary beam {path!r} needs a frequency above 0, and several angles, "
                         f"each larger than the one before, with a finite power.")
    return angle, power, frequency
