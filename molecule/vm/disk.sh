#!/bin/sh
# disk.sh ROOT DISK [DOCKER IMAGE] : the file system of a machine as DISK, of the archive ROOT, and in it what an engine
# keeps, the folder DOCKER, and what site.yml knows of the image there, IMAGE.
set -eu
work=$(mktemp -d "$2.XXXXXX")
trap 'rm -rf "$work"' EXIT
# dash runs the trap of EXIT on a signal only if the signal ends the script by exit
trap 'exit 1' INT TERM HUP
mkdir "$work/root"
tar --extract --file="$1" --directory="$work/root" --xattrs --xattrs-include='*'
if [ $# -gt 2 ]; then
  mkdir -p "$work/root/var/lib/docker" "$work/root/var/lib/ical-swarm"
  cp -a "$3/." "$work/root/var/lib/docker"
  # an engine of its own makes its networks
  rm -rf "$work/root/var/lib/docker/network"
  install -m 0644 "$4" "$work/root/var/lib/ical-swarm/image.json"
fi
mke2fs -q -t ext4 -d "$work/root" "$work/disk.img" 16G
mv "$work/disk.img" "$2"
