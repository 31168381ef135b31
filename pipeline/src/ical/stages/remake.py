"""What is lost with a host: its partitions, which are made again on the hosts that are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from arl.errors import InputError
from ical.cluster import SCHEDULER_LOST, Cluster, HostLostError
from ical.context import RunContext
from ical.mirror import keep_copies
from ical.partitions import Partition, Plan, share
from ical.stages import ingest, model
from ical.stages.observed import Observed

#: A stage that was begun again so often does not come to its end on this cluster.
MOST_LOSSES = 5


def complete(
    context: RunContext, cluster: Cluster, setup: Observed, plan: Plan, paths: dict[str, str]
) -> Plan:
    """The plan whose partitions are all there: those that are not are made again, from the seed or
    the Measurement Set, where a host is lost on the others.

    Raises
    ------
    InputError: the Measurement Set is no longer there, or no host is.
    """
    gone = cluster.wait_for_hosts({p.host for p in plan.partitions})
    there = cluster.paths_there(list(paths.values()))
    lost = [p for p in plan.partitions
            if p.host in gone or paths[p.name] not in there.get(p.host, set())]
    if not lost:
        return plan
    moved = _deal(lost, gone, cluster.hosts())
    told = f"{len(lost)} of {len(plan.partitions)} partitions are made again"
    context.progress.warning(told + (f", as {', '.join(sorted(gone))} is lost" if gone else ""))
    _make(context, cluster, setup, Plan(plan.bands, tuple(moved.values())), paths)
    return Plan(plan.bands, tuple(moved.get(p.name, p) for p in plan.partitions))


def _deal(lost: list[Partition], gone: set[str], hosts: list[str]) -> dict[str, Partition]:
    """The lost partitions by name, those of hosts that are gone shared among the others."""
    orphans = [p for p in lost if p.host in gone]
    dealt = {p.name: replace(p, host=host)
             for p, host in zip(orphans, share(len(orphans), hosts), strict=True)}
    return {p.name: dealt.get(p.name, p) for p in lost}


def _make(
    context: RunContext, cluster: Cluster, setup: Observed, plan: Plan, paths: dict[str, str]
) -> None:
    parameters = context.parameters
    with cluster.watching({p.host for p in plan.partitions}):
        if isinstance(setup, model.Setup):
            model.simulate(cluster, parameters, setup, plan, paths)
        else:
            contents, _ = ingest.set_up(parameters)
            ingest.ingest(cluster, contents, plan, paths, parameters.receptors, lambda number: None)


def survives_hosts(stage: Callable[[RunContext], None]) -> Callable[[RunContext], None]:
    """The stage, begun again from its last checkpoint when a host that holds data is lost, or the
    scheduler's host, if it starts again elsewhere.

    What it leaves is copied to the hosts that could take over. After `MOST_LOSSES` it raises an
    InputError: what recurs each time would go on for ever.
    """

    @wraps(stage)
    def run(context: RunContext) -> None:
        done = False
        for _ in range(MOST_LOSSES):
            try:
                if not done:
                    stage(context)
                    done = True
                return keep_copies(context)
            except HostLostError as lost:
                context.progress.warning(str(lost))
            except SCHEDULER_LOST:
                if not context.cluster.find_again():
                    raise
                context.progress.warning("the Dask scheduler was lost, and found where it moved to")
            context = replace(context, resume=True)
        raise InputError(
            f"hosts or the scheduler were lost {MOST_LOSSES} times in this stage: see the warnings "
            f"above and the logs of the hosts that they name; a resumed run goes on from its last "
            f"checkpoint")

    return run
