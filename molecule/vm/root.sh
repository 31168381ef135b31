#!/bin/sh
# root.sh FOLDER [--download-only] : a Debian with its own cloud kernel, as FOLDER/{vmlinuz,initrd,root.tar}. It is a
# machine as a user has it: systemd, SSH, a person with sudo, Docker; or, with --download-only, without Docker, and
# what site.yml installs lies in its apt cache.
set -eu
folder=$1
bare=${2:-}
mkdir -p "$folder"
work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
# dash runs the trap of EXIT on a signal only if the signal ends the script by exit
trap 'exit 1' INT TERM HUP

cat >"$work/customize.sh" <<HOOK
#!/bin/sh
set -eu
chroot "\$1" apt-get -qq install -y $bare --no-install-recommends \
  docker.io apparmor python3-docker python3-requests mmdebstrap >/dev/null
# a person who is not root, as most operators log in
chroot "\$1" useradd --create-home --shell /bin/bash observer
echo 'observer ALL=(ALL) NOPASSWD: ALL' >"\$1/etc/sudoers.d/observer"
echo '/dev/vda / ext4 defaults 0 1' >"\$1/etc/fstab"
# the resolver of QEMU's user network
echo 'nameserver 10.0.2.3' >"\$1/etc/resolv.conf"
chroot "\$1" systemctl enable --quiet seed.service systemd-networkd.service ssh.service
HOOK
chmod 0755 "$work/customize.sh"
# name, address and key of one machine come on a disk of their own, as a tar archive
cat >"$work/seed.service" <<'UNIT'
[Unit]
DefaultDependencies=no
RequiresMountsFor=/
After=systemd-remount-fs.service
Before=systemd-networkd.service ssh.service

[Service]
Type=oneshot
ExecStart=/bin/tar --extract --file=/dev/vdb --directory=/ --no-overwrite-dir
ExecStart=/bin/hostname --file /etc/hostname

[Install]
WantedBy=sysinit.target
UNIT
cat >"$work/10-user.network" <<'UNIT'
[Match]
Name=eth0

[Network]
DHCP=ipv4
UNIT
mmdebstrap --quiet --variant=minbase --mode=root --format=tar \
  --include=systemd,systemd-sysv,dbus,python3,python3-apt,sudo,iproute2,iptables,procps,ca-certificates,kmod,hostname \
  --include=openssh-server,initramfs-tools,linux-image-cloud-amd64 \
  --skip=cleanup/apt/cache --skip=cleanup/apt/lists \
  --customize-hook="copy-in $work/seed.service /etc/systemd/system" \
  --customize-hook="copy-in $work/10-user.network /etc/systemd/network" \
  --customize-hook="$work/customize.sh \"\$1\"" \
  bookworm "$work/root.tar"
tar --extract --file="$work/root.tar" --directory="$work" --wildcards './boot/*'
cp "$work"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$work"/boot/initrd.img-* "$folder/initrd"
# last: where it is, the rest is whole
mv "$work/root.tar" "$folder/root.tar"
