"""ansible.cfg: a host that falls silent does not hang a play."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(name="settings", scope="module")
def settings_fixture() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    found.read(ROOT / "ansible.cfg")
    return found


def test_a_silent_host_is_given_up_within_about_two_minutes(settings):
    options = dict(re.findall(r"-o (\w+)=(\w+)", settings["ssh_connection"]["ssh_args"]))
    noticed = int(options["ServerAliveInterval"]) * int(options["ServerAliveCountMax"])
    retries = int(settings["ssh_connection"]["retries"])
    connect = int(settings["defaults"]["timeout"])
    # of the connection plugin: after attempt k it pauses 2^k - 1 s, at most 30
    pauses = sum(min(2**attempt - 1, 30) for attempt in range(retries))
    assert (noticed, retries * connect + pauses) == (30, 94)


def test_connections_stay_open_and_modules_are_piped_through_them(settings):
    options = dict(re.findall(r"-o (\w+)=(\w+)", settings["ssh_connection"]["ssh_args"]))
    assert (options["ControlMaster"], options["ControlPersist"]) == ("auto", "60s")
    assert settings["connection"]["pipelining"] == "true"
