# The packages of the lock on the base. Wheels were fetched and will be checked by hash: this build
# needs no network, unless the base lacks OpenMP.
ARG BASE
FROM ${BASE} AS wheels
LABEL org.ical-swarm=1
COPY requirements.txt /tmp/
COPY wheelhouse /tmp/wheelhouse
# pip lives beside the environment, so that the image has none
RUN python3 -m venv /tmp/pip \
 && python3 -m venv --without-pip /opt/ical \
 && /tmp/pip/bin/pip --python /opt/ical/bin/python install --no-cache-dir --no-compile --no-deps \
    --no-index --find-links /tmp/wheelhouse --require-hashes -r /tmp/requirements.txt \
 && python3 -m compileall -q -j 0 /opt/ical/lib >/dev/null || test -x /opt/ical/bin/dask

FROM ${BASE}
LABEL org.ical-swarm=1
# Services cannot be given no-new-privileges before engine 25: no file may raise privileges
RUN { ldconfig -p | grep -q libgomp.so.1 \
      || { apt-get update && apt-get install -y --no-install-recommends libgomp1 \
           && rm -rf /var/lib/apt/lists/*; }; } \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && echo 'ical:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'ical:x:10001:' >>/etc/group \
 && mkdir -p /data /results /cache /opt/arl \
 && chown 10001:10001 /data /results /cache
COPY --from=wheels /opt/ical /opt/ical
