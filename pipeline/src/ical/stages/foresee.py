"""Before a stage works: what the run will cost on this cluster, and whether that fits."""

from __future__ import annotations

from dataclasses import asdict

from ical import capacity
from ical.cluster import Cluster
from ical.context import RunContext
from ical.forecast import Forecast, Sizes, forecast, sentence
from ical.store import read_json, write_json

FILE = "forecast.json"


def foresee(context: RunContext, cluster: Cluster, sizes: Sizes) -> None:
    """Tell the forecast of a run that begins and keep it, or refuse the run.

    Raises
    ------
    InputError: it will not fit; one sentence says what is short and what to change.
    """
    there = _survey(context, cluster)
    predicted = forecast(sizes, there.resources)
    context.progress.forecast(sentence(predicted), predicted.to_dict())
    _keep(context, sizes, predicted)
    capacity.require_memory(predicted, there)
    capacity.require_disk(predicted, there)


def foresee_again(context: RunContext, cluster: Cluster) -> None:
    """Of a run that goes on, perhaps on another cluster: refuse it where memory is short now.

    Raises
    ------
    InputError: as `foresee`.
    """
    kept = read_json(context.store.folder / FILE)
    if kept is None:
        return
    there = _survey(context, cluster)
    sizes = Sizes(**kept["sizes"])
    predicted = forecast(sizes, there.resources)
    _keep(context, sizes, predicted)
    capacity.require_memory(predicted, there)


def _survey(context: RunContext, cluster: Cluster) -> capacity.Capacity:
    return capacity.survey(cluster, context.store.data, context.store.folder)


def _keep(context: RunContext, sizes: Sizes, predicted: Forecast) -> None:
    write_json(context.store.folder / FILE,
               {"sizes": asdict(sizes), "forecast": predicted.to_dict()})
