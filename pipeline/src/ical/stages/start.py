"""What a run starts from besides its data: models of the sky and gains that the user has."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from arl.calibration import chain
from arl.calibration.gains import nearest_sample, table_gains
from arl.errors import InputError
from arl.io.fits import is_image, place_model, read_mask, read_model
from arl.io.gains import read_gains
from arl.sky import Components, lmn_of, load_catalogue, pixel_model
from ical.parameters import Parameters
from ical.partitions import Plan
from ical.stages.image import band_edges
from ical.stages.observed import Observed

#: Gains of phases alone are this near to size 1.
MOST_AMPLITUDE = 1e-3


def start_image(path: str | None, setup: Observed, edges: np.ndarray) -> np.ndarray | None:
    """A model on the grid of the run's images, (band, l, m) Jy per pixel; None: none is given.

    Of an image, or of components, which are put on pixels.

    Raises
    ------
    InputError: it can't be read, or its grid or frequencies are not those of the images, or none
    of the components is in them.
    """
    if path is None:
        return None
    if not is_image(path):
        try:
            return pixel_model(load_catalogue(path), *setup.phase_centre, setup.npixel, setup.cell,
                               edges.mean(axis=1))
        except InputError as error:
            raise InputError(f"imaging.start_model: {path}: {error}") from error
    return place_model(read_model(path), setup.npixel, setup.cell, setup.phase_centre, edges)


def start_sky(
    path: str | None, setup: Observed, edges: np.ndarray
) -> Components | np.ndarray | None:
    """What to calibrate on first: components of a catalogue, or a model image as above.

    Raises
    ------
    InputError: as above, or all components are on the other half of the sky.
    """
    if path is None or is_image(path):
        return start_image(path, setup, edges)
    components = load_catalogue(path)
    above = lmn_of(components, *setup.phase_centre)[:, 2] > 0
    if not above.any():
        raise InputError(f"selfcal.start_model: {path} has no component within 90 degrees of the "
                         f"phase centre; give a model of this field.")
    return components.select(above)


@dataclass(frozen=True)
class KnownGains:
    """A term's gains at the times and channels of the observation.

    Attributes
    ----------
    gain: of the table (time, chan, ant), or (time, chan, ant, 2, 2); NaN where flagged.
    times, channels: which of the table's times and frequencies are those of the observation.
    """

    gain: np.ndarray
    times: np.ndarray
    channels: np.ndarray

    def as_they_are(self, term: chain.TermBlocks) -> tuple[chain.TermBlocks, chain.TermSolution]:
        """A term that is fixed to them: the intervals are the table's."""
        times, rows = np.unique(self.times, return_inverse=True)
        channels, columns = np.unique(self.channels, return_inverse=True)
        gain = self.gain[times][:, channels]
        return (replace(term, mode=chain.FIXED, time_block=rows, channel_block=columns),
                chain.given(term.name, np.arange(times.size), np.arange(channels.size), gain))

    def on_intervals(self, term: chain.TermBlocks) -> chain.TermSolution:
        """Their means over a term's own intervals, without flagged ones; phases stay of size 1.

        A mean of complex numbers is shorter than they are where their phases differ, and the flux
        scale would follow it: so amplitudes and directions have means of their own, but for the
        elements of full Jones matrices, which may vanish.
        """
        samples = self.gain[self.times][:, self.channels]
        if term.jones == "full":
            mean = _mean(samples, term)
        else:
            size = np.abs(samples)
            turn = np.divide(samples, size, out=samples.copy(), where=size > 0)
            size = _mean(size, term)
            if term.mode == "phase":
                size = np.where(size > 0, 1.0, size)
            mean = size * np.exp(1j * np.angle(_mean(turn, term)))
        return chain.given(term.name, np.unique(term.time_block), np.unique(term.channel_block),
                           mean)


def _mean(samples: np.ndarray, term: chain.TermBlocks) -> np.ndarray:
    """Over a term's intervals, (time block, channel block, ...); NaN only where all samples are."""
    good = np.isfinite(samples)
    total, count = (chain.sum_cells(x, term.time_block, term.channel_block)
                    for x in (np.where(good, samples, 0.0), good.astype(float)))
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def known_gains(path: str, name: str, setup: Observed, *, phase: bool) -> KnownGains:
    """Read a term's gains; `phase`: the term has phases alone.

    Raises
    ------
    InputError: the file is no gain table, or not one of these antennas, times, frequencies and
    receptors, or holds amplitudes and the term has none.
    """
    table = read_gains(path, name)
    try:
        gain = table_gains(table, setup.antenna_names, setup.products)
        times = nearest_sample(table["time"].values, setup.time, "times (UTC s since 1970)")
        channels = nearest_sample(table["frequency"].values, setup.frequency, "frequencies (Hz)")
        size = np.abs(gain[np.isfinite(gain) & (gain != 0)])
        if phase and np.abs(size - 1).max(initial=0.0) > MOST_AMPLITUDE:
            raise InputError("they have amplitudes, and T is of phases alone; give them to G.")
    except InputError as error:
        raise InputError(f"selfcal.start_gains.{name}: {path}: {error}") from error
    return KnownGains(np.moveaxis(gain, 1, 2), times, channels)


def reference_antenna(name: str | None, names: tuple[str, ...]) -> int | None:
    """The number of the antenna whose phases are zero; None: none is given.

    Raises
    ------
    InputError: there is none of that name.
    """
    if name is None:
        return None
    if name not in names:
        raise InputError(f"selfcal.reference_antenna: there is no {name}; the antennas are "
                         f"{', '.join(names)}.")
    return names.index(name)


def look(parameters: Parameters, setup: Observed, plan: Plan) -> None:
    """Read all that the run is to start from, so that a mistake is not found hours later.

    Raises
    ------
    InputError: as the functions above.
    """
    edges = band_edges(plan, setup.frequency, setup.channel_width)
    start_image(parameters.imaging.start_model, setup, edges)
    if parameters.imaging.mask is not None:
        read_mask(parameters.imaging.mask, setup.npixel, setup.cell, setup.phase_centre)
    if not parameters.selfcal.enabled:
        return
    reference_antenna(parameters.selfcal.reference_antenna, setup.antenna_names)
    start_sky(parameters.selfcal.start_model, setup, edges)
    for name in parameters.selfcal.terms:
        path = getattr(parameters.selfcal.start_gains, name)
        if path is not None:
            known_gains(path, name, setup, phase=name == "T")
