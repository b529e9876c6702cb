#!/bin/sh
# Tags the gateway's image for a registry and pushes it: deploy/publish.sh REGISTRY/NAME[:TAG] [LOCAL_IMAGE].
# Without a tag, the version that the image is labelled with. Log in first (`docker login`).
set -eu
cd "$(dirname "$0")"
. ./common.sh

case $# in 1 | 2) ;; *) fail "expected REGISTRY/NAME[:TAG] [LOCAL_IMAGE]" ;; esac
target=$1
image=${2:-modelgate:latest}
docker image inspect "$image" >/dev/null 2>&1 || fail "there is no image $image here: run 'make image'"
case ${target##*/} in
*:*) ;;
*)
    version=$(docker image inspect "$image" --format '{{index .Config.Labels "org.opencontainers.image.version"}}')
    [ -n "$version" ] || fail "the image $image has no version label: name a tag"
    target=$target:$version
    ;;
esac
docker tag "$image" "$target"
docker push "$target"
digest=$(docker image inspect "$target" --format '{{range .RepoDigests}}{{println .}}{{end}}' | grep -F "${target%:*}@" | head -1)
say "deploy it with: MODELGATE_IMAGE=${digest:-$target} deploy/up.sh"
