#!/usr/bin/python
# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Look at a host before anything is changed on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ical_probe
short_description: Look at a host and its Docker engine
description:
  - Reads what preflight and the role docker decide on. Changes nothing, needs no Docker SDK.
author: ical-swarm maintainers
options:
  state_dir:
    description: Folder of the deployment's state.
    type: path
    default: /var/lib/ical-swarm
  paths:
    description: Folders whose free space is wanted, beside that of the engine's data where it is on another filesystem.
    type: list
    elements: path
    default: []
  address:
    description: Address or interface whose link's MTU is wanted; that of the default route where the host has no such.
    type: str
    default: ""
  peers:
    description: Addresses of other hosts, to each of which the address is wanted that this host sends from.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for the engine to answer; 0 only looks.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Look at the host
  ical_probe:
    paths: [/var/lib]
  register: probe
"""

RETURN = r"""
host:
  description: System, machine, kernel, clock, routes, memory, space, listeners, packages and state files.
  returned: always
  type: dict
engine:
  description: >-
    The running engine - version, mode, swarm, containers, and with O(paths) whether it has an image of ours; an empty
    dict when none answers.
  returned: always
  type: dict
"""

import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ical_engine import HOST_LABEL, SERVICE_LABEL, Engine, EngineError, EngineSilent, strayed
from ansible.module_utils.ical_host import (
    has_kernel_module,
    link_mtu,
    listeners,
    output,
    packages,
    parse_routes,
    read_json,
    sources,
    text,
)

OURS = "org.ical-swarm"
ACTING_LABEL = "org.ical-swarm.acting"  # of the node of the manager that acts for all
JOINED_LABEL = "org.ical-swarm.joined"  # of a node that we brought into somebody else's swarm
#: Where Debian and Ubuntu install modules of Python, such as those of Docker.
SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"
#: Of Intel's processors since 2013 and AMD's since 2015: radler's wheel is built for them.
WANTED_INSTRUCTIONS = ("avx2", "fma", "bmi2")


def system() -> dict:
    """Identity of the operating system, from os-release."""
    rows = dict(line.split("=", 1) for line in text("/etc/os-release").splitlines() if "=" in line)
    plain = {key: value.strip('"') for key, value in rows.items()}
    return {
        "id": plain.get("ID", ""),
        "version": plain.get("VERSION_ID", ""),
        "name": plain.get("PRETTY_NAME", "unknown"),
        "codename": plain.get("VERSION_CODENAME", ""),
    }


def client_config(environment: Mapping[str, str]) -> dict:
    """The configuration of Docker's client; {} of one that it could not read either."""
    folder = environment.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        found = json.loads(text(f"{folder}/config.json"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def isolated() -> str:
    """This interpreter, where it is one of a virtual environment that does not see the packages of the system."""
    lacks = SYSTEM_PACKAGES not in sys.path
    return sys.executable if sys.prefix != sys.base_prefix and lacks else ""


def existing(path: str) -> str:
    """This folder, or that in which it will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    return path


def free_space(paths: list[str]) -> dict[str, int]:
    """Free bytes by path, of each filesystem by the first path that is or will be on it."""
    first: dict[int, str] = {}
    for path in paths:
        first.setdefault(os.stat(existing(path)).st_dev, path)
    return {path: shutil.disk_usage(existing(path)).free for path in first.values()}


def memory() -> int:
    """Memory of the host in bytes."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", text("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def lacking_instructions(cpuinfo: str) -> list[str]:
    """Which of WANTED_INSTRUCTIONS the processor does not have; [] where it does not tell."""
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return [name for name in WANTED_INSTRUCTIONS if found and name not in found.group(1).split()]


def describe_host(wanted: dict, root: str) -> dict:
    """What there is beside the engine, whose data are or will be in the folder `root`."""
    names = ("docker", "swarm", "image", "registry")
    routes = text("/proc/net/route")
    return {
        "routes": parse_routes(routes),
        "mtu": link_mtu(wanted["address"], routes, output("ip", "-oneline", "address")),
        "sources": sources(wanted["peers"]),
        "kernel": platform.release(),
        # None: it cannot be told
        "vxlan": has_kernel_module("vxlan", platform.release()),
        "system": system(),
        "machine": platform.machine(),
        "lacking": lacking_instructions(text("/proc/cpuinfo")),
        "python": platform.python_version(),
        "isolated": isolated(),
        "root": os.geteuid() == 0,
        "init": text("/proc/1/comm").strip(),
        "cores": os.cpu_count(),
        "memory": memory(),
        "free": free_space([*wanted["paths"], root]),
        "listeners": listeners(),
        "packages": packages(),
        "strayed": strayed(os.environ, client_config(os.environ)),
        "dockerd": shutil.which("dockerd") or "",
        "state": {name: read_json(f"{wanted['state_dir']}/{name}.json") for name in names},
    }


def describe_node(node: dict) -> dict:
    """What is wanted of a node of the swarm; `host` is the name that the inventory gives it."""
    labels = node["Spec"].get("Labels") or {}
    name = (node.get("Description") or {}).get("Hostname", "")
    return {"id": node["ID"], "hostname": name, "host": labels.get(HOST_LABEL, name), "labelled": HOST_LABEL in labels,
            # what it is to be, and what it is
            "role": node["Spec"]["Role"], "manages": "ManagerStatus" in node, "state": node["Status"]["State"],
            "availability": node["Spec"]["Availability"], "acting": ACTING_LABEL in labels,
            "joined": JOINED_LABEL in labels}


def swarm_nodes(engine: Engine) -> list[dict]:
    """The nodes of the swarm; [] from a manager that has no quorum."""
    try:
        return [describe_node(node) for node in engine.get("/nodes")]
    except EngineError:
        return []


def swarm_state(swarm: dict) -> tuple[str, str]:
    """State and error of an engine's membership; one that did not come to the end of leaving calls itself active."""
    state, error = swarm.get("LocalNodeState", "inactive"), swarm.get("Error", "")
    if state == "active" and not swarm.get("NodeID"):
        return "error", "it was leaving it, and did not come to an end"
    return state, error


def describe_engine(engine: Engine) -> dict:
    """What the running engine is; {} when none answers."""
    try:
        info = engine.get("/info")
        containers = engine.get("/containers/json", all="1")
    except EngineSilent:
        return {}
    options = " ".join(info.get("SecurityOptions") or [])
    swarm = info.get("Swarm") or {}
    nodes = swarm_nodes(engine) if swarm.get("ControlAvailable") else []
    state, error = swarm_state(swarm)
    return {
        "version": info["ServerVersion"],
        "root": info["DockerRootDir"],
        "rootless": "name=rootless" in options,
        "userns": "name=userns" in options,
        "live_restore": bool(info.get("LiveRestoreEnabled")),
        "swarm": state,
        "swarm_error": error,
        "swarm_manager": bool(swarm.get("ControlAvailable")),
        "node_id": swarm.get("NodeID", ""),
        "node_address": swarm.get("NodeAddr", ""),
        # a manager without a quorum of its like answers for nothing
        "swarm_acts": bool(nodes),
        "swarm_acted": any(node["acting"] and node["id"] == swarm.get("NodeID") for node in nodes),
        "swarm_nodes": nodes,
        "swarm_managers": sorted(item["Addr"].rsplit(":", 1)[0] for item in swarm.get("RemoteManagers") or []),
        "containers": {
            item["Names"][0].lstrip("/"): item["Labels"].get(OURS) == "1" for item in containers
        },
        # of ours those that no service has, which nobody else removes
        "loose": [item["Id"] for item in containers
                  if item["Labels"].get(OURS) == "1" and SERVICE_LABEL not in item["Labels"]],
        "published": sorted({port["PublicPort"] for item in containers if item["Labels"].get(OURS) == "1"
                             for port in item.get("Ports") or [] if "PublicPort" in port}),
    }


def is_ours(engine: dict, record: dict) -> bool:
    """Whether the swarm that an engine is in was made or joined by a deployment.

    The record is written before: an interrupted init or join is known as ours by its status. An engine
    that cannot use its swarm any more, as when its certificate has run out, does not know who it was.
    """
    status, node = record.get("status"), record.get("node_id")
    lost = status == "member" and engine["swarm"] == "error" and not engine["node_id"]
    member = status == "joining" or (bool(node) and node == engine["node_id"]) or lost
    return engine["swarm"] != "inactive" and bool(record.get("made_by_us")) and member


def has_image(engine: Engine) -> bool:
    """Whether an image of ours is on the host, of whatever version; one that cannot be told is none."""
    try:
        return bool(engine.get("/images/json", {"reference": ["ical-swarm:*"]}))
    except EngineError:
        return False


def wait_for_engine(engine: Engine, timeout: int) -> dict:
    """describe_engine() of an engine that has this many seconds to answer, {} of one that does not."""
    limit = time.monotonic() + timeout
    found = describe_engine(engine)
    while not found and time.monotonic() < limit:
        time.sleep(0.3)
        found = describe_engine(engine)
    return found


def main() -> None:
    began = time.time()
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "default": "/var/lib/ical-swarm"},
            "paths": {"type": "list", "elements": "path", "default": []},
            "address": {"type": "str", "default": ""},
            "peers": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    engine = Engine()
    try:
        found = wait_for_engine(engine, module.params["timeout"])
    except EngineError as error:
        module.fail_json(msg=str(error))
    host = describe_host(module.params, found.get("root", "/var/lib/docker"))
    if found:
        found["swarm_ours"] = is_ours(found, host["state"]["swarm"])
        # the engine may take its time over it: only for who asks about space
        found["image"] = bool(module.params["paths"]) and has_image(engine)
    # the action plugin of this name makes host.clock_offset of it
    host["clock"] = {"first": began, "last": time.time()}
    module.exit_json(changed=False, host=host, engine=found)


if __name__ == "__main__":
    main()
