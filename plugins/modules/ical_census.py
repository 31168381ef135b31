#!/usr/bin/python
# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Take the census of a host, keep the first one, and compare a later one with it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ical_census
short_description: Take, keep and compare the census of a host
description:
  - Lists containers, networks, volumes, images, services, secrets, swarm membership, labels of nodes, network links,
    namespaces, listeners, mounts, processes, packages, firewall chains and kernel settings.
  - With C(keep) it is written to C(STATE_DIR/census.json) unless there is one; that is never overwritten.
  - With C(compare) it says what is new since C(before), and whose it is.
author: ical-swarm maintainers
options:
  state_dir:
    description: Folder of the deployment's state.
    type: path
    default: /var/lib/ical-swarm
  docker_root:
    description: Folder of the engine's data.
    type: path
    default: /var/lib/docker
  ports:
    description: TCP ports that our containers publish.
    type: list
    elements: int
    default: []
  packages:
    description: Packages that a deployment installed; others are not its.
    type: list
    elements: str
    default: []
  keep:
    description: Write the census, if none is kept.
    type: bool
    default: false
  compare:
    description: Compare with C(before).
    type: bool
    default: false
  before:
    description: An earlier census, as this module returns it; empty where there is none.
    type: list
    elements: dict
    default: []
  purge:
    description: Whether the host should be as it was before, Docker and images included.
    type: bool
    default: false
  swarm_stays:
    description: Whether this host rightly remains in somebody else's swarm.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Take the census before anything is changed
  ical_census:
    keep: true
"""

RETURN = r"""
census:
  description: Every thing with kind, name, owner and detail; the kept one where there is one.
  returned: always
  type: list
  elements: dict
left:
  description: What must not be there, in words. Likewise C(kept), C(others) and C(gone).
  returned: with compare
  type: list
  elements: str
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ical_census import Thing, judge, take
from ansible.module_utils.ical_engine import Engine, EngineError
from ansible.module_utils.ical_host import read_json


def keep(things: list[Thing], path: Path, check_mode: bool) -> tuple[bool, list[dict]]:
    """Write the census where there is none; whether it was written, and the one that is kept."""
    known = read_json(path).get("things")
    if known is not None:
        return False, known
    rows = [asdict(thing) for thing in things]
    if not check_mode:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps({"things": rows}, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)
    return True, rows


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "default": "/var/lib/ical-swarm"},
            "docker_root": {"type": "path", "default": "/var/lib/docker"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "bool", "default": False},
            "compare": {"type": "bool", "default": False},
            "before": {"type": "list", "elements": "dict", "default": []},
            "purge": {"type": "bool", "default": False},
            "swarm_stays": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        things = take(Engine(), wanted["state_dir"], wanted["docker_root"],
                      [f"tcp {port}" for port in wanted["ports"]], wanted["packages"])
    except EngineError as error:
        module.fail_json(msg=str(error))
    if wanted["keep"]:
        changed, rows = keep(things, Path(wanted["state_dir"]) / "census.json", module.check_mode)
        module.exit_json(changed=changed, census=rows)
    result: dict = {"changed": False, "census": [asdict(thing) for thing in things]}
    if wanted["compare"]:
        before = [Thing(**row) for row in wanted["before"]] or None
        result |= judge(before, things, wanted["purge"], wanted["swarm_stays"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
