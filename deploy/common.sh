# Shared by up.sh, down.sh, status.sh and publish.sh; not run by itself.
# shellcheck shell=sh

STACK=${STACK:-modelgate}
export EDGE_PORT="${EDGE_PORT:-8080}" GRAFANA_PORT="${GRAFANA_PORT:-3000}" LOCUST_PORT="${LOCUST_PORT:-8089}"
# shellcheck disable=SC2034 # used by those scripts
SECRETS="s3_access_key s3_secret_key grafana_password"

say() { echo "$*" >&2; }
fail() { say "error: $*"; exit 1; }

command -v docker >/dev/null || fail "docker is missing: install Docker Engine (Debian: apt-get install docker.io)"
docker info >/dev/null 2>&1 || fail "the Docker engine does not answer: start it, or set DOCKER_HOST"

swarm_state() { docker info --format '{{.Swarm.LocalNodeState}}'; }
is_manager() { [ "$(docker info --format '{{.Swarm.ControlAvailable}}')" = true ]; }
service_lines() { docker service ls --filter "label=com.docker.stack.namespace=$STACK" --format '{{.Name}} {{.Replicas}}'; }
