# make demo and make test are all that a newcomer needs; both get what is missing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOLANGCI := .tools/bin/golangci-lint

# Arguments of what a target runs: `make demo ARGS=--once` plays the story without a person.
ARGS ?=
# What mobile-sdk/web/test takes: -no-browser leaves Chromium out.
WEB ?=
# The name of the container image.
TAG ?= tocsin:$(VERSION)
# How long each fuzz target runs.
FUZZTIME ?= 20s
# Which benchmarks run, as a regular expression.
BENCH ?= .
# What the protos are compared with; empty: the latest tag, or where the protos began.
AGAINST ?=

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/tocsin, one static binary
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/tocsin ./cmd/tocsin

.PHONY: demo
demo: build ## Watch an alert become a push, and be acknowledged; ARGS=--once plays it alone
	@.ci/need redis-server
	@.ci/need -optional prometheus-alertmanager
	@bin/tocsin demo $(ARGS)

.PHONY: sentinel
sentinel: build ## Start a Redis master with two replicas under Sentinel on loopback, to try a failover
	@.ci/need redis-server
	go run ./server/redisd/redistest/try sentinel

.PHONY: cluster
cluster: build ## Start a Redis Cluster of three masters with a replica each on loopback, to try a failover
	@.ci/need redis-server
	go run ./server/redisd/redistest/try cluster

# The race detector is compiled C, so it needs a C compiler.
.PHONY: test
test: ## Run all tests under the race detector
	@.ci/need redis-server gcc
	CGO_ENABLED=1 go test -race -timeout 10m ./...
	CGO_ENABLED=1 go test -race -timeout 10m -tags schemanext ./server/store ./server/engine

# Each script installs what it needs, and runs alone, too.
.PHONY: test-sdk
test-sdk: ## Test the libraries for phones and browsers against a real server
	mobile-sdk/web/test $(WEB)
	mobile-sdk/android/test
	mobile-sdk/ios/test

.PHONY: quick
quick: ## Run all tests without the race detector
	@.ci/need redis-server
	go test -timeout 5m ./...

.PHONY: lint
lint: $(GOLANGCI) ## Look for defects and for imports that point up
	$(GOLANGCI) run

.PHONY: format
format: $(GOLANGCI) ## Format the Go code
	$(GOLANGCI) fmt

.PHONY: formatcheck
formatcheck: $(GOLANGCI) ## Fail if the Go code is not formatted
	$(GOLANGCI) fmt --diff

.PHONY: generate
generate: ## Write the Go code and the OpenAPI document out of proto/
	@.ci/need npm
	.ci/generate

.PHONY: checkgenerate
checkgenerate: generate ## Fail if generated code is not what proto/ says
	.ci/unchanged api server/store/storepb

.PHONY: breaking
breaking: ## Fail if proto/ breaks its clients; AGAINST=<commit> compares with that
	@.ci/need npm
	.ci/breaking $(AGAINST)

.PHONY: alertcheck
alertcheck: ## Check deploy/alerts.yml, and that each rule fires when it should
	@.ci/need promtool
	promtool check rules deploy/alerts.yml
	promtool test rules deploy/alerts_test.yml

.PHONY: unitcheck
unitcheck: build ## Check deploy/tocsin.service
	@.ci/need systemd-analyze
	.ci/unit

.PHONY: chartcheck
chartcheck: .tools/bin/helm ## Check the Helm chart; ARGS=-update writes deploy/helm/golden
	.ci/chart $(ARGS)

.PHONY: vulncheck
vulncheck: .tools/bin/govulncheck ## Look for known vulnerabilities; 75 when their database is out of reach
	.ci/vulncheck

.PHONY: image
image: build ## Build the container image TAG with podman, docker or buildah
	.ci/image '$(TAG)'

.PHONY: sbom
sbom: .tools/bin/cyclonedx-gomod ## Write bin/tocsin.cdx.json: the modules in bin/tocsin, with licences
	@mkdir -p bin
	.tools/bin/cyclonedx-gomod app -json -licenses -noserial -notimestamp -main cmd/tocsin -output bin/tocsin.cdx.json .

.PHONY: snapshot
snapshot: .tools/bin/goreleaser .tools/bin/cyclonedx-gomod ## Build in dist/ what a release would have, and publish nothing
	PATH='$(CURDIR)/.tools/bin':"$$PATH" VERSION='$(VERSION)' .tools/bin/goreleaser release --snapshot --clean

.PHONY: reproducible
reproducible: ## Build the last commit twice, in two places, and compare (some minutes)
	.ci/reproducible

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (20s)
	.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: build ## Measure tocsin as a whole against its bars; ARGS=--only=ingest, --profile, --json=FILE
	@.ci/need redis-server
	go run ./cmd/bench $(ARGS)

.PHONY: growth
growth: build ## Measure with 1,000 to 1,000,000 open incidents, and draw docs/img/growth.svg
	@.ci/need redis-server
	go run ./cmd/bench --growth=docs/img/growth.svg $(ARGS)

.PHONY: soak
soak: build ## Keep tocsin busy for an hour, and fail when it uses more and more; ARGS=--soak=10m
	@.ci/need redis-server
	go run ./cmd/bench --soak=1h $(ARGS)

.PHONY: figures
figures: ## Measure the figures of docs/push.md, push services in a process of their own
	go test -run '^$$' -bench '^BenchmarkFigure' -benchtime 5x -timeout 20m ./push

.PHONY: chaos
chaos: ## Break everything for 10 minutes and hold tocsin to its promises; ARGS=--for=2h
	@.ci/need redis-server gcc
	@go build -trimpath -buildvcs=false -o bin/chaos-before ./cmd/chaos
	@go build -trimpath -buildvcs=false -tags schemanext -o bin/chaos ./cmd/chaos
	@bin/chaos --before=bin/chaos-before $(ARGS)
	go test ./cmd/chaos/internal/linear -run Acknowledgements -v -count=1 -pairs=10000

.PHONY: benchmarks
benchmarks: figures ## Run the figures of pushes, and the benchmarks beside the code; BENCH=<expression> chooses those
	@.ci/need redis-server
	go test -run '^$$' -bench '$(BENCH)' -skip '^BenchmarkFigure' -benchmem ./...

.PHONY: clean
clean: ## Remove what was built, and the tools
	rm -rf bin .tools

# Tools that a change can do without. Each is locked with all that it is built from in a
# module of its own, so that none moves the versions of another.
.tools/bin/%: .ci/tools/%/go.mod .ci/tools/%/go.sum
	@echo "building $* (a minute or more, once)"
	@mkdir -p $(@D)
	GOFLAGS=-buildvcs=false go build -C .ci/tools/$* -o '$(CURDIR)/$@' tool

# Locked with all it is built from in .ci/tools/go.mod; takes some minutes, once.
$(GOLANGCI): .ci/tools/go.mod .ci/tools/go.sum
	@echo "building golangci-lint (some minutes, once)"
	@mkdir -p $(@D)
	GOFLAGS=-buildvcs=false go build -C .ci/tools -o '$(CURDIR)/$@' github.com/golangci/golangci-lint/v2/cmd/golangci-lint
