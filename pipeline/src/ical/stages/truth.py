"""The quality of a stage's results where something is known of the sky or the gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from arl.beam import beam_power
from arl.calibration.quality import gain_quality
from arl.conventions import uvw_rotation
from arl.quality import MEASURED_SNR, Detection, FluxQuality, detection, match_truth, robust_rms
from arl.restoration import Beam
from arl.sky import lmn_of, spectrum
from ical.parameters import Parameters
from ical.stages.ingest import catalogue_sources
from ical.stages.model import Setup
from ical.stages.observed import Observed


@dataclass(frozen=True)
class KnownSky:
    """Sources that images are compared with.

    Attributes
    ----------
    reference: what they are, as the report says: truth or catalogue.
    l, m: rad (source,). flux: as images without a correction for the primary beam show it, Jy
        (source,). size: major axis, FWHM in rad (source,); 0 is a point.
    """

    reference: str
    l: np.ndarray
    m: np.ndarray
    flux: np.ndarray
    size: np.ndarray


def known_sky(
    parameters: Parameters, setup: Observed, channels: tuple[int, int]
) -> KnownSky | None:
    """The simulated sky, or the catalogue that the run names, in a band (its first channel and
    the one after its last); None: neither."""
    band = slice(*channels)
    if isinstance(setup, Setup):
        return KnownSky("truth", setup.lmn[:, 0], setup.lmn[:, 1],
                        setup.flux[:, band].mean(axis=1), setup.shape[:, 0])
    sources = catalogue_sources(parameters, setup.phase_centre, setup.npixel, setup.cell)
    if sources is None:
        return None
    l, m, _ = lmn_of(sources, *setup.phase_centre).T
    frequency = setup.frequency[band]
    apparent = spectrum(sources, frequency) * beam_power(
        parameters.image_beam, l, m, frequency, setup.station_diameter)
    return KnownSky("catalogue", l, m, apparent.mean(axis=1), sources.shape[:, 0])


def flux_quality(
    restored: np.ndarray, residual: np.ndarray, beam: Beam, cell: float, known: KnownSky | None
) -> dict[str, Any]:
    """Found and fitted against known sources of one band's images (l, m); {} where none are.

    Fluxes are those of sources above MEASURED_SNR times the noise of the residual.
    """
    if known is None:
        return {}
    noise = robust_rms(residual)
    sky = (known.l, known.m, known.flux, beam, cell)
    fitted = match_truth(restored, *sky, flux_limit=MEASURED_SNR * noise, size=known.size)
    return ({"reference": known.reference}
            | _found(detection(restored, noise, *sky, size=known.size)) | _fitted(fitted))


def _found(sought: Detection) -> dict[str, Any]:
    shares = {"completeness": sought.completeness,
              "bright_completeness": sought.bright_completeness,
              "reliability": sought.reliability}
    return {"found_sources": sought.found, "bright_sources": sought.bright} | {
        name: share for name, share in shares.items() if np.isfinite(share)}


def _fitted(fitted: FluxQuality) -> dict[str, Any]:
    if not fitted.n:
        return {}
    sources = [
        {"true_flux_jy": float(t), "flux_jy": float(f), "offset_l_beam": float(dl),
         "offset_m_beam": float(dm), "isolated": bool(i)}
        for t, f, dl, dm, i in zip(fitted.true_flux, fitted.flux, fitted.offset_l_beam,
                                   fitted.offset_m_beam, fitted.isolated, strict=True)
    ]
    return {"flux_ratio_median": fitted.ratio_median, "flux_ratio_scatter": fitted.ratio_scatter,
            "position_offset_beam": fitted.position_offset_beam, "sources": sources}


def phase_quality(solved: np.ndarray, true: np.ndarray, setup: Setup) -> dict[str, float]:
    """Phase errors of gains (time, ant, chan) against the injected ones."""
    xyz = setup.layout.equatorial
    position = np.stack([
        (xyz @ uvw_rotation(h, setup.phase_centre[1]).T)[:, :2] for h in setup.hour_angle])
    found = gain_quality(solved, true, position, setup.frequency)
    return {"gain_phase_rms_deg": found.aligned_deg, "gain_phase_rms_raw_deg": found.raw_deg}
