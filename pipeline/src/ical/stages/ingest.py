"""Ingest: a Measurement Set to the partitions of a run, each where it is to stay."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arl.errors import InputError
from arl.io import measurement_set
from arl.io.measurement_set import Contents
from arl.sky import Components, in_field, load_catalogue
from ical.parameters import Input, Parameters
from ical.stages.observed import Observed, image_size, no_baseline
from ical.store import digest, fingerprint

if TYPE_CHECKING:
    import xarray as xr

    from ical.cluster import Cluster
    from ical.partitions import Partition, Plan


#: Apertures of stations are the same that differ by no more than this part.
SAME_DIAMETER = 1e-3
#: How a Measurement Set comes to the hosts of a cluster: shared, distribute, or auto (the default).
ACCESS_VARIABLE = "ICAL_MS_ACCESS"


@dataclass(frozen=True)
class Read:
    """What became of one partition: bytes written, and the share of flagged visibilities."""

    nbytes: int
    flagged: float


def select(chosen: Input) -> measurement_set.Selection:
    """The field, spectral window and column that the run file names."""
    return measurement_set.select(
        str(chosen.measurement_set), chosen.column, chosen.field, chosen.spectral_window)


def set_up(parameters: Parameters) -> tuple[Contents, Observed]:
    """Look through the Measurement Set, and size the images.

    Raises
    ------
    InputError: what the run file names is not there, no image can be advised, an airy beam has no
    aperture, or no source of quality.catalogue is in the image.
    """
    chosen, imaging = parameters.input, parameters.imaging
    used = imaging.uv_range
    found = measurement_set.describe(select(chosen), used.min_m, used.max_m)
    if not found.longest.any():
        raise no_baseline(used, str(chosen.measurement_set))
    solved = parameters.selfcal.uv_range
    if not measurement_set.has_baseline(found.selection, solved.min_m, solved.max_m):
        raise no_baseline(solved, str(chosen.measurement_set), "selfcal")
    diameter = chosen.station_diameter or found.diameter
    if not diameter and imaging.npixel is None:
        raise InputError(f"{chosen.measurement_set} does not know the diameter of its antennas, "
                         f"and so no image size can be advised; give imaging.npixel or "
                         f"input.station_diameter.")
    npixel, inner, cell = image_size(
        imaging, found.longest, found.frequency, diameter or np.inf)
    catalogue_sources(parameters, found.phase_centre, npixel, cell)
    return found, Observed(
        found.time, found.integration_time, found.frequency, found.channel_width,
        found.phase_centre, npixel, inner, cell, found.antenna_names, found.antenna1.size,
        found.positions, found.selection.products if parameters.receptors else (),
        found.frequency_frame, _aperture(parameters, found))


def _aperture(parameters: Parameters, found: Contents) -> float:
    """The diameter of every station, m: as given, or that of the file where all have the same.

    0 where there is none.

    Raises
    ------
    InputError: there is none, and an airy beam needs it.
    """
    if parameters.input.station_diameter:
        return parameters.input.station_diameter
    least, most = found.diameters.min(), found.diameters.max()
    if least > 0 and most - least <= SAME_DIAMETER * most:
        return found.diameter
    if parameters.image_beam == "airy":
        has = (f"antennas of {least:g} to {most:g} m" if least > 0 else
               "antennas without a diameter")
        raise InputError(f"imaging.primary_beam: airy needs one aperture of all stations, and "
                         f"{found.selection.path} has {has}; give input.station_diameter.")
    return 0.0


def catalogue_sources(
    parameters: Parameters, centre: tuple[float, float], npixel: int, cell: float
) -> Components | None:
    """The sources of quality.catalogue inside images about a centre (rad); None: there is none.

    Raises
    ------
    InputError: there is a catalogue, and none of its sources is inside.
    """
    path = parameters.quality.catalogue
    if path is None:
        return None
    sources = in_field(load_catalogue(path), *centre, npixel, cell)
    if not len(sources):
        raise InputError(
            f"quality.catalogue: {path} has no source inside the images, "
            f"{np.degrees(npixel * cell):.3g} degrees about {np.degrees(centre[0]):.5g}, "
            f"{np.degrees(centre[1]):.5g}: give a catalogue of this field, or null.")
    return sources


def read_partition(
    contents: Contents, partition: Partition, path: str, receptors: bool
) -> Read:
    """Task: read one partition from a Measurement Set that this host sees, and write it."""
    return write_partition(
        measurement_set.read(contents, partition.times, partition.channels, receptors), path)


def write_partition(dataset: xr.Dataset, path: str) -> Read:
    """Task: write a partition that came with the task."""
    from arl.io.zarr import write_dataset

    return Read(write_dataset(dataset, path), float(dataset["FLAG"].mean()))


def ingest(
    cluster: Cluster, contents: Contents, plan: Plan, paths: dict[str, str],
    receptors: bool, tell: Callable[[int], None],
) -> dict[str, Read]:
    """Make all partitions on the hosts that own them.

    A host that sees the Measurement Set reads its own partitions; to the others each is read
    here and sent once. With `receptors` their correlations are kept. `tell` is given the number of
    partitions that were sent.

    Raises
    ------
    InputError: all hosts are to read it, and one does not see it.
    """
    near = hosts_that_read(cluster, contents.selection.path)
    made = {p.name: cluster.submit(p.host, read_partition, contents, p, paths[p.name],
                                    receptors)
            for p in plan.partitions if p.host in near}
    done: dict[str, Read] = {}
    for partition in plan.partitions:
        if partition.host not in near:
            done[partition.name] = _send(
                cluster, contents, partition, paths[partition.name], receptors)
            tell(len(done))
    return done | cluster.client.gather(made)


def hosts_that_read(cluster: Cluster, path: str) -> set[str]:
    """The hosts that read their own partitions: those that see the Measurement Set, none or all.

    Raises
    ------
    InputError: all are to, and one does not see it.
    """
    access = os.environ.get(ACCESS_VARIABLE, "auto")
    if access == "distribute":
        return set()
    near = hosts_that_see(cluster, path)
    blind = sorted(set(cluster.hosts()) - near)
    if access == "shared" and blind:
        raise InputError(
            f"ms_access is shared, but the workers of {', '.join(blind)} do not find the {path} "
            f"that is read here, with the same files of the same sizes and times: have it there "
            f"under the same path, copied by rsync -a or cp -a, readable by everybody, start the "
            f"workers with it (site.yml --tags dask,pipeline), or give ms_access distribute.")
    return near


def hosts_that_see(cluster: Cluster, path: str) -> set[str]:
    """The hosts all of whose workers find the same Measurement Set at a path as this process."""
    here = identity(path)
    seen = cluster.ask(identity, path)
    workers = cluster.workers()
    blind = {w.host for w in workers if here is None or seen.get(w.address) != here}
    return {w.host for w in workers} - blind


def identity(path: str) -> str | None:
    """A digest of the sizes and times of change of all files of a Measurement Set (see
    `ical.store.fingerprint`), None where there is none.

    Values of a column that were written anew leave the main table's own file as it was.
    """
    found = fingerprint(path)
    return digest(found) if found else None


def _send(
    cluster: Cluster, contents: Contents, partition: Partition, path: str, receptors: bool
) -> Read:
    """Read a partition here and have it written on the host that owns it."""
    dataset = measurement_set.read(contents, partition.times, partition.channels, receptors)
    # they are looked for in the list that is given alone, where a worker that comes back is not
    cluster.wait_for_hosts({partition.host})
    there = cluster.addresses().get(partition.host, [])
    sent = cluster.client.scatter(dataset, workers=there, hash=False)
    result: Read = cluster.submit(partition.host, write_partition, sent, path).result()
    return result


def empty_bands(plan: Plan, done: dict[str, Read]) -> set[int]:
    """The bands that hold nothing but flags.

    Raises
    ------
    InputError: all of them.
    """
    empty = {b for b in range(len(plan.bands))
             if all(done[p.name].flagged == 1 for p in plan.of_band(b))}
    if len(empty) == len(plan.bands):
        raise InputError("All data of this field and spectral window are flagged, without weight, "
                         "or not finite: choose others, or another input.column.")
    return empty
