"""The bars of the named runs, as functions of report.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Report = dict[str, Any]
PROCESSING = ("image", "selfcal")


@dataclass(frozen=True)
class Bar:
    """One figure and the most it may be.

    Attributes
    ----------
    measure: of a report.json; NaN where the report has not got it.
    factor: from the report's unit to `unit`, in which `limit` is.
    aim: a figure that is aimed at, not a bar.
    """

    text: str
    measure: Callable[[Report], float]
    limit: float
    unit: str
    factor: float = 1.0
    aim: bool = False

    def judge(self, report: Report) -> dict[str, Any]:
        """The bar's row: what was measured and whether it is met."""
        value = float(self.measure(report)) * self.factor
        return {"bar": self.text, "value": value if np.isfinite(value) else None,
                "limit": self.limit, "unit": self.unit, "aim": self.aim,
                "met": bool(value <= self.limit)}


def cost(key: str, *stages: str) -> Callable[[Report], float]:
    """The sum of a cost over stages."""
    return lambda report: sum(report["stages"][s][key] or np.nan for s in stages)


def memory(report: Report) -> float:
    """The most that any stage took, MB."""
    return max(stage["peak_rss_mb"] for stage in report["stages"].values())


def quality(stage: str, key: str) -> Callable[[Report], float]:
    """A measure of a stage's quality."""
    return lambda report: _number(report["quality"][stage].get(key))


def first_band(stage: str, key: str) -> Callable[[Report], float]:
    """A measure of a stage's residual image in the lowest band."""
    return lambda report: _number(report["quality"][stage]["bands"][0].get(key))


def rms_ratio(report: Report) -> float:
    """Residual rms after ICAL over that of the same imaging with the true gains."""
    return quality("selfcal", "residual_rms_jy")(report) / quality(
        "image", "residual_rms_jy")(report)


#: Jy: the bars are those of before the report measured fainter sources.
BAR_FLUX = 0.5


def flux_ratios(stage: str, report: Report) -> np.ndarray:
    """Fitted over true flux of the isolated sources above BAR_FLUX."""
    return np.array([s["flux_jy"] / s["true_flux_jy"] for s in report["quality"][stage]["sources"]
                     if s["isolated"] and s["true_flux_jy"] > BAR_FLUX])


def median_error(report: Report) -> float:
    """How far the median flux ratio after ICAL is from 1."""
    return abs(float(np.median(flux_ratios("selfcal", report))) - 1)


def scatter(report: Report) -> float:
    """The standard deviation of the flux ratios after ICAL, outliers included."""
    return float(np.std(flux_ratios("selfcal", report)))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


BARS: dict[str, tuple[Bar, ...]] = {
    "compat-2018": (
        Bar("modelling, wall", cost("wall_s", "model"), 10, "s"),
        Bar("imaging + ICAL, wall", cost("wall_s", *PROCESSING), 60, "s"),
        Bar("imaging + ICAL, CPU", cost("cpu_s", *PROCESSING), 40, "s"),
        Bar("imaging + ICAL, CPU", cost("cpu_s", *PROCESSING), 25, "s", aim=True),
        Bar("imaging + ICAL, wall", cost("wall_s", *PROCESSING), 25, "s", aim=True),
        Bar("memory of all processes", memory, 2500, "MB"),
        Bar("ICAL residual rms, 90 MHz", first_band("selfcal", "residual_rms_jy"), 4, "mJy", 1e3),
        Bar("ICAL residual peak, 90 MHz", first_band("selfcal", "residual_peak_jy"), 110, "mJy",
            1e3),
    ),
    "reference": (
        Bar("|median flux ratio - 1|", median_error, 0.005, ""),
        Bar("scatter of flux ratios (std)", scatter, 0.01, ""),
        Bar("rms over that of true gains", rms_ratio, 1.05, ""),
        Bar("gain phases", quality("selfcal", "gain_phase_rms_deg"), 1.0, "deg"),
        Bar("ICAL residual rms, 90 MHz", first_band("selfcal", "residual_rms_jy"), 2, "mJy", 1e3,
            aim=True),
        Bar("ICAL residual peak, 90 MHz", first_band("selfcal", "residual_peak_jy"), 50, "mJy",
            1e3, aim=True),
    ),
}
