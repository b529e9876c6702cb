#!/bin/sh
# Makes up the keys and passwords of a fleet, one a file, in FOLDER (deploy/secrets): deploy/secrets.sh [FOLDER].
# Makes what is missing and leaves the rest as it is. up.sh hands them to Swarm; compose mounts them.
set -eu
cd "$(dirname "$0")"

folder=${1:-secrets}
# On the host the folder keeps others out. In a container, where a file is mounted alone, every user of it may read it.
umask 077
mkdir -p "$folder"

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
# make NAME VALUE
make() { [ -e "$folder/$1" ] || printf %s "$2" >"$folder/$1"; }

for role in root gateway mlflow converter publisher; do
    make "s3_${role}_access_key" "$role-$(random 4)"
    make "s3_${role}_secret_key" "$(random 18)"
done
for name in grafana_password mlflow_admin_password mlflow_reader_password mlflow_flask_key; do
    make "$name" "$(random 18)"
done

# Who may do what in the store, with the keys filled in. Made anew each time: it follows from the rest.
filled=$(cat s3/identities.json)
for role in gateway mlflow converter publisher; do
    for half in access secret; do
        name=s3_${role}_${half}_key
        filled=$(printf '%s\n' "$filled" | sed "s/@$name@/$(cat "$folder/$name")/")
    done
done
rm -f "$folder/s3_identities"
printf '%s\n' "$filled" >"$folder/s3_identities"
chmod 0444 "$folder"/*
