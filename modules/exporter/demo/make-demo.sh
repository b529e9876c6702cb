#!/bin/sh
# Makes the committed bundles again, byte for byte: gateway/demo and gateway/tests/data.
# Needs Python 3.11 or later (PYTHON=... picks one) and PyPI; keeps its environment in modules/target.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../../.." && pwd)
venv=${VENV:-$root/modules/target/demo-venv}
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "make-demo: $python is too old: Python 3.11 or later is needed; set PYTHON" >&2
    exit 1
}
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    echo "make-demo: installing the pinned packages into $venv"
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
# The package straight from its sources; one thread, so that sums have one order.
export PYTHONPATH="$here/../src" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
"$venv/bin/python" "$here/covertype.py" "$root/gateway/demo" "$root/gateway/tests/data/covertype_1000.json"
"$venv/bin/python" "$here/small.py" "$root/gateway/tests/data/bundles"
