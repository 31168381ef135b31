# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Wait until a host has let go of containers, networks and ports."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ical_released
short_description: Wait until a host has let go of containers, networks and ports
description:
  - Waits until no container of the named services or labels is left on this host, running or exited, the
    named networks are gone and nothing listens on the named TCP ports. Changes nothing.
  - When the time is up the message names what is still there.
author: ical-swarm maintainers
options:
  services:
    description: Services whose containers must be gone.
    type: list
    elements: str
    default: []
  labels:
    description: Labels C(NAME=VALUE) of which no container may be left.
    type: list
    elements: str
    default: []
  networks:
    description: Networks that must be gone.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports nothing may listen on.
    type: list
    elements: int
    default: []
  swarm:
    description: Also wait until this engine is in no swarm.
    type: bool
    default: false
  timeout:
    description: Seconds to wait.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Wait for the containers of Dask
  ical_released:
    services: [ical-scheduler]
    ports: [8787]
"""

RETURN = r"""
left:
  description: What was still there, [] on success.
  returned: always
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ical_engine import SERVICE_LABEL, Engine, EngineError, settled

LISTEN = "0A"  # state of a listening socket in /proc/net/tcp


def listening() -> set[int]:
    """TCP ports with a listener in this network namespace."""
    ports: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                rows = [line.split() for line in lines][1:]
        except FileNotFoundError:  # IPv6 switched off
            continue
        ports |= {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == LISTEN}
    return ports


def look(engine: Engine, wanted: dict) -> list[str]:
    """One phrase for everything that is still there."""
    labels = [f"{SERVICE_LABEL}={service}" for service in wanted["services"]] + wanted["labels"]
    left = [
        f"container {item['Names'][0].lstrip('/')} ({item['Status']})"
        for item in engine.containers(labels)
    ]
    left += [
        f"network {name}" for name in wanted["networks"] if engine.get(f"/networks/{name}") is not None
    ]
    open_ports = listening()
    left += [f"a listener on TCP port {port}" for port in wanted["ports"] if port in open_ports]
    if wanted["swarm"]:
        state = engine.get("/info")["Swarm"]["LocalNodeState"]
        left += [f"membership of a swarm ({state})"] if state != "inactive" else []
    return left


def watch(engine: Engine, wanted: dict, limit: float) -> list[str]:
    """What is still there once nothing is, or at the limit."""
    return settled(lambda: look(engine, wanted), bool, limit, pause=0.3)


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "services": names,
            "labels": names,
            "networks": names,
            "ports": {"type": "list", "elements": "int", "default": []},
            "swarm": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    engine = Engine()
    # in check mode nothing was removed, so there is nothing to wait for
    limit = time.monotonic() + (0 if module.check_mode else module.params["timeout"])
    try:
        left = watch(engine, module.params, limit)
    except EngineError as error:
        module.fail_json(msg=str(error))
    if left and not module.check_mode:
        timeout = module.params["timeout"]
        module.fail_json(msg=f"Still there after {timeout} s: {', '.join(left)}.", left=left)
    module.exit_json(changed=False, left=left)


if __name__ == "__main__":
    main()
