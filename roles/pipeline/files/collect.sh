#!/bin/sh
# collect.sh RUN SINCE IMAGE FOLDER : FOLDER/run.tar with RUN's results (without visibilities, which stay
# in their own volume) and RUN/logs/NAME.log of every container of ours since SINCE.
set -eu
run=$1
since=$2
image=$3
folder=$4
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
docker run --rm --network none --read-only --user 10001:10001 --label org.ical-swarm=1 \
  --mount type=volume,source=ical-results,target=/results,readonly "$image" \
  sh -c 'cd /results && if [ -d "$1" ]; then tar -cf - "$1"; else tar -cf - -T /dev/null; fi' sh "$run" \
  >"$folder/run.tar"
tar --append --file="$folder/run.tar" --owner=0 --group=0 --directory="$folder" "$run/logs"
chmod 0644 "$folder/run.tar"
