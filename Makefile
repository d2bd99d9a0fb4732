# onggi. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: build demo test test-vm test-kernels shell-vm conformance engines install static lint bench clean help

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo

# What --version calls the commit.
export ONGGI_COMMIT ?= $(or $(shell git describe --always --dirty --exclude '*' 2>/dev/null),unknown)

# What a target needs beyond git, the Rust toolchain, gcc and make. scripts/need installs what is missing.
NEED_BUILD := libseccomp-dev libc6-dev pkg-config
NEED_DEMO  := $(NEED_BUILD) busybox-static
NEED_TEST  := $(NEED_DEMO) conmon dbus-daemon file iproute2 keyutils mount procps strace uidmap util-linux
NEED_STATIC_TESTS := $(NEED_BUILD) protobuf-compiler
NEED_VM    := $(NEED_STATIC_TESTS) busybox-static cpio debian-archive-keyring e2fsprogs iproute2 kmod mmdebstrap mount python3 \
              procps qemu-system-x86 seabios strace uidmap util-linux xz-utils zstd
# Daemons only where installing them starts nothing: containerd for `make test`, all for `make engines`.
NEED_CONTAINERD := containernetworking-plugins $(if $(wildcard /run/systemd/system),,containerd)
NEED_ENGINES    := $(NEED_CONTAINERD) $(if $(wildcard /run/systemd/system),,podman buildah docker.io catatonit netavark iptables)
NEED_BENCH := $(NEED_DEMO) mmdebstrap mount util-linux
NEED_PEERS := $(NEED_TEST) $(NEED_STATIC_TESTS) mmdebstrap

ONGGI_STATIC := target/static/onggi
STATIC       := scripts/static $(ONGGI_STATIC)
STATIC_TESTS := scripts/static target/static/tests/

# `make test-vm`: the virtual machines to test in, the Debian suite of their kernel, and words for the test programs.
VM     ?= small big big-v1
KERNEL ?= trixie
TESTS  ?=

# `make engines`: where the engines are tried.
ENGINES ?= host big:trixie big:sid big-v1:bookworm
# A folder of programs that Debian lacks, such as kubelet and crio: they are found here and in the machines.
BRING   ?=

# `make conformance`: a runtime, a path or a name in PATH, or `all`; words that the tests' names contain; a folder with the
# executables of the OCI runtime-tools.
RUNTIME       ?=
RUNTIME_TOOLS ?=

# What `make test` and .ci/run leave out in the virtual machines, because any machine proves it as well. New files of tests
# are in until they are named here.
VM_TESTS := $(addprefix --skip=,bundle:: cli:: config_hooks:: config_hostname:: config_linux_devices:: \
            config_linux_machine:: config_linux_namespaces:: config_linux_net_devices:: config_linux_paths:: \
            config_linux_seccomp:: config_mount_options:: config_mounts:: config_process:: config_root:: \
            config_values:: contract:: counts:: crash:: cve:: errors:: exec::crowd exec::document exec::executable \
            exec::foreground exec::namespaces exec::options exec::process_file exec::status features:: \
            features_linux:: idmap:: inherit:: ::mounts:: namespaces:: netdevices:: old_kernel:: paths:: ::ps:: \
            resctrl:: runtime_lifecycle:: runtime_linux:: runtime_operations:: runtime_state:: seccomp:: sysctl:: \
            terminal::)

build: ## build the release binary, dynamically linked: target/release/onggi
	@scripts/need $(NEED_BUILD)
	$(CARGO) build --locked --release --bin onggi

demo: ## install what is missing, build, run one container that shows what it sees (root)
	@scripts/need $(NEED_DEMO)
	@$(STATIC)
	@scripts/demo $(ONGGI_STATIC)

test: ## install what is missing, run every test, some in a virtual machine too (root)
	@scripts/need $(NEED_TEST) $(NEED_VM) $(NEED_CONTAINERD)
	@$(STATIC)
	@$(STATIC_TESTS)
	@mkdir -p target && rm -f target/test.log
	@failed=; \
	export ONGGI_BIN=$(CURDIR)/$(ONGGI_STATIC); \
	for suite in '--lib -- --include-ignored --test-threads=1' '--test architecture' '--test integration' '--test runtime-tools'; do \
		echo "== cargo test $$suite"; \
		$(CARGO) test --locked $$suite </dev/null 2>&1 | tee -a target/test.log || failed="$$failed$${failed:+, }cargo test $$suite"; \
	done; \
	for suite in v1::containerd v1::cri::; do \
		echo "== engines $$suite"; \
		target/static/tests/engines $$suite </dev/null 2>&1 | tee -a target/test.log || failed="$$failed$${failed:+, }engines $$suite"; \
	done; \
	echo "== integration/vm/test small $(KERNEL)"; \
	integration/vm/test small $(KERNEL) $(VM_TESTS) </dev/null 2>&1 | tee -a target/test.log || \
		failed="$$failed$${failed:+, }integration/vm/test small $(KERNEL)"; \
	[ -z "$$failed" ] || { echo "make test: FAILED: $$failed"; exit 1; }; \
	awk '/^test result: / { for (i = 4; i < NF; i++) n[$$(i + 1)] += $$i } \
		/^test-vm .*: skipped: / { without = "; NOT in a virtual machine: " $$0 } \
		END { printf "make test: all passed: %d tests, %d skipped%s\n", n["passed;"], n["ignored;"], without }' target/test.log

test-vm: ## test in virtual machines: VM="small big big-v1" KERNEL=bookworm|trixie|sid TESTS="filter …" (root)
	@scripts/need $(NEED_VM)
	@$(STATIC)
	@$(STATIC_TESTS)
	@failed=; \
	for size in $(VM); do \
		integration/vm/test $$size $(KERNEL) $(TESTS) || failed="$$failed $$size"; \
	done; \
	[ -z "$$failed" ] || { echo "make test-vm: FAILED:$$failed"; exit 1; }

test-kernels: ## test in the small virtual machine with each of Debian's kernels (root)
	@failed=; \
	for kernel in bookworm trixie sid; do \
		$(MAKE) --no-print-directory test-vm VM=small KERNEL=$$kernel TESTS="$(TESTS)" || failed="$$failed $$kernel"; \
	done; \
	[ -z "$$failed" ] || { echo "make test-kernels: FAILED:$$failed"; exit 1; }

shell-vm: ## a shell in a virtual machine: VM=small|big|big-v1 KERNEL=… (root)
	@scripts/need $(NEED_VM)
	@$(STATIC)
	@$(STATIC_TESTS)
	@INTERACTIVE=1 integration/vm/test $(firstword $(VM)) $(KERNEL)

engines: ## drive onggi by containerd, podman, docker, …, print the table: ENGINES="host big:trixie …" BRING=DIR (root)
	@scripts/need $(NEED_ENGINES) $(NEED_VM)
	@$(STATIC)
	@$(STATIC_TESTS)
	@TESTS='$(TESTS)' BRING='$(abspath $(BRING))' scripts/engines $(ENGINES)

install: $(if $(DYNAMIC),build,static) ## install to $DESTDIR$PREFIX/sbin (PREFIX=/usr/local): static, or with DYNAMIC=1 not
	install -D -m 0755 $(if $(DYNAMIC),target/release/onggi,$(ONGGI_STATIC)) $(DESTDIR)$(PREFIX)/sbin/onggi

static: ## build the fast binary, static, libseccomp included: target/static/onggi
	@scripts/need $(NEED_BUILD)
	@$(STATIC)
	@! readelf --program-headers --wide $(ONGGI_STATIC) | grep INTERP
	@echo $(ONGGI_STATIC)

lint: ## rustfmt and clippy, warnings denied
	@scripts/need $(NEED_STATIC_TESTS)
	for package in Cargo.toml integration/engines/Cargo.toml; do \
		$(CARGO) fmt --check --manifest-path $$package; \
		$(CARGO) clippy --locked --all-targets --manifest-path $$package --target-dir target -- -D warnings; \
	done

bench: ## compare with runc, crun, youki, the kernel's floor: BENCH="run exec lifecycle seccomp" BENCH_RUNS=40 (root)
	@scripts/need $(NEED_BENCH)
	@$(STATIC)
	ONGGI_BIN=$(CURDIR)/$(ONGGI_STATIC) $(CARGO) bench --locked --profile dev --bench peers

conformance: ## hold a runtime against the runtime-spec, as TAP: RUNTIME=onggi|runc|PATH|all TESTS=… RUNTIME_TOOLS=DIR (root)
	@scripts/need $(if $(filter all,$(RUNTIME)),$(NEED_PEERS),$(NEED_TEST))
	@$(STATIC)
ifeq ($(RUNTIME),all)
	@$(STATIC_TESTS)
	ONGGI_BIN=$(CURDIR)/$(ONGGI_STATIC) $(CARGO) bench --locked --profile dev --bench conformance
else
	@ONGGI_BIN=$(CURDIR)/$(ONGGI_STATIC) RUNTIME=$(filter-out onggi,$(RUNTIME)) RUNTIME_TOOLS=$(abspath $(RUNTIME_TOOLS)) \
		$(CARGO) test --quiet --locked --test runtime-tools -- $(TESTS)
endif

clean: ## remove what was built
	$(CARGO) clean

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
