"""What every stage is given: parameters, where to write, whom to tell, and which cluster."""

from __future__ import annotations

from dataclasses import dataclass

from ical.parameters import Parameters
from ical.progress import Progress
from ical.store import Store


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster to work on.

    Attributes
    ----------
    scheduler: address of a Dask scheduler; None starts a cluster on this machine, to which alone
        the others apply.
    workers: worker processes. threads: library threads of each.
    memory_limit: of each worker, e.g. "4 GB"; None for an equal share of the machine's.
    """

    scheduler: str | None
    workers: int
    threads: int
    memory_limit: str | None


@dataclass(frozen=True)
class RunContext:
    """One stage of one run.

    Attributes
    ----------
    parameters: of the run. store: its folder. progress: of this stage.
    cluster: on which it works.
    resume: whether to go on from a checkpoint that fits.
    """

    parameters: Parameters
    store: Store
    progress: Progress
    cluster: ClusterOptions
    resume: bool

    @property
    def inputs_hash(self) -> str:
        """Hash of all that this stage's outcome follows from; goes into stage.json."""
        return self.store.inputs_hash(self.progress.stage)
