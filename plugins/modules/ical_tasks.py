# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Wait for the tasks of Swarm services and read their addresses from the engine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ical_tasks
short_description: Wait for the tasks of Swarm services and read their addresses
description:
  - Waits until each named service runs as many tasks of its newest specification as it should, then
    returns their addresses on one network as the engine knows them. Changes nothing.
  - Must run on a manager. When the time is up the message names what is missing and why.
author: ical-swarm maintainers
options:
  services:
    description: Names of the services.
    type: list
    elements: str
    required: true
  network:
    description: Network whose addresses are returned.
    type: str
    required: true
  timeout:
    description: Seconds to wait; 0 only looks.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Read the address of the scheduler
  ical_tasks:
    services: [ical-scheduler]
    network: ical-net
  register: scheduler
"""

RETURN = r"""
addresses:
  description: Addresses of the running tasks, by service.
  returned: always
  type: dict
tasks:
  description: >-
    Service, slot, state, container, address, image, library, names of the secrets, and error of every task that
    should run.
  returned: always
  type: list
  elements: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ical_engine import Engine, EngineError, overlay_address, settled


def environment(task: dict) -> dict[str, str]:
    """The variables that a task's container is given."""
    return dict(entry.split("=", 1) for entry in task["Spec"]["ContainerSpec"].get("Env") or [] if "=" in entry)


def describe(service: str, task: dict, network: str) -> dict:
    """What a user wants to know about one task."""
    status = task["Status"]
    return {
        "service": service,
        "slot": task.get("Slot"),
        "node": task.get("NodeID"),
        "state": status["State"],
        "container": (status.get("ContainerStatus") or {}).get("ContainerID", "")[:12],
        "address": overlay_address(task, network),
        "image": task["Spec"]["ContainerSpec"]["Image"],
        "arl": environment(task).get("ARL_DIGEST", ""),
        "secrets": [secret["SecretName"] for secret in task["Spec"]["ContainerSpec"].get("Secrets") or []],
        "error": status.get("Err", ""),
    }


def look(engine: Engine, services: list[str], network: str) -> tuple[list[dict], list[str]]:
    """Tasks that run, and one sentence for each service that is not complete."""
    running: list[dict] = []
    missing: list[str] = []
    for service in services:
        found = engine.get(f"/services/{service}")
        if found is None:
            missing.append(f"service {service} does not exist")
            continue
        wanted = found["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 1)
        tasks = engine.tasks(service)
        alive = [
            describe(service, task, network)
            for task in tasks
            if task["DesiredState"] == "running" and task["Status"]["State"] == "running"
            # not a task of an older specification that an update is about to stop
            and task["Spec"]["ContainerSpec"] == found["Spec"]["TaskTemplate"]["ContainerSpec"]
        ]
        running += alive
        if len(alive) != wanted:
            missing.append(explain(service, tasks, len(alive), wanted, network))
    return running, missing


def explain(service: str, tasks: list[dict], alive: int, wanted: int, network: str) -> str:
    """Why a service is not complete, from its newest tasks."""
    told = f"service {service} runs {alive} of {wanted} tasks"
    newest = [describe(service, task, network) for task in tasks[: max(wanted, 1)]]
    notes = sorted({f"{task['state']}: {task['error']}".rstrip(": ") for task in newest})
    return f"{told} (newest tasks: {'; '.join(notes) or 'none yet'})"


def watch(engine: Engine, wanted: dict, limit: float) -> tuple[list[dict], list[str]]:
    """What look() tells once every service is complete, or at the limit."""
    return settled(lambda: look(engine, wanted["services"], wanted["network"]), lambda told: told[1], limit, pause=0.5)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "str", "required": True},
            "network": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    engine = Engine()
    limit = time.monotonic() + wanted["timeout"]
    try:
        running, missing = watch(engine, wanted, limit)
    except EngineError as error:
        module.fail_json(msg=str(error))
    addresses: dict[str, list[str]] = {name: [] for name in wanted["services"]}
    for task in running:
        if task["address"]:
            addresses[task["service"]].append(task["address"])
    result = {"changed": False, "addresses": addresses, "tasks": running, "missing": missing}
    if missing and wanted["timeout"]:
        module.fail_json(msg=f"After {wanted['timeout']} s: {', '.join(missing)}.", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
