"""The process that local workers are copies of."""

import os
import subprocess
import sys
from pathlib import Path

from ical import prefork

SOURCE = str(Path(prefork.__file__).parents[1])
SCRIPT = """
import multiprocessing, sys
from ical import prefork

def look(queue):
    import os
    queue.put((os.environ["OMP_NUM_THREADS"], "ical.tasks" in sys.modules,
               "ical.stages.model" in sys.modules))

if __name__ == "__main__":
    prefork.start(3)
    context = multiprocessing.get_context("forkserver")
    queue = context.Queue()
    child = context.Process(target=look, args=(queue,))
    child.start()
    print(queue.get(timeout=120))
    child.join()
"""


def started(tmp_path, **variables):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=True,
        env=os.environ | {"PYTHONPATH": SOURCE} | variables).stdout.strip()


def test_a_copy_has_the_modules_of_the_tasks_and_the_threads_asked_for(tmp_path):
    assert started(tmp_path) == "('3', True, True)"


def test_what_fails_while_it_gets_ready_is_left_to_the_workers_to_tell(tmp_path):
    """numba refuses to import kernels where it may keep none of their code."""
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    assert started(tmp_path, NUMBA_CACHE_DIR=str(nowhere)).startswith("('3', ")


def test_the_threads_of_every_library_are_named():
    environment = prefork.thread_environment(2)
    assert set(environment.values()) == {"2"}
    assert "OMP_NUM_THREADS" in environment
