"""What the tests of this folder measure, for docs/quality.md (see `benchmarks.quality`)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest


@pytest.fixture
def measured_as(record_property) -> Callable[[str, str, float | str, str], None]:
    """Record a measured value of a row of the design's table: row, of what, value, bar."""

    def record(row: str, what: str, value: float | str, bar: str) -> None:
        shown = value if isinstance(value, str) else f"{value:.3g}"
        record_property("quality", json.dumps([row, what, shown, bar], ensure_ascii=False))

    return record
