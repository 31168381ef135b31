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
            offsets = [clock_offset(clock["first"], clock["last"], before, after)]
            # who asks about space asks about all that may hinder
            if self._task.args.get("paths"):
                offsets.append(self._read_clock())
            answer["host"]["clock_offset"] = max(offsets, key=abs)
        return {**result, **answer}

    def _read_clock(self) -> float:
        """`clock_offset` of one reading that does not wait for Python, by whose start a clock may be behind unseen."""
        before = time.time()
        told = self._low_level_execute_command("date +%s.%N", sudoable=False)["stdout"].strip()
        after = time.time()
        try:
            return clock_offset(float(told), float(told), before, after)
        except ValueError:  # a host that greets who comes
            return 0.0
