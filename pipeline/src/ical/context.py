"""What every stage is given: parameters, where to write, whom to tell, and which cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from ical.parameters import Parameters
from ical.progress import Progress
from ical.store import Store, changed_inputs

if TYPE_CHECKING:
    from ical.cluster import Cluster


class Connector(Protocol):
    """Who gives a stage its cluster."""

    def connect(self) -> AbstractContextManager[Cluster]:
        """The cluster, for as long as the context lasts."""

    def find_again(self) -> bool:
        """Whether the scheduler, which was lost, was found again where it has moved to."""


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster to work on.

    Attributes
    ----------
    scheduler: address of a Dask scheduler; None starts a cluster on this machine, to which alone
        workers, threads and memory_limit apply.
    workers: worker processes. threads: library threads of each.
    memory_limit: of each worker, e.g. "4 GB"; None for an equal share of the machine's.
    by_name: address of the scheduler by a name that stays when it moves to another host; None: it
        does not move.
    """

    scheduler: str | None
    workers: int
    threads: int
    memory_limit: str | None
    by_name: str | None = None

    @contextmanager
    def connect(self) -> Iterator[Cluster]:
        """A connection, and on this machine a cluster, of its own."""
        from ical.cluster import connect

        with connect(self.scheduler, workers=self.workers, threads=self.threads,
                     memory_limit=self.memory_limit) as cluster:
            yield cluster


class SharedCluster:
    """One cluster for all stages of a process, connected to when the first asks for it.

    A worker imports and compiles once then, and has the visibilities at hand that it read before.
    """

    def __init__(self, options: ClusterOptions) -> None:
        self.options, self._stack = options, ExitStack()
        self._cluster: Cluster | None = None

    def __enter__(self) -> SharedCluster:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def connect(self) -> Iterator[Cluster]:
        """The shared cluster, which outlives the stage that asks."""
        if self._cluster is None:
            self._cluster = self._stack.enter_context(self.options.connect())
        yield self._cluster

    def find_again(self) -> bool:
        """Connect to the scheduler by its name; whether there is one.

        Raises
        ------
        InputError: nobody answers by that name.
        """
        if self.options.by_name is None:
            return False
        from ical.cluster import wait_for_scheduler

        self._stack.close()
        self._cluster = None
        wait_for_scheduler(self.options.by_name)
        self.options = replace(self.options, scheduler=self.options.by_name)
        return True


@dataclass(frozen=True)
class RunContext:
    """One stage of one run.

    Attributes
    ----------
    parameters: of the run. store: its folder. progress: of this stage.
    cluster: who gives it the cluster on which it works.
    resume: whether to go on from a checkpoint that fits.
    inputs: what its outcome follows from (see `Store.inputs`), as it was when the stage began: by
        default now. A stage that begins again after a loss keeps those of the first time.
    """

    parameters: Parameters
    store: Store
    progress: Progress
    cluster: Connector
    resume: bool
    inputs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.inputs:
            object.__setattr__(self, "inputs", self.store.inputs(self.progress.stage))

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the stage's record and warnings, one of them where its inputs have changed since
        it began: what it made may be of the old ones or of both, so it is not done for the new.
        """
        stage = self.progress.stage
        changed = changed_inputs(self.inputs, self.store.inputs(stage))
        if changed:
            self.progress.warning(
                f"these inputs have changed while the stage worked: {', '.join(changed)}; its "
                f"outcome may be of both states, and --resume makes it again")
        self.store.write_stage(
            stage, {**record, "warnings": self.progress.warnings}, self.inputs)
