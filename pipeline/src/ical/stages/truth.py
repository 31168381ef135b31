"""The quality of a stage's results where the truth is known: fluxes, positions and gains."""

from __future__ import annotations

from typing import Any

import numpy as np

from arl.calibration.quality import gain_quality
from arl.conventions import uvw_rotation
from arl.quality import detection, match_truth, robust_rms
from arl.restoration import Beam
from ical.stages.model import Setup
from ical.stages.observed import Observed


def flux_quality(
    restored: np.ndarray, residual: np.ndarray, beam: Beam, setup: Observed,
    channels: tuple[int, int],
) -> dict[str, Any]:
    """Found and fitted against true sources of one band's images (l, m), where they are known."""
    if not isinstance(setup, Setup):
        return {}
    flux = setup.flux[:, slice(*channels)].mean(axis=1)
    found = match_truth(restored, setup.lmn[:, 0], setup.lmn[:, 1], flux, beam, setup.cell)
    sought = detection(restored, robust_rms(residual), setup.lmn[:, 0], setup.lmn[:, 1], flux,
                       beam, setup.cell)
    shares = {"completeness": sought.completeness, "reliability": sought.reliability}
    numbers = {"found_sources": sought.found} | {
        name: share for name, share in shares.items() if np.isfinite(share)}
    if not found.n:
        return numbers
    sources = [
        {"true_flux_jy": float(t), "flux_jy": float(f), "offset_l_beam": float(dl),
         "offset_m_beam": float(dm), "isolated": bool(i)}
        for t, f, dl, dm, i in zip(found.true_flux, found.flux, found.offset_l_beam,
                                   found.offset_m_beam, found.isolated, strict=True)
    ]
    return numbers | {
            "flux_ratio_median": found.ratio_median, "flux_ratio_scatter": found.ratio_scatter,
            "position_offset_beam": found.position_offset_beam, "sources": sources}


def phase_quality(solved: np.ndarray, true: np.ndarray, setup: Setup) -> dict[str, float]:
    """Phase errors of gains (time, ant, chan) against the injected ones."""
    xyz = setup.layout.equatorial
    position = np.stack([
        (xyz @ uvw_rotation(h, setup.phase_centre[1]).T)[:, :2] for h in setup.hour_angle])
    found = gain_quality(solved, true, position, setup.frequency)
    return {"gain_phase_rms_deg": found.aligned_deg, "gain_phase_rms_raw_deg": found.raw_deg}
