# Builds the system, and runs it by the command `saga`; `lab` loads, measures and breaks it. `make` alone
# lists the targets.

TARGET  := $(or $(CARGO_TARGET_DIR),target)
SAGA    := $(TARGET)/release/saga
LAB     := $(TARGET)/release/lab
COMPOSE := deploy/docker/compose.sh
SERVICES := -p order-page -p payment -p inventory -p shipping
TOOLS   := -p mock-gateway -p saga-cli
CARGO_BUILD := cargo build --release --locked
# As the environment or `.env` has it, read as `saga` and compose.sh read it.
IS_DEMO := $(strip $(or $(DEMO),$(shell sed -n 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}DEMO[[:space:]]*=//p' .env 2>/dev/null \
           | tail -n 1 | sed "s/ \#.*//; s/[\"']//g"),1))
# Without the demonstration the services are built apart, since the tools know it.
WITH     = $(CARGO_BUILD) $(SERVICES) $(TOOLS)
WITHOUT  = $(CARGO_BUILD) --no-default-features $(SERVICES) && $(CARGO_BUILD) $(TOOLS)
RELEASE  = $(if $(filter 1 true yes on,$(IS_DEMO)),$(WITH),$(if $(filter 0 false no off,$(IS_DEMO)),$(WITHOUT),\
           $(error DEMO=$(IS_DEMO) is not known: it is 1 or 0)))

SEMVER  := 0.51.0

# What `semver` compares with, and the crates that are there: nothing uses a newer one.
BASELINE = $(or $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null),origin/main)
COMPARED = $(shell git grep -hoE '^name = "quadrille-[a-z-]+"' $(BASELINE) -- shared 2>/dev/null | sed 's/.*"\(.*\)"/-p \1/')

# Runs the tests of all packages side by side, two more than there are cores, since they wait a third of
# the time; nextest leaves out the examples in documentation.
THREADS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))
TEST    := $(if $(shell cargo nextest --version 2>/dev/null),nextest run --test-threads $(THREADS),test)

# What looks into a system of containers does so from one of them: no Rust is needed, and none built.
IS_HERE = $(wildcard $(or $(SAGA_HOME),.run)/.saga)
# Docker is asked once, at the first use.
CONTAINERS = $(eval CONTAINERS := $(if $(IS_HERE),,$(shell $(COMPOSE) ps --all --quiet order 2>/dev/null)))$(CONTAINERS)
OPERATE = $(if $(CONTAINERS),$(COMPOSE) saga,$(SAGA))
RUNNING = $(filter $(SAGA),$(OPERATE))

.DEFAULT_GOAL := help
.PHONY: help build saga lab play up down stop status logs doctor docker-up docker-down docker-logs docker-build docker-test \
        demo verify load bench peers microbench chaos alarms test fuzz simulate mutants alerts lint deny semver sbom dist site picture ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the services and the saga command
	$(RELEASE)

saga: ## build the saga command alone
	@cargo build --release --locked -p saga-cli

lab: ## build the services, the saga command and the lab command
	@$(RELEASE) -p lab

play: saga ## run everything in one process, in memory: no RabbitMQ, no Postgres, nothing kept
	@$(SAGA) play

up: build ## start everything in the background: RabbitMQ, four Postgres, four services (TLS=1: encrypted)
	@$(SAGA) up

# Looked at when one of these is asked for, and not before.
.SECONDEXPANSION:
stop: $$(RUNNING) ## stop everything and keep the data
	@$(if $(CONTAINERS),$(COMPOSE),$(SAGA)) stop

down: $$(RUNNING) ## stop everything and delete the data
	@$(if $(CONTAINERS),$(COMPOSE) remove,$(SAGA) down)

status: $$(RUNNING) ## show what runs, with pid, port and readiness
	@$(if $(CONTAINERS),$(COMPOSE) ps --all,$(SAGA) status)

logs: $$(RUNNING) ## follow the services' logs
	@$(if $(CONTAINERS),$(MAKE) --no-print-directory docker-logs,$(SAGA) logs)

doctor: $(SAGA) ## diagnose this machine and the running system
	@$(SAGA) doctor

docker-up: ## start everything in containers, by Docker alone (OBSERVE=1: with dashboards, alerts and traces; TLS=1: encrypted; CLUSTER=3)
	@$(COMPOSE) start

docker-down: ## remove the containers and their data
	@$(COMPOSE) remove

docker-logs: ## follow the services' logs in their containers
	@$(COMPOSE) logs --tail 20 --follow $(subst order-page,order,$(filter-out -p,$(SERVICES)))

docker-build: ## build the images
	@$(COMPOSE) --profile saga build

docker-test: lab ## kill each container under load, start it again, and verify
	deploy/docker/kill-each.sh $(SAGA) $(LAB)

demo: $$(RUNNING) ## place one order of each scenario and show its steps to the end
	@$(OPERATE) demo

verify: $$(RUNNING) ## check every invariant across the databases and the broker
	@$(OPERATE) verify

load: $(LAB) ## run a bounded load, and report
	@$(LAB) load

bench: lab ## compare variants of the system, on their own servers: batches, queue types, replicas, sales (ROUNDS, ORDERS, FOR)
	@$(LAB) bench

microbench: lab ## measure what one message costs, step by step
	$(LAB) with-servers --as-usual -- cargo bench --locked -p microbench

chaos: lab ## inject faults under load, on its own servers, then verify (SEED, FOR, ORDERS, FAULTS, EVERY)
	@$(LAB) chaos

peers: lab ## compare with peers that run the same saga: by hand on RabbitMQ, Restate (needs npm), DBOS (ROUNDS, ORDERS, FOR)
	$(CARGO_BUILD) --manifest-path tools/peers/Cargo.toml --target-dir $(TARGET)/peers
	@$(LAB) peers

alarms: lab ## cause a fault for each alert under a real Prometheus, and check that it rings and no other (ONLY)
	@$(LAB) alarms

test: ## run all tests, on servers of their own (RABBITMQ=forky: on that Debian release's RabbitMQ)
	cargo build --workspace --all-targets --locked
	$(TARGET)/debug/lab with-servers $(addprefix --rabbitmq=,$(RABBITMQ)) -- cargo $(TEST) --workspace --locked
	$(if $(filter nextest,$(TEST)),cargo test --doc --workspace --locked)

fuzz: ## feed random input to all parsers of external input, CASES times each
	PROPTEST_CASES=$(or $(CASES),50000) cargo test --workspace --lib --bins --tests --locked fuzz

simulate: ## simulate the four services in memory with every fault: SEEDS runs, or SEED=n again; CELLS=3: cells that share stock
	@cargo run --release --locked -p simulation

mutants: ## mutate the deciding code (.cargo/mutants.toml), and list the mutants that no test catches
	@cargo mutants --version >/dev/null 2>&1 || { echo "cargo-mutants is missing: cargo install --locked cargo-mutants"; exit 1; }
	cargo mutants --output $(TARGET)

alerts: ## test the configuration and alerts of Prometheus (needs promtool: Debian's package `prometheus`)
	@command -v promtool >/dev/null || { echo "promtool is missing: apt-get install prometheus"; exit 1; }
	promtool check config deploy/observability/prometheus.yml
	promtool test rules deploy/observability/alerts.test.yml

lint: ## check formatting and rustdoc, run clippy, and cargo-deny where it is installed (deny.toml: licences, bans, sources)
	cargo fmt --check
	cargo fmt --check --manifest-path tools/peers/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --no-default-features $(SERVICES) -p order -p quadrille-events --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check bans licenses sources; \
	else echo "cargo-deny is missing, so licences are not checked: cargo install --locked cargo-deny"; fi

deny: ## check the dependencies' licences, bans, sources, and what is known against them (ADVISORIES=0: without the network)
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	cargo deny --locked check bans licenses sources $(if $(filter 0,$(ADVISORIES)),,advisories)

semver: ## compare the public APIs of the shared crates with those of the last release, or of main before the first (BASELINE)
	@git rev-parse --verify --quiet '$(BASELINE)^{commit}' >/dev/null || { echo "there is no $(BASELINE): name another BASELINE"; exit 1; }
	@$(TARGET)/semver/bin/cargo-semver-checks semver-checks --version 2>/dev/null | grep -q ' $(SEMVER)$$' \
	|| cargo install --locked cargo-semver-checks --version $(SEMVER) --root $(TARGET)/semver
	$(if $(COMPARED),$(TARGET)/semver/bin/cargo-semver-checks semver-checks --baseline-rev $(BASELINE) $(COMPARED), \
	@echo "$(BASELINE) has no crate to compare with")

sbom: ## list what each service is made of, as CycloneDX, in target/dist
	deploy/sbom.py $(TARGET)/dist

dist: ## build the services for production and a tarball with saga and units for systemd, the same bytes in any folder, in target/dist
	deploy/dist.sh $(TARGET)/dist

site: ## build the documents into a site with search and a playground, in target/site/book (SITE_SOURCE: where the sources can be read)
	docs/site.sh $(TARGET)

picture: $(SAGA) ## draw the README's picture anew, from orders of the running system
	docs/picture.py $(SAGA) docs/picture.svg

ci: lint test ## what CI runs

# Built only when missing, so that `make stop` works while the code does not compile.
$(SAGA):
	$(RELEASE)
$(LAB):
	$(RELEASE) -p lab
