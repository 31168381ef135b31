"""Array layouts: station positions, selections of them, and what they see above the horizon."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from arl.conventions import uvw_rotation
from arl.errors import InputError

MIN_STATIONS = 3


@dataclass(frozen=True)
class Layout:
    """Where the stations of an array are.

    Attributes
    ----------
    name: of the array. names: of the stations.
    enu: east, north, up of the reference point in metres, shape (station, 3).
    longitude, latitude: of the reference point, rad. height: metres.
    """

    name: str
    names: tuple[str, ...]
    enu: np.ndarray
    longitude: float
    latitude: float
    height: float

    @property
    def equatorial(self) -> np.ndarray:
        """Positions in the local equatorial frame (X, Y, Z), metres, shape (station, 3).

        X lies in the meridian of the reference point (Thompson, Moran & Swenson 2017, eq. 4.4).
        """
        east, north, up = self.enu.T
        sin, cos = np.sin(self.latitude), np.cos(self.latitude)
        return np.stack([-sin * north + cos * up, east, cos * north + sin * up], axis=1)

    @property
    def itrf(self) -> np.ndarray:
        """Geocentric positions, metres, shape (station, 3)."""
        from astropy import units
        from astropy.coordinates import EarthLocation

        centre = EarthLocation.from_geodetic(
            self.longitude * units.rad, self.latitude * units.rad, self.height * units.m)
        x, y, z = self.equatorial.T
        sin, cos = np.sin(self.longitude), np.cos(self.longitude)
        turned = np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)
        return turned + np.array([c.to_value(units.m) for c in centre.geocentric])


def load_layout(name_or_path: str) -> Layout:
    """Read a layout that ships with the library (by name) or a CSV file (by path).

    The file has columns east, north, up (m), named by a header or in this order, and comment
    lines `# longitude_deg: ...`, `# latitude_deg: ...`, `# height_m: ...` for the reference point.

    Raises
    ------
    InputError: no such layout, or a file that does not have this form.
    """
    shipped = resources.files("arl") / "data" / "layouts" / f"{name_or_path}.csv"
    if shipped.is_file():
        return _parse_layout(name_or_path, shipped.read_text())
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(
            f"There is no layout {name_or_path!r}: give LOWBD2 or the path of a CSV file.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Layout {path} can't be read as text: {error}.") from error
    return _parse_layout(path.stem, text)


def _parse_layout(name: str, text: str) -> Layout:
    lines = text.splitlines()
    notes = dict(line[1:].split(":", 1) for line in lines
                 if line.startswith("#") and ":" in line)
    reference = {key.strip(): value.strip() for key, value in notes.items()}
    rows = [row for row in csv.reader(line for line in lines if not line.startswith("#")) if row]
    try:
        columns, rows = _layout_columns(rows)
        enu = np.array([[float(row[k]) for k in columns] for row in rows]).reshape(-1, 3)
        site = [float(reference[k]) for k in ("longitude_deg", "latitude_deg", "height_m")]
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"Layout {name} is not a table of east, north, up in metres with comment lines "
            f"longitude_deg, latitude_deg and height_m: {error}.") from error
    if not np.isfinite(enu).all() or not np.isfinite(site).all():
        raise InputError(f"Layout {name} holds a position that is not a finite number.")
    names = tuple(f"{name}{k:03d}" for k in range(len(enu)))
    return Layout(name, names, enu, np.radians(site[0]), np.radians(site[1]), site[2])


def _layout_columns(rows: list[list[str]]) -> tuple[list[int], list[list[str]]]:
    """Which columns are east, north and up, and the rows without a header.

    Raises
    ------
    ValueError: a header does not name them.
    """
    if not rows or _is_number(rows[0][0]):
        return [0, 1, 2], rows
    header = [c.strip().lower().removesuffix("_m") for c in rows[0]]
    return [header.index(axis) for axis in ("east", "north", "up")], rows[1:]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def within(layout: Layout, r_max: float | None) -> Layout:
    """The stations within r_max metres (in three dimensions) of the mean of all stations.

    Raises
    ------
    InputError: fewer than three stations are left.
    """
    if r_max is None:
        keep = np.ones(len(layout.names), bool)
    else:
        keep = np.linalg.norm(layout.enu - layout.enu.mean(axis=0), axis=1) <= r_max
    if keep.sum() < MIN_STATIONS:
        raise InputError(
            f"A radius of {r_max} m leaves {keep.sum()} stations of {layout.name}, and "
            f"calibration needs {MIN_STATIONS}: make r_max larger.")
    names = tuple(n for n, k in zip(layout.names, keep, strict=True) if k)
    return replace(layout, names=names, enu=layout.enu[keep])


def elevation(layout: Layout, dec: float, hour_angle: np.ndarray) -> np.ndarray:
    """Elevation (rad) of a declination at hour angles (rad), seen from the reference point."""
    sin = (np.sin(layout.latitude) * np.sin(dec)
           + np.cos(layout.latitude) * np.cos(dec) * np.cos(hour_angle))
    return np.arcsin(np.clip(sin, -1.0, 1.0))


def baselines(n_station: int) -> tuple[np.ndarray, np.ndarray]:
    """antenna1 and antenna2 of all cross-correlations, each shape (baseline,)."""
    antenna1, antenna2 = np.triu_indices(n_station, 1)
    return antenna1, antenna2


def in_uv_range(uvw: np.ndarray, shortest: float | None, longest: float | None) -> np.ndarray:
    """Whether baselines (..., 3) are from `shortest` to `longest` (m) in the uv plane, (...)."""
    length = np.hypot(uvw[..., 0], uvw[..., 1])
    return (length >= (shortest or 0.0)) & (length <= (longest or np.inf))


def baseline_uvw(layout: Layout, dec: float, hour_angle: np.ndarray) -> np.ndarray:
    """uvw (time, baseline, 3) in metres of the layout's baselines at hour angles (time,)."""
    antenna1, antenna2 = baselines(len(layout.names))
    xyz = layout.equatorial
    between = xyz[antenna2] - xyz[antenna1]
    return np.stack([between @ uvw_rotation(h, dec).T for h in hour_angle])
