#!/bin/sh
# forget_kernel.sh FORWARDING POLICY4 POLICY6 : take Docker's rules, chains, bridge and namespaces out of
# the kernel and set forwarding back. Rules of others stay: only lines that name Docker's chains and
# bridges are dropped.
set -eu
forget() {
  command -v "$1-save" >/dev/null || return 0
  "$1-save" | grep -v -e DOCKER -e docker0 -e docker_gwbridge |
    sed "/^\*filter/,/^COMMIT/ s/^:FORWARD [A-Z]*/:FORWARD $2/" | "$1-restore"
}
forget iptables "$2"
forget ip6tables "$3"
if [ -e /sys/class/net/docker0 ]; then ip link delete docker0; fi
echo "$1" >/proc/sys/net/ipv4/ip_forward
for name in /run/docker/netns/*; do
  if [ -e "$name" ]; then
    umount "$name" 2>/dev/null || true
    rm -f "$name"
  fi
done
