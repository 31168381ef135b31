"""The command line: `ical check|model|image|selfcal|report|run|probe|retire`.

Light: nothing of science, Dask or even the parameters is imported before a command needs it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import ical
from arl.errors import InputError

if TYPE_CHECKING:
    from ical.context import Connector, SharedCluster
    from ical.forecast import Forecast
    from ical.parameters import Parameters
    from ical.progress import Sink
    from ical.store import Store

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
SCHEDULER_VARIABLE = "ARL_DASK_SCHEDULER"
NAME_VARIABLE = "ARL_DASK_SCHEDULER_NAME"
#: Stages that may begin a run; the others need one.
BEGINS = ("model",)
#: Where each stage is, imported when it runs.
STAGE_FUNCTIONS = {
    "model": ("ical.stages.run", "run_model"), "image": ("ical.stages.run", "run_image"),
    "selfcal": ("ical.stages.run", "run_selfcal"), "report": ("ical.stages.report", "run_report"),
}


class RunFailedError(Exception):
    """A run that failed: the message says why and where the log is."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every stage takes."""
    for option in reversed((
        click.argument("run"),
        click.option("--name", "run_id", metavar="ID", help="Name of the run's folder "
                     "[default: <name>-<UTC>, or the newest run of these parameters]."),
        click.option("--results", type=click.Path(file_okay=False, path_type=Path),
                     default="results", show_default=True, help="Folder of all runs."),
        click.option("--data", type=click.Path(file_okay=False, path_type=Path),
                     help="Folder of the visibilities on every host [default: in the run's "
                     "folder]."),
        click.option("--resume", is_flag=True, help="Go on with a run: skip what is done, begin "
                     "at the last checkpoint."),
        click.option("--scheduler", metavar="ADDRESS", envvar=SCHEDULER_VARIABLE,
                     show_envvar=True, help="Dask scheduler [default: a cluster on this "
                     "machine]."),
        click.option("--by-name", metavar="ADDRESS", envvar=NAME_VARIABLE, show_envvar=True,
                     help="The scheduler's address by a name that stays when it moves to another "
                     "host: where it is looked for when it is lost."),
        click.option("--workers", type=click.IntRange(min=1), help="Workers on this machine "
                     "[default: resources.workers]."),
        click.option("--threads", type=click.IntRange(min=1), help="Threads of each worker "
                     "[default: resources.threads]."),
    )):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(ical.__version__, prog_name="ical")
def cli() -> None:
    """Simulate, image and self-calibrate radio-interferometric data on Dask.

    RUN is the path of a run file (YAML, or the parameters.json of 2018), or one of the runs that
    ship with ical: reference, reference-noise, compat-2018, tiny.

    \b
    Examples:
      ical check reference           what is wrong with a run, and what it will cost
      ical run tiny                  everything, in seconds, on this machine
      ical run my.yml --workers 4    a run of your own
    \b
    Exit codes: 0 done, 1 the run failed, 2 a mistake in what was asked, 130 interrupted.
    """


@cli.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def check(run: str, as_json: bool) -> None:
    """Check a run file and predict memory, disk, tasks and time. Runs nothing.

    \b
    Examples:
      ical check reference
      ical check my.yml --json
    """
    from ical.forecast import forecast, sizes_of
    from ical.parameters import load

    parameters = load(run)
    predicted = forecast(sizes_of(parameters), parameters.resources)
    if as_json:
        click.echo(json.dumps({
            "name": parameters.name, "forecast": predicted.to_dict(),
            "superseded": [s.model_dump() for s in parameters.superseded]}, indent=2))
    else:
        _print_check(parameters, predicted)


def _print_check(parameters: Parameters, predicted: Forecast) -> None:
    from ical.forecast import rows

    click.echo(f"{parameters.name}: the run file is good.\n")
    for label, value in rows(predicted):
        click.echo(f"  {label:24}{value}")
    if parameters.superseded:
        click.echo(f"\nSuperseded, {len(parameters.superseded)} parameters of 2018:")
        for entry in parameters.superseded:
            click.echo(f"  {entry.key}\n      {entry.reason}")


@cli.command()
@_options
def model(run: str, **options: Any) -> None:
    """Make the visibilities: simulate them, or read a Measurement Set.

    \b
    Examples:
      ical model reference --name first
      ical model my.yml --scheduler tcp://10.0.0.5:8786 --data /data
    """
    _execute(run, ("model",), options)


@cli.command()
@_options
def image(run: str, **options: Any) -> None:
    """Image the data as they are (simulated ones without their gain errors).

    \b
    Examples:
      ical image reference                   the newest run of these parameters
      ical image reference --name first
    """
    _execute(run, ("image",), options)


@cli.command()
@_options
def selfcal(run: str, **options: Any) -> None:
    """Calibrate the data on their own image, cycle by cycle.

    \b
    Examples:
      ical selfcal reference --name first
      ical selfcal reference --name first --resume      from the last checkpoint
    """
    _execute(run, ("selfcal",), options)


@cli.command()
@_options
def report(run: str, **options: Any) -> None:
    """Write report.html and report.json of what the other stages found.

    \b
    Examples:
      ical report reference --name first
    """
    _execute(run, ("report",), options)


@cli.command(name="run")
@_options
def run_all(run: str, **options: Any) -> None:
    """Do all stages: model, image, selfcal, report.

    \b
    Examples:
      ical run tiny
      ical run reference --workers 2 --results /data/results
      ical run reference --resume            go on with the newest run that was interrupted
    """
    _execute(run, ("model", "image", "selfcal", "report"), options)


@cli.command()
@click.option("--scheduler", metavar="ADDRESS", envvar=SCHEDULER_VARIABLE, show_envvar=True,
              required=True, help="Dask scheduler.")
@click.option("--expect-workers", type=click.IntRange(min=1), required=True,
              help="How many workers there must be.")
@click.option("--arl-digest", required=True, help="The digest that the library must have.")
@click.option("--by-name", metavar="ADDRESS", envvar=NAME_VARIABLE, show_envvar=True,
              help="The scheduler's address by name, by which every host must find it.")
def probe(scheduler: str, expect_workers: int, arl_digest: str, by_name: str | None) -> None:
    """Prove a cluster: a task on every worker, equal versions, the same library everywhere.

    \b
    Examples:
      ical probe --scheduler tcp://10.0.0.5:8786 --expect-workers 4 --arl-digest 3f2a...
    """
    from ical import cluster

    workers = cluster.probe(scheduler, expect_workers, arl_digest, by_name)
    click.echo(json.dumps({"workers": workers}))


@cli.command()
@click.option("--scheduler", metavar="ADDRESS", envvar=SCHEDULER_VARIABLE, show_envvar=True,
              required=True, help="Dask scheduler.")
@click.argument("hosts", nargs=-1, required=True)
def retire(scheduler: str, hosts: tuple[str, ...]) -> None:
    """Have the workers on HOSTS hand what they hold to the others, and end.

    \b
    Examples:
      ical retire --scheduler tcp://10.0.0.5:8786 node3 node4
    """
    from ical import cluster

    click.echo(json.dumps({"retired": cluster.retire(scheduler, hosts)}))


def _execute(run: str, stages: Sequence[str], options: dict[str, Any]) -> None:
    """Open or make the run and do its stages one after the other."""
    from ical import prefork
    from ical.parameters import load
    from ical.progress import open_sink

    parameters = load(run)
    if not options["scheduler"]:
        prefork.start(options["threads"] or parameters.resources.threads)
    with ExitStack() as stack:
        cluster = stack.enter_context(_shared_cluster(parameters, options))
        _bring_copy(cluster, options)
        store = _open_store(parameters, stages, options)
        stack.enter_context(store.lock())
        sink = open_sink(sys.stdout, store.folder / "progress.jsonl")
        stack.callback(sink.close)
        for stage in stages:
            with _failure_logged(store, sink, stage):
                _run_stage(stage, parameters, store, sink, cluster, options["resume"])
        _tell_result(sink, store)


def _bring_copy(cluster: Connector, options: dict[str, Any]) -> None:
    """Of a run to go on with that is not on this host of a cluster: the folder that another has."""
    if not (options["scheduler"] and options["resume"] and options["run_id"]):
        return
    folder = options["results"] / options["run_id"]
    if not folder.exists():
        from ical.mirror import bring_copy

        bring_copy(cluster, folder)


def _open_store(parameters: Parameters, stages: Sequence[str], options: dict[str, Any]) -> Store:
    from ical.store import Store, newest

    results, data, run_id = options["results"], options["data"], options["run_id"]
    if stages[0] not in BEGINS:
        return Store.open(parameters, results, data, run_id)
    if options["resume"]:
        known = run_id or newest(parameters, results)
        if known is not None and (results / known / "parameters.json").exists():
            return Store.open(parameters, results, data, known)
    return Store.create(parameters, results, data, run_id)


def _shared_cluster(parameters: Parameters, options: dict[str, Any]) -> SharedCluster:
    from ical.context import ClusterOptions, SharedCluster

    resources = parameters.resources
    return SharedCluster(ClusterOptions(
        options["scheduler"] or None, options["workers"] or resources.workers,
        options["threads"] or resources.threads, resources.memory_limit, options["by_name"]))


def _run_stage(
    stage: str, parameters: Parameters, store: Store, sink: Sink, cluster: Connector,
    resume: bool,
) -> None:
    """Run one stage, or say why it need not run.

    Raises
    ------
    InputError: it is done already and is not to be overwritten, or what it reads is not there.
    """
    from ical.context import RunContext
    from ical.progress import Progress

    progress = Progress(stage, sink)
    # before anything is looked at: it keeps what its inputs are now
    context = RunContext(parameters, store, progress, cluster, resume)
    if stage == "selfcal" and not parameters.selfcal.enabled:
        progress.skip("selfcal.enabled is false")
        return
    if store.is_done(stage):
        if not resume:
            raise InputError(f"The stage {stage} of {store.run_id} is done: add --resume to skip "
                             f"what is done, or start a new run.")
        progress.skip("done before")
        return
    _require_upstream(stage, parameters, store)
    changed = store.changed_since(stage)
    with progress.running():
        if changed:
            progress.warning(f"it begins anew, as these inputs have changed since it worked last: "
                             f"{', '.join(changed)}")
        module, function = STAGE_FUNCTIONS[stage]
        getattr(import_module(module), function)(context)


def _require_upstream(stage: str, parameters: Parameters, store: Store) -> None:
    from ical.store import UPSTREAM

    for name in UPSTREAM.get(stage, ()):  # a report is made of whatever there is
        if not store.is_done(name):
            changed = store.changed_since(name)
            since = f" since these inputs changed: {', '.join(changed)}" if changed else ""
            raise InputError(f"The stage {stage} needs {name}, which {store.run_id} has not done"
                             f"{since}: run `ical {name} {parameters.name} --name {store.run_id} "
                             f"--resume` first.")


@contextmanager
def _failure_logged(store: Store, sink: Sink, stage: str) -> Iterator[None]:
    """Turn any failure but a user's mistake into one sentence, and keep the trace in the log."""
    import time

    try:
        yield
    except InputError as error:
        sink.emit({"event": "error", "stage": stage, "time": time.time(), "message": str(error)})
        raise
    except Exception as error:
        log = store.folder / "logs" / "ical.log"
        log.parent.mkdir(exist_ok=True)
        with open(log, "a", encoding="utf-8") as out:
            traceback.print_exc(file=out)
        message = f"The run {store.run_id} failed: {_one_line(error)} (log: {log})"
        sink.emit({"event": "error", "stage": stage, "time": time.time(), "message": message})
        raise RunFailedError(message) from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _tell_result(sink: Sink, store: Store) -> None:
    import time

    page = store.folder / "report.html"
    found = {"report": str(page)} if page.exists() else {}
    message = f"Done: {page if found else store.folder}"
    sink.emit({"event": "result", "time": time.time(), "run": store.run_id,
               "folder": str(store.folder), **found, "message": message})


def _keep_trace() -> str:
    """Write the current exception's trace to a temporary file; returns its path."""
    with tempfile.NamedTemporaryFile("w", prefix="ical-", suffix=".log", delete=False) as out:
        traceback.print_exc(file=out)
    return out.name


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: every failure is one sentence on stderr and an exit code.

    All that was begun has ended by then; what is left, to take the libraries apart, would take
    longer than a short run's report.
    """
    code = _run_cli(arguments)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)


def _run_cli(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="ical", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return OK
    except click.ClickException as error:
        click.echo(f"{error.format_message()} (ical --help shows the commands)", err=True)
        return MISTAKE
    except InputError as error:
        click.echo(str(error), err=True)
        return MISTAKE
    except RunFailedError as error:
        click.echo(str(error), err=True)
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted: the same command with --resume goes on.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:  # outside a run, so there is no folder for a log
        click.echo(f"Failed: {_one_line(error)} (log: {_keep_trace()})", err=True)
        return FAILED
    return code if isinstance(code, int) else OK


if __name__ == "__main__":
    main()
