"""interrupt.py TASK COMMAND... : run a playbook and press Ctrl-C as soon as it begins a task.

Prints what the playbook printed; ends with 0 if it was interrupted in that task, with 1 if the task
never came.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main(task: str, command: list[str]) -> int:
    """Start, wait for the task, interrupt the whole group as a terminal would, wait for the end."""
    seen = False
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    for line in process.stdout:
        print(line, end="", flush=True)
        if not seen and line.startswith(f"TASK [{task}"):
            seen = True
            os.killpg(process.pid, signal.SIGINT)
    process.wait()
    return 0 if seen and process.returncode != 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
