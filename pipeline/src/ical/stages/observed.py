"""What every stage has to know of an observation, whether it was simulated or read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from arl.conventions import C
from arl.errors import InputError
from arl.gridding import advise, good_size
from ical.parameters import Imaging, UvRange

#: An image of this many pixels on a side takes 4 GB.
MAX_NPIXEL = 32768


@dataclass(frozen=True)
class Observed:
    """An observation and the grid of its images.

    Attributes
    ----------
    time: UTC s since 1970, (time,). frequency: Hz, (chan,).
    phase_centre: ICRS right ascension and declination, rad.
    npixel, cell: of the images (pixels, rad), with the border. inner: pixels without it.
    antenna_positions: ITRF, m (antenna, 3). products: the correlations of two receptors that are
        kept, such as XX and YY; empty: Stokes I alone.
    frequency_frame: as in `arl.visibility.Frame`.
    station_diameter: aperture of a station, m; 0 where it is not known, or not that of all.
    """

    time: np.ndarray
    integration_time: float
    frequency: np.ndarray
    channel_width: float
    phase_centre: tuple[float, float]
    npixel: int
    inner: int
    cell: float
    antenna_names: tuple[str, ...]
    n_baseline: int
    antenna_positions: np.ndarray
    products: tuple[str, ...]
    frequency_frame: str
    station_diameter: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form; `from_dict` is its inverse."""
        values = {f.name: getattr(self, f.name) for f in fields(Observed)}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Observed:
        """Read back what `to_dict` wrote."""
        arrays = {name: np.array(data[name], float) for name in ("time", "frequency",
                                                                  "antenna_positions")}
        ra, dec = data["phase_centre"]
        return Observed(**(data | arrays | {
            "phase_centre": (ra, dec), "antenna_names": tuple(data["antenna_names"]),
            "products": tuple(data["products"])}))


def no_baseline(used: UvRange, what: str, section: str = "imaging") -> InputError:
    """What to say of an observation, called `what`, with no baseline in a section's range."""
    limits = [f"{name} {limit:g} m" for name, limit in (
        ("at least", used.min_m), ("at most", used.max_m)) if limit is not None]
    return InputError(f"{section}.uv_range: {what} has no baseline of "
                      f"{' and '.join(limits) or 'more than 0 m'}; make min_m smaller or max_m "
                      f"larger.")


def image_size(
    imaging: Imaging, uvw: np.ndarray, frequency: np.ndarray, diameter: float
) -> tuple[int, int, float]:
    """Pixels with and without the border, and cell (rad), as asked for or else as the data advise.

    Parameters
    ----------
    uvw: metres (..., 3), of the baselines that are imaged. diameter: of a station, m.

    Raises
    ------
    InputError: the advice is an image that nobody can make, or the image asked for is of other
    data: its field is smaller than the beam, or its pixels wider than half the finest fringe.
    """
    advice = advise(uvw, frequency, diameter=diameter, guard_band=imaging.guard_band,
                    rounding=imaging.size_rounding, cell=imaging.cell_rad)
    inner = npixel = imaging.npixel or advice.npixel
    if imaging.clean_border:
        npixel = good_size(inner * (1 + 2 * imaging.clean_border))
    if npixel > MAX_NPIXEL:
        raise InputError(
            f"imaging.npixel: a field of {np.degrees(advice.field_of_view):.3g} degrees in pixels "
            f"of {np.degrees(advice.cell) * 3600:.3g} arcsec needs {npixel} pixels on a side, and "
            f"{MAX_NPIXEL} is the most; give npixel, a larger cell_rad, or a shorter "
            f"uv_range.max_m.")
    if npixel * advice.cell >= np.sqrt(2):
        raise InputError(
            f"imaging.npixel: {npixel} pixels of {advice.cell:.3g} rad reach beyond the horizon; "
            f"give npixel, or make guard_band, clean_border or cell_rad smaller.")
    _refuse_aliases(advice.cell, uvw, frequency)
    beam = C / (np.abs(uvw).max() * frequency.max())
    if inner * advice.cell < beam:
        raise InputError(
            f"imaging.cell_rad: {inner} pixels of {advice.cell:.3g} rad are smaller than the beam, "
            f"which is {beam:.3g} rad or more; make cell_rad or npixel larger.")
    return npixel, inner, advice.cell


def _refuse_aliases(cell: float, uvw: np.ndarray, frequency: np.ndarray) -> None:
    """Raise InputError where baselines have fringes that an image of these cells cannot show.

    A grid of this cell ends at 1 / (2 cell) wavelengths, and what lies beyond would be taken for
    a shorter baseline.
    """
    longest = float(np.abs(uvw[..., :2]).max())
    shown = C / (2 * cell * float(frequency.max()))
    if longest > shown:
        raise InputError(
            f"imaging.cell_rad: pixels of {cell:.3g} rad are too coarse for baselines of "
            f"{longest:.4g} m, which need {cell * shown / longest:.3g} rad or less; leave cell_rad "
            f"and npixel null to have them advised, or image shorter baselines "
            f"(uv_range.max_m: {0.999 * shown:.4g}).")
