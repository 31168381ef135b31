"""ansible-playbook, imported once and forked for each play: that saves a third of a short one.

A fork is what Ansible makes of itself for each task, too. What one play leaves behind no other
sees: its fork ends with it, and keeps what it writes down for itself in a folder of its own.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["ansible.cli.playbook"])


def _play(command: list[str], root: Path, environment: dict[str, str], folder: Path) -> None:
    """Be that command, in a process of its own, with files of the folder in place of a terminal."""
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, name in enumerate(("in", "out", "err")):
        os.dup2(os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
    # that this process ends is not the end of the one that it was forked from
    atexit._clear()
    from ansible import constants
    from ansible.cli.playbook import main
    constants.DEFAULT_LOCAL_TMP = str(folder)
    sys.argv = command
    main(command)


def run_forked(arguments: tuple[str, ...], root: Path, environment: dict[str, str],
               timeout: float) -> subprocess.CompletedProcess:
    """ansible-playbook as `subprocess.run` runs it, but with Ansible's settings of the first."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *arguments]
    with TemporaryDirectory(prefix="ical-play-") as name:
        folder = Path(name)
        process = CONTEXT.Process(target=_play, args=(command, root, environment, folder))
        # the one that is forked from reads the settings, and starts with the first
        with patch.dict(os.environ, environment):
            process.start()
        try:
            process.join(timeout)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired(command, timeout, (folder / "out").read_text())
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, process.exitcode, (folder / "out").read_text(),
                                           (folder / "err").read_text())
