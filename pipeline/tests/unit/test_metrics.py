"""The meter of a process's memory."""

import pytest

from ical import metrics

MEGABYTE = 1_000_000


def test_memory_that_comes_between_two_readings_of_the_pss_counts(monkeypatch):
    read = []
    whole = metrics.pss_bytes
    monkeypatch.setattr(metrics, "pss_bytes", lambda: read.append(whole()) or read[-1])
    memory = metrics.Memory()
    before = memory.now()
    assert before == pytest.approx(read[0], abs=MEGABYTE)
    block = bytearray(b"x") * (80 * MEGABYTE)
    grown = memory.now() - before
    assert grown == pytest.approx(len(block), abs=5 * MEGABYTE)
    assert len(read) == 1
    assert memory.now() == pytest.approx(whole(), abs=5 * MEGABYTE)


def test_the_pss_is_read_again_after_a_while(monkeypatch):
    read = []
    monkeypatch.setattr(metrics, "pss_bytes", lambda: read.append(1) or 10 * MEGABYTE)
    memory = metrics.Memory()
    memory.now()
    monkeypatch.setattr(metrics, "PSS_INTERVAL_S", 0.0)
    memory.now()
    assert len(read) == 2
