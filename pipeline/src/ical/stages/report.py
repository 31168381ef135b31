"""Report: everything that a run's folder holds, as report.json and one page, report.html."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from arl.io.files import write_text

if TYPE_CHECKING:
    from ical.context import RunContext
    from ical.report.schema import Report


def run_report(context: RunContext) -> None:
    """Make the report of a run, finished or not, and tell its verdict.

    There is no stage.json: a report is made again whenever it is asked for.
    """
    context.progress.update(0.0, "reading what the stages left")
    report = write(context.store.folder)
    context.progress.update(1.0, report.verdict.line)


def write(folder: Path) -> Report:
    """Write report.json and report.html of the run in a folder, each in one step.

    Raises
    ------
    InputError: the folder is no run's: it has neither parameters nor a stage.
    """
    from arl.errors import InputError
    from ical.report.assemble import assemble, read_run
    from ical.report.page import render

    run_read = read_run(folder)
    if not run_read.parameters and not run_read.records:
        raise InputError(f"{folder} holds no run: there is no parameters.json in it.")
    report = assemble(run_read)
    write_text(folder / "report.json", report.model_dump_json(indent=2) + "\n")
    write_text(folder / "report.html", render(report, run_read))
    return report
