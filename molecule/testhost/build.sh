#!/bin/sh
# build.sh RELEASE IMAGE : a Debian with systemd as a Docker image, from Debian's own defaults. It is a
# machine as a user has it: no Docker, none of Ansible's needs but Python. What site.yml installs lies
# in its apt cache, so that a test does not wait for downloads.
set -eu
release=$1
image=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/ical-testhost.XXXXXX")
trap 'rm -rf "$work"' EXIT
# dash runs the trap of EXIT on a signal only if the signal ends the script by exit
trap 'exit 1' INT TERM HUP

# a test host lacks the right to lower an OOM score, which Debian's unit asks for; in daemon.json the
# option would stop newer engines
cat >"$work/test-host.conf" <<'UNIT'
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock --oom-score-adjust 0
UNIT
install -m 0755 "$here/entry.sh" "$work/entry.sh"
install -m 0755 "$here/late-sh.sh" "$work/late-sh"
cat >"$work/customize.sh" <<'HOOK'
#!/bin/sh
set -eu
mkdir -p "$1/etc/systemd/system/docker.service.d" "$1/usr/local/sbin"
packages="docker.io python3-docker python3-requests mmdebstrap"
# from Debian 13 on the client is a package of its own
if chroot "$1" apt-cache show docker-cli >/dev/null 2>&1; then packages="$packages docker-cli"; fi
chroot "$1" apt-get -qq install -y --download-only --no-install-recommends $packages >/dev/null
# a person who is not root, as most operators log in
chroot "$1" useradd --create-home --shell /bin/bash observer
echo 'observer ALL=(ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/observer"
chroot "$1" systemctl mask systemd-udevd.service systemd-modules-load.service systemd-logind.service \
  getty.target console-getty.service
HOOK
chmod 0755 "$work/customize.sh"

mmdebstrap --quiet --variant=minbase --mode=root --format=tar \
  --include=systemd,systemd-sysv,dbus,python3,python3-apt,sudo,iproute2,iptables,procps,ca-certificates,kmod \
  --include=openssh-server \
  --skip=cleanup/apt/cache --skip=cleanup/apt/lists \
  --customize-hook="$work/customize.sh \"\$1\"" \
  --customize-hook="copy-in $work/test-host.conf /etc/systemd/system/docker.service.d" \
  --customize-hook="copy-in $work/entry.sh $work/late-sh /usr/local/sbin" \
  "$release" "$work/root.tar"
docker import --change 'ENTRYPOINT ["/usr/local/sbin/entry.sh"]' --change 'ENV container=docker' \
  --change 'LABEL org.ical-swarm.test=1' "$work/root.tar" "$image"
