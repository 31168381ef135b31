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
# others, such as a system's own updates, may be at work at the same time
wait_for_lock='-o DPkg::Lock::Timeout=300'
clean() {
  if [ -s "$work/added" ] && ! xargs apt-get $wait_for_lock -qq -y purge <"$work/added" >/dev/null; then
    echo "these packages came for the base of the image and could not be removed: $(xargs <"$work/added")" >&2
  fi
  rm -rf "$work"
}
trap clean EXIT
# dash runs the trap of EXIT on a signal only if the signal ends the script by exit
trap 'exit 1' INT TERM HUP
. /etc/os-release

for turn in 1 2 3 4 5 6; do
  ! apt-get -qq update || break
  sleep 10
done
if ! command -v mmdebstrap >/dev/null; then
  # a package that is there already, and gets a newer version, has the one that it has in the third place
  LC_ALL=C apt-get -s install --no-install-recommends mmdebstrap |
    awk '$1 == "Inst" && $3 !~ /^\[/ { print $2 }' >"$work/added"
  apt-get $wait_for_lock -qq -y install --no-install-recommends mmdebstrap >/dev/null
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

# apt.conf may hold the password of a proxy, and mmdebstrap would leave it in the image
mmdebstrap --quiet --variant=minbase --mode=root --format=tar --aptopt="$work/apt.conf" \
  --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
  --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$VERSION_CODENAME" "$work/base.tar" "$work/sources.list"
docker import --change 'LABEL org.ical-swarm=image' --change 'ENV LANG=C.UTF-8' "$work/base.tar" "$image"
