"""A stage that begins anew: what an attempt before left would pass for products of this one."""

from __future__ import annotations

import re
import shutil

from arl.io.zarr import drop_corrected
from ical.cluster import Cluster
from ical.context import RunContext
from ical.partitions import Plan
from ical.stages.files import paths_of

#: The images that stages write.
KINDS = ("dirty", "psf", "model", "residual", "restored", "pbcorrected", "pbweight",
         "spectralindex", "spectralindexerror")
RECORD = "stage.json"
#: What stages write into their folders, but for checkpoints; all else there is somebody else's.
PRODUCT = re.compile(rf"({'|'.join(KINDS)})_(band\d{{2,}}|combined)\.fits"
                     rf"|gains_[TGB]\.(zarr|h5)|history\.json|{re.escape(RECORD)}")


def clear(context: RunContext) -> None:
    """Remove a stage's products, its record first, unless it goes on from a checkpoint."""
    if _goes_on(context):
        return
    folder = context.store.stage_folder(context.progress.stage)
    left = [path for path in folder.iterdir() if PRODUCT.fullmatch(path.name)]
    for path in sorted(left, key=lambda path: path.name != RECORD):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def clear_corrected(context: RunContext, cluster: Cluster, plan: Plan) -> None:
    """Remove the data from the stores, too, that gains of an attempt before have corrected.

    Before this one ends, and where it finds no gains, they would be read as its own.
    """
    if _goes_on(context):
        return
    paths = paths_of(context, plan)
    cluster.client.gather([cluster.submit(p.host, drop_corrected, paths[p.name])
                           for p in plan.partitions])


def _goes_on(context: RunContext) -> bool:
    return context.resume and context.store.has_checkpoint(context.progress.stage, context.inputs)
