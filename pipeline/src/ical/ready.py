"""Importing this makes a process ready for tasks: libraries imported, kernels compiled.

`ical.prefork` has it imported by the process that workers are copies of. That must not die of what
goes wrong here: the workers meet it again, and can tell the pipeline.
"""

from contextlib import suppress

with suppress(Exception):
    from arl.io import measurement_set, zarr  # noqa: F401
    from ical import metrics, tasks  # noqa: F401
    from ical.stages import ingest, model  # noqa: F401
    from ical.warmup import warm_up

    warm_up()
