#!/bin/sh
# Brings the stack up, or up to date: Swarm, secrets, images, services. Waits until everything runs, then prints addresses.
# Does again only what is missing. Variables:
#   MODELGATE_IMAGE     the gateway's image (modelgate:latest)
#   MODELGATE_REPLICAS  how many of it (6)
#   MODELGATE_CONFIG_FILE  its configuration (deploy/gateway.toml)
#   STACK_FILES         further stack files, separated by spaces; later ones win
#   LOCUST_WORKERS      load generators (none)
#   OVERLAY_ENCRYPTED   `no` where the kernel has no ESP and the nodes have a network of their own (yes)
#   ADVERTISE_ADDR      this node's address, for a Swarm that is yet to be made (loopback: one node only)
#   S3_ACCESS_KEY, S3_SECRET_KEY, GRAFANA_PASSWORD  made up where they are not given
#   PATIENCE            seconds to wait for everything to run (180)
set -eu
cd "$(dirname "$0")"
. ./common.sh

export MODELGATE_IMAGE="${MODELGATE_IMAGE:-modelgate:latest}"
export MODELGATE_CONFIG_FILE="${MODELGATE_CONFIG_FILE:-./gateway.toml}"
export MLFLOW_IMAGE="${MLFLOW_IMAGE:-modelgate-mlflow:3.17.2}"
export LOCUST_WORKERS="${LOCUST_WORKERS:-0}"
[ "$LOCUST_WORKERS" = 0 ] || export LOCUST_MASTERS=1
started=$(date +%s)

if [ "$(swarm_state)" = inactive ]; then
    say "making this engine a Swarm of one node"
    docker swarm init --advertise-addr "${ADVERTISE_ADDR:-127.0.0.1}" >/dev/null
    # So that down.sh knows that it may end it.
    docker node update --label-add modelgate.made=true self >/dev/null 2>&1 ||
        docker node update --label-add modelgate.made=true "$(docker info --format '{{.Swarm.NodeID}}')" >/dev/null
fi
is_manager || fail "this node is no manager of its Swarm: run this on one"

if ! docker network inspect internal_net >/dev/null 2>&1; then
    encrypted="--opt encrypted"
    [ "${OVERLAY_ENCRYPTED:-yes}" != no ] || encrypted=
    # shellcheck disable=SC2086 # several words, or none
    docker network create --driver overlay --attachable $encrypted --label "com.docker.stack.namespace=$STACK" internal_net >/dev/null
fi

# A secret is made once, and kept by Swarm alone.
random() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }
for secret in $SECRETS; do
    docker secret inspect "modelgate_$secret" >/dev/null 2>&1 && continue
    variable=$(echo "$secret" | tr '[:lower:]' '[:upper:]')
    value=$(printenv "$variable" || true)
    if [ -z "$value" ]; then
        value=$(random)
        say "made up $variable; note it down, it is not shown again: $value"
    fi
    printf %s "$value" | docker secret create "modelgate_$secret" - >/dev/null
done

has_image() { docker image inspect "$1" >/dev/null 2>&1; }
has_image "$MODELGATE_IMAGE" || docker pull -q "$MODELGATE_IMAGE" >/dev/null 2>&1 ||
    fail "the image $MODELGATE_IMAGE is neither here nor in a registry: run 'make image', or name another in MODELGATE_IMAGE"
if ! has_image "$MLFLOW_IMAGE" && [ "$MLFLOW_IMAGE" = modelgate-mlflow:3.17.2 ]; then
    say "building the image $MLFLOW_IMAGE"
    docker build -q --tag "$MLFLOW_IMAGE" mlflow >/dev/null
fi

CONFIG_DIGEST=$(cat haproxy/haproxy.cfg "$MODELGATE_CONFIG_FILE" prometheus/prometheus.yml prometheus/rules/*.yml \
    grafana/provisioning/*/*.yaml grafana/dashboards/*.json locust/locustfile.py | sha256sum | cut -c1-12)
export CONFIG_DIGEST
# On one node an image may be local; several nodes must agree on one by its digest.
resolve=${RESOLVE_IMAGE:-changed}
[ "$(docker node ls -q | wc -l)" -gt 1 ] || resolve=never
# shellcheck disable=SC2046,SC2086 # several words
docker stack deploy --prune --resolve-image "$resolve" \
    $(printf -- '--compose-file %s ' stack.yaml ${STACK_FILES:-}) "$STACK" >&2

# What is asked for first: an answer. Then every service has as many replicas running, and healthy, as it should.
deadline=$((started + ${PATIENCE:-180}))
before=
answered=
while :; do
    if [ -z "$answered" ] && curl -sf -m 2 "http://127.0.0.1:$EDGE_PORT/v2/health/ready" >/dev/null; then
        answered=$(($(date +%s) - started))
        say "$answered s: the first answer"
    fi
    waiting=$(service_lines | awk '{ split($2, of, "/"); if (of[1] != of[2]) print $1 " " $2 }')
    [ -n "$waiting" ] || [ -z "$answered" ] || break
    line=$(echo "${waiting:-an answer}" | tr '\n' ',' | sed 's/,$//; s/,/, /g')
    [ "$line" = "$before" ] || say "$(($(date +%s) - started)) s: waiting for $line"
    before=$line
    if [ "$(date +%s)" -ge "$deadline" ]; then
        docker stack ps "$STACK" --no-trunc --format '{{.Name}} {{.CurrentState}} {{.Error}}' >&2
        fail "not everything runs after ${PATIENCE:-180} s: see above"
    fi
    sleep 0.5
done

say "up after $(($(date +%s) - started)) s"
echo "predictions  http://127.0.0.1:$EDGE_PORT/docs"
[ "${GRAFANA_REPLICAS:-1}" = 0 ] || echo "dashboards   http://127.0.0.1:$GRAFANA_PORT (admin)"
[ "$LOCUST_WORKERS" = 0 ] || echo "load         http://127.0.0.1:$LOCUST_PORT"
