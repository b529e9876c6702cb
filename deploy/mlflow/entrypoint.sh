#!/bin/sh
# Starts the registry. NAME_FILE holds the value of NAME, so that credentials may come as Docker secrets.
set -eu

for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do
    file=$(printenv "${name}_FILE" || true)
    [ -z "$file" ] || export "$name=$(cat "$file")"
done

# With accounts: who has none may do nothing, who has one may read everything and change what is theirs.
accounts=
if [ "${MLFLOW_ACCOUNTS:-no}" = yes ]; then
    MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat /run/secrets/mlflow_flask_key)
    export MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_CONFIG_PATH=/tmp/accounts.ini
    umask 077
    # The password of `admin` is read when there is no account yet; later it is changed in MLflow.
    cat >"$MLFLOW_AUTH_CONFIG_PATH" <<INI
[mlflow]
default_permission = READ
database_uri = sqlite:////var/lib/mlflow/accounts.db
admin_username = admin
admin_password = $(cat /run/secrets/mlflow_admin_password)
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
INI
    accounts="--app-name basic-auth"
    python3 /usr/local/bin/reader.py &
fi

# Artifacts go straight to the store (`--no-serve-artifacts`), as the gateway takes them from it. The store makes the bucket.
# shellcheck disable=SC2086 # several words, or none
exec mlflow server --host 0.0.0.0 --port 5000 --workers "${MLFLOW_WORKERS:-2}" $accounts \
    --backend-store-uri sqlite:////var/lib/mlflow/mlflow.db \
    --default-artifact-root "$MLFLOW_ARTIFACTS_DESTINATION" --no-serve-artifacts \
    --allowed-hosts "${MLFLOW_SERVER_ALLOWED_HOSTS:-*}"
