#!/bin/sh
# collect.sh RUN SINCE IMAGE FOLDER LIMIT : FOLDER/run.tar with RUN's results, its calibrated visibilities
# as RUN/visibilities if those on this host are at most LIMIT bytes ('': whatever they are), and
# RUN/logs/NAME.log of every container of ours since SINCE.
set -eu
# whoever logs in fetches it
umask 022
run=$1
since=$2
image=$3
folder=$4
limit=$5
# copy VOLUME LIMIT NAME: RUN's folder of a volume as a tar stream, named NAME; empty where there is none
copy() {
  docker run --rm --network none --read-only --user 10001:10001 --label org.ical-swarm=1 \
    --mount "type=volume,source=$1,target=/volume,readonly" "$image" \
    sh -c 'cd /volume && if [ -d "$1" ] && { [ -z "$2" ] || [ "$(du -sb "$1" | cut -f1)" -le "$2" ]; }; then
             tar -cf - --warning=no-file-changed --transform "s,^$1,$3," "$1"; else tar -cf - -T /dev/null; fi' sh "$run" "$2" "$3"
}
mkdir -p "$folder/$run/logs"
docker ps --all --filter label=org.ical-swarm=1 --format '{{.ID}} {{.Names}}' |
  while read -r id name; do
    # a service's container is called SERVICE.SLOT.TASK: the task is needed to tell restarts apart
    short=$(echo "$name" | sed -E 's/^([^.]+\.[0-9]+\.[a-z0-9]{6})[a-z0-9]*$/\1/')
    docker logs --timestamps --since "$since" "$id" >"$folder/$run/logs/$short.log" 2>&1 || true
    # a container that ended before this run has nothing to tell about it
    if ! [ -s "$folder/$run/logs/$short.log" ] && [ "$(docker inspect --format "{{.State.Running}}" "$id")" = false ]; then
      rm -f "$folder/$run/logs/$short.log"
    fi
  done
tar --create --file="$folder/run.tar" --owner=0 --group=0 --directory="$folder" "$run/logs"
# after a failure a worker may still write: what is there is brought all the same
copy ical-results "" "$run" >"$folder/part.tar" || true
tar --concatenate --file="$folder/run.tar" "$folder/part.tar"
copy ical-data "$limit" "$run/visibilities" >"$folder/part.tar" || true
tar --concatenate --file="$folder/run.tar" "$folder/part.tar"
