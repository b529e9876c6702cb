#!/bin/sh
# What runs, where, and what it answers. The exit code is 0 if every service has all its replicas and the edge answers.
set -eu
cd "$(dirname "$0")"
. ./common.sh

is_manager || fail "this node is no manager of a Swarm"
[ -n "$(service_lines)" ] || fail "the stack $STACK is not deployed: deploy/up.sh"
docker service ls --filter "label=com.docker.stack.namespace=$STACK" --format 'table {{.Name}}\t{{.Replicas}}\t{{.Image}}'
echo
docker service ps "${STACK}_gateway" --filter desired-state=running --format 'table {{.Name}}\t{{.Node}}\t{{.Image}}\t{{.CurrentState}}\t{{.Error}}'
state=$(docker service inspect "${STACK}_gateway" --format '{{if .UpdateStatus}}{{.UpdateStatus.State}}: {{.UpdateStatus.Message}}{{end}}')
[ -z "$state" ] || printf '\nlast update: %s\n' "$state"
echo
good=0
edge=http://$(edge_address):$EDGE_PORT
service_lines | awk '{ split($2, of, "/"); if (of[1] != of[2]) { print $1 " has " $2 " replicas"; bad = 1 } } END { exit bad }' || good=1
for path in /v2/health/ready /listar_modelos; do
    answer=$(curl -s -m 3 -w ' (%{http_code}, %{time_total} s)' "$edge$path") || { answer="no answer"; good=1; }
    case $answer in *"(200, "*) ;; *) good=1 ;; esac
    echo "$edge$path: $answer"
done
exit $good
