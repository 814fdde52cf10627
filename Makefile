# Each target sets up what it needs, given Go, git and make. Modules are
# downloaded once; after that nothing here but check, schemas, axe and emulators asks the network.

GO       ?= go
FUZZTIME ?= 60s
COUNT    ?= 10

# RACE=-race runs the tests with the race detector, as CI does. It needs a C
# compiler, and two to three times as long.
RACE ?=

.DEFAULT_GOAL := help
.PHONY: help build demo windows demo-yubikey test check bench interop schemas axe emulators screenshots transcript fuzz soak mutants clean need-go need-git need-npm

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

# Without the headers of PC/SC, programs are built without hardware keys, and say so
# when one is asked for.
ifeq ($(shell uname -s),Linux)
ifneq ($(shell pkg-config --exists libpcsclite 2>/dev/null && echo yes),yes)
export CGO_ENABLED := 0
no-pcsc := yes
endif
endif

# The tags leave out ways to Google's storage that only its own machines have, a
# fifth of the program, and a reader of Markdown that every start would pay for.
# tufops and tufops-client are static. tufops-sign talks to hardware keys, which
# takes cgo on Linux and macOS; without what debuggers read, as in a release, it is
# linked in half the time.
TAGS := disable_grpc_modules,urfave_cli_no_docs
build: need-go ## build the three programs into bin/
	CGO_ENABLED=0 $(GO) build -tags $(TAGS) -trimpath -o bin/ ./cmd/tufops ./cmd/tufops-client
	$(GO) build -tags $(TAGS) -trimpath -ldflags "-s -w" -o bin/ ./cmd/tufops-sign
	@[ -z "$(no-pcsc)" ] || echo "tufops-sign has no hardware keys: that takes gcc, pkg-config and libpcsclite-dev"

windows: need-go ## build the programs of people and verifiers for Windows into build/windows/
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) build -trimpath -o build/windows/ ./cmd/tufops-sign ./cmd/tufops-client

demo: need-git build ## play the whole road on this machine
	./bin/tufops demo

# A new token gets a key; then there is a shell in which to try more.
demo-yubikey: need-git build ## try tufops-sign with two YubiKeys that are not there
	@[ -z "$(no-pcsc)" ] || { echo "it takes hardware keys in tufops-sign: apt-get install gcc pkg-config libpcsclite-dev" >&2; exit 1; }
	@PATH="$(CURDIR)/bin:$$PATH" $(GO) run ./internal/yubikey/yubikeytest/vyk -n 2 -- sh -ec '\
		run() { echo; echo "$$ $$*"; "$$@"; }; \
		run tufops-sign keys list; \
		export TUFOPS_NEW_PIN=246810 TUFOPS_NEW_PUK=97531086; \
		run tufops-sign keys generate --yes --serial 9000001; \
		unset TUFOPS_NEW_PIN TUFOPS_NEW_PUK; \
		run tufops-sign keys list; \
		run tufops-sign keys attest --serial 9000001; \
		echo "The warning is right: no maker vouches for a token that is software."; \
		echo; echo "The PIN of YubiKey 9000001 is 246810 now. 9000002 is as from the factory."; \
		if [ -t 0 ]; then echo "Both are there until you leave this shell: try tufops-sign setup in a clone."; exec "$${SHELL:-sh}"; fi'

# make check vets.
test: need-go need-git ## run all tests
	$(GO) test $(RACE) -vet=off -timeout 15m ./...

check: need-go need-git ## format, vet, lint, tidy, architecture, docs
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not in gofmt's form:" $$unformatted >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) test -count=1 .

# BENCH=-cpu measures the time of the processors, on a machine that has other work.
bench: need-go need-git ## measure what people wait for
	$(GO) run ./internal/bench $(BENCH)

# cosign has some five hundred modules, so it is not built in every run of CI.
COSIGN := v2.6.0
interop: need-go need-git ## build cosign, and have it and python-tuf update from what is published
	GOBIN=$(CURDIR)/build/interop $(GO) install github.com/sigstore/cosign/v2/cmd/cosign@$(COSIGN)
	TUFOPS_COSIGN=$(CURDIR)/build/interop/cosign TUFOPS_REQUIRE_PYTHON_TUF=1 $(GO) test -count=1 -v -run '^(TestCosign|TestPythonTUF.*)$$' ./publish

# The schemas are GitHub's, so they are not part of this repository. Versions and
# digests stand in internal/github/githubtest.
schemas: need-go need-npm ## get GitHub's API schemas into build/
	@set -e; archives=$$(mktemp -d); trap 'rm -rf "$$archives"' EXIT; \
	for package in $$($(GO) run ./internal/github/githubtest/schemas); do \
		echo "npm pack $$package"; \
		npm pack --silent --ignore-scripts --pack-destination "$$archives" "$$package"; \
	done; \
	$(GO) run ./internal/github/githubtest/schemas build/github-schemas "$$archives"

# The digest is npm's own: npm view axe-core@VERSION dist.integrity. Tests of the
# status page find what is here.
AXE := axe-core@4.14.1
AXE_INTEGRITY := sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
axe: need-npm ## get axe-core, which judges the status page, into build/
	@set -e; archives=$$(mktemp -d); trap 'rm -rf "$$archives"' EXIT; \
	npm pack --silent --ignore-scripts --pack-destination "$$archives" "$(AXE)"; \
	have=sha512-$$(openssl dgst -sha512 -binary "$$archives"/*.tgz | openssl base64 -A); \
	[ "$$have" = "$(AXE_INTEGRITY)" ] || { echo "$(AXE) has the digest $$have, not $(AXE_INTEGRITY)" >&2; exit 1; }; \
	mkdir -p build/axe-core; \
	tar -xzf "$$archives"/*.tgz -C build/axe-core --strip-components=1 package/axe.min.js package/LICENSE

# Servers that stand in for stores: versitygw speaks S3, azurite is Microsoft's
# own. Go's checksum database vouches for the one, .ci/emulators/package-lock.json
# for the other and all that it brings. Tests of the stores find them here.
EMULATORS := build/emulators
emulators: need-go need-npm ## get the servers that stand in for S3 and Azure into build/
	mkdir -p $(EMULATORS)/bin
	GOBIN=$(CURDIR)/$(EMULATORS)/bin $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	cp .ci/emulators/package.json .ci/emulators/package-lock.json $(EMULATORS)
	cd $(EMULATORS) && npm ci --ignore-scripts --no-audit --no-fund
	ln -sf ../node_modules/.bin/azurite-blob $(EMULATORS)/bin/

# Pixels depend on the machine's fonts, so pictures are drawn by hand and looked
# at: apt-get install chromium fonts-noto-color-emoji
screenshots: need-go ## draw the pictures in docs/, and the status page in many states into build/screenshots
	$(GO) run ./internal/screenshot signingevent/testdata/comment.md docs/images/pull-request.png
	mkdir -p build/screenshots
	TUFOPS_SCREENSHOTS=$(CURDIR)/build/screenshots TUFOPS_REQUIRE_BROWSER=1 TUFOPS_REQUIRE_CORPUS=1 $(GO) test -count=1 -run '^TestScreenshots$$' ./publish
	cp build/screenshots/status-page.png docs/images/

transcript: need-go need-git ## write docs/transcript.txt anew: what a signer sees
	$(GO) test -count=1 -run '^TestTranscript$$' ./cmd/tufops-sign -update

# Without a bound on minimising, a target that starts processes does nothing else.
fuzz: need-go ## run every fuzz target for FUZZTIME (60s) each
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u); do \
		list=$$($(GO) test -list '^Fuzz' $$dir); \
		for target in $$(echo "$$list" | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$dir; \
		done; \
	done

# A run of one package may take a quarter of an hour each time, as in make test.
PACKAGES ?= ./...
soak: need-go need-git ## run all tests COUNT (10) times in random order, with all their cases
	@echo "The tests of $(PACKAGES), $(COUNT) times in random order, with the cases that make test leaves out (TUFOPS_SOAK)."
	@echo "All packages take about a quarter of an hour each time on two cores, and two to three times as long beside other work"
	@echo "or with RACE=-race. The longest are publish, internal/github, internal/demo, repository and cmd/tufops-sign; for some of"
	@echo "them, or fewer times: make soak PACKAGES=./publish COUNT=1"
	TUFOPS_SOAK=1 $(GO) test $(RACE) -shuffle=on -count=$(COUNT) -timeout $$((15 * $(COUNT)))m $(PACKAGES)

# The tests judge some of them; a quarter of an hour is ample for all.
mutants: need-go need-git ## judge every mutant of real events, and show which rule refuses what
	TUFOPS_MUTANTS=all TUFOPS_REQUIRE_CORPUS=1 $(GO) test -count=1 -timeout 30m -v -run '^TestMutants$$' ./repository

clean: ## remove bin/ and build/
	rm -rf bin build

# atleast expands to ok if version $(1) is $(2) or newer.
atleast = $(shell [ "$$(printf '%s\n' '$(2)' '$(1)' | sort -V | head -n 1)" = '$(2)' ] && echo ok)

need-go:
	$(eval have := $(patsubst go%,%,$(firstword $(shell $(GO) env GOVERSION 2>/dev/null))))
	$(eval want := $(shell sed -n 's/^go //p' go.mod))
	$(if $(call atleast,$(have),$(want)),,$(error Go $(want) or newer is needed, and $(if $(have),$(have) was,none was) found. Install it from https://go.dev/doc/install))
	@:

# git merge-tree --write-tree came with 2.38.
need-git:
	$(eval have := $(word 3,$(shell git --version 2>/dev/null)))
	$(if $(call atleast,$(have),2.38),,$(error git 2.38 or newer is needed, and $(if $(have),$(have) was,none was) found. Install it from https://git-scm.com/downloads or with: apt-get install git))
	@:

need-npm:
	$(if $(shell command -v npm),,$(error npm is needed to get what tests check against, and was not found. Install it from https://nodejs.org or with: apt-get install npm))
	@:
