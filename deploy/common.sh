# Shared by up.sh, down.sh, status.sh and publish.sh; not run by itself.
# shellcheck shell=sh

STACK=${STACK:-modelgate}
export EDGE_PORT="${EDGE_PORT:-8080}" GRAFANA_PORT="${GRAFANA_PORT:-3000}" LOCUST_PORT="${LOCUST_PORT:-8089}"
# shellcheck disable=SC2034 # used by those scripts
NETWORKS="internal_net store_net watch_net"
# Where secrets.sh makes up the keys and passwords; a file in it is named as its secret.
SECRETS_DIR=${SECRETS_DIR:-secrets}

say() { echo "$*" >&2; }
fail() { say "error: $*"; exit 1; }

command -v docker >/dev/null || fail "docker is missing: install Docker Engine (Debian: apt-get install docker.io)"
command -v curl >/dev/null || fail "curl is missing: install it (Debian: apt-get install curl)"
docker info >/dev/null 2>&1 || fail "the Docker engine does not answer: start it, or set DOCKER_HOST"

swarm_state() { docker info --format '{{.Swarm.LocalNodeState}}'; }
is_manager() { [ "$(docker info --format '{{.Swarm.ControlAvailable}}')" = true ]; }
service_lines() { docker service ls --filter "label=com.docker.stack.namespace=$STACK" --format '{{.Name}} {{.Replicas}}'; }
# What became of each service's last update: name, when it began, how it stands. Nothing for those never updated.
updates() {
    docker service ls -q --filter "label=com.docker.stack.namespace=$STACK" | xargs -r docker service inspect \
        --format '{{if .UpdateStatus}}{{.Spec.Name}} {{.UpdateStatus.StartedAt.UnixNano}} {{.UpdateStatus.State}}{{end}}'
}
# The address that the edge is reached at from here: that of the node it runs on.
edge_address() {
    node=$(docker service ps "${STACK}_edge" --filter desired-state=running --format '{{.Node}}' 2>/dev/null | head -1)
    if [ -z "$node" ] || [ "$node" = "$(docker node inspect self --format '{{.Description.Hostname}}')" ]; then
        echo 127.0.0.1
    else
        docker node inspect "$node" --format '{{.Status.Addr}}'
    fi
}
