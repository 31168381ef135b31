#!/bin/sh
# The shell of Ansible on test hosts. Its connection drops what a command prints while it still reads the headers of
# the engine's answer; so nothing is printed that early.
sleep 0.03
exec /bin/sh "$@"
