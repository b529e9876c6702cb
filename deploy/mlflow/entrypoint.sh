#!/bin/sh
# Starts the registry. NAME_FILE holds the value of NAME, so that credentials may come as Docker secrets.
set -eu

for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do
    file=$(printenv "${name}_FILE" || true)
    [ -z "$file" ] || export "$name=$(cat "$file")"
done

# The bucket for artifacts, unless it is there. The store may still be starting.
python3 - <<'PYTHON'
import os, sys, time
from urllib.parse import urlparse
import boto3

bucket = urlparse(os.environ["MLFLOW_ARTIFACTS_DESTINATION"]).netloc
client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"), region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))
for attempt in range(60):
    try:
        if bucket not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=bucket)
        break
    except Exception as error:
        if attempt == 59:
            sys.exit(f"the bucket {bucket} cannot be made: {error}")
        time.sleep(1)
PYTHON

# Artifacts go straight to the store (`--no-serve-artifacts`), as the gateway takes them from it.
exec mlflow server --host 0.0.0.0 --port 5000 --workers "${MLFLOW_WORKERS:-2}" \
    --backend-store-uri sqlite:////var/lib/mlflow/mlflow.db \
    --default-artifact-root "$MLFLOW_ARTIFACTS_DESTINATION" --no-serve-artifacts \
    --allowed-hosts "${MLFLOW_SERVER_ALLOWED_HOSTS:-*}"
