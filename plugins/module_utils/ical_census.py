# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Census of a host: every thing there is of the kinds that Docker, Swarm and Dask make.

Each thing belongs to somebody: `ours` (a deployment made it, teardown must remove it), `image` (kept
until a purge), `docker` (it came with the engine, which goes in a purge if we installed it), `state` (what
is remembered of the deployment; it goes last, once the proof is good), `other`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ansible.module_utils.ical_engine import SOCKET, Engine, EngineSilent
from ansible.module_utils.ical_host import (
    DOCKER_PROCESSES,
    chains,
    links,
    listeners,
    mounts,
    namespaces,
    packages,
    processes,
    settings,
    text,
)

LABEL = "org.ical-swarm"
#: Names of ours, for what carries no label: a swarm makes volumes without one.
NAMES = re.compile(r"ical-(net|data|results|numba|dashboard|scheduler|probe|worker-.*|pipeline-.*|tls-.*)(\..*)?$")
DEFAULT_NETWORKS = ("bridge", "host", "none")
SWARM_PORTS = ("tcp 2377", "tcp 7946", "udp 7946", "udp 4789")
SCHEDULER_PORT = "tcp 8786"
#: Who listens for a container: the kernel's are of nobody that can be seen.
OPENERS = (*DOCKER_PROCESSES, "kernel")
PID_FILE = "/var/run/docker.pid"
DOCKER_PATHS = ("/etc/docker", "/var/lib/docker", "/var/lib/containerd", "/run/docker",
                "/run/containerd", SOCKET, PID_FILE)
DOCKER_LINK = "docker0"
GATEWAY = "docker_gwbridge"
#: Bridges and VXLAN links as Docker names them, by the beginning of an identity.
OUR_LINKS = re.compile(f"br-[0-9a-f]{{12}}$|vx-[0-9a-f]{{6}}|{GATEWAY}")


@dataclass(frozen=True)
class Thing:
    """One thing on a host: `kind` and `name` identify it, `owner` says whose it is."""

    kind: str
    name: str
    owner: str
    detail: str = ""

    @property
    def key(self) -> str:
        """`kind name`, equal for the same thing in two censuses."""
        return f"{self.kind} {self.name}"

    def told(self) -> str:
        """As a person reads it."""
        return self.key + (f" ({self.detail})" if self.detail else "")


def is_ours(name: str, labels: dict | None) -> bool:
    """Whether a name or label of an object of the engine is a deployment's."""
    return (labels or {}).get(LABEL) == "1" or NAMES.match(name) is not None


@dataclass(frozen=True)
class EngineView:
    """What one engine says of itself; all empty where none answers."""

    containers: list[dict]
    networks: list[dict]
    volumes: list[dict]
    images: list[dict]
    swarm: dict
    objects: dict[str, list[dict]]

    @property
    def active(self) -> bool:
        """Whether the engine is in a swarm."""
        return self.swarm.get("LocalNodeState", "inactive") != "inactive"


def view(engine: Engine) -> EngineView:
    """Read an engine; services, secrets and configs where it is a manager. Nothing of one that does not run.

    Raises EngineSilent where it runs and does not answer: what it has is not gone.
    """
    try:
        swarm = engine.get("/info")["Swarm"]
    except EngineSilent:
        # the file of the engine that listens where engines do
        if engine.path == SOCKET and engine_runs():
            raise
        return EngineView([], [], [], [], {}, {})
    objects = {}
    if swarm.get("ControlAvailable"):
        objects = {kind: engine.get(f"/{kind}s") for kind in ("service", "secret", "config", "node")}
    found = [engine.get(f"/containers/{item['Id']}/json") for item in engine.get("/containers/json", all="1")]
    return EngineView(
        [item for item in found if item], engine.get("/networks"),
        engine.get("/volumes")["Volumes"] or [], engine.get("/images/json"), swarm, objects)


def engine_runs(pid_file: str = PID_FILE) -> bool:
    """Whether the engine that left this file is there."""
    pid = text(pid_file).strip()
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")


def engine_things(seen: EngineView) -> list[Thing]:
    """Objects of the engine and of its swarm."""
    def of(kind: str, name: str, labels: dict | None, detail: str = "") -> Thing:
        return Thing(kind, name, "ours" if is_ours(name, labels) else "other", detail)

    things = [of("container", item["Name"].lstrip("/"), item["Config"]["Labels"],
                 item["State"]["Status"]) for item in seen.containers]
    things += [network_thing(item, seen.active) for item in seen.networks]
    things += [of("volume", item["Name"], item["Labels"]) for item in seen.volumes]
    things += [Thing("image", tag, "image" if tag.startswith("ical-swarm") else "other")
               for item in seen.images for tag in item["RepoTags"] or []]
    things += [of(kind, item["Spec"]["Name"], item["Spec"]["Labels"])
               for kind, items in seen.objects.items() if kind != "node" for item in items]
    things += [Thing("label", f"{label} of node {item['ID']}", "ours")
               for item in seen.objects.get("node", []) for label in item["Spec"].get("Labels") or {}
               if label.startswith(LABEL)]
    if seen.active:
        name = (seen.swarm.get("Cluster") or {}).get("ID") or "as a worker"
        things.append(Thing("swarm", name, "ours", seen.swarm["LocalNodeState"]))
    return things


def network_thing(network: dict, active: bool) -> Thing:
    """A network; the gateway bridge is a leftover where there is no swarm that uses it."""
    name = network["Name"]
    if name in DEFAULT_NETWORKS:
        owner = "docker"
    elif name == GATEWAY:
        owner = "other" if active else "ours"
    else:
        owner = "ours" if is_ours(name, network["Labels"]) else "other"
    return Thing("network", name, owner, network["Driver"])


def foreign(seen: EngineView) -> set[str]:
    """Identities, paths and ports (`tcp 80`) of all that belongs to containers and networks that are not ours."""
    known: set[str] = set()
    for item in seen.containers:
        if not is_ours(item["Name"].lstrip("/"), item["Config"]["Labels"]):
            known |= {item["Id"], item["NetworkSettings"]["SandboxKey"].replace("/var/run", "/run"),
                      (item["GraphDriver"]["Data"] or {}).get("MergedDir", "")}
            known |= published(item["NetworkSettings"].get("Ports") or {})
    for item in seen.networks:
        if network_thing(item, seen.active).owner == "other":
            known.add("br-" + item["Id"][:12])
    return known


def published(ports: dict[str, list[dict] | None]) -> set[str]:
    """Listeners (`tcp 80`) of the host that an engine opened for a container."""
    return {f"{port.split('/')[1]} {binding['HostPort']}"
            for port, bindings in ports.items() for binding in bindings or []}


def link_things(known: set[str], active: bool) -> list[Thing]:
    """Bridges and VXLAN links; one that no network of somebody else explains is a leftover."""
    def owner(name: str) -> str:
        if name == DOCKER_LINK:
            return "docker"
        foreign_gateway = name == GATEWAY and active
        return "other" if name in known or foreign_gateway or not OUR_LINKS.match(name) else "ours"

    return [Thing("link", name, owner(name), kind) for name, kind in links().items()]


def listener_things(ports: list[str], kept: bool, known: set[str]) -> list[Thing]:
    """Listeners of Docker on the given ports and on a swarm's; those of a swarm that stays are its own."""
    things = []
    for name, process in listeners().items():
        # where we listened somebody else's program may listen now
        opened = process in OPENERS and name not in known
        owner = "ours" if opened and (name in ports or (name in SWARM_PORTS and not kept)) else "other"
        if name == "tcp 2375" or process == "containerd":
            owner = "docker"
        things.append(Thing("listener", name, owner, process))
    return things


def process_things(known: set[str]) -> list[Thing]:
    """Processes of Docker; its shims, and those of our user in containers, are ours where nobody else owns these."""
    def owner(name: str, command: str, inside: list[str]) -> str:
        shim = name.startswith("containerd-shim")
        theirs = not known.isdisjoint(inside + re.findall(r"-id ([0-9a-f]{64})", command))
        # containerd also works for others than Docker, as Kubernetes
        if theirs or name == "docker-proxy" or (shim and "-namespace moby" not in command):
            return "other"
        return "docker" if name in DOCKER_PROCESSES else "ours"

    rows = [(name.split(" (")[0], *seen) for name, seen in processes().items()]
    return [Thing("process", f"{name} {command}", owner(name, command, inside)) for name, command, inside in rows]


def mount_things(root: str, known: set[str]) -> list[Thing]:
    """Mounts that Docker makes for containers, of nobody that is still there."""
    places = (f"{root}/overlay2/", f"{root}/containers/", f"{root}/fuse-overlayfs/")

    def owner(target: str) -> str:
        # of a container its shared memory, and the secrets and configurations of its service
        container = target.removeprefix(f"{root}/containers/").split("/")[0]
        return "other" if target in known or container in known else "ours"

    return [Thing("mount", target, owner(target)) for target in mounts() if target.startswith(places)]


def namespace_things(known: set[str], active: bool) -> list[Thing]:
    """Network namespaces of Docker with links in them; an empty name is harmless (moby keeps some)."""
    def owner(path: str) -> str:
        if path.endswith("/default"):
            return "docker"
        name = path.replace("/var/run", "/run")
        return "other" if name in known or active or not name.startswith("/run/docker/") else "ours"

    return [Thing("namespace", path, owner(path), ", ".join(inside))
            for path, inside in namespaces().items() if inside]


def docker_things(installed: list[str]) -> list[Thing]:
    """What the installation of an engine brings to a host; `installed` are the packages that came."""
    things = [Thing("package", name, "docker" if name in installed else "other") for name in packages()]
    things += [Thing("chain", name, "docker" if "DOCKER" in name else "other") for name in chains()]
    things += [Thing("setting", f"{name}={value}", "docker") for name, value in settings().items()]
    # a containerd that others have goes on, and so does what it runs
    theirs = () if {"containerd", "containerd.io"} & set(installed) else ("/run/containerd",)
    things += [Thing("path", path, "other" if path in theirs else "docker")
               for path in DOCKER_PATHS if os.path.lexists(path)]
    if re.search(r"^docker:", text("/etc/group"), re.MULTILINE):
        things.append(Thing("group", "docker", "docker"))
    return things


def take(
    engine: Engine, state_dir: str, root: str, ports: list[str], installed: list[str]
) -> list[Thing]:
    """The census of this host.

    `root` is the folder of the engine's data, `ports` those that our containers publish, `installed` the
    packages that a deployment installed.
    """
    seen = view(engine)
    known = foreign(seen) - {""}
    things = [
        *engine_things(seen), *link_things(known, seen.active),
        *listener_things([SCHEDULER_PORT, *ports], seen.active, known), *process_things(known),
        *mount_things(root, known), *namespace_things(known, seen.active), *docker_things(installed)]
    if os.path.lexists(state_dir):
        things.append(Thing("path", state_dir, "state"))
    return sorted({thing.key: thing for thing in things}.values(), key=lambda thing: thing.key)


def judge(before: list[Thing] | None, after: list[Thing], purge: bool, swarm_stays: bool) -> dict:
    """What differs: `left` must not be there, `kept` may, `others` is not ours; `gone` was there.

    Without a census of before nothing of Docker's can be told apart, and none of it is listed.
    """
    there = {thing.key for thing in before or []}
    new = [thing for thing in after if thing.key not in there]
    if swarm_stays:
        new = [thing for thing in new if thing.kind != "swarm"]
    came = {"image", "docker", "state"} if before is not None else {"image", "state"}
    wrong = {"ours"} | ((came - {"state"}) if purge else set())
    still = {thing.key for thing in after}
    return {
        "left": [thing.told() for thing in new if thing.owner in wrong],
        "kept": [thing.told() for thing in new if thing.owner in came - wrong],
        "others": [thing.told() for thing in new if thing.owner == "other"],
        "gone": [thing.told() for thing in before or []
                 if thing.key not in still and thing.owner == "docker" and thing.kind != "process"],
    }
