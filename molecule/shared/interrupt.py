"""interrupt.py TASK COMMAND... : run a playbook and press Ctrl-C as soon as it begins a task.

Ansible sometimes waits for ever for workers that Ctrl-C ended; then its terminal is closed. Prints
what the playbook printed; ends with 0 if it was interrupted in that task, with 1 if the task never
came.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 20  # seconds between Ctrl-C and closing the terminal


def interrupt(group: int) -> None:
    """Ctrl-C now, and SIGKILL to what is still there later."""

    def close() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    os.killpg(group, signal.SIGINT)
    closing = threading.Timer(PATIENCE, close)
    closing.daemon = True
    closing.start()


def main(task: str, command: list[str]) -> int:
    """Start, wait for the task, interrupt the whole group as a terminal does, wait for the end."""
    seen = False
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    for line in process.stdout:
        print(line, end="", flush=True)
        if not seen and line.startswith(f"TASK [{task}"):
            seen = True
            interrupt(process.pid)
    process.wait()
    return 0 if seen and process.returncode != 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
