#!/bin/sh
# in_cycle.sh CYCLE COMMAND... : wait until a run's ICAL is in CYCLE (2 or later), then run the command at once.
# By what the run tells at the end of the cycle before, not by the clock; gives up after a quarter of an hour, or when
# the run has ended without it. Runs where the pipeline runs.
set -eu
filter=label=com.docker.swarm.service.name=ical-pipeline-selfcal
before=$(($1 - 1))
shift
end=$(($(date +%s) + 900))
while [ -z "$(docker ps --quiet --filter "$filter")" ]; do
  [ "$(date +%s)" -lt "$end" ]
  sleep 0.2
done
container=$(docker ps --quiet --filter "$filter")
# not followed: a pipe would be waited for until the line after
until docker logs "$container" 2>&1 | grep --quiet "\"cycle\": $before,"; do
  [ -n "$(docker ps --quiet --filter "id=$container")" ]
  [ "$(date +%s)" -lt "$end" ]
  sleep 0.2
done
exec "$@"
