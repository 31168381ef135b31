#!/bin/sh
# in_cycle.sh CYCLE COMMAND... : wait for a new run's ICAL to tell of CYCLE, then run the command at once.
# By the event, not by the clock; gives up after a quarter of an hour. Runs where the pipeline runs.
set -eu
filter=label=com.docker.swarm.service.name=ical-pipeline-selfcal
cycle=$1
shift
end=$(($(date +%s) + 900))
while [ -z "$(docker ps --quiet --filter "$filter")" ]; do
  [ "$(date +%s)" -lt "$end" ]
  sleep 0.2
done
timeout 900 docker logs --follow "$(docker ps --quiet --filter "$filter")" 2>&1 |
  grep --line-buffered --max-count=1 "\"cycle\": $cycle,"
exec "$@"
