# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""The module ical_probe, and by how much the host's clock is off from that of the controller.

Readings of the controller's clock in tasks of their own would enclose the probes of all hosts: the more hosts, and the
slower the slowest, the larger an offset that passes. Here they enclose the probe of the one host.
"""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase


def clock_offset(first: float, last: float, before: float, after: float) -> float:
    """Seconds by which a host's clock is off at the least, read twice between two readings of the controller's."""
    return max(last - after, 0.0) + min(first - before, 0.0)


class ActionModule(ActionBase):
    """`ical_probe`, with `host.clock_offset` in place of the readings `host.clock`."""

    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        before = time.time()
        answer = self._execute_module(task_vars=task_vars)
        after = time.time()
        if "host" in answer:
            clock = answer["host"].pop("clock")
            answer["host"]["clock_offset"] = clock_offset(clock["first"], clock["last"], before, after)
        return {**result, **answer}
