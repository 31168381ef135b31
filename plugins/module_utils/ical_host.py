# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""What a host holds of the things that Docker, Swarm and Dask make.

Read only, from /proc, /sys and dpkg, with the standard library alone: it also runs on a bare host.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

LISTEN = {"tcp": "0A", "udp": "07"}  # states in /proc/net of a socket that takes connections
NAMESPACES = ("/run/docker/netns", "/run/netns")
DOCKER_PROCESSES = ("dockerd", "containerd", "docker-proxy", "docker-containerd")
CONTAINER_USER = 10001  # the user of every container of ours
CONTAINER_GROUP = re.compile(r"/docker[-/]([0-9a-f]{64})")  # in a control group, v1 or v2, by either driver
CLONE_NEWNET = 0x40000000


def text(path: str | Path) -> str:
    """Content of a file of /proc or /sys, '' when it went away or cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def output(*command: str) -> str:
    """Standard output of a command, '' when it is not installed or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def process_ids() -> list[int]:
    """Identities of all processes that are visible here."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def socket_owners() -> dict[str, str]:
    """Name of the process behind each socket inode."""
    owners: dict[str, str] = {}
    for pid in process_ids():
        try:
            links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:  # ended meanwhile, or somebody else's and we are not root
            continue
        name = text(f"/proc/{pid}/comm").strip()
        owners.update({link[8:-1]: name for link in links if link.startswith("socket:[")})
    return owners


def parse_sockets(table: str, protocol: str) -> list[tuple[int, str]]:
    """(port, inode) of the listeners in the text of /proc/net/tcp, tcp6, udp or udp6."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return [
        (int(row[1].rsplit(":", 1)[1], 16), row[9])
        for row in rows
        if len(row) > 9 and row[3] == LISTEN[protocol]
    ]


def listeners() -> dict[str, str]:
    """`tcp 2377` -> name of the process that listens, 'kernel' where there is none."""
    owners = socket_owners()
    found: dict[str, str] = {}
    for protocol in LISTEN:
        for table in (protocol, protocol + "6"):
            for port, inode in parse_sockets(text(f"/proc/net/{table}"), protocol):
                found[f"{protocol} {port}"] = owners.get(inode, "kernel")
    return found


def links() -> dict[str, str]:
    """Name -> kind (bridge, vxlan) of this namespace's network links of these kinds."""
    found: dict[str, str] = {}
    for path in Path("/sys/class/net").iterdir():
        kind = re.search(r"^DEVTYPE=(\w+)", text(path / "uevent"), re.MULTILINE)
        if (path / "bridge").is_dir():
            found[path.name] = "bridge"
        elif kind and kind.group(1) == "vxlan":
            found[path.name] = "vxlan"
    return found


def links_in(namespace: Path) -> list[str]:
    """Names of the links in another network namespace, [] for a file that is no longer one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        names: list[str] = []
        descriptor = os.open(namespace, os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) == 0:
            rows = text("/proc/thread-self/net/dev").splitlines()[2:]
            names = [row.split(":")[0].strip() for row in rows]
        os.write(writer, json.dumps(names).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return json.loads(told) if told else []


def namespaces() -> dict[str, list[str]]:
    """Path of each named network namespace -> its links."""
    folders = [Path(folder) for folder in NAMESPACES]
    files = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    return {str(path): links_in(path) for path in sorted(files)}


def mounts() -> list[str]:
    """Targets of all mounts of this namespace."""
    rows = [line.split() for line in text("/proc/self/mounts").splitlines()]
    return sorted({re.sub(r"\\(\d{3})", lambda m: chr(int(m.group(1), 8)), row[1]) for row in rows})


def parse_containers(group: str, own: str = "") -> list[str]:
    """Identities of Docker's containers in the text of /proc/PID/cgroup, [] of a process in none.

    `own` is that text of this process: a host that is a container names itself in that of each of its processes.
    """
    return [identity for identity in dict.fromkeys(CONTAINER_GROUP.findall(group)) if identity not in own]


def processes() -> dict[str, tuple[str, list[str]]]:
    """`name (pid)` -> command and containers of the processes of Docker, and of those in its containers as our user.

    The user alone says nothing: Loki, Tempo and Mimir have the same, and directories of people begin there.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    own = text("/proc/self/cgroup")
    for pid in process_ids():
        name = text(f"/proc/{pid}/comm").strip()
        user = re.search(r"^Uid:\s+(\d+)", text(f"/proc/{pid}/status"), re.MULTILINE)
        inside = parse_containers(text(f"/proc/{pid}/cgroup"), own)
        contained = inside and user and int(user.group(1)) == CONTAINER_USER
        if contained or name in DOCKER_PROCESSES or name.startswith("containerd-shim"):
            command = text(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            found[f"{name} ({pid})"] = command[:120], inside
    return found


def packages() -> list[str]:
    """Names of the installed Debian packages."""
    rows = output("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n").splitlines()
    return sorted(row.split()[1] for row in rows if row.startswith("installed "))


def parse_chains(saved: str) -> list[str]:
    """`table chain` of the user-defined chains in what iptables-save prints."""
    found: list[str] = []
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":") and line.split()[1] == "-":
            found.append(f"{table} {line[1:].split()[0]}")
    return sorted(found)


def chains() -> dict[str, str]:
    """`ipv4 nat DOCKER` -> the command that lists it, for user-defined chains of the firewall."""
    found: dict[str, str] = {}
    for family, command in (("ipv4", "iptables-save"), ("ipv6", "ip6tables-save")):
        found.update({f"{family} {chain}": command for chain in parse_chains(output(command))})
    return found


def parse_forward_policy(saved: str) -> str:
    """Policy of the chain FORWARD of the table filter, ACCEPT where nothing was ever set."""
    table = re.search(r"^\*filter$.*?^:FORWARD (\w+)", saved, re.MULTILINE | re.DOTALL)
    return table.group(1) if table else "ACCEPT"


def settings() -> dict[str, str]:
    """Settings of the kernel that Docker changes."""
    return {
        "net.ipv4.ip_forward": text("/proc/sys/net/ipv4/ip_forward").strip(),
        "forward policy ipv4": parse_forward_policy(output("iptables-save")),
        "forward policy ipv6": parse_forward_policy(output("ip6tables-save")),
    }


def parse_routes(table: str) -> list[str]:
    """`address/length` of the routes in the text of /proc/net/route, without the default one."""
    found: set[str] = set()
    for row in (line.split() for line in table.splitlines()[1:]):
        address, mask = (int.from_bytes(bytes.fromhex(row[k]), "little") for k in (1, 7))
        if mask:
            found.add(f"{ipaddress.IPv4Address(address)}/{bin(mask).count('1')}")
    return sorted(found)


def link_of(address: str, told: str) -> str:
    """Name of the link with an address in what `ip -oneline address` tells, '' where no link has it."""
    rows = [line.split() for line in told.splitlines()]
    return next((row[1] for row in rows if len(row) > 3 and row[3].split("/")[0] == address), "")


def sources(peers: list[str]) -> dict[str, str]:
    """By a peer's address that from which this host sends to it, as its routes say; none where none leads there."""
    found = {}
    for peer in peers:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen, contextlib.suppress(OSError):
            chosen.connect((peer, 9))  # of a datagram's socket that sends nothing
            found[peer] = chosen.getsockname()[0]
    return found


def link_mtu(address: str, routes: str, told: str, links: str = "/sys/class/net") -> int:
    """MTU of the link that is called or has this address, else of that of the default route; 0 where it has none.

    `routes` is the text of /proc/net/route, `told` what `ip -oneline address` tells.
    """
    rows = [line.split() for line in routes.splitlines()[1:]]
    defaults = [row[0] for row in rows if row[1] == "00000000" and row[7] == "00000000"]
    named = [address] if address and Path(links, address).is_dir() else []
    found = [link for link in (*named, link_of(address, told), *defaults) if link]
    return int(text(f"{links}/{found[0]}/mtu") or 0) if found else 0


def has_kernel_module(name: str, release: str, root: str = "") -> bool | None:
    """Whether the running kernel has a module, loaded, built in or ready to be loaded; None where it cannot be told.

    A container sees the kernel of its host and none of the files of its modules.
    """
    if Path(f"{root}/sys/module/{name}").is_dir():
        return True
    folder = Path(f"{root}/lib/modules/{release}")
    if not (folder / "modules.dep").is_file():
        return None
    lines = [line for part in ("modules.builtin", "modules.dep") for line in text(folder / part).splitlines()]
    return any(Path(line.split(":")[0]).name.split(".")[0] == name for line in lines)


def read_json(path: str | Path) -> dict:
    """A JSON file of the deployment's state, {} when it is not there."""
    content = text(path)
    return json.loads(content) if content else {}
