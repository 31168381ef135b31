"""The benchmark of large data: its sizes, and bars that can be missed."""

from __future__ import annotations

import json

import pytest

from benchmarks import large as benchmark
from benchmarks.large import large, missed
from ical.forecast import sizes_of


@pytest.mark.parametrize("visibilities", [1e6, 1e7, 1e8])
def test_the_run_has_the_size_asked_for(visibilities):
    sizes = sizes_of(large(visibilities))
    assert sizes.visibilities == pytest.approx(visibilities, rel=0.2)
    assert (sizes.bands, sizes.npixel) == (4, 1024)
    assert (sizes.partitions > sizes.bands) == (visibilities > 1e6)


def test_bars_are_judged():
    good = {"peak_mb": 2000.0, "over_forecast": 1.2, "cpu_us_per_visibility": 10.0}
    assert missed(good, good) == []
    bad = {"peak_mb": 4100.0, "over_forecast": 1.4, "cpu_us_per_visibility": 12.1}
    assert [m.split(":")[0] for m in missed(bad, good)] == [
        "memory, MB", "memory over forecast", "cost per visibility over that of the first"]


def test_figures_are_left_below_the_results(tmp_path, monkeypatch):
    """Those of every run that was done, also where a later one fails."""
    figures = {"visibilities": 10, "peak_mb": 2000.0, "over_forecast": 1.2}

    def measure(visibilities, folder):
        if visibilities > 2e6:
            raise RuntimeError("no more room")
        return figures | {"cpu_us_per_visibility": visibilities / 1e5}

    monkeypatch.setattr(benchmark, "measure", measure)
    monkeypatch.setattr("sys.argv", ["large", "1e6", "2e6", "--results", str(tmp_path)])
    assert benchmark.main() == 1
    monkeypatch.setattr("sys.argv", ["large", "1e6", "3e6", "--results", str(tmp_path / "other")])
    with pytest.raises(RuntimeError):
        benchmark.main()
    both, one = (json.loads(path.read_text())["large"]["runs"] for path in (
        *tmp_path.glob("bench-large-*/bench.json"), *tmp_path.glob("other/bench-*/bench.json")))
    assert [run["cpu_us_per_visibility"] for run in both] == [10.0, 20.0]
    assert both[0]["missed"] == []
    assert both[1]["missed"] == ["cost per visibility over that of the first: 2 > 1.2"]
    assert both[1]["peak_mb"] == 2000.0
    assert len(one) == 1
