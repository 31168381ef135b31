# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Write a file of the controller from this process: `copy` starts Python twice for each of a hundred files."""

from __future__ import annotations

from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The text `content` in the file `dest` of the controller, whichever host the task is of."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec({"content": {"type": "str", "required": True},
                                                "dest": {"type": "path", "required": True}})
        path = Path(given["dest"])
        try:
            changed = not path.is_file() or path.read_text() != given["content"]
            if changed and not self._task.check_mode:
                path.write_text(given["content"])
        except OSError as error:
            raise AnsibleActionFail(f"{path} cannot be written: {error.strerror}.") from error
        return result | {"changed": changed}
