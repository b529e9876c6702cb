#!/bin/sh
# Makes the wheel, in target/wheels, of the binary that MODELGATE_BINARY names (target/release/modelgate). Prints its path.
set -eu
cd "$(dirname "$0")/../.."
MODELGATE_BINARY=$(realpath "${MODELGATE_BINARY:-target/release/modelgate}")
export MODELGATE_BINARY
[ -x "$MODELGATE_BINARY" ] || { echo "$MODELGATE_BINARY is not there: \`make wheel\` builds it" >&2; exit 1; }
[ -x target/uv/bin/uv ] || {
    "${PYTHON:-python3}" -m venv --clear target/uv
    target/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
}
rm -rf target/wheels
target/uv/bin/uv build --quiet --wheel --out-dir target/wheels modules/serving
ls target/wheels/*.whl
