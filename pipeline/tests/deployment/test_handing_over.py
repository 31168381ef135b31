"""What a task hands over to root does not lie in the home of who logs in."""

from __future__ import annotations

import pytest
import yaml

#: In place of ssh: this machine, for a user with another home.
SSH = """#!/bin/sh
for command; do :; done
cd {home}
HOME={home} exec /bin/sh -c "$command"
"""
#: In place of sudo: it succeeds as whoever runs the tests.
SUDO = """#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
"""


@pytest.mark.parametrize("task", [
    {"copy": {"content": "all of it", "dest": "{there}"}},
    {"script": {"cmd": "{script} {there}", "executable": "/bin/sh"}}], ids=["copy", "script"])
def test_root_reads_nothing_from_a_home(playbook, tmp_path, task):
    home, there, script = tmp_path / "home", tmp_path / "there", tmp_path / "script.sh"
    home.mkdir()
    # not to be executed: it is read
    script.write_text('case "$0" in /var/tmp/*) printf "all of it" >"$1" ;; esac\n')
    for name, text in (("ssh", SSH.format(home=home)), ("sudo", SUDO)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (kind, options), = task.items()
    options = {key: value.format(there=there, script=script) for key, value in options.items()}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{
        "hosts": "one", "gather_facts": False, "become": True, "tasks": [{kind: options}],
        "vars": {"ansible_ssh_executable": str(tmp_path / "ssh"),
                 "ansible_become_exe": str(tmp_path / "sudo"), "ansible_user": "them",
                 "ansible_ssh_transfer_method": "piped"}}]))
    result = playbook("-i", "one,", str(tmp_path / "play.yml"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert there.read_text() == "all of it"
    assert list(home.iterdir()) == []
