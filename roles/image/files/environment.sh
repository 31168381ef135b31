#!/bin/sh
# Run in a container of the base, which becomes the image of the packages: in one go, as each layer
# that a Dockerfile makes or copies would write some 40000 files once more. Wheels are fetched already
# and checked by hash: this needs no network, unless the base lacks OpenMP.
# /mnt holds the lock and the wheels, /tmp is not kept, nor are proxies that Docker's client gave.
set -eu
if ! ldconfig -p | grep -q libgomp.so.1; then
  apt-get update
  apt-get install -y --no-install-recommends libgomp1
  rm -rf /var/lib/apt/lists/*
fi
# Services cannot be given no-new-privileges before engine 25: no file may raise privileges
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
echo 'ical:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd
echo 'ical:x:10001:' >>/etc/group
mkdir -p /data /results /cache /opt/arl
chown 10001:10001 /data /results /cache
# pip lives beside the environment, so that the image has none
python3 -m venv /tmp/pip
python3 -m venv --without-pip /opt/ical
/tmp/pip/bin/pip --python /opt/ical/bin/python install --no-cache-dir --no-compile --no-deps \
  --no-index --find-links /mnt/wheelhouse --require-hashes -r /mnt/requirements.txt
# packages' own tests are a third of it, and never imported; some carry a file that does not compile
/opt/ical/bin/python -m compileall -q -j 0 -x '/test_[^/]*[.]py$' /opt/ical/lib >/dev/null ||
  test -x /opt/ical/bin/dask
