# onboard: lands PostgreSQL tables and query results in S3.
#
#   make && make install      the extension, for the PostgreSQL of PG_CONFIG
#   make installcheck         its SQL tests, on the server of PGHOST, PGPORT
#   make demo                 see it work (Debian 12, 13; installs what is missing)
#   make check                all tests
#   make lambda               the orchestrator for AWS Lambda
#   make help                 the rest

EXTENSION = onboard
EXTVERSION = 0.1.0
MODULE_big = onboard

PG_CONFIG ?= pg_config

# These install what they need, PostgreSQL's own makefiles included, and call
# make anew to build; so they come without those makefiles, which have a
# target "check" of their own.
OURS = demo lambda check check-core check-sql check-system check-lambda \
	check-versions check-assert lint fuzz bench help

ifneq ($(filter $(OURS),$(MAKECMDGOALS)),)

.PHONY: $(OURS)

demo:
	@bash test/demo.sh

check:
	@bash test/check.sh

check-core:
	@bash test/install.sh test && sh test/core/run.sh

check-sql check-system:
	@bash test/install.sh test && bash test/build.sh && \
		bash test/$(@:check-%=%).sh

lambda:
	@bash test/install.sh lambda && python3 deploy/package.py zip build

check-lambda:
	@bash test/install.sh test && bash test/build.sh && bash test/lambda.sh

check-versions:
	@bash test/versions.sh $(VERSIONS)

check-assert:
	@$(if $(SECONDS),ONBOARD_STORM_SECONDS=$(SECONDS)) bash test/checked.sh $(SERVERS)

lint:
	@bash test/lint.sh

fuzz:
	@bash test/install.sh fuzz && sh test/fuzz/run.sh

BENCH_OPTS ?= --max-ratio 1.3

bench:
	@bash test/install.sh bench && bash test/build.sh
	@mkdir -p build/bench
	@$(CC) -O2 -Wall -Wextra $(COPT) -std=c11 -D_GNU_SOURCE \
		-o build/bench/discard test/bench/discard.c -lcrypto
	@/usr/bin/python3 test/bench/bench.py $(BENCH_OPTS)

help:
	@echo "all install      the extension, for the PostgreSQL of PG_CONFIG;"
	@echo "                 COPT=-Werror: warnings are errors, here and below"
	@echo "installcheck     its SQL tests, on the running server that PGHOST,"
	@echo "                 PGPORT and PGUSER name"
	@echo "demo             land pgbench's tables in a private S3 server;"
	@echo "                 KEEP=1 leaves both servers up"
	@echo "lambda           build/onboard-lambda.zip, for AWS Lambda"
	@echo "check            all tests, by layer: check-core check-sql"
	@echo "                 check-system check-lambda"
	@echo "check-versions   all tests with PostgreSQL 17 and 18, each in a Debian"
	@echo "                 that has it; VERSIONS=18: that one"
	@echo "check-assert     tests with servers that check themselves, by assertions"
	@echo "                 and by sanitizers; SECONDS=3600: for so long a storm of"
	@echo "                 random statements; SERVERS=asan: that server alone"
	@echo "lint             layers, length of functions, format, cppcheck,"
	@echo "                 shellcheck, flake8, subjects of commits"
	@echo "fuzz             what parses foreign bytes, a minute for each parser;"
	@echo "                 FUZZ_SECONDS changes that"
	@echo "bench            against COPY, into a server that discards"

else

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifeq ($(PGXS),)

$(error $(PG_CONFIG) not found: install postgresql-server-dev-15, or set \
	PG_CONFIG)

endif

# The folder of this file, which need not be the one to build in:
# make -f ../onboard/Makefile
here := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

# The objects of the sources in a folder, at any depth.
objects = $(patsubst $(here)/%.c,%.o,$(sort \
	$(shell find $(here)/$(1) -name '*.c')))

CORE_OBJS := $(call objects,src/core)
PG_OBJS := $(call objects,src/pg)
OBJS = $(CORE_OBJS) $(PG_OBJS)

DATA_built = sql/onboard--$(EXTVERSION).sql
DATA = $(filter-out $(DATA_built),$(patsubst $(here)/%,%,\
	$(wildcard $(here)/sql/onboard--*--*.sql)))

# pg_regress's database only starts the tests: each makes one of its own.
REGRESS = $(patsubst $(here)/sql/%.sql,%,\
	$(sort $(wildcard $(here)/sql/test_*.sql)))

PKGS = libcurl libcrypto expat zlib libisal libzstd liblz4 snappy libxxhash

# Without the libraries, what is built would be linked with nothing, and not
# load.  What is filtered out builds nothing.
ifneq ($(filter-out clean distclean maintainer-clean uninstall installcheck,\
	$(or $(MAKECMDGOALS),all)),)

ifeq ($(shell pkg-config --version 2>/dev/null),)
$(error pkg-config not found: install it)
endif

LACKING := $(shell for package in $(PKGS); do \
	pkg-config --exists $$package || echo $$package; done 2>/dev/null)
ifneq ($(LACKING),)
$(error pkg-config does not know $(LACKING): install the development files \
	that README.md names, or set PKG_CONFIG_PATH)
endif

ifneq ($(shell pkg-config --exists 'libcurl >= 7.87' || echo old),)
$(error libcurl $(shell pkg-config --modversion libcurl) is too old: \
	7.87 or later is needed)
endif

PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS))
PKG_LIBS := $(shell pkg-config --libs $(PKGS))

# The folders of the objects, where they are not those of the sources.
ifneq ($(here),.)
$(shell mkdir -p $(sort $(dir $(OBJS) $(DATA_built))))
endif

endif

PG_CPPFLAGS = -I$(here)/src -D_GNU_SOURCE -DONBOARD_VERSION='"$(EXTVERSION)"' \
	$(PKG_CFLAGS)
# Where PostgreSQL checks its assertions, buffers have guard pages (part.c).
ifneq ($(findstring enable-cassert,$(shell $(PG_CONFIG) --configure)),)
PG_CPPFLAGS += -DUSE_GUARD_PAGES
endif
# Warnings are errors where COPT=-Werror asks for it, as .ci/run does: a later
# compiler warns of more, and would stop the build of a release.
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Wno-unused-parameter \
	-Wno-sign-compare -MMD -MP
SHLIB_LINK = $(PKG_LIBS)

# Objects of sources that have moved are found, too.
EXTRA_CLEAN = build $(wildcard deploy/__pycache__ test/__pycache__ \
	test/*/__pycache__) $(shell find src -name '*.[do]' 2>/dev/null)

# No bitcode: nothing here is ever inlined into a query.
override with_llvm = no
# The compiler's -MMD says which headers an object depends on.  PostgreSQL's own
# rule would name its files by the base names of ours.
override autodepend = no

include $(PGXS)

sql/onboard--$(EXTVERSION).sql: sql/onboard.sql
	cp $< $@

# Core symbols stay inside the module: two modules that define one name would
# otherwise share the first one loaded.
$(CORE_OBJS): CFLAGS += -fvisibility=hidden

$(OBJS): $(here)/Makefile

-include $(wildcard $(OBJS:.o=.d))

endif
