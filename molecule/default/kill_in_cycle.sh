#!/bin/sh
# kill_in_cycle.sh CYCLE VICTIM : wait for a new run's ICAL to tell of CYCLE, then kill a container of the
# service VICTIM at once. By the event, not by the clock; gives up after five minutes.
set -eu
filter=label=com.docker.swarm.service.name
end=$(($(date +%s) + 300))
while [ -z "$(docker ps --quiet --filter "$filter=ical-pipeline-selfcal")" ]; do
  [ "$(date +%s)" -lt "$end" ]
  sleep 0.2
done
loop=$(docker ps --quiet --filter "$filter=ical-pipeline-selfcal")
timeout 300 docker logs --follow "$loop" 2>&1 | grep --line-buffered --max-count=1 "\"cycle\": $1,"
docker kill "$(docker ps --quiet --filter "$filter=$2" | head -n 1)"
