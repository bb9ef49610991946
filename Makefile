# Two commands: `make run` to try it, `make test` to check it. Compiled files live outside the clone.

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pref/target

.PHONY: help run test lint stubs bench interop

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

run: ## Build, train on synthetic people, show the loop, serve on 127.0.0.1:50051
	@tests/support/install.sh build
	cargo build --release --locked
	"$(CARGO_TARGET_DIR)/release/pref" quickstart

test: ## Install what is missing, start a throw-away Postgres, run every test, stop Postgres
	@tests/support/install.sh build postgres python
	@tests/support/with-postgres.sh tests/support/check.sh

lint: ## Clippy over everything, warnings refused
	cargo clippy --locked --all-targets -- -D warnings

stubs: ## Generate the Python client's stubs from proto/
	@tests/support/install.sh python
	clients/python/generate.sh

PEERS := $(CURDIR)/benches/peers/.venv
BENCH_DATA ?= $(CARGO_TARGET_DIR)/factorization

bench: $(PEERS) ## What docs/BENCHMARKS.md says of speed, and LIBMF beside our factors without text
	cargo bench --locked --bench personalize
	cargo bench --locked --bench known_phi
	mkdir -p "$(BENCH_DATA)"
	cargo bench --locked --bench factorization -- scaling
	cargo bench --locked --bench factorization -- head --users 10000 --pairs 5000 --judgments 1000000 --out "$(BENCH_DATA)"
	"$(PEERS)/bin/python" benches/peers/svds.py "$(BENCH_DATA)/train.txt"
	cargo bench --locked --bench factorization -- generate --out "$(BENCH_DATA)"
	"$(PEERS)/bin/python" benches/peers/factorization.py --data "$(BENCH_DATA)"

# The peers, libmf compiled for this machine with its AVX and OpenMP switches on.
$(PEERS): benches/peers/requirements.txt
	python3 -m venv "$@"
	"$@/bin/pip" install --quiet setuptools wheel
	CFLAGS="-O3 -march=native -DUSEAVX -DUSEOMP -fopenmp" "$@/bin/pip" install --quiet --no-build-isolation --no-cache-dir \
		-r benches/peers/requirements.txt
	touch "$@"

TORCH := $(CURDIR)/benches/peers/.venv-torch
SERVER := $(CURDIR)/benches/peers/.venv-server
MODELS ?= ../shared/models
TEXTS ?= ../shared/data/alpacaeval/pool.jsonl.gz

interop: $(TORCH) $(SERVER) ## Our backbones, decoder and server beside their peers, on this machine's CPU (installs torch, compiles llama.cpp)
	"$(TORCH)/bin/python" benches/peers/backbones.py encoder --data "$(TEXTS)" --tokenizer "$(MODELS)/tiny-random-bert"
	"$(TORCH)/bin/python" benches/peers/backbones.py decoder --data "$(TEXTS)" --tokenizer "$(MODELS)/tiny-random-qwen2"
	"$(TORCH)/bin/python" benches/peers/backbones.py decoder --data "$(TEXTS)" --tokenizer "$(MODELS)/tiny-random-qwen2" \
		--prompts 2 --candidates 8
	"$(TORCH)/bin/python" benches/peers/decoding.py --model "$(MODELS)/babyllama" --tokens 100
	"$(TORCH)/bin/python" benches/peers/decoding.py --tokenizer "$(MODELS)/tiny-random-qwen2"
	cargo build --release --locked
	"$(SERVER)/bin/python" benches/peers/server.py --binary "$(CARGO_TARGET_DIR)/release/pref" --model "$(MODELS)/babyllama"

# llama.cpp is compiled here: some minutes.
$(SERVER): benches/peers/server.txt
	python3 -m venv "$@"
	"$@/bin/pip" install --quiet --no-cache-dir -r benches/peers/server.txt
	touch "$@"

$(TORCH): benches/peers/backbones.txt
	python3 -m venv "$@"
	"$@/bin/pip" install --quiet --no-cache-dir -r benches/peers/backbones.txt
	touch "$@"
