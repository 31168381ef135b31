# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Follow a container to its end and show what it says while it runs.

Modules and callbacks are silent until a task ends. This plugin stays on the controller, asks the
engine for new log lines over the task's own connection about once a second and shows them at once.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "events": {"type": "bool", "default": True},
    "timeout": {"type": "float", "default": 86400.0},
    "start_timeout": {"type": "float", "default": 120.0},
    "tail": {"type": "int", "default": 20},
    "interval": {"type": "float", "default": 1.0},
}
TITLES = {"model": "Model", "image": "Imaging", "selfcal": "ICAL", "report": "Report"}
DEAD = ("Rejected", "Failed", "Shutdown", "Orphaned")  # a task in these states starts no container
LOST_LIMIT = 60.0  # s without an answer before the follower gives up
#: Lines of what is asked for: a connection or sudo may add some of their own.
CONTAINER = re.compile(r"^[0-9a-f]{64}$", re.MULTILINE)
STAMPED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
LABEL = "com.docker.swarm.service.name"
#: An engine that hangs takes a question and never answers it.
ASK, READ = "timeout 30", "timeout 600"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def progress(event: dict, title: str) -> str:
    """A progress event as a line, e.g. `ICAL cycle 3 of 5, 42 %, about 2 min left`."""
    head = title
    if event.get("cycle") is not None:
        head += f" cycle {event['cycle']}"
        head += f" of {event['cycles']}" if event.get("cycles") else ""
    parts = [head]
    if event.get("fraction") is not None:
        parts.append(f"{100 * event['fraction']:.0f} %")
    if event.get("eta_s"):
        parts.append(f"about {duration(event['eta_s'])} left")
    return ", ".join(parts) + (f": {event['message']}" if event.get("message") else "")


def sentence(event: dict) -> str | None:
    """An event of the pipeline as a line for a person; None for those that only machines need."""
    title = TITLES.get(str(event.get("stage")), str(event.get("stage") or "ical"))
    kind, message = event.get("event"), event.get("message")
    if kind == "progress":
        return progress(event, title)
    if kind == "stage_start":
        return f"{title} started" + (f": {message}" if message else "")
    if kind == "stage_end":
        took = event.get("wall_s")
        return f"{title} done" + (f" in {duration(took)}" if took else "") + (f": {message}" if message else "")
    if kind in ("warning", "error", "forecast") and message:
        return f"{title}: {kind}: {message}"
    return None


def parse(line: str) -> dict | None:
    """The event in a line of JSON, None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


@dataclass
class Log:
    """Lines read so far. Two streams may interleave a little out of order, so each poll asks again
    for the last moments, whose lines are remembered."""

    keep: int
    since: str = ""
    seen: set[str] = field(default_factory=set)
    tail: list[str] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)

    def add(self, stamped: list[str]) -> list[str]:
        """Take lines as `docker logs --timestamps` gives them, return the new ones without time."""
        fresh = [line for line in stamped if line and line not in self.seen]
        if fresh:
            self.since = max(self.since, moment_before(max(fresh)))
            known = self.seen.union(fresh)
            self.seen = {line for line in known if line[: len(self.since) - 1] >= self.since[:-1]}
        lines = [line.split(" ", 1)[1] if " " in line else "" for line in fresh]
        self.tail = (self.tail + lines)[-self.keep :]
        return lines


def named(name: str) -> str:
    """The filter for a container of that name, or the task of a service of that name; not for those of longer names."""
    return shlex.quote(f"^/{re.escape(name)}([.]|$)")


def moment_before(stamped: str) -> str:
    """One second before the time at the head of a line, in whole seconds, as `--since` takes it."""
    read = datetime.strptime(stamped[:19], "%Y-%m-%dT%H:%M:%S")
    return (read - timedelta(seconds=1)).isoformat() + "Z"


def split_poll(text: str) -> tuple[dict | None, list[str]]:
    """The state in a poll's answer, None where there is none, and the log after it."""
    _, found, rest = text.partition("{")
    state, _, log = (found + rest).partition("\n")
    try:
        return json.loads(state), [line for line in log.split("\n") if STAMPED.match(line)]
    except ValueError:
        return None, []


def readable(lines: list[str], log: Log, events: bool) -> list[str]:
    """Lines to show; of several progress events of one stage read at once the last is enough."""
    if not events:
        return lines
    shown: list[str] = []
    last = None
    for line in lines:
        event = parse(line)
        if event is None:
            continue
        if event["event"] in ("error", "result", "stage_end"):
            log.events.append(event)
        told = sentence(event)
        if told is None:
            continue
        key = (event["event"], event.get("stage"), event.get("cycle"))
        if key == last and event["event"] == "progress":
            shown[-1] = told
        else:
            shown.append(told)
        last = key
    return shown


class ActionModule(ActionBase):
    """`ical_follow: name=SERVICE_OR_CONTAINER`; returns rc, oom_killed, container, tail, events."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, wanted = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": f"would follow {wanted['name']}"}
        log = Log(keep=wanted["tail"])
        try:
            container = self._find(wanted["name"], wanted["start_timeout"])
            state = self._follow(container, log, wanted)
        except AnsibleActionFail as error:
            # a result, for failed_when does not act on what is raised; and with what was read so far
            return {**result, "failed": True, "msg": to_text(error), "tail": log.tail, "events": log.events}
        return {
            **result,
            "changed": False,
            "container": container[:12],
            "rc": state["ExitCode"],
            "oom_killed": bool(state["OOMKilled"]),
            "started": state["StartedAt"],
            "finished": state["FinishedAt"],
            "tail": log.tail,
            "events": log.events,
        }

    def _shell(self, command: str) -> tuple[int, str]:
        """Run a command on the host; exit code 255 when the host does not answer.

        What SSH itself says, as that it closes a connection, comes apart from what the command says.
        """
        try:
            answer = self._low_level_execute_command(f"({command}) 2>&1")
        except AnsibleConnectionFailure as error:
            return 255, to_text(error)
        # a terminal, as SSH makes one, ends its lines with a carriage return too
        return answer["rc"], answer["stdout"].replace("\r\n", "\n")

    def _find(self, name: str, limit: float) -> str:
        """Identity of the newest container of that name or service, waited for."""
        quoted = shlex.quote(name)
        command = (
            f"{ASK} docker ps -aq --no-trunc --filter label={LABEL}={quoted}; "
            f"{ASK} docker ps -aq --no-trunc --filter name={named(name)} --filter label=org.ical-swarm=1"
        )
        deadline = time.monotonic() + limit
        told = ""
        while time.monotonic() < deadline:
            code, text = self._shell(command)
            found = CONTAINER.search(text)
            if code == 0 and found:
                return found[0]
            told = text.strip() or self._refusal(quoted)
            if told.startswith(DEAD):
                break
            time.sleep(0.5)
        raise AnsibleActionFail(f"No container of {name} started: {told or 'nothing is known about it'}.")

    def _refusal(self, quoted: str) -> str:
        """State and error of the newest task of a service that has no container here."""
        form = shlex.quote("{{.CurrentState}} {{.Error}}")
        _, text = self._shell(f"{ASK} docker service ps --no-trunc --format {form} {quoted} | head -n 1")
        return text.strip()

    def _follow(self, container: str, log: Log, wanted: dict) -> dict:
        """Show the log until the container ends; returns its last state."""
        deadline = time.monotonic() + wanted["timeout"]
        heard = time.monotonic()
        while True:
            asked = time.monotonic()
            state, lines = self._poll(container, log)
            took = time.monotonic() - asked
            if state is not None:
                heard = time.monotonic()
                for line in readable(lines, log, wanted["events"]):
                    Display().display(f"    {line}")
                if state["Status"] in ("exited", "dead"):
                    return state
            if time.monotonic() - heard > LOST_LIMIT:
                raise AnsibleActionFail(f"{wanted['name']}: the engine gave no answer for {LOST_LIMIT:.0f} s.")
            if time.monotonic() > deadline:
                raise AnsibleActionFail(
                    f"{wanted['name']} did not end within {wanted['timeout']:.0f} s; it still runs."
                )
            # a slow host is not kept from its work by questions
            time.sleep(max(wanted["interval"], 2 * took))

    def _poll(self, container: str, log: Log) -> tuple[dict | None, list[str]]:
        """State, read first so that no last line is missed, and new lines of the log."""
        since = f"--since {log.since} " if log.since else ""
        form = shlex.quote("{{json .State}}")
        code, text = self._shell(
            f"{ASK} docker inspect --type container --format {form} {container} && "
            f"{READ} docker logs --timestamps {since}{container}"
        )
        state, stamped = split_poll(text) if code == 0 else (None, [])
        return state, log.add(stamped)
