# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Filters of the deployment: files and folders, names and environments of services."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import shlex
from collections.abc import Mapping
from functools import cache, reduce
from pathlib import Path

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.text.formatters import bytes_to_human

IPV4 = re.compile(r"[0-9]+([.][0-9]+){3}")
IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def members(path: Path) -> list[Path]:
    """The files under a path in a fixed order, or the file itself; caches are left out."""
    if path.is_file():
        return [path]
    found = (item for item in path.rglob("*") if item.is_file() and not item.name.endswith(".pyc"))
    return sorted(item for item in found if not IGNORED & set(item.relative_to(path).parts))


def files_digest(paths: list[str]) -> str:
    """SHA-256 (hex) over names and contents of files and folders; times and owners do not count."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        if not path.exists():
            raise AnsibleFilterError(f"{path} does not exist on the controller")
        for item in members(path):
            name = item.relative_to(path) if item != path else Path(item.name)
            content = hashlib.sha256(item.read_bytes()).hexdigest()
            digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def bind_mounts(paths: list[str]) -> list[dict]:
    """Mounts of a service that show folders of the host, read-only, under their own names."""
    return [{"type": "bind", "source": path, "target": path, "readonly": True} for path in paths]


def hiding(paths: list[str], own: list[str]) -> list[str]:
    """The folders in whose place a container would no longer see one of its own."""
    return [path for path in paths if any(Path(folder).is_relative_to(os.path.normpath(path)) for folder in own)]


def absolute(path: str) -> str:
    """A path of the controller, seen from where the command was typed; '' stays ''."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def inventory_options(sources: list[str], hosts: Mapping[str, Mapping]) -> str:
    """The options that name these inventories once more in a command, and ical_state_dir where it may have been typed.

    `hosts` are the variables of all hosts: what was typed is the same on each.
    """
    named = [f" -i {shlex.quote(source)}" for source in sources]
    folders = {hosts[host].get("ical_state_dir") or None for host in hosts}
    return "".join(named) + typed_options({"ical_state_dir": folders.pop() if len(folders) == 1 else None})


def is_writable(path: str) -> bool:
    """Whether the user may make this folder, or write into it where it is."""
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def yaml_problem(path: str) -> str:
    """Why a file holds no mapping in YAML or JSON; '' if it does."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return " ".join(str(error).split())
    return "" if isinstance(content, dict) else "it holds no mapping"


#: Where a run file names files: these are always paths, those may be names of what ships with ical.
PATHS = ("input.measurement_set", "selfcal.start_model", "imaging.mask",
         "imaging.start_model", "selfcal.start_gains.T", "selfcal.start_gains.G",
         "selfcal.start_gains.B")
NAMES_OR_PATHS = ("observation.layout", "sky.catalogue", "sky.primary_beam",
                  "imaging.primary_beam", "quality.catalogue")


def _section(content: dict, keys: list[str]):
    """What stands below some keys of nested sections, None where one of them is missing."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def run_inputs(path: str) -> list[dict]:
    """The files that a run file names, as `key` and absolute `path`; its folder is what they are relative to."""
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    found = []
    for key in (*PATHS, *NAMES_OR_PATHS):
        *parents, last = key.split(".")
        below = _section(content, parents)
        value = below.get(last) if isinstance(below, dict) else None
        named = isinstance(value, str) and value and (key in PATHS or "/" in value or Path(value).suffix)
        if named:
            where = os.path.abspath(Path(path).parent / os.path.expanduser(value))
            found.append({"key": key, "path": where, "here": os.path.isfile(where)})
    return found


def with_paths(path: str, places: dict[str, str]) -> str:
    """The text of a run file with other paths at some keys; the very same text where there are none."""
    text = Path(path).read_text(encoding="utf-8")
    if not places:
        return text
    content = yaml.safe_load(text)
    for key, place in places.items():
        *parents, last = key.split(".")
        _section(content, parents)[last] = place
    return yaml.safe_dump(content, sort_keys=False)


def role_options(roles: list[str], kind: str = "") -> list[str]:
    """Names of the variables that the named roles take, all or those of one type, from their argument_specs."""
    return [name for role in roles for name, option in _options(role).items()
            if kind in ("", option.get("type", "str"))]


@cache
def _options(role: str) -> dict[str, dict]:
    """A role's options, read once: a task asks for them again with each variable that is made of them."""
    path = Path(__file__).resolve().parents[2] / "roles" / role / "meta/argument_specs.yml"
    # by libyaml where it is there: with it the roles are read in a tenth of the time, and each play reads them
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(), loader)["argument_specs"]["main"].get("options", {})


def brought_packages(known: dict, present: list[str]) -> list[str]:
    """Packages that came with the Docker of this record, docker.json, on a host that has the packages `present`.

    An installation that was cut short has only told what would come: what is there of that came.
    """
    asked = known.get("packages_asked", []) if known.get("status") == "installing" else []
    return sorted({*known.get("packages", []), *(set(asked) & set(present))})


def overlapping(routes: list[str], subnets: list[str]) -> list[str]:
    """Those of the routes (`address/length`) that share addresses with one of the subnets."""
    ours = [ipaddress.ip_network(subnet) for subnet in subnets]
    return [route for route in routes if any(ipaddress.ip_network(route).overlaps(our) for our in ours)]


def advertised(engine: dict, named: str, facts: dict) -> str:
    """The address that a host is to have in the swarm, from its swarm_advertise_address or ''; '' if Docker chooses.

    A swarm that is not ours keeps its addresses, and a host that names none keeps its own as long as it has it.
    """
    there = engine.get("node_address", "")
    kept = not engine.get("swarm_ours") or (not named and there in facts.get("all_ipv4_addresses", []))
    if engine.get("swarm", "inactive") != "inactive" and kept:
        return there
    if not named:
        return facts.get("default_ipv4", {}).get("address", "127.0.0.1")
    # facts have _ for -
    interface = facts.get(named.replace("-", "_"))
    if not isinstance(interface, dict):
        return named
    return "" if interface.get("ipv4_secondaries") else interface.get("ipv4", {}).get("address", "")


def peer_addresses(others: list[dict]) -> list[str]:
    """IPv4 addresses by which other hosts are to be known, from their variables, as far as these tell."""
    told = [advertised({}, host.get("swarm_advertise_address") or "", host["ansible_facts"])
            for host in others if host.get("ansible_facts")]
    return sorted({address for address in told if IPV4.fullmatch(address)})


def moved_to(engine: dict, named: str, facts: dict) -> str:
    """The address that a member of our swarm is to have in place of its own; '' where it has it, or none is known."""
    wanted = advertised(engine, named, facts)
    has = engine.get("node_address", "")
    return wanted if IPV4.fullmatch(wanted) and has not in ("", "0.0.0.0", "::", wanted) else ""


def lacking_space(free: dict[str, int], needed: int) -> list[str]:
    """What is wrong with the free bytes by folder, where a deployment needs this many GiB in all.

    Of several filesystems the engine's holds images and visibilities, and /var/lib what they are made of.
    """
    wanted = {path: needed if len(free) == 1 or path != "/var/lib" else min(needed, 4) for path in free}
    return [f"{path} has {bytes_to_human(bytes_free)} free; {wanted[path]} GiB are needed"
            for path, bytes_free in free.items() if bytes_free <= wanted[path] * 1024**3]


def without_python(lines: list[str]) -> dict:
    """What a look at a host by `raw` alone tells, from its lines `NAME=VALUE`: `user`, `python`, and a `host` like that
    of ical_probe, in which what only Python can see is as it should be."""
    seen = dict(line.strip().split("=", 1) for line in lines if "=" in line)
    memory, free = seen.get("memory", "").split(), seen.get("free", "").split()
    host = {
        "system": {key: seen.get(key, "") for key in ("id", "version")} | {"name": seen.get("name") or "its system"},
        "machine": seen.get("machine", ""), "memory": int(memory[0]) * 1024 if memory else 0,
        # of the columns of `df -P` the fourth
        "free": {"/var/lib": int(free[3]) * 1024 if len(free) > 3 else 0},
        "clock_offset": 0.0, "routes": [], "mtu": 0, "sources": {}, "kernel": "", "vxlan": None, "lacking": [],
        "listeners": {}, "strayed": "", "isolated": "",
        "state": {"docker": {}, "swarm": {}, "image": {}, "registry": {}},
    }
    return {"user": seen.get("user", ""), "python": seen.get("python", ""), "host": host}


def complaint_rows(complaints: dict[str, list[str]], order: list[str]) -> list[str]:
    """Lines of a table, a host beside each of its complaints; [] where no host has any."""
    hosts = [host for host in dict.fromkeys(order) if complaints.get(host)]
    width = max(map(len, hosts), default=0)
    return [f"  {host if not number else '':{width}}  {complaint}"
            for host in hosts for number, complaint in enumerate(complaints[host])]


def managers_advice(managers: list[str], leaving: list[str]) -> str:
    """What else is to be changed in the inventory where the managers that stay are not one, three or five; '' else."""
    left = [host for host in managers if host not in leaving]
    if not left or len(left) in (1, 3, 5):
        return ""
    return (f"site.yml wants one, three or five managers, not {len(left)} ({', '.join(left)}): "
            f"move one of them from managers to workers, or put another host into managers.")


def silence(host: dict) -> str:
    """Why nothing can be done on a host, from its variables host_answer and host_facts."""
    answers = "host_facts" in host
    reason = host["host_facts" if answers else "host_answer"].get("msg", "no reason given")
    said = "answers, but no module of Ansible runs there" if answers else "does not answer"
    return f"{said}: {reason.removeprefix('Task failed: ').strip()}"


def acting_managers(hosts: list[dict], engine: str) -> list[str]:
    """Names of the hosts whose engines answer for the swarm, the one that acted before first.

    `engine` is where a host's variables hold what its engine is, as `dask_engine.engine`; without it none answers.
    """
    told = {host["inventory_hostname"]: reduce(lambda part, key: part.get(key) or {}, engine.split("."), host)
            for host in hosts}
    acting = [name for name, answer in told.items() if answer.get("swarm_acts")]
    return sorted(acting, key=lambda name: not told[name].get("swarm_acted"))


def current_certificates(lines: list[str], used: list[str]) -> dict:
    """Identity `tls` and end `expires` (s since 1970) of the certificates that the scheduler uses, else of the newest.

    From the lines `NAME EXPIRES MADE` of the swarm's secrets, of which those of an earlier version do not tell when
    that was, and the names of those that the scheduler has; {} where none of them tells its end. Newer ones are of a
    play that was interrupted: with them nobody could speak to the scheduler.
    """
    found = [re.match(r"ical-tls-([0-9a-f]+)-ca (\d+)(?: (\d+))?$", line.strip()) for line in lines]
    known = [(f"ical-tls-{match[1]}-ca" in used, int(match[3] or 0), int(match[2]), match[1])
             for match in found if match]
    return {"tls": max(known)[3], "expires": max(known)[2]} if known else {}


#: Longest name of a service, and longest label of DNS.
LABEL = 63


def _named_after(host: str, prefix: str) -> str:
    """A name that a service and DNS may have; of a host with a longer one the end gives way to a digest of it."""
    name = prefix + re.sub("[^a-zA-Z0-9-]+", "-", host)
    if len(name) <= LABEL:
        return name
    digest = hashlib.sha256(host.encode()).hexdigest()[:8]
    return f"{name[:LABEL - 9].rstrip('-')}-{digest}"


def worker_service(host: str) -> str:
    """Name of the service of the workers on a host of the inventory."""
    return _named_after(host, "ical-worker-")


def echo_name(host: str) -> str:
    """Name of the container that proves the overlay on a host of the inventory."""
    return _named_after(host, "ical-overlay-")


def namesakes(host: str, hosts: list[str]) -> list[str]:
    """The other hosts whose service or echo would be called as this one's; neither Docker nor DNS sees capitals."""
    return [other for other in hosts if other != host
            and any(name(other).lower() == name(host).lower() for name in (worker_service, echo_name))]


#: What is likely wrong when a step of `ical.overlay` fails between two hosts.
CAUSES = {
    "resolve": "their engines do not hear of each other: TCP and UDP port 7946 must be open between them",
    "connect": "UDP port 4789 must be open between them, at the addresses that swarm_advertise_address names",
    "small": "packets are lost or changed on the way: look at UDP port 4789 and at checksum offload "
             "(ethtool -K INTERFACE tx-checksum-ip-generic off)",
    "large": "large packets are lost on the way: the MTU between them is too small for VXLAN "
             "(50 bytes more), or checksum offload is broken",
}


def overlay_failures(answers: dict[str, dict[str, dict]]) -> list[str]:
    """One phrase for each pair of hosts, from what `ical.overlay` said on each: host -> echo -> failure."""
    hosts = {echo_name(host): host for host in answers}
    return [f"{host} to {hosts[echo]}: {failure['reason']}; {CAUSES[failure['step']]}"
            for host, failures in answers.items() for echo, failure in failures.items()]


def typed_options(variables: dict) -> str:
    """The options that give variables once more in a command; none for those that are None."""
    words = []
    for name, value in variables.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else value
            # -e takes other text, with spaces or quotes, as JSON alone
            plain = isinstance(text, str) and re.fullmatch(r"[\w./:@%+,-]+", text)
            words += ["-e", f"{name}={text}" if plain else json.dumps({name: value})]
    return "".join(f" {shlex.quote(word)}" for word in words)


def ssh_tunnel(variables: dict, port: int | str, address: str = "127.0.0.1") -> str:
    """What brings a port of a host's address here, after `, from here by: `; '' where no SSH leads there."""
    if variables.get("ansible_connection", "ssh") not in ("ssh", "smart"):
        return ""
    words = ["ssh", "-N", "-L", f"{port}:{address}:{port}"]
    names = ("ansible_ssh_private_key_file", "ansible_private_key_file")
    words += next((["-i", variables[name]] for name in names if variables.get(name)), [])
    for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        options = variables.get(name) or ""
        # by which other host it goes, as a rule; with a password for it that is nobody's business
        words += [] if "sshpass" in options else shlex.split(options)
    words += ["-p", str(variables["ansible_port"])] if "ansible_port" in variables else []
    login = f"{variables['ansible_user']}@" if "ansible_user" in variables else ""
    words.append(login + variables.get("ansible_host", variables["inventory_hostname"]))
    seen = f", and then http://127.0.0.1:{port}" if address != "127.0.0.1" else ""
    return ", from here by: " + shlex.join(words) + seen


def thread_environment(threads: int) -> dict[str, str]:
    """The one number of threads for every library in a container."""
    return {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


class FilterModule:
    """Filters of this project."""

    def filters(self) -> dict:
        return {
            "files_digest": files_digest, "bind_mounts": bind_mounts, "hiding": hiding, "absolute": absolute,
            "inventory_options": inventory_options, "typed_options": typed_options,
            "brought_packages": brought_packages, "acting_managers": acting_managers,
            "is_writable": is_writable, "run_inputs": run_inputs, "with_paths": with_paths,
            "yaml_problem": yaml_problem, "role_options": role_options,
            "worker_service": worker_service, "overlapping": overlapping,
            "current_certificates": current_certificates,
            "without_python": without_python, "complaint_rows": complaint_rows, "managers_advice": managers_advice,
            "namesakes": namesakes, "advertised": advertised, "moved_to": moved_to,
            "peer_addresses": peer_addresses,
            "echo_name": echo_name, "overlay_failures": overlay_failures, "ssh_tunnel": ssh_tunnel,
            "thread_environment": thread_environment, "lacking_space": lacking_space, "silence": silence,
        }
