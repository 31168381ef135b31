"""docs/report.md and the schema say the same, and the promised names stay."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from ical.report.schema import SCHEMA_VERSION, Quality, Report, Stage, fields_markdown

DOCUMENT = Path(__file__).parents[3] / "docs" / "report.md"


def test_document_has_the_tables_of_the_code():
    text = DOCUMENT.read_text(encoding="utf-8")
    between = text.split("<!-- schema -->\n")[1].split("<!-- end of schema -->")[0]
    assert between == fields_markdown()
    assert f"`schema_version` is {SCHEMA_VERSION}" in text


def test_promised_names_are_there():
    assert {"verdict", "outcome", "stages", "quality", "history", "versions", "parameters",
            "superseded", "hosts", "files"} <= Report.model_fields.keys()
    assert {"wall_s", "cpu_s", "peak_rss_mb", "compile_s", "tasks"} <= Stage.model_fields.keys()
    assert {"residual_rms_jy", "residual_peak_jy", "flux_ratio_median", "flux_ratio_scatter",
            "position_offset_beam", "gain_phase_rms_deg"} <= Quality.model_fields.keys()


def test_stages_may_add_measures_but_not_infinite_ones():
    assert Quality(skewness=0.02).model_dump()["skewness"] == 0.02
    with pytest.raises(ValidationError):
        Quality(residual_rms_jy=float("nan"))
    with pytest.raises(ValidationError):
        Stage(status="done", wall_seconds=3.0)
