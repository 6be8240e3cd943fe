# Everything is built with one profile (release): a second one would compile RocksDB again. Builds, tools
# and virtual environments are kept in ~/.cache/llm-cache-server, outside the clone; scripts/setup.sh
# installs what is missing.

SHELL := /bin/bash
CACHE_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/llm-cache-server
export CARGO_TARGET_DIR ?= $(CACHE_DIR)/target
export PATH := $(PATH):$(HOME)/.cargo/bin:$(CACHE_DIR)/tools/bin

SERVER := $(CARGO_TARGET_DIR)/release/llm-cache-server
FUZZ_SECONDS ?= 60
# Given on by `run`, `demo`, `bench` and `bench-guard`: make run ARGS="--config my.yaml"
ARGS ?=

# Every step may start cargo, and one cargo uses all cores.
.NOTPARALLEL:
.PHONY: help run build demo test test-rust test-sdk test-docs check-deploy lint fmt bench bench-guard bench-micro fuzz docs picture image clean setup

help: ## Says what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: build ## Installs what is missing, builds, starts the server on its defaults
	@exec $(SERVER) run $(ARGS)

build: setup ## Builds the server
	cargo build --release --locked

demo: build ## Shows what the cache does, without a key and without a network
	@exec $(SERVER) demo $(ARGS)

test: test-rust test-sdk test-docs ## The whole suite: Rust tests, the SDK suites, the documented commands

test-rust: setup ## Unit, integration and documentation tests
	@scripts/setup.sh test
	@if cargo nextest --version >/dev/null 2>&1; then \
	  set -ex; \
	  cargo nextest run --cargo-profile release --locked; \
	  cargo test --release --locked --doc; \
	else \
	  set -ex; \
	  cargo test --release --locked; \
	fi

test-sdk: build ## The SDKs (OpenAI, Anthropic, Google, Ollama, LangChain, LiteLLM) against the server, twice
	tests/sdk/run.sh

test-docs: build ## Every command and snippet of the README and the docs
	tests/docs/run.sh

check-deploy: build ## Kubernetes objects, alerts and dashboard
	scripts/check_deploy.sh
	scripts/check_monitoring.sh

lint: ## Formatting, files, dependencies, clippy
	scripts/check.sh

fmt: ## Formats the Rust sources
	cargo fmt --all

bench: setup ## The server beside nginx, bare Pingora and other caches, about 5 minutes (ARGS=--help)
	@scripts/setup.sh bench
	@scripts/bench/run.py $(ARGS)

bench-guard: setup ## Instructions of the hot path against the stored baseline (ARGS=--save stores a new one)
	@scripts/setup.sh guard
	@scripts/bench/guard.py $(ARGS)

bench-micro: setup ## Parts of the server by themselves, by the clock
	cargo bench --profile release --locked --bench key --bench hot

fuzz: setup ## Every fuzz target for FUZZ_SECONDS (60)
	@scripts/setup.sh fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh

docs: setup ## Writes the tables of docs/configuration.md anew, from the types
	UPDATE_DOCS=1 cargo test --release --locked --test it reference::

picture: build ## Draws docs/img/dashboard.png anew from a load run (some minutes)
	scripts/dashboard_picture.sh

image: ## Builds the image with buildah and shows that it works (the first time takes half an hour)
	@scripts/image.sh

clean: ## Removes what was built; tools and virtual environments stay
	cargo clean
	rm -rf tests/sdk/node/node_modules

setup:
	@scripts/setup.sh build
