"""A run's folder as the stages leave it, small and made up: FITS, gain tables, records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import xarray as xr
from astropy.io import fits

NPIXEL, CELL = 256, 3.1808e-3
BEAM = (9e-3, 7e-3, np.radians(30.0))
FREQUENCY = np.linspace(90e6, 110e6, 7)
SIGMA = {"image": 1.5e-3, "selfcal": 1.55e-3}
N_TIME, N_ANTENNA = 11, 94

PARAMETERS = {
    "name": "reference", "seed": 7, "gains": {"phase_error": 1.0, "amplitude_error": 0.0},
    "imaging": {"npixel": NPIXEL, "cell_rad": CELL}, "selfcal": {"enabled": True, "terms": "TG"},
    "superseded": [{"key": "advice.wprojection_planes",
                    "reason": "the gridder chooses its w-planes from the accuracy asked for"}],
}
OUTCOME = {"state": "CONVERGED", "reason": "the rms changed by -0.31%, less than 1.25%"}
HISTORY = [
    {"number": 1, "terms": "T", "rms": 0.0123, "peak_jy": 6.9, "flagged_fraction": 0.02,
     "decision": "accept", "reason": "rms 12.300 mJy"},
    {"number": 2, "terms": "T", "rms": 0.0034, "peak_jy": 8.0, "flagged_fraction": 0.01,
     "decision": "accept", "reason": "rms 3.400 mJy"},
    {"number": 3, "terms": "TG", "rms": 0.0041, "peak_jy": 7.9, "flagged_fraction": 0.03,
     "decision": "drop", "reason": "with G the rms rose by 20.6%"},
    {"number": 4, "terms": "T", "rms": 0.00155, "peak_jy": 8.1, "flagged_fraction": 0.01,
     "decision": "converged", "reason": OUTCOME["reason"]},
]


def positions(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (l, m) of 40 sources, (40, 2) rad, and their fluxes, Jy."""
    rng = np.random.default_rng(seed)
    lm = rng.uniform(-0.42, 0.42, (40, 2)) * NPIXEL * CELL
    return lm, 0.3 * rng.pareto(1.2, 40).clip(0, 25) + 0.3


def write_image(path: Path, image: np.ndarray, frequency: float, unit: str = "Jy/beam") -> None:
    """An image [l, m] with the header that `arl.io.fits` promises (INTERFACES, conventions)."""
    header = fits.Header()
    header["BUNIT"] = unit
    for n, kind, value, step in ((1, "RA---SIN", 30.0, -CELL), (2, "DEC--SIN", -60.0, CELL)):
        header[f"CTYPE{n}"], header[f"CRVAL{n}"] = kind, value
        header[f"CDELT{n}"], header[f"CUNIT{n}"] = np.degrees(step), "deg"
    header["CRPIX1"], header["CRPIX2"] = NPIXEL / 2, NPIXEL / 2 + 1
    header["CTYPE3"], header["CRVAL3"], header["CDELT3"], header["CRPIX3"] = (
        "FREQ", frequency, 3e6, 1.0)
    header["BMAJ"], header["BMIN"], header["BPA"] = (np.degrees(v) for v in BEAM)
    fits.writeto(path, image.T[:, ::-1][None].astype(np.float32), header, overwrite=True)


def sources_image() -> np.ndarray:
    """The sources as elliptical Gaussians of the beam, [l, m], Jy/beam."""
    axis = (np.arange(NPIXEL) - NPIXEL // 2) * CELL
    image = np.zeros((NPIXEL, NPIXEL))
    sin, cos = np.sin(BEAM[2]), np.cos(BEAM[2])
    for (l0, m0), flux in zip(*positions(), strict=True):
        l, m = np.meshgrid(axis - l0, axis - m0, indexing="ij")
        along, across = l * sin + m * cos, l * cos - m * sin
        image += flux * np.exp(-4 * np.log(2) * ((along / BEAM[0])**2 + (across / BEAM[1])**2))
    return image


def residuals(stage: str) -> np.ndarray:
    """Noise of every band, (band, l, m), with the stage's sigma."""
    rng = np.random.default_rng(len(stage))
    return rng.normal(0, SIGMA[stage], (FREQUENCY.size, NPIXEL, NPIXEL))


def write_images(folder: Path, stage: str) -> None:
    """Dirty, residual and restored images of a stage, by band and combined."""
    (folder / stage).mkdir(exist_ok=True)
    noise, sky = residuals(stage), sources_image()
    ripple = np.random.default_rng(9).normal(0, 0.12, (NPIXEL, NPIXEL))
    for band, frequency in enumerate(FREQUENCY):
        write_image(folder / stage / f"residual_band{band:02d}.fits", noise[band], frequency)
    mean = noise.mean(axis=0)
    for kind, image in (("residual", mean), ("restored", sky + mean),
                        ("dirty", (0.3 if stage == "selfcal" else 1) * sky + ripple)):
        write_image(folder / stage / f"{kind}_combined.fits", image, FREQUENCY.mean())


def quality(stage: str) -> dict:
    """What a stage with truth measures."""
    lm, flux = positions()
    rng = np.random.default_rng(5)
    offsets = rng.normal(0, 0.012, (len(lm), 2))
    sources = [
        {"true_flux_jy": float(f), "flux_jy": float(f * (1 + rng.normal(0, 0.004))),
         "offset_l_beam": float(a), "offset_m_beam": float(b), "isolated": bool(n % 7)}
        for n, (f, (a, b)) in enumerate(zip(flux, offsets, strict=True))]
    measures = {"residual_rms_jy": SIGMA[stage], "residual_peak_jy": 0.031,
                "flux_ratio_median": 1.0004, "flux_ratio_scatter": 0.0041,
                "position_offset_beam": 0.014, "sources": sources}
    if stage == "selfcal":
        measures |= {"gain_phase_rms_deg": 0.62, "gain_phase_rms_raw_deg": 0.97}
    return measures


def write_stage(folder: Path, stage: str, **more: object) -> None:
    """stage.json of a stage that is done."""
    (folder / stage).mkdir(exist_ok=True)
    scale = {"model": 1.0, "image": 2.2, "selfcal": 5.1}[stage]
    hosts = {h: {"tasks": 20, "seconds": 3.1 * scale, "kinds": {"calibrate": 14, "sum_images": 6}}
             for h in ("node-a", "node-b")}
    record = {"stage": stage, "inputs_hash": "0" * 64, "status": "done", "wall_s": 4.3 * scale,
              "cpu_s": 7.9 * scale, "compile_s": 0.4, "peak_rss_mb": 610 * scale, "tasks": hosts,
              "warnings": [], **more}
    (folder / stage / "stage.json").write_text(json.dumps(record))


def write_gains(folder: Path, term: str, intervals: int = N_TIME) -> np.ndarray:
    """A gain table as `ical.stages.run` writes it, with a gain at every time, whatever the solution
    intervals in time; returns the gain (t, a, c)."""
    channels = FREQUENCY.size
    rng = np.random.default_rng(channels * intervals)
    shape = (intervals, N_ANTENNA, channels)
    gain = np.exp(1j * rng.normal(0, 1, shape))
    if term != "T":
        gain = (1 + rng.normal(0, 0.03, shape)) * np.exp(1j * rng.normal(0, 0.1, shape))
    gain = gain[np.arange(N_TIME) * intervals // N_TIME]
    flag = np.zeros(gain.shape, bool)
    flag[:, 17] = True
    dims = ("time", "antenna_name", "frequency", "receptor")
    xr.Dataset(
        {"GAIN": (dims, np.where(flag, 1.0, gain)[..., None]), "FLAG": (dims, flag[..., None])},
        coords={"time": 1.5e9 + 1440.0 * np.arange(N_TIME),
                "antenna_name": [f"LOW{n:03d}" for n in range(N_ANTENNA)],
                "frequency": FREQUENCY, "receptor": ["I"]},
        attrs={"term": term, "solution_intervals": [intervals, channels]},
    ).to_zarr(folder / "selfcal" / f"gains_{term}.zarr", mode="w")
    return np.where(flag, np.nan, gain)


def write_run(folder: Path) -> Path:
    """A whole run with truth."""
    folder.mkdir(parents=True)
    (folder / "parameters.json").write_text(json.dumps(PARAMETERS))
    write_stage(folder, "model", partition_bytes={"node-a": 20_700_000, "node-b": 18_000_000})
    for stage in ("image", "selfcal"):
        write_images(folder, stage)
    write_stage(folder, "image", quality=quality("image"))
    write_stage(folder, "selfcal", quality=quality("selfcal"), outcome=OUTCOME,
                warnings=["LOW017 has no usable data: its gains are flagged"])
    (folder / "selfcal" / "history.json").write_text(json.dumps(HISTORY))
    write_gains(folder, "T")
    write_gains(folder, "G", intervals=1)
    return folder
