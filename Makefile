# Thin targets. What they do stands in molecule/shared (the lab), playbooks/ and tests/. Prerequisites: root, git, make.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# The prefix of the lab's containers: gh for the demo, ght, ghr and ghs for tests, so that all can be up.
GH_LAB ?= gh
PLAYBOOK = GH_LAB=$(GH_LAB) $(BIN)/ansible-playbook -i inventories/lab

.PHONY: help
help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: tools ## Build the lab, run site.yml on it, send mail through it, and leave it up
	$(PLAYBOOK) molecule/shared/create.yml molecule/shared/prepare.yml playbooks/site.yml
	$(PLAYBOOK) molecule/shared/demo.yml

.PHONY: converge
converge: tools ## Run site.yml once more on the demo's lab
	$(PLAYBOOK) playbooks/site.yml

# Several at a time, since much of it is waiting; what a stage prints comes when it ends. The longest first.
AT_A_TIME = @$(MAKE) --no-print-directory --output-sync=target --jobs

.PHONY: try
try: tools ## Run a role on the demo's lab, then tests by name: make try ROLE=clamav [HOST=mx2] [K=eicar]
	$(PLAYBOOK) playbooks/site.yml --tags '$(ROLE)' $(if $(HOST),--limit '$(HOST).*')
	$(if $(K),GH_LAB=$(GH_LAB) $(BIN)/pytest molecule/site/tests -k '$(K)')

.PHONY: test
test: tools ## Run every test; each stage says how long it took
	$(AT_A_TIME)=3 site runs lint unit modules sanity

.PHONY: lint
lint: tools ## Check style: Python, YAML, roles, docs, changelog
	@tests/stage lint

.PHONY: unit
unit: tools ## Run the unit tests
	@tests/stage unit

.PHONY: sanity
sanity: tools ## Run ansible-test sanity
	@tests/stage sanity

.PHONY: modules
modules: tools ## Run the modules on real programs (molecule)
	@tests/stage modules

.PHONY: site
site: tools ## Converge a lab of its own, prefix ght, and ask its daemons (molecule)
	@tests/stage site

.PHONY: runs
runs: tools ## Run Ansible on a lab of its own, prefix ghr: fresh, broken, stopped and killed (molecule)
	@tests/stage runs

.PHONY: selinux
selinux: tools .lab/machines ## Run the site in machines on which SELinux enforces, prefix ghs (molecule, QEMU)
	@tests/stage selinux

.PHONY: stress
stress: tools .lab/machines ## Try to break things, for long: kill what writes, crowd what serves
	@tests/stage stress

.PHONY: platforms
platforms: tools ## Run the site's tests with other platforms in the lab's places, and write docs/platforms.md
	@tests/stage platforms

.PHONY: bench
bench: tools ## Measure what has a limit, and print it as a table
	@tests/stage bench

.PHONY: docs
docs: tools ## Write docs/roles/ from the roles' argument_specs, and their platforms from role platform's table
	@PATH=$(CURDIR)/$(BIN):$$PATH python tests/docs.py

.PHONY: tools
tools: .lab/packages .venv/done .cache/pyspf/done ## Install what the targets need: Debian packages and a virtual environment

# What was missing is written down, so that distclean takes away no more than this.
.lab/packages: tests/packages.txt
	tests/packages install $@ $<

.lab/machines: tests/machines.txt | .lab/packages
	tests/packages install $@ $<

.venv/done: pyproject.toml | .lab/packages
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet 'pip>=25.1'
	$(BIN)/pip install --quiet --group dev
	touch $@

# RFC 7208's suite of SPF results, which comes with the source of pyspf and not with what pip installs.
.cache/pyspf/done: .venv/done
	rm -rf .cache/pyspf
	$(BIN)/pip download --quiet --no-deps --no-binary pyspf --dest .cache/pyspf "$$($(BIN)/pip freeze | grep ^pyspf==)"
	touch $@

.PHONY: clean
clean: ## Remove the labs of the demo and of the tests
	@if [ -e .venv/done ]; then \
	  for lab in gh ght ghr ghs; do GH_LAB=$$lab $(BIN)/ansible-playbook -i inventories/lab molecule/shared/destroy.yml; done; \
	  GH_LAB=ght $(BIN)/ansible-playbook -i molecule/modules/hosts.yml molecule/modules/destroy.yml; fi

.PHONY: distclean
distclean: clean ## Remove also images, virtual environment, caches and the packages that were installed
	-[ ! -x "$$(command -v podman)" ] || podman images --quiet --filter label=gatehouse | xargs --no-run-if-empty podman rmi --force
	tests/packages remove .lab/machines
	tests/packages remove .lab/packages
	rm -rf .venv .lab .cache .ansible .hypothesis .pytest_cache .ruff_cache *.tar.gz
