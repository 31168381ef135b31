# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Read-only access to a Docker engine over its socket, with the standard library alone.

The SDK that Debian ships knows nothing newer than its own release; reading needs no more than HTTP.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import socket
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import TypeVar

Found = TypeVar("Found")

#: Of the engine of a host.
SOCKET = "/var/run/docker.sock"
#: The version of the API that is spoken, of engine 20.10, where the engine still does.
API = (1, 41)
SERVICE_LABEL = "com.docker.swarm.service.name"
#: Label of a node: the name of its host in the inventory.
HOST_LABEL = "org.ical-swarm.host"


class EngineError(Exception):
    """The engine did not answer, or answered with an error; the text is for the user."""


class EngineSilent(EngineError):
    """The engine did not answer, or said that it cannot now."""


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over the engine's unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def socket_of(environment: Mapping[str, str]) -> str:
    """The socket of the engine that Docker's own commands and modules speak with, as far as it is one of this host."""
    host = environment.get("DOCKER_HOST", "")
    return host[len("unix://"):] if host.startswith("unix://") else SOCKET


def strayed(environment: Mapping[str, str], config: dict) -> str:
    """What sends Docker's commands to another engine than that at socket_of(); "" where nothing does.

    `config` is the configuration of Docker's client; it acts where no variable does.
    """
    host = environment.get("DOCKER_HOST", "")
    if host:
        return "" if host.startswith("unix://") else f"DOCKER_HOST is {host}"
    context = environment.get("DOCKER_CONTEXT") or config.get("currentContext") or "default"
    return "" if context == "default" else f"the context in use is {context}"


def spoken_version(told: dict) -> str:
    """Version of the API to speak with an engine that tells this of itself: newer ones have left the old behind."""
    oldest = tuple(int(part) for part in told.get("MinAPIVersion", "0.0").split("."))
    return "{}.{}".format(*max(API, oldest))


class Engine:
    """One engine; every method is one GET."""

    def __init__(self, path: str = "", timeout: float = 20.0) -> None:
        self.path = path or socket_of(os.environ)
        self.timeout = timeout

    @functools.cached_property
    def version(self) -> str:
        """Version of the API that this engine and we speak."""
        return spoken_version(self._ask("/version") or {})

    def get(self, resource: str, filters: dict[str, list[str]] | None = None, **query: str):
        """Decoded JSON of GET resource, or None when there is no such object.

        Raises EngineSilent when the engine does not answer, EngineError when it refuses.
        """
        if filters:
            query["filters"] = json.dumps(filters)
        return self._ask(f"/v{self.version}{resource}" + ("?" + urllib.parse.urlencode(query) if query else ""))

    def _ask(self, url: str):
        connection = _SocketConnection(self.path, self.timeout)
        try:
            connection.request("GET", url)
            answer = connection.getresponse()
            body = answer.read()
        except OSError as error:
            raise EngineSilent(f"the Docker engine does not answer on {self.path}: {error}") from error
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status >= 400:
            kind = EngineError if answer.status < 500 else EngineSilent
            raise kind(f"the Docker engine refused {url}: {body.decode().strip()}")
        return json.loads(body)

    def containers(self, labels: list[str]) -> list[dict]:
        """Containers with any of these labels (`NAME=VALUE`) on this host, running or not."""
        found: dict[str, dict] = {}
        for label in labels:
            listed = self.get("/containers/json", {"label": [label]}, all="1")
            found.update({item["Id"]: item for item in listed})
        return list(found.values())

    def tasks(self, service: str) -> list[dict]:
        """Tasks of a service, newest first; [] when there is no such service."""
        found = self.get("/services", {"name": [service]})
        if not any(item["Spec"]["Name"] == service for item in found or []):
            return []
        tasks = self.get("/tasks", {"service": [service]})
        return sorted(tasks, key=lambda task: task["CreatedAt"], reverse=True)


def overlay_address(task: dict, network: str) -> str | None:
    """Address of a task on the named network without its prefix length, None before it has one."""
    for attachment in task.get("NetworksAttachments") or []:
        if attachment["Network"]["Spec"]["Name"] == network and attachment.get("Addresses"):
            return attachment["Addresses"][0].split("/")[0]
    return None


def settled(look: Callable[[], Found], pending: Callable[[Found], object], limit: float, pause: float) -> Found:
    """What look() finds once nothing of it is pending, or at the limit (of time.monotonic()).

    An engine that is silent has as long, too: EngineSilent is raised at the limit, any other EngineError at once.
    """
    while True:
        over = time.monotonic() >= limit
        try:
            found = look()
        except EngineSilent:
            if over:
                raise
        else:
            if over or not pending(found):
                return found
        time.sleep(pause)
