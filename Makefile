# Make is the menu: `make help`.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

BUF := .tools/npm/node_modules/.bin/buf
PENSTOCK := target/release/penstock
# What is fetched and what is compiled don't wait for each other.
beside = $(MAKE) --no-print-directory $(1) & beside=$$!; trap "kill $$beside 2>/dev/null || true" EXIT;

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: run
run: engine console ## Build everything and start the whole product with a demo tenant
	cargo build --release --locked -p penstock
	$(PENSTOCK) serve --demo --text-logs

.PHONY: demo
demo: ## Send a made shop's week to the server that `make run` started, and go on live until Ctrl-C
	cargo build --release --locked -p penstock
	$(PENSTOCK) demo --key-file .penstock/demo.key --app xyz123

.PHONY: stack stack-down
stack: engine backends console ## Start it as a cluster: Kafka, Redis, PostgreSQL, every role in processes of its own
	cargo build --release --locked -p penstock
	deploy/stand/stack.sh up .penstock/stack

stack-down: ## Stop the cluster that `make stack` started; its data stays
	deploy/stand/stack.sh down .penstock/stack

.PHONY: test test-build test-beside
test test-beside: export TMPDIR = $(shell deploy/tools/scratch.sh)
test: test-build ## Run every test but those of minutes, on the real engine, with real clients and a real browser
	deploy/docs/spoken.py target/debug/penstock
	deploy/docs/settings.py check target/debug/penstock
	$(call beside,test-beside) RUST_TEST_THREADS=$$(getconf _NPROCESSORS_ONLN) cargo test --workspace --locked --test e2e -- --skip alone::; wait $$beside

test-build: console # and fetch what they use
	$(call beside,engine backends clients chromium) cargo test --workspace --locked --no-run $(TARGETS); wait $$beside

test-beside: # those that disturb a cluster, and mostly wait; then those of the parts, all but e2e: told at the end
	@{ cargo test --workspace --locked --test e2e -- alone:: && cargo test --workspace --locked --lib --bins --test '?[!2]*' && \
		cargo test --workspace --locked --doc; } > target/test-beside.log 2>&1 || failed=1; cat target/test-beside.log; test -z "$${failed:-}"

.PHONY: fuzz
fuzz: engine ## Send a million mutated requests in five minutes, or for PENSTOCK_FUZZ_SECONDS; ask a million mutated questions
	PROPTEST_CASES=$${PROPTEST_CASES:-200000} cargo test --locked -p formula --test fuzz
	PENSTOCK_CANARIES=$${PENSTOCK_CANARIES:-100000} cargo test --locked -p penstock --test e2e canary -- --nocapture
	PENSTOCK_FUZZ_SECONDS=$${PENSTOCK_FUZZ_SECONDS:-300} PENSTOCK_FUZZ_LEAST=$${PENSTOCK_FUZZ_LEAST:-1000000} PENSTOCK_FUZZ_LEAST_CALLS=$${PENSTOCK_FUZZ_LEAST_CALLS:-20000} \
		cargo test --locked -p penstock --test fuzz -- --nocapture --test-threads 1

.PHONY: lint checks
lint: console ## Check format, lints, contracts, dependencies, the console's types, what deploy has, the chart, the documentation's links, and the clients' comments and packages
	$(call beside,checks deny docs packages) cargo clippy --workspace --all-targets --locked -- -D warnings; wait $$beside
	$(MAKE) chart

.PHONY: chart
chart: deploy-lint
	@deploy/tools/venv.sh checkov
	cargo build --locked -p penstock
	PENSTOCK=target/debug/penstock .tools/check/bin/python deploy/check/chart.py

checks: buf console deploy-lint pages # what of lint a change has to pass beside the tests: all that doesn't compile
	cargo fmt --all --check
	$(BUF) format --diff --exit-code
	$(BUF) lint
	deploy/tools/breaking.sh
	deploy/check/features.py
	deploy/tools/contents.py
	deploy/docs/commands.py check
	cd services/console && npm run --silent check

.PHONY: release reproducible
release: console cyclonedx ## Build a release into target/release-build/dist: the program, its SBOM (CycloneDX), licences, changelog, checksums
	deploy/tools/release.sh target/release-build

reproducible: console cyclonedx ## Build a release in two folders and compare: takes two release builds
	deploy/check/reproducible.sh

.PHONY: images
images: ## Build the container images, with SBOM (needs docker)
	docker buildx build -f deploy/images/Dockerfile --target roles --sbom=true --provenance=true -t penstock:0.1.0 .
	docker buildx build -f deploy/images/Dockerfile --target whole --sbom=true --provenance=true -t penstock-whole:0.1.0 .

.PHONY: deploy-lint deploy-check
deploy-lint: ## Check alerts by their tests, dashboards, runbooks, links, images and the order of an upgrade
	@deploy/tools/venv.sh check
	.tools/check/bin/hadolint deploy/images/Dockerfile
	deploy/monitoring/grafana/dashboards.py check
	deploy/sizing/sizing.py check
	deploy/check/turn.py
	.tools/check/bin/python deploy/check/monitoring.py
	$$(deploy/tools/prometheus.sh)/promtool check config --syntax-only deploy/monitoring/prometheus/prometheus.yml
	$$(deploy/tools/prometheus.sh)/promtool test rules deploy/monitoring/prometheus/tests/*.yml

deploy-check: chart engine backends ## Check what takes longer: compose, chart, Terraform, every query of the dashboards on a real Prometheus
	cargo build --release --locked -p penstock
	LOG_LEVEL=ERROR .tools/checkov/bin/checkov --directory deploy/terraform --framework terraform --quiet --compact --skip-download
	if command -v terraform >/dev/null; then terraform fmt -check -diff deploy/terraform; fi
	.tools/check/bin/python deploy/check/compose.py
	deploy/check/live.py
	$$(deploy/tools/gotool.sh amtool) check-config deploy/monitoring/alertmanager/alertmanager.yml

.PHONY: rehearse
rehearse: engine backends ## Rehearse a morning of tenfold load on the stand, workers scaled by their lag; writes target/spike.svg
	cargo build --release --locked -p penstock
	deploy/check/spike.py

.PHONY: pages docs docs-check
pages: buf
	@deploy/tools/docs.sh

docs: pages client-docs ## Build the documentation into target/docs, with the client libraries' own, and check its links
	@cp -R target/client-docs target/docs/clients
	@ls target/docs/clients/{python,typescript,go,rust}/index.html > /dev/null

docs-check: docs engine console ## Run the commands of the documentation on a server of its own
	cargo build --release --locked -p penstock
	deploy/docs/commands.py $(PENSTOCK) -v

.PHONY: client-docs packages
client-docs: clients ## Build the client libraries' documentation into target/client-docs; what they export has to be explained
	@deploy/tools/client-docs.sh

packages: clients console ## Pack the client libraries and the React package as registries get them, and use each from its package
	@deploy/tools/packages.sh

.PHONY: fmt
fmt: buf console ## Format code and contracts
	cargo fmt --all
	$(BUF) format --write
	cd services/console && npm run --silent fmt

.PHONY: proto
proto: buf ## Check the contracts alone
	$(BUF) lint
	cargo check -p api

.PHONY: bench
bench: engine ## Measure, beside the raw engine in the same run; writes target/bench.json
	cargo build --release --locked -p penstock -p loadgen
	target/release/loadgen bench --out target/bench.json
	cargo bench --locked -p gateway

.PHONY: bench-console
bench-console: engine console chromium ## Measure the console: how soon it opens and answers, and how smooth charts of 10,000 points are
	cargo build --release --locked -p penstock
	deploy/check/console.sh $(PENSTOCK)

.PHONY: bench-gateways
bench-gateways: engine backends ## Measure calls by one gateway while another has no CPU left, on the stand; writes target/gateways.md
	cargo build --release --locked -p penstock
	PENSTOCK=$(PENSTOCK) deploy/check/gateways.py

.PHONY: verify
verify: lint test bench bench-console bench-gateways deploy-check docs-check ## Everything, with what takes too long for CI
	cargo test --locked -p penstock --test e2e -- --ignored --test-threads 1
	PENSTOCK_PLANS=10000 cargo test --locked -p penstock --test e2e plans -- --nocapture
	PENSTOCK_FLIGHTS=12 cargo test --locked -p penstock --test e2e oracle::flights
	PENSTOCK_CANARIES=100000 cargo test --locked -p penstock --test e2e canary
	PENSTOCK_ROWS=1000000 cargo test --locked -p penstock --test e2e export
	PENSTOCK_KILLS=200 cargo test --locked -p penstock --test e2e crash
	PENSTOCK_KILLS=30 cargo test --locked -p penstock --test e2e disk
	PENSTOCK_KILLS=100 PENSTOCK_BROKERS=3 cargo test --locked -p penstock --test e2e alone::faults
	cargo test --locked -p eventlog --features kafka-tls --test kafka_tls
	cd libs/client-go && go test -race ./...
	cargo package -p penstock-client --locked --allow-dirty --quiet

.PHONY: chaos soak upgrade
upgrade: engine backends console ## Upgrade the stand under load from the program of the commit FROM to this one, role by role; writes target/upgrade.md
	cargo build --release --locked -p penstock
	BEFORE=$$(deploy/tools/before.sh "$${FROM:?a commit, as in make upgrade FROM=v0.1.0}") PENSTOCK=$(PENSTOCK) deploy/check/upgrade.py

chaos: engine backends ## Disturb every part of the stand under load, and say what users saw; writes target/chaos.md
	@deploy/tools/faketime.sh > /dev/null
	cargo build --release --locked -p penstock
	PENSTOCK=$(PENSTOCK) deploy/check/chaos.py

soak: engine ## Half an hour at 50,000 events a second with questions, or PENSTOCK_SOAK_MINUTES and _RATE; memory and lag stay flat; target/soak.csv
	cargo build --release --locked -p penstock -p loadgen
	target/release/loadgen soak --out target/soak.csv

.PHONY: console
console: buf ## Build the web console, which the program then brings at /console/
	@deploy/tools/console.sh

.PHONY: engine backends venv stubs clients chromium buf deny cyclonedx
engine: ## Fetch the ClickHouse engine
	@deploy/tools/engine.sh
backends: ## Fetch what a cluster stands on: Kafka, Redis, PostgreSQL, S3
	@deploy/tools/kafka.sh
	@deploy/tools/redis.sh > /dev/null
	@deploy/tools/postgres.sh > /dev/null
	@deploy/tools/versitygw.sh
venv: ## Install the tests' Python packages
	@deploy/tools/venv.sh
stubs: venv ## Generate and build the tests' clients in Go, Python and TypeScript
	@deploy/tools/stubs.sh
chromium: ## Fetch the browser of the console's tests
	@deploy/tools/chromium.sh > /dev/null
clients: stubs ## Build the client libraries as their users get them
	@deploy/tools/clients.sh
buf: ## Fetch buf, the contracts' tool and a gRPC client
	@deploy/tools/buf.sh
deny: ## Check what may be depended on, and under which licences
	@deploy/tools/deny.sh
	.tools/cargo/bin/cargo-deny --config .deny.toml check bans licenses sources
cyclonedx:
	@deploy/tools/cyclonedx.sh
