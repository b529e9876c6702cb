#!/bin/sh
# Takes the stack down and leaves nothing behind: services, network, configs, secrets, this node's volumes, and the Swarm
# where up.sh made it.
#   --keep-data  leaves volumes (models, registry, series) and secrets for the next up.sh
#   --yes        does not ask before it removes data
# The files that secrets.sh made up stay in deploy/secrets.
set -eu
cd "$(dirname "$0")"
. ./common.sh

keep=
yes=
for argument in "$@"; do
    case $argument in
    --keep-data) keep=1 ;;
    --yes) yes=1 ;;
    *) fail "expected --keep-data or --yes, got $argument" ;;
    esac
done
[ "$(swarm_state)" = active ] || { say "there is no Swarm here"; exit 0; }
is_manager || fail "this node is no manager of its Swarm: run this on one"

volumes() { docker volume ls -q --filter "label=com.docker.stack.namespace=$STACK"; }
if [ -z "$keep$yes" ] && [ -n "$(volumes)" ]; then
    [ -t 0 ] || fail "this removes all data (models, registry, series): say --yes, or --keep-data"
    printf 'Remove all data too (%s)? [y/N] ' "$(volumes | tr '\n' ' ')" >&2
    read -r answer
    [ "$answer" = y ] || fail "nothing was removed; --keep-data leaves the data"
fi

if [ -n "$(service_lines)" ]; then
    docker stack rm "$STACK" >&2
fi
# The networks go with the stack, of which they have the label, or here.
for network in $NETWORKS; do
    docker network rm "$network" >/dev/null 2>&1 || true
done
# What is removed last tells that all is.
tries=0
while [ -n "$(docker ps -aq --filter "label=com.docker.stack.namespace=$STACK")" ] ||
    [ -n "$(docker network ls -q --filter "label=com.docker.stack.namespace=$STACK")" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 180 ] || fail "containers or networks of $STACK are still there after 90 s"
    [ $((tries % 20)) -ne 0 ] || say "waiting for containers to end"
    sleep 0.5
done
configs=$(docker config ls -q --filter "label=com.docker.stack.namespace=$STACK")
[ -z "$configs" ] || echo "$configs" | xargs docker config rm >/dev/null
[ -z "$keep" ] || { say "down; data and secrets are kept"; exit 0; }

docker secret ls --format '{{.Name}}' | grep '^modelgate_' | xargs -r docker secret rm >/dev/null 2>&1 || true
left=$(volumes)
[ -z "$left" ] || echo "$left" | xargs docker volume rm >/dev/null
for label in modelgate.edge modelgate.data; do
    for node in $(docker node ls -q); do
        [ -z "$(docker node inspect "$node" --format "{{index .Spec.Labels \"$label\"}}")" ] || docker node update --label-rm "$label" "$node" >/dev/null
    done
done
node=$(docker info --format '{{.Swarm.NodeID}}')
if [ "$(docker node inspect "$node" --format '{{index .Spec.Labels "modelgate.made"}}')" = true ] &&
    [ "$(docker node ls -q | wc -l)" -eq 1 ] && [ -z "$(docker service ls -q)" ]; then
    docker swarm leave --force >/dev/null
    say "the Swarm that up.sh made is ended"
fi
say "down"
