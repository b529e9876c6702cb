#!/bin/sh
# Starts SeaweedFS as the store, in one process. Who may do what is in the identities (s3/identities.json with the
# keys filled in); a static file, so there is no root key.
set -eu

# Master, volume and filer ask nobody for a key, so they are reached from this container only.
own="-ip=127.0.0.1 -ip.bind=127.0.0.1"

# S3's own gRPC port (19000) is open beside it. With a signing key, it takes identities from nobody who has not the key
# (SeaweedFS 4.46 and later). The key is this process's own and ends with it.
umask 077
cd /tmp
printf '[jwt.filer_signing]\nkey = "%s"\n' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >security.toml

# The bucket, made from within, once the filer answers.
(
    until echo "s3.bucket.list" | weed shell -master=127.0.0.1:9333 2>/dev/null | grep -qw models; do
        echo "s3.bucket.create -name models" | weed shell -master=127.0.0.1:9333 >/dev/null 2>&1 || true
        sleep 1
    done
) &

# shellcheck disable=SC2086 # several words
exec weed server -dir=/data $own -master.volumeSizeLimitMB=1024 -volume.max=0 \
    -filer -s3 -s3.ip.bind=0.0.0.0 -s3.port=9000 -s3.port.iceberg=0 -s3.port.lance=0 -s3.config=/run/secrets/s3_identities
