#!/bin/sh
# Starts MinIO as the store. The root key is in this container only: the step below makes the bucket, the users and their
# policies with it. The policies allow what s3/identities.json allows.
set -eu

read_only() { printf '{"Effect":"Allow","Action":["s3:GetObject"],"Resource":[%s]}' "$1"; }
writes() { printf '{"Effect":"Allow","Action":["s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],"Resource":[%s]}' "$1"; }
lists='{"Effect":"Allow","Action":["s3:ListBucket","s3:GetBucketLocation","s3:ListBucketMultipartUploads"],"Resource":["arn:aws:s3:::models"]}'
# below PREFIX...: resources, as a policy names them.
below() { printf '"arn:aws:s3:::models/%s*"' "$1"; shift; for prefix in "$@"; do printf ',"arn:aws:s3:::models/%s*"' "$prefix"; done; }

# user NAME STATEMENT...
user() {
    name=$1
    shift
    { printf '{"Version":"2012-10-17","Statement":[%s' "$lists"; printf ',%s' "$@"; printf ']}'; } >"/tmp/$name.json"
    mc admin user add store "$(cat "/run/secrets/s3_${name}_access_key")" "$(cat "/run/secrets/s3_${name}_secret_key")"
    mc admin policy create store "$name" "/tmp/$name.json"
    mc admin policy attach store "$name" --user "$(cat "/run/secrets/s3_${name}_access_key")" 2>/dev/null || true
}

export HOME=/tmp
(
    root=$(cat /run/secrets/s3_root_access_key)
    until mc alias set store http://127.0.0.1:9000 "$root" "$(cat /run/secrets/s3_root_secret_key)"; do sleep 1; done
    mc mb --ignore-existing store/models
    user gateway "$(read_only "$(below '')")"
    user mlflow "$(read_only "$(below mlflow/)")" "$(writes "$(below mlflow/)")"
    user converter "$(read_only "$(below mlflow/ modelgate/converted/)")" "$(writes "$(below modelgate/converted/)")"
    user publisher "$(read_only "$(below '')")" "$(writes "$(below bundles/ mlflow/)")"
) >/dev/null &

export MINIO_ROOT_USER_FILE=/run/secrets/s3_root_access_key MINIO_ROOT_PASSWORD_FILE=/run/secrets/s3_root_secret_key
exec minio server /data --address :9000 --console-address 127.0.0.1:9001
