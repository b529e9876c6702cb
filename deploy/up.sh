#!/bin/sh
# Brings the stack up, or up to date: Swarm, secrets, images, services. Waits until everything runs, then prints addresses.
# Does again only what is missing. Variables; the first three are as they were where they are not given:
#   MODELGATE_IMAGE     the gateway's image (at first modelgate:latest)
#   MODELGATE_REPLICAS  how many of it (at first 6)
#   MODELGATE_CONFIG_FILE  its configuration (at first deploy/gateway.toml)
#   STACK_FILES         further stack files, separated by spaces; later ones win
#   CONVERTER_REPLICAS  converters of what the registry gets (1)
#   LOCUST_WORKERS      load generators (none)
#   OVERLAY_ENCRYPTED   `no` where the kernel has no ESP and the nodes have a network of their own (yes)
#   ADVERTISE_ADDR      this node's address, for a Swarm that is yet to be made and that others are to join (loopback)
#   SECRETS_DIR         keys and passwords, a file each, relative to deploy/ (secrets; what is missing there is made up)
#   PATIENCE            seconds to wait for everything to run, once the images are here (180)
set -eu
cd "$(dirname "$0")"
. ./common.sh

gateway=${STACK}_gateway
# Something of the gateway's service as it is; nothing where there is none.
current() { docker service inspect "$gateway" --format "$1" 2>/dev/null || true; }
[ -n "${MODELGATE_IMAGE:-}" ] || MODELGATE_IMAGE=$(current '{{.Spec.TaskTemplate.ContainerSpec.Image}}')
[ -n "${MODELGATE_REPLICAS:-}" ] || MODELGATE_REPLICAS=$(current '{{.Spec.Mode.Replicated.Replicas}}')
[ -n "${MODELGATE_CONFIG_FILE:-}" ] || MODELGATE_CONFIG_FILE=$(current '{{index .Spec.Labels "modelgate.config"}}')
export MODELGATE_IMAGE="${MODELGATE_IMAGE:-modelgate:latest}" MODELGATE_REPLICAS="${MODELGATE_REPLICAS:-6}"
export MODELGATE_CONFIG_FILE="${MODELGATE_CONFIG_FILE:-./gateway.toml}"
[ -r "$MODELGATE_CONFIG_FILE" ] || fail "the gateway's configuration $MODELGATE_CONFIG_FILE cannot be read (relative to deploy/)"
export MLFLOW_IMAGE="${MLFLOW_IMAGE:-modelgate-mlflow:3.17.2-2}" CONVERTER_IMAGE="${CONVERTER_IMAGE:-modelgate-converter:0.2.0}"
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
# The edge is found under one address, and volumes are on one node: both stay where they were first, unless somebody gives
# these labels to other nodes.
for label in modelgate.edge modelgate.data; do
    docker node ls -q | xargs docker node inspect --format "{{index .Spec.Labels \"$label\"}}" | grep -qx true ||
        docker node update --label-add "$label=true" "$(docker info --format '{{.Swarm.NodeID}}')" >/dev/null
done

for network in $NETWORKS; do
    ! docker network inspect "$network" >/dev/null 2>&1 || continue
    options="--opt encrypted"
    [ "${OVERLAY_ENCRYPTED:-yes}" != no ] || options=
    # Nobody on it needs anything from outside.
    [ "$network" != store_net ] || options="$options --internal"
    # shellcheck disable=SC2086 # several words, or none
    docker network create --driver overlay --attachable $options --label "com.docker.stack.namespace=$STACK" "$network" >/dev/null
done

# A secret is made once. The keys belong together: the store's list of identities has the others in it.
if ! docker secret inspect modelgate_s3_identities >/dev/null 2>&1; then
    [ -e "$SECRETS_DIR/s3_identities" ] || say "made up keys and passwords in $(pwd)/$SECRETS_DIR, which only this user can open"
    ./secrets.sh "$SECRETS_DIR"
    for file in "$SECRETS_DIR"/*; do
        secret=modelgate_$(basename "$file")
        if docker secret inspect "$secret" >/dev/null 2>&1; then
            say "the secret $secret is there already, and stays: $file is not taken"
        else
            docker secret create "$secret" "$file" >/dev/null
        fi
    done
fi

has_image() { docker image inspect "$1" >/dev/null 2>&1; }
has_image "$MODELGATE_IMAGE" || docker pull -q "$MODELGATE_IMAGE" >/dev/null 2>&1 ||
    fail "the image $MODELGATE_IMAGE is neither here nor in a registry: run 'make image', or name another in MODELGATE_IMAGE"
if ! has_image "$MLFLOW_IMAGE" && [ "$MLFLOW_IMAGE" = modelgate-mlflow:3.17.2-2 ]; then
    say "building the image $MLFLOW_IMAGE"
    docker build -q --tag "$MLFLOW_IMAGE" mlflow >/dev/null
fi
if [ "${CONVERTER_REPLICAS:-1}" != 0 ] && [ "$CONVERTER_IMAGE" = modelgate-converter:0.2.0 ] && ! has_image "$CONVERTER_IMAGE"; then
    say "building the image $CONVERTER_IMAGE"
    docker build -q --tag "$CONVERTER_IMAGE" --file converter/Dockerfile ../modules/exporter >/dev/null
fi
# The others, so that waiting below is for the services and not for the network. Other nodes fetch what they need.
minio=
case " ${STACK_FILES:-} " in *" s3/minio.yaml "*) minio=1 ;; esac
# shellcheck disable=SC2086 # several words
others=$(sed -n 's/^ *image: \${\(HAPROXY\|S3\|MINIO\|PROMETHEUS\|GRAFANA\)_IMAGE:-\(.*\)}$/\1 \2/p' stack.yaml ${STACK_FILES:-})
while read -r name image; do
    image=$(printenv "${name}_IMAGE" || echo "$image")
    [ "$name" != GRAFANA ] || [ "${GRAFANA_REPLICAS:-1}" != 0 ] || continue
    [ "$name" != S3 ] || [ -z "$minio" ] || continue
    has_image "$image" && continue
    say "fetching $image"
    docker pull -q "$image" >/dev/null || fail "the image $image is neither here nor in a registry; another may be named in ${name}_IMAGE"
done <<EOF
$others
EOF

# Of each configuration its own, so that a change of one replaces only the services that read it.
digest() { sha256sum "$1" | cut -c1-12; }
HAPROXY_DIGEST=$(digest haproxy/haproxy.cfg)
STORE_DIGEST=$(digest s3/seaweedfs.sh)
MINIO_DIGEST=$(digest s3/minio.sh)
GATEWAY_DIGEST=$(digest "$MODELGATE_CONFIG_FILE")
PROMETHEUS_DIGEST=$(digest prometheus/prometheus.yml)
RECORDING_DIGEST=$(digest prometheus/rules/recording.yml)
ALERTS_DIGEST=$(digest prometheus/rules/alerts.yml)
DATASOURCES_DIGEST=$(digest grafana/provisioning/datasources/modelgate.yaml)
DASHBOARDS_DIGEST=$(digest grafana/provisioning/dashboards/modelgate.yaml)
FLEET_DIGEST=$(digest grafana/dashboards/fleet.json)
MODEL_DIGEST=$(digest grafana/dashboards/model.json)
LOCUSTFILE_DIGEST=$(digest locust/locustfile.py)
export HAPROXY_DIGEST STORE_DIGEST MINIO_DIGEST GATEWAY_DIGEST PROMETHEUS_DIGEST RECORDING_DIGEST ALERTS_DIGEST DATASOURCES_DIGEST DASHBOARDS_DIGEST \
    FLEET_DIGEST MODEL_DIGEST LOCUSTFILE_DIGEST
# On one node an image may be local; several nodes must agree on one by its digest.
resolve=${RESOLVE_IMAGE:-changed}
[ "$(docker node ls -q | wc -l)" -gt 1 ] || resolve=never
updates_before=$(updates)
again=
if [ "$resolve" = never ] && [ "$(current '{{.Spec.TaskTemplate.ContainerSpec.Image}}')" = "$MODELGATE_IMAGE" ]; then
    # Swarm sees names only; an image that was built again under the same one is another.
    replica=$(docker ps -q --filter "label=com.docker.swarm.service.name=$gateway" | head -1)
    [ -z "$replica" ] || [ "$(docker inspect "$replica" --format '{{.Image}}')" = "$(docker image inspect "$MODELGATE_IMAGE" --format '{{.Id}}')" ] || again=1
fi
# shellcheck disable=SC2046,SC2086 # several words
docker stack deploy --prune --with-registry-auth --resolve-image "$resolve" \
    $(printf -- '--compose-file %s ' stack.yaml ${STACK_FILES:-}) "$STACK" >&2

[ -z "$again" ] || docker service update --detach --with-registry-auth --no-resolve-image --force "$gateway" >/dev/null

# What is asked for first: an answer. Then every service has as many replicas running, and healthy, as it should.
deadline=$(($(date +%s) + ${PATIENCE:-180}))
before=
answered=
while :; do
    if [ -z "$answered" ] && curl -sf -m 2 "http://$(edge_address):$EDGE_PORT/v2/health/ready" >/dev/null; then
        answered=$(($(date +%s) - started))
        say "$answered s: the first answer"
    fi
    waiting=$(service_lines | awk '{ split($2, of, "/"); if (of[1] != of[2]) print $1 " " $2 }')
    moving=$(updates | awk '$3 == "updating" || $3 == "rollback_started" { print $1 " " $3 }')
    waiting=$(printf '%s\n%s\n' "$waiting" "$moving" | grep . || true)
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

failed=$(updates | awk '$3 ~ /rollback|paused/' | while read -r line; do
    echo "$updates_before" | grep -qxF "$line" || echo "$line" | awk '{ print $1 " (" $3 ")" }'
done)
[ -z "$failed" ] || fail "taken back, the release before it goes on: $failed; see 'docker service ps --no-trunc' and 'docker service logs'"

say "up after $(($(date +%s) - started)) s"
echo "predictions  http://$(edge_address):$EDGE_PORT/docs"
[ "${GRAFANA_REPLICAS:-1}" = 0 ] || echo "dashboards   http://127.0.0.1:$GRAFANA_PORT (admin)"
[ "$LOCUST_WORKERS" = 0 ] || echo "load         http://$(edge_address):$LOCUST_PORT"
