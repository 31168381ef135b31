#!/bin/sh
# collect.sh STATE RUN SINCE [IMAGE LIMIT] : the log of every container of ours since SINCE as STATE/runs/RUN/logs/NAME.log,
# where those of containers that are gone by now stay. With IMAGE also STATE/fetch/run.tar: RUN/logs, RUN's results, and
# its calibrated visibilities as RUN/visibilities if those on this host are at most LIMIT bytes ('': whatever they are).
# Exit code 3: the engine does not answer.
set -eu
# whoever logs in fetches it
umask 022
state=$1
run=$2
since=$3
image=${4:-}
limit=${5:-}
logs=$state/runs/$run/logs
fetch=$state/fetch
# copy VOLUME LIMIT NAME: RUN's folder of a volume as a tar stream, named NAME; empty where there is none. After a failure
# a worker may still write, of which tar complains: what is there is brought all the same. Where nothing was deployed yet
# there are neither volumes nor the image, which nobody else has.
copy() {
  docker volume inspect "$1" >/dev/null 2>&1 || return 0
  docker run --rm --pull never --network none --read-only --user 10001:10001 --label org.ical-swarm=1 \
    --mount "type=volume,source=$1,target=/volume,readonly" "$image" \
    sh -c 'cd /volume && if [ -d "$1" ] && { [ -z "$2" ] || [ "$(du -sb "$1" | cut -f1)" -le "$2" ]; }; then
             tar -cf - --warning=no-file-changed --transform "s,^$1,$3," "$1"; else tar -cf - -T /dev/null; fi' sh "$run" "$2" "$3" ||
    [ $? -lt 125 ]
}
timeout 60 docker info >/dev/null || exit 3
mkdir -p "$logs"
docker ps --all --filter label=org.ical-swarm=1 --format '{{.ID}} {{.Names}}' |
  while read -r id name; do
    # a service's container is called SERVICE.SLOT.TASK: the task is needed to tell restarts apart
    short=$(echo "$name" | sed -E 's/^([^.]+\.[0-9]+\.[a-z0-9]{6})[a-z0-9]*$/\1/')
    docker logs --timestamps --since "$since" "$id" >"$logs/$short.log" 2>&1 || true
    # a container that ended before this run has nothing to tell about it
    if ! [ -s "$logs/$short.log" ] && [ "$(docker inspect --format "{{.State.Running}}" "$id")" = false ]; then
      rm -f "$logs/$short.log"
    fi
  done
[ -n "$image" ] || exit 0
rm -rf "$fetch"
# a disk that it filled is free again
trap '[ $? = 0 ] || rm -rf "$fetch"' EXIT
trap 'exit 1' INT TERM HUP
mkdir -p "$fetch"
# one stream after the other, which tar --ignore-zeros reads as one: joining them would need the space twice
tar --create --owner=0 --group=0 --directory="$state/runs" "$run/logs" >"$fetch/run.tar"
copy ical-results "" "$run" >>"$fetch/run.tar"
copy ical-data "$limit" "$run/visibilities" >>"$fetch/run.tar"
