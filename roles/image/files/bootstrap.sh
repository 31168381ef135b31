#!/bin/sh
# bootstrap.sh IMAGE PACKAGE... : a root file system of this host's own Debian or Ubuntu release as a
# Docker image, from the sources, keys and proxies that apt uses here. No mirror is named. Packages
# that have to be installed for it are removed again, so that the host stays as it was.
set -eu
image=$1
shift
packages=$(echo "$*" | tr ' ' ',')
export DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d "${TMPDIR:-/var/tmp}/ical-bootstrap.XXXXXX")
clean() {
  if [ -s "$work/added" ]; then
    xargs apt-get -qq -y purge <"$work/added" >/dev/null
  fi
  rm -rf "$work"
}
trap clean EXIT
# dash runs the trap of EXIT on a signal only if the signal ends the script by exit
trap 'exit 1' INT TERM HUP
installed() { dpkg-query -W -f '${Package}\n' | sort; }
. /etc/os-release

apt-get -qq update
if ! command -v mmdebstrap >/dev/null; then
  installed >"$work/before"
  apt-get -qq -y install --no-install-recommends mmdebstrap >/dev/null
  installed | comm -13 "$work/before" - >"$work/added"
fi

# only the distribution's own archives: a third party's key may not be readable inside; apt leaves
# $(SIGNED_BY) as it is where a source names no key
apt-get indextargets --format 'deb [signed-by=$(SIGNED_BY)] $(SITE) $(RELEASE) $(COMPONENT)|$(ORIGIN)' \
  'Identifier: Packages' |
  awk -F'|' '$2 == "Debian" || $2 == "Ubuntu" { sub(/\[signed-by=(\$\(SIGNED_BY\))?\] /, "", $1); print $1 }' |
  sort -u >"$work/sources.list"
if ! [ -s "$work/sources.list" ]; then
  echo "apt on this host knows no archive of Debian or Ubuntu: set image_base to a registry reference" >&2
  exit 1
fi
apt-config dump | awk '/^Acquire::https?::(Proxy|CAInfo|Verify)/' >"$work/apt.conf"

mmdebstrap --quiet --variant=minbase --mode=root --format=tar --aptopt="$work/apt.conf" \
  --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$VERSION_CODENAME" "$work/base.tar" "$work/sources.list"
docker import --change 'LABEL org.ical-swarm=1' --change 'ENV LANG=C.UTF-8' "$work/base.tar" "$image"
