"""The report of a run: report.json (see docs/report.md) and one self-contained page."""
