"""The benchmark of large data: its sizes, and bars that can be missed."""

from __future__ import annotations

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


def test_every_run_is_judged_against_the_first(tmp_path, monkeypatch, capsys):
    def measure(visibilities, folder, seed):
        return {"visibilities": visibilities, "peak_mb": 2000.0, "over_forecast": 1.2,
                "cpu_us_per_visibility": visibilities / 1e5}

    monkeypatch.setattr(benchmark, "measure", measure)
    runs = benchmark.data_larger_than_memory(tmp_path, 1, (1e6, 2e6))
    assert [run["cpu_us_per_visibility"] for run in runs] == [10.0, 20.0]
    assert runs[0]["missed"] == []
    assert runs[1]["missed"] == ["cost per visibility over that of the first: 2 > 1.2"]
    assert "MISSED cost per visibility" in capsys.readouterr().out
