"""Self-calibration: `ical run` against a loop of WSClean and DP3's gaincal.

Phases are solved from the first cycle on, amplitudes from the third; each solution holds for one
time and one sub-band. In the plain loop every cycle images the corrected data anew with the
thresholds of ours: shallow with points alone until amplitudes are solved, then deep. The tuned loop
is as cheap as we can make it: it goes on with the model of the cycle before (`-continue`), computes
no point spread function twice (`-reuse-psf`), and has the fewest cycles that reach our final rms.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.pairs import Ratio, alternate
from benchmarks.peers.imaging import our_run, ratios
from benchmarks.peers.install import Peers
from benchmarks.peers.judge import Images, Quality, judge
from benchmarks.peers.observation import CHANNELS, Size, parameters, simulate
from benchmarks.peers.process import Cost, run
from benchmarks.peers.settings import (
    BANDS,
    THREADS,
    Deconvolution,
    our_imaging,
    wsclean_options,
)
from ical.parameters import Parameters
from ical.stages.model import Setup

EQUAL_WORK_BAR, EQUAL_RESULT_BAR = 0.75, 0.6
#: 40 degrees and 10 % (rms) that drift within an hour, alike in all channels.
GAIN_ERRORS = {"drift_phase": 0.698, "drift_amplitude": 0.1, "drift_time": 3600.0}
CYCLES, FIRST_AMPLITUDES = 5, 3
DEEP = Deconvolution(major_cycles=5)
SHALLOW = Deconvolution(scales=(0,), iterations=1000, major_cycles=1)
#: The tuned loop has reached our final rms when it is within this share of it.
SAME_RMS = 0.01


@dataclass(frozen=True)
class Loop:
    """A loop of WSClean and DP3 on one Measurement Set, in a folder of its own."""

    peers: Peers
    size: Size
    folder: Path
    measurement_set: Path

    def plain(self, cycles: int) -> Iterator[Cost]:
        """Every cycle from a fresh start."""
        yield self._image(0, "DATA", SHALLOW, [])
        for number in range(1, cycles + 1):
            yield self._calibrate(number)
            deep = number >= FIRST_AMPLITUDES
            yield self._image(number, "CORRECTED_DATA", DEEP if deep else SHALLOW, [])

    def tuned(self, cycles: int) -> Iterator[Cost]:
        """Every cycle goes on where the one before ended."""
        yield self._image(0, "DATA", SHALLOW, [])
        first = self.folder / "cycle-0"
        for number in range(1, cycles + 1):
            yield self._calibrate(number)
            clean = SHALLOW if number < cycles else DEEP
            self._hand_on(number - 1, number)
            yield self._image(number, "CORRECTED_DATA", clean,
                              ["-continue", "-reuse-psf", str(first)])

    def last(self, cycles: int) -> Images:
        """The images of a cycle."""
        return Images.of_wsclean(self.folder / f"cycle-{cycles}")

    def _image(self, number: int, column: str, clean: Deconvolution, more: list[str]) -> Cost:
        name = self.folder / f"cycle-{number}"
        options = wsclean_options(self.size, clean, name)
        return run([self.peers.wsclean, *options, *more, "-data-column", column,
                    str(self.measurement_set)], self.folder / "loop.log", self.peers.environment)

    def _hand_on(self, old: int, new: int) -> None:
        """The model images that `-continue` goes on from."""
        for path in self.folder.glob(f"cycle-{old}-*-model.fits"):
            shutil.copy(path, path.with_name(path.name.replace(
                f"cycle-{old}-", f"cycle-{new}-", 1)))

    def _calibrate(self, number: int) -> Cost:
        steps = {"phase": "scalarphase", "amplitude": "scalaramplitude"}
        chosen = list(steps) if number >= FIRST_AMPLITUDES else ["phase"]
        options = [f"{step}.{key}={value}" for step in chosen for key, value in {
            "type": "gaincal", "caltype": steps[step], "solint": 1, "nchan": CHANNELS // BANDS,
            "usemodelcolumn": "true", "applysolution": "true",
            "parmdb": self.folder / f"{step}-{number}.h5"}.items()]
        return run([self.peers.dp3, f"msin={self.measurement_set}", "msout=.",
                    "msin.datacolumn=DATA", "msout.datacolumn=CORRECTED_DATA",
                    f"numthreads={THREADS}", f"steps=[{','.join(chosen)}]", *options],
                   self.folder / "loop.log", self.peers.environment)


def our_parameters(size: Size, measurement_set: Path, setup: Setup) -> Parameters:
    """Our run file of the same work."""
    interval = {term: 0.5 * setup.integration_time for term in "TG"}
    width = {term: setup.channel_width * CHANNELS / BANDS for term in "TG"}
    return Parameters.model_validate({
        "name": "ours", "input": {"measurement_set": str(measurement_set),
                                  "station_diameter": 35.0},
        "imaging": our_imaging(size, DEEP),
        "selfcal": {"terms": "TG", "first_cycle": {"T": 1, "G": FIRST_AMPLITUDES},
                    "solution_interval": interval, "solution_bandwidth": width,
                    "cycles": CYCLES}})


def compare(size: Size, folder: Path, peers: Peers, pairs: int, seed: int) -> dict[str, Any]:
    """Paired runs on one observation, against the plain loop and against the tuned one."""
    folder.mkdir(parents=True)
    original = folder / "simulated.ms"
    setup = simulate(parameters(size, seed, GAIN_ERRORS), original)
    ours = our_parameters(size, original, setup)

    def our_cost(number: int) -> tuple[Cost, Cost]:
        return our_run(ours, folder, f"ours-{number}")

    def fresh(kind: str, number: int) -> Loop:
        """Ready-made outside of what is measured: DP3 and WSClean add columns."""
        own = folder / f"{kind}-{number}"
        shutil.copytree(original, own / "loop.ms")
        return Loop(peers, size, own, own / "loop.ms")

    def plain(number: int) -> Cost:
        return Cost.of_sequence(fresh("plain", number).plain(CYCLES))

    equal_work = list(alternate(pairs, our_cost, plain))
    our_quality = judge(Images.of_ical(folder / "ours-0" / "selfcal"), setup)
    plain_quality = judge(Loop(peers, size, folder / "plain-0", original).last(CYCLES), setup)
    cycles, tuned_quality = fewest_cycles(fresh, our_quality.scaled_rms_jy, setup)

    def tuned(number: int) -> Cost:
        return Cost.of_sequence(fresh("tuned", number).tuned(cycles))

    equal_result = list(alternate(pairs, lambda k: our_cost(pairs + k), tuned))
    return {
        "visibilities": setup.time.size * setup.n_baseline * setup.frequency.size,
        "npixel": size.npixel, "bands": BANDS, "cycles": {"ours and plain": CYCLES,
                                                         "tuned": cycles},
        "quality": {"ours": our_quality.to_dict(), "plain": plain_quality.to_dict(),
                    "tuned": tuned_quality.to_dict()},
        "equal_work": told(equal_work, our_quality, plain_quality, EQUAL_WORK_BAR),
        "equal_result": told(equal_result, our_quality, tuned_quality, EQUAL_RESULT_BAR),
    }


def told(
    measured: list[tuple[tuple[Cost, Cost], Cost]], ours: Quality, peer: Quality, bar: float
) -> dict[str, Any]:
    """One of the two tables."""
    rows = ratios(measured, bar)
    rows.append(Ratio.of([ours.scaled_rms_jy], [peer.scaled_rms_jy]).row(
        "residual rms at the true flux scale", None))
    return {"costs": [{"ours": asdict(whole), "stages": asdict(stages), "peer": asdict(cost)}
                      for (whole, stages), cost in measured], "rows": rows}


def fewest_cycles(
    fresh: Callable[[str, int], Loop], rms: float, setup: Setup
) -> tuple[int, Quality]:
    """The fewest cycles of the tuned loop whose last residual is as good as ours (scaled, Jy/beam).

    The most where none is.
    """
    for cycles in range(FIRST_AMPLITUDES, CYCLES + 1):
        loop = fresh("trial", cycles)
        for _ in loop.tuned(cycles):
            pass
        quality = judge(loop.last(cycles), setup)
        if quality.scaled_rms_jy <= (1 + SAME_RMS) * rms:
            break
    return cycles, quality
