# make                          build everything under build/
# make check                    install what is missing, run every test
# make SAN=address,undefined T  the same for target T, in build/san-...
# make install DESTDIR= prefix= install (plain files, no daemon is started)
# make install-python           the Python client, likewise
# make help                     the other targets
#
# Not recursive, but for check, which makes its sanitizer builds beside the
# plain one.  Nothing here installs a package but deps, check and demo, and
# those only where one is missing (tests/deps).

prefix     ?= /usr/local
exec_prefix ?= $(prefix)
bindir     ?= $(exec_prefix)/bin
sbindir    ?= $(exec_prefix)/sbin
libdir     ?= $(exec_prefix)/lib
includedir ?= $(prefix)/include
mandir     ?= $(prefix)/share/man
docdir     ?= $(prefix)/share/doc/mc-checkerd
sysconfdir ?= $(if $(filter /usr /usr/local,$(prefix)),/etc,$(prefix)/etc)
unitdir    ?= $(prefix)/lib/systemd/system
sysusersdir ?= $(prefix)/lib/sysusers.d
tmpfilesdir ?= $(prefix)/lib/tmpfiles.d

INSTALL    ?= install
PKG_CONFIG ?= pkg-config
PYTHON     ?= /usr/bin/python3

# The version lives in the public header and nowhere else.
vers    = $(shell awk '$$2 == "MCSHM_VERSION_$1" { print $$3 }' include/mcshm.h)
MAJOR   := $(call vers,MAJOR)
VERSION := $(MAJOR).$(call vers,MINOR).$(call vers,PATCH)

comma := ,
B     := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
V     ?= 0
Q     := $(if $(filter 0,$(V)),@)
say    = $(if $(filter 0,$(V)),@printf '  %-4s %s\n' '$1' '$(@:$(B)/%=%)')

# Ours are added; CFLAGS, CPPFLAGS and LDFLAGS stay the builder's.
CFLAGS   ?= -O2 -g
san       = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
# TSan does not model fences; what they order here is atomic, so it says nothing
# false for want of them.  The first option is for clang, which has no second.
tsan_warn = $(if $(findstring thread,$(SAN)),-Wno-unknown-warning-option \
            -Wno-tsan)
cppflags  = -Iinclude -Ilibmcshm -Icheckerd -D_GNU_SOURCE -MMD -MP \
            -DVERSION='"$(VERSION)"' $(CPPFLAGS)
cflags    = -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings \
            $(if $(WERROR),-Werror) $(tsan_warn) -fPIC -pthread $(san) \
            $(CFLAGS)
ldflags   = -pthread $(san) $(LDFLAGS)

# Names by c-ares, where it is (make CARES= does without).
CARES    ?= $(shell $(PKG_CONFIG) --exists libcares 2>/dev/null && echo yes)
CARES    := $(CARES)
cares_o  := $(addprefix $(B)/,checkerd/resolve_cares.o \
            tests/unit/test_resolve_cares.o)
$(cares_o): cppflags += $(shell $(PKG_CONFIG) --cflags libcares 2>/dev/null)
libs_cares = $(if $(CARES),$(shell $(PKG_CONFIG) --libs libcares))

# TLS by OpenSSL, where it is (make OPENSSL= does without).
OPENSSL  ?= $(shell $(PKG_CONFIG) --exists openssl 2>/dev/null && echo yes)
OPENSSL  := $(OPENSSL)
tls      := $(if $(OPENSSL),tls,tls_none)
$(B)/checkerd/tls.o: cppflags += $(shell $(PKG_CONFIG) --cflags openssl \
            2>/dev/null)
libs_tls = $(if $(OPENSSL),$(shell $(PKG_CONFIG) --libs openssl))

# The floors, from the ground up.  tests/layers says who may include whom.
# Clients choose; placements are built by the daemon only.
hash     := hash hash_crc hash_fnv hash_hsieh hash_jenkins hash_md5 \
            hash_murmur hash_xxh3
scheme   := scheme scheme_choose scheme_rendezvous $(hash)
building := scheme_build scheme_maglev scheme_ring hash_sha1
library  := $(scheme) sums bootid reader follow pick suspect candidates run \
            report snapshot names
pure     := verdict faults mcproto schedule address servers doubt failopen \
            recovery recovery_marks course
conf     := conf conf_read conf_key conf_text conf_auth conf_server \
            conf_buckets conf_check conf_scheme conf_probe conf_say
effect   := log $(conf) resolve resolve_$(if $(CARES),cares,libc) $(tls) \
            conn probe scan publish publish_file publish_image notify reports
top      := checker checker_watch checker_task checker_admin checker_asking \
            checker_fault checker_return checker_left \
            checker_doubt checker_name checker_pool checker_setup \
            checker_report checker_tell checker_terms checker_line \
            checker_supervise main

lib_o    := $(library:%=$(B)/libmcshm/%.o)
daemon_o := $(patsubst %,$(B)/checkerd/%.o,$(pure) $(effect) $(top)) \
            $(patsubst %,$(B)/libmcshm/%.o,$(scheme) $(building) sums bootid \
            names)
dump_o   := $(patsubst libmcshm/%.c,$(B)/libmcshm/%.o,\
            $(sort $(wildcard libmcshm/mc-shmdump*.c libmcshm/dump_*.c))) \
            $(B)/checkerd/address.o

SO       := $(B)/libmcshm.so.$(MAJOR)

# The Python client, where Python's headers are.  Not with a sanitizer, which an
# interpreter made without it can not load.
py_inc   := $(if $(SAN),,$(shell $(PYTHON) -c 'import sysconfig; \
            print(sysconfig.get_path("include"))' 2>/dev/null))
py_o     := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard clients/python/src/*.c)))
py_files := $(patsubst clients/%,$(B)/%,$(addprefix clients/python/mcshm/,\
            $(addsuffix .py,__init__ _errors _records pymemcache) _mcshm.pyi \
            py.typed))
py_ext   := $(B)/python/mcshm/_mcshm.abi3.so
python   := $(if $(wildcard $(py_inc)/Python.h),$(py_ext) $(py_files))

# The adapter for libmemcached, where its header is: Debian's libmemcached.pc
# asks for packages that it does not bring.
memc_o   := $(patsubst %.c,$(B)/%.o,\
            $(sort $(wildcard clients/libmemcached/*.c)))
MEMC_SO  := $(B)/libmcshm-memcached.so.$(MAJOR)
memc_h   := libmemcached-1.0/memcached.h
memc     := $(if $(shell $(CC) $(CPPFLAGS) -include $(memc_h) -E \
            -o /dev/null -x c /dev/null 2>/dev/null && echo yes),\
            $(MEMC_SO) $(MEMC_SO:.$(MAJOR)=) $(B)/mcshm-memcached.pc)

all: $(B)/mc-checkerd $(B)/mc-shmdump $(SO) $(B)/libmcshm.so $(B)/libmcshm.a \
     $(B)/mcshm.pc $(if $(SAN),,$(or $(python),without-python)) \
     $(or $(memc),without-libmemcached) $(if $(CARES),,without-cares) \
     $(if $(OPENSSL),,without-openssl)

# A missing package is said by name, before the compiler says it in its way.
$(B)/.deps: tests/deps
	@mkdir -p $(@D)
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' sh tests/deps look build
	@touch $@

# What goes by these paths is made again when one of them changes.
paths := $(prefix) $(libdir) $(includedir) $(sysconfdir)
$(B)/.paths: FORCE
	@mkdir -p $(@D)
	@echo '$(paths)' | cmp -s - $@ || echo '$(paths)' >$@

$(B)/checkerd/main.o: $(B)/.paths
$(B)/checkerd/main.o: cppflags += -DSYSCONFDIR='"$(sysconfdir)"'

$(B)/%.o: %.c | $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(cppflags) $(cflags) -c -o $@ $<

$(B)/mc-checkerd: $(daemon_o)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ -lev -linih $(libs_cares) $(libs_tls) \
	    -lm $(LDLIBS)

$(B)/mc-shmdump: $(dump_o) $(B)/libmcshm.a
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ -ljansson $(LDLIBS)

# libc only; what it exports is what the map says.
$(SO): $(lib_o) libmcshm/libmcshm.map
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -shared -Wl,-soname,libmcshm.so.$(MAJOR) \
	    $(if $(SAN),,-Wl$(comma)-z$(comma)defs) \
	    -Wl,--version-script=libmcshm/libmcshm.map -o $@ $(lib_o) $(LDLIBS)

$(B)/libmcshm.so: $(SO)
	$(Q)ln -sf libmcshm.so.$(MAJOR) $@

$(B)/libmcshm.a: $(lib_o)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

memc_map := clients/libmemcached/libmcshm-memcached.map
$(MEMC_SO): $(memc_o) $(B)/libmcshm.so $(memc_map)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -shared -Wl,-soname,$(@F) \
	    $(if $(SAN),,-Wl$(comma)-z$(comma)defs) \
	    -Wl,--version-script=$(memc_map) -o $@ $(memc_o) -L$(B) -lmcshm \
	    -lmemcached -lhashkit $(LDLIBS)

$(MEMC_SO:.$(MAJOR)=): $(MEMC_SO)
	$(Q)ln -sf $(<F) $@

without-openssl:
	@echo '  --   checkerd: no probes by TLS, no OpenSSL (libssl-dev)'

without-cares:
	@echo '  --   c-ares: left out, names by getaddrinfo(3), and without' \
	    'their TTLs (libc-ares-dev)'

without-libmemcached:
	@echo '  --   clients/libmemcached: left out, no libmemcached (libmemcached-dev)'

# One binary for all versions of Python from 3.10 on.  In the build directory it
# finds the library that is there.
$(py_o): cppflags += -isystem $(py_inc)
$(py_o): cflags += -fvisibility=hidden
link_py = $(CC) $(ldflags) -shared $(py_o) -L$(B) -lmcshm $(LDLIBS)
$(py_ext): $(py_o) $(B)/libmcshm.so
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(link_py) -o $@ -Wl,-rpath,'$$ORIGIN/../..'

$(py_files): $(B)/python/%: clients/python/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

without-python:
	@echo '  --   clients/python: left out, no Python.h (python3-dev)'

$(B)/mcshm.pc: libmcshm/mcshm.pc.in
$(B)/mcshm-memcached.pc: clients/libmemcached/mcshm-memcached.pc.in
$(B)/mcshm.pc $(B)/mcshm-memcached.pc: Makefile include/mcshm.h $(B)/.paths
	@mkdir -p $(@D)
	$(Q)sed -e 's|@prefix@|$(prefix)|' -e 's|@libdir@|$(libdir)|' \
	    -e 's|@includedir@|$(includedir)|' -e 's|@version@|$(VERSION)|' \
	    $(filter %.pc.in,$^) >$@

# Unit tests: test_X links exactly the objects that it names here, so that a
# unit which grows a dependency breaks its test's link.
need_verdict  := checkerd/verdict
need_doubt    := checkerd/doubt
need_failopen := checkerd/failopen
need_course   := checkerd/course
need_recovery := checkerd/recovery checkerd/recovery_marks
need_schedule := checkerd/schedule checkerd/verdict
need_mcproto  := checkerd/mcproto
need_address  := checkerd/address
need_servers  := checkerd/servers checkerd/address
need_conf     := $(conf:%=checkerd/%) checkerd/servers checkerd/address \
                 $(scheme:%=libmcshm/%) $(building:%=libmcshm/%)
need_log      := checkerd/log
need_notify   := checkerd/notify
need_resolve  := checkerd/resolve checkerd/resolve_libc checkerd/address
need_resolve_cares := checkerd/resolve checkerd/resolve_cares checkerd/address
need_faults   := checkerd/faults
need_scan     := checkerd/scan checkerd/conn checkerd/tls_none checkerd/mcproto
need_probe    := checkerd/probe checkerd/conn checkerd/$(tls) \
                 checkerd/mcproto
need_probe_tls := checkerd/probe checkerd/conn checkerd/mcproto
need_tls      := checkerd/tls
need_reports  := checkerd/reports
need_scheme   := tests/unit/mkplace tests/unit/rule $(scheme:%=libmcshm/%) \
                 $(building:%=libmcshm/%)
need_scheme_move := tests/unit/mkplace $(scheme:%=libmcshm/%) \
                 $(building:%=libmcshm/%)
need_scheme_ring := tests/unit/mkplace $(scheme:%=libmcshm/%) \
                 $(building:%=libmcshm/%)
need_hash     := $(hash:%=libmcshm/%) libmcshm/hash_sha1
need_format   := libmcshm/sums libmcshm/hash_xxh3
need_mkfile   := tests/unit/mkfile tests/unit/mkplace \
                 $(building:%=libmcshm/%)
need_reader   := $(library:%=libmcshm/%) $(need_mkfile)
need_reader_threads := $(need_reader)
need_run      := $(need_reader)
publisher     := checkerd/publish checkerd/publish_file \
                 checkerd/publish_image checkerd/servers checkerd/address \
                 checkerd/verdict $(library:%=libmcshm/%) \
                 $(building:%=libmcshm/%)
need_publish  := tests/unit/mkfile tests/unit/mkplace $(publisher)
dump          := $(filter-out libmcshm/dump_show,\
                 $(basename $(sort $(wildcard libmcshm/dump_*.c))))
need_dump     := $(need_mkfile) $(dump) checkerd/address \
                 $(library:%=libmcshm/%)
need_dump_picture := $(need_dump)
need_dump_hostile := $(need_dump)
libs_dump         := -ljansson
libs_dump_picture := -ljansson
libs_dump_hostile := -ljansson
need_golden   := $(filter-out libmcshm/bootid,$(publisher)) $(dump)
libs_golden   := -ljansson
libs_conf     := -linih
libs_scheme   := -lhashkit -lmemcached
libs_scheme_ring := -lmemcached
libs_hash     := -lhashkit
libs_probe    := -lev $(libs_tls)
libs_probe_tls := -lev
libs_scan     := -lev
libs_resolve_cares := $(libs_cares)
unit := verdict recovery doubt failopen course faults scan schedule \
        mcproto address servers conf log notify resolve \
        $(if $(CARES),resolve_cares) $(if $(OPENSSL),tls) probe probe_tls \
        reports hash scheme scheme_move scheme_ring format reader \
        reader_threads run publish dump dump_picture dump_hostile golden

# Servers that misbehave on command, for the system tests and the benches.
$(B)/tests/fakemc: $(B)/tests/fakemc.o $(B)/checkerd/mcproto.o
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(LDLIBS)

# A client of the library as it is installed.
$(B)/tests/client: $(B)/tests/system/client.o $(SO)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -Wl,-rpath,$(abspath $(B)) -o $@ $^ $(LDLIBS)

# What the soak's readers are.
$(B)/tests/soak_reader: $(B)/tests/soak/reader.o $(SO)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -Wl,-rpath,$(abspath $(B)) -o $@ $^ $(LDLIBS)

# One that knows what it has stored.
$(B)/tests/writer: $(B)/tests/system/writer.o $(SO)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -Wl,-rpath,$(abspath $(B)) -o $@ $^ $(LDLIBS)

# Clocks that are set, and hosts that sleep.
$(B)/tests/other_clock.so: tests/system/other_clock.c
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared $(CFLAGS) \
	    -o $@ $< -ldl

# How often memory is asked for.
$(B)/tests/count_malloc.so: tests/system/count_malloc.c
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared $(CFLAGS) \
	    -o $@ $<

# A daemon that is slow itself.
$(B)/tests/slow_connect.so: tests/system/slow_connect.c
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared $(CFLAGS) \
	    -o $@ $<

# One of libmemcached, with the adapter.
$(B)/tests/clients/memc.o: cppflags += -Iclients/libmemcached
$(B)/tests/memc: $(B)/tests/clients/memc.o $(MEMC_SO) $(B)/libmcshm.so
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -Wl,-rpath,$(abspath $(B)) -o $@ $< $(MEMC_SO) \
	    -L$(B) -lmcshm -lmemcached -lmemcachedutil $(LDLIBS)

# Another host, for the program that it is preloaded into.
$(B)/tests/proof_stale.so: tests/proof/stale_host.c
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared $(CFLAGS) \
	    -o $@ $< -ldl

# Proof: power loss.  A recorder in the daemon; what may be left, and recovery.
$(B)/tests/proof_power.so: tests/proof/power_record.c tests/proof/power.h
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared $(CFLAGS) \
	    -o $@ $< -ldl

power_o   := $(addprefix $(B)/,$(addsuffix .o,tests/proof/power \
             tests/proof/power_recover $(publisher)))
$(B)/tests/proof_power: $(power_o)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(LDLIBS)

# Pool files that tests command, without a daemon.
$(B)/tests/mkpool: $(B)/tests/mkpool.o $(need_mkfile:%=$(B)/%.o) \
                   $(B)/libmcshm.a
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(LDLIBS)

# Peers: which server has a key?  We say it, and a client of theirs in C, which
# no sanitizer has to watch.
$(B)/tests/peers_ours: $(addprefix $(B)/tests/peers/,ours.o request.o) \
                       $(building:%=$(B)/libmcshm/%.o) $(B)/libmcshm.a
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(LDLIBS)

$(B)/tests/peers_libmemcached: $(addprefix tests/peers/,peer_libmemcached.c \
                               request.c request.h)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra $(CFLAGS) -o $@ \
	    $(filter %.c,$^) -lmemcached -lhashkit

# Proof: hostile files.  The library maps between guards (tests/proof/guarded.c).
hostile   := $(addprefix tests/proof/,hostile_read hostile_dump guarded) \
             $(need_mkfile) $(dump) libmcshm/dump_show checkerd/address \
             $(library:%=libmcshm/%)
hostile_o := $(addprefix $(B)/,$(addsuffix .o,$(hostile) \
             tests/proof/hostile $(addprefix tests/proof/hostile_,file \
             field text large attach node live) checkerd/publish \
             checkerd/publish_file \
             checkerd/publish_image checkerd/servers checkerd/verdict))
guarded   := -Wl,--wrap=mmap -Wl,--wrap=munmap
$(B)/tests/proof_hostile: $(hostile_o)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) $(guarded) -o $@ $^ -ljansson $(LDLIBS)

# Proof: a writer stepped through, instruction by instruction.  Bound at start
# (-z now), so that no step is the dynamic linker's.
machine   := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
step      := $(addprefix tests/proof/step,_scene _trace _walk _watch _yard \
             _machine_$(if $(wildcard tests/proof/step_machine_$(machine).c),$\
             $(machine),other)) tests/proof/step
$(B)/tests/proof_step: $(patsubst %,$(B)/%.o,$(step) $(publisher))
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -Wl,-z,now -o $@ $^ $(LDLIBS)

# Proof: readers against a writer that never rests.
hammer_o  := $(addprefix $(B)/,$(addsuffix .o,tests/proof/hammer \
             $(addprefix tests/proof/hammer_,fact write read) \
             $(publisher)))
$(B)/tests/proof_hammer: $(hammer_o)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(LDLIBS)

# Fuzzing, with clang's libFuzzer, in a build of its own (make fuzz-build).
FUZZ_CC   ?= clang-14
fuzz_b    := $(B)/san-fuzz
fuzzers   := address mcproto reports conf file live dump
fuzz_file    := tests/fuzz/fuzz_input $(hostile)
need_fuzz_address := checkerd/address
need_fuzz_mcproto := checkerd/mcproto
need_fuzz_reports := checkerd/reports
need_fuzz_conf    := $(need_conf)
need_fuzz_file    := $(fuzz_file)
need_fuzz_live    := $(fuzz_file)
need_fuzz_dump    := $(fuzz_file)
fuzz_flags_file   := $(guarded) -ljansson
fuzz_flags_live   := $(guarded) -ljansson
fuzz_flags_dump   := $(guarded) -ljansson
fuzz_flags_conf   := -linih

# What tests/proof/hammer.sh, tests/proof/hostile.sh, tests/proof/power.py and
# tests/fuzz/run need.
hostile-build: $(B)/tests/proof_hammer $(B)/tests/proof_hostile fuzz-build
	+@$(MAKE) --no-print-directory SAN=address,undefined B=$(asan_b) \
	    $(asan_b)/tests/proof_hostile $(asan_b)/tests/proof_power \
	    $(asan_b)/mc-shmdump
	+@$(MAKE) --no-print-directory SAN=thread B=$(tsan_b) \
	    $(tsan_b)/tests/proof_hammer

fuzz-build:
	+@$(MAKE) --no-print-directory CC='$(FUZZ_CC)' B=$(fuzz_b) \
	    SAN=fuzzer-no-link,address,undefined \
	    $(fuzzers:%=$(fuzz_b)/tests/fuzz_%)

.SECONDEXPANSION:
need_o = $(addprefix $(B)/,$(addsuffix .o,$(need_$*)))
$(B)/tests/test_%: $(B)/tests/unit/test_%.o $$(need_o)
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -o $@ $^ -lcmocka $(libs_$*) -lm $(LDLIBS)

$(B)/tests/fuzz_%: $(B)/tests/fuzz/fuzz_%.o \
                   $$(addprefix $(B)/,$$(addsuffix .o,$$(need_fuzz_$$*)))
	$(call say,LD)
	$(Q)$(CC) $(ldflags) -fsanitize=fuzzer -o $@ $^ $(fuzz_flags_$*) -lm \
	    $(LDLIBS)

.PRECIOUS: $(B)/%.o

# Checking.  Units run once more in sanitizer builds, but for those that take
# long there and meet hostile input elsewhere (tests/fuzz); for TSan, what runs
# in threads.  With SAN given, everything runs in that one build instead.
asan_unit := $(filter-out conf dump dump_picture golden,$(unit))
tsan_unit := $(filter run reader% format mcproto scheme publish resolve,$(unit))
helper    := fakemc mkpool client other_clock.so count_malloc.so slow_connect.so \
             writer soak_reader peers_ours peers_libmemcached $(if $(memc),memc)
asan_b    := $(B)/san-address-undefined
tsan_b    := $(B)/san-thread
unit_t    := $(unit:%=$(B)/tests/test_%)
asan_t    := $(if $(SAN),,$(asan_unit:%=$(asan_b)/tests/test_%))
tsan_t    := $(if $(SAN),,$(tsan_unit:%=$(tsan_b)/tests/test_%))

suites := tests/laws,tests/system,tests/soak,tests/peers,tests/clients
suites := $(suites)$(if $(SAN),,$(comma)tests/proof$(comma)clients/python/tests)
PYTEST_ARGS ?= -n 4 --dist loadgroup
jobs = --no-print-directory \
       $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc) -Otarget)
deps = CC='$(CC)' CXX='$(CXX)' CPPFLAGS='$(CPPFLAGS)' PYTHON='$(PYTHON)' \
       PKG_CONFIG='$(PKG_CONFIG)' sh tests/deps

deps:
	@$(deps) all

check:
	@$(deps) check
	+@$(MAKE) $(jobs) $(if $(filter true,$(CI)),WERROR=1) check-build
	@BUILD='$(abspath $(B))' SAN='$(SAN)' CC='$(CC)' CXX='$(CXX)' \
	    PKG_CONFIG='$(PKG_CONFIG)' PYTHON='$(PYTHON)' \
	    $(PYTHON) tests/check --pytest='$(PYTEST_ARGS)' \
	    --only=$(suites) \
	    $(tsan_t) $(asan_t) $(unit_t)

check-build: all $(python) $(unit_t) $(helper:%=$(B)/tests/%) \
             $(if $(SAN),,check-asan check-tsan proof-build)

check-asan:
	+@$(MAKE) --no-print-directory SAN=address,undefined B=$(asan_b) $(asan_t)

check-tsan:
	+@$(MAKE) --no-print-directory SAN=thread B=$(tsan_b) $(tsan_t)

demo:
	@$(deps) demo
	+@$(MAKE) $(jobs) all
	@BUILD='$(abspath $(B))' CC='$(CC)' SAN='$(SAN)' sh tests/demo/run

bench:
	@$(deps) bench
	+@$(MAKE) $(jobs) all
	@BUILD='$(abspath $(B))' CC='$(CC)' SAN='$(SAN)' PYTHON='$(PYTHON)' \
	    PKG_CONFIG='$(PKG_CONFIG)' sh tests/bench/run

bench-storm:
	@$(deps) check
	+@$(MAKE) $(jobs) all
	@BUILD='$(abspath $(B))' CC='$(CC)' PYTHON='$(PYTHON)' \
	    sh tests/bench/storm

bench-checker:
	@$(deps) bench
	+@$(MAKE) $(jobs) all $(B)/tests/fakemc
	@BUILD='$(abspath $(B))' CC='$(CC)' PYTHON='$(PYTHON)' \
	    sh tests/bench/checker

# SECONDS of faults, the same ones for the same SEED.
SECONDS ?= 3600
soak:
	@$(deps) check
	+@$(MAKE) $(jobs) all $(B)/tests/soak_reader $(B)/tests/fakemc \
	    $(B)/tests/client
	@BUILD='$(abspath $(B))' SAN='$(SAN)' $(PYTHON) tests/soak/soak.py \
	    --seconds=$(SECONDS) $(if $(SEED),--seed=$(SEED)) $(SOAK_ARGS)

proof-build: hostile-build $(B)/tests/proof_step $(B)/tests/proof_stale.so \
             $(B)/tests/proof_power.so

proof:
	@$(deps) check
	+@$(MAKE) $(jobs) check-build
	@BUILD='$(abspath $(B))' CC='$(CC)' PYTHON='$(PYTHON)' \
	    sh tests/proof/run --full $(PARTS)

# Installing.  Manual pages and the unit name the paths of a Debian package;
# here they get those of this installation.
man1 := libmcshm/mc-shmdump.1
man3 := libmcshm/libmcshm.3
man5 := libmcshm/mcshm.5 checkerd/mc-checkerd.ini.5
man8 := checkerd/mc-checkerd.8
functions = $(shell grep -o 'mcshm_[a-z_]*;' libmcshm/libmcshm.map | tr -d ';')
our_paths = sed -e 's|/usr/sbin/mc-|$(sbindir)/mc-|g' \
            -e 's|/etc/mc-checkerd|$(sysconfdir)/mc-checkerd|g'
# Links in the documents lead to what is installed beside them; manual pages are
# found by their names.
our_links = sed -E -e 's/\[([^]]*)\]\([^)]*(\.[1-8]|CONTRIBUTING\.md|clients\/[a-z]*)\)/\1/g' \
            -e 's,\]\((docs|conf)/,](,g'
from_stdin = $(INSTALL) -m 644 /dev/stdin
ini = $(DESTDIR)$(sysconfdir)/mc-checkerd/mc-checkerd.ini
D  := $(DESTDIR)

install_memc = $(INSTALL) -m 644 $(MEMC_SO) $(D)$(libdir) && \
	ln -sf $(notdir $(MEMC_SO)) $(D)$(libdir)/libmcshm-memcached.so && \
	$(INSTALL) -m 644 $(B)/mcshm-memcached.pc $(D)$(libdir)/pkgconfig && \
	$(INSTALL) -m 644 clients/libmemcached/mcshm-memcached.h \
	    $(D)$(includedir) && \
	$(INSTALL) -m 644 clients/libmemcached/mcshm_memcached.3 \
	    $(D)$(mandir)/man3 && \
	for f in $(memc_functions); do echo '.so man3/mcshm_memcached.3' | \
	    $(from_stdin) $(D)$(mandir)/man3/$$f.3 || exit; done
memc_functions = $(shell grep -o 'mcshm_[a-z_]*;' $(memc_map) | tr -d ';')

install: all
	$(INSTALL) -d $(D)$(bindir) $(D)$(sbindir) $(D)$(libdir)/pkgconfig \
	    $(D)$(includedir) $(D)$(docdir) $(D)$(unitdir) $(D)$(sysusersdir) \
	    $(D)$(tmpfilesdir) $(dir $(ini)) \
	    $(foreach n,1 3 5 8,$(D)$(mandir)/man$n)
	$(INSTALL) -m 755 $(B)/mc-checkerd $(D)$(sbindir)
	$(INSTALL) -m 755 $(B)/mc-shmdump $(D)$(bindir)
	$(INSTALL) -m 644 $(SO) $(B)/libmcshm.a $(D)$(libdir)
	ln -sf $(notdir $(SO)) $(D)$(libdir)/libmcshm.so
	$(INSTALL) -m 644 $(B)/mcshm.pc $(D)$(libdir)/pkgconfig
	$(INSTALL) -m 644 include/mcshm.h $(D)$(includedir)
	$(if $(memc),$(install_memc))
	$(foreach n,1 3 5 8,$(foreach f,$(man$n),\
	    $(our_paths) $f | $(from_stdin) $(D)$(mandir)/man$n/$(notdir $f) &&)) :
	for f in $(functions); do echo '.so man3/libmcshm.3' | \
	    $(from_stdin) $(D)$(mandir)/man3/$$f.3 || exit; done
	$(our_paths) conf/mc-checkerd.service | \
	    $(from_stdin) $(D)$(unitdir)/mc-checkerd.service
	$(INSTALL) -m 644 conf/mc-checkerd.sysusers \
	    $(D)$(sysusersdir)/mc-checkerd.conf
	$(INSTALL) -m 644 conf/mc-checkerd.tmpfiles \
	    $(D)$(tmpfilesdir)/mc-checkerd.conf
	[ -z '$(D)' ] && [ -e $(ini) ] || \
	    $(INSTALL) -m 644 conf/mc-checkerd.ini $(ini)
	for f in README.md CHANGELOG.md docs/*.md; do $(our_links) $$f | \
	    $(from_stdin) $(D)$(docdir)/$${f##*/} || exit; done
	$(INSTALL) -m 644 LICENSE conf/mc-checkerd.ini conf/fast-lan.ini \
	    $(D)$(docdir)
	[ -n '$(D)' ] || PATH=$$PATH:/sbin ldconfig 2>/dev/null || :

# Where $(PYTHON) looks under this prefix, if it does.
pythondir ?= $(shell $(PYTHON) -c 'import site, sysconfig; \
    print(next((d for d in site.getsitepackages() \
    if d.startswith("$(prefix)/lib/")), sysconfig.get_path("platlib", \
    "posix_prefix", {"platbase": "$(prefix)"})))')
py_dir = $(D)$(pythondir)/mcshm

install-python: $(python)
	@[ -n '$(python)' ] || { echo 'no Python.h (python3-dev)' >&2; exit 69; }
	$(INSTALL) -d $(py_dir)
	$(INSTALL) -m 644 $(py_files) $(py_dir)
	$(link_py) -o $(py_dir)/$(notdir $(py_ext))
	chmod 644 $(py_dir)/$(notdir $(py_ext))

uninstall-python:
	rm -rf $(py_dir)

# The ini stays: it is the site's.
uninstall:
	rm -f $(D)$(bindir)/mc-shmdump $(D)$(sbindir)/mc-checkerd
	rm -f $(D)$(libdir)/$(notdir $(SO)) $(D)$(libdir)/libmcshm.so \
	    $(D)$(libdir)/libmcshm.a $(D)$(libdir)/pkgconfig/mcshm.pc \
	    $(D)$(includedir)/mcshm.h
	rm -f $(foreach n,1 3 5 8,$(foreach f,$(man$n),\
	    $(D)$(mandir)/man$n/$(notdir $f))) \
	    $(functions:%=$(D)$(mandir)/man3/%.3)
	rm -f $(D)$(libdir)/$(notdir $(MEMC_SO)) \
	    $(D)$(libdir)/libmcshm-memcached.so \
	    $(D)$(libdir)/pkgconfig/mcshm-memcached.pc \
	    $(D)$(includedir)/mcshm-memcached.h \
	    $(D)$(mandir)/man3/mcshm_memcached.3 \
	    $(memc_functions:%=$(D)$(mandir)/man3/%.3)
	rm -f $(D)$(unitdir)/mc-checkerd.service \
	    $(D)$(sysusersdir)/mc-checkerd.conf \
	    $(D)$(tmpfilesdir)/mc-checkerd.conf
	rm -rf $(D)$(docdir)

clean:
	rm -rf $(B)

help:
	@echo 'make              build under build/ (V=1 shows the commands)'
	@echo 'make check        all tests; installs missing packages first'
	@echo 'make check-build  what pytest needs when it is run by hand'
	@echo 'make demo         see it work: four memcacheds, one is killed'
	@echo 'make bench        how fast it is, beside its peers'
	@echo 'make bench-storm  a server dies, one hangs: what programs go through'
	@echo 'make bench-checker   the checker beside HAProxy: cost, speed, errors'
	@echo 'make proof        all proofs of docs/proof.md, long versions; PARTS=...'
	@echo 'make soak         an hour of faults beside a model; SECONDS= SEED='
	@echo 'make deps         install all packages that building and tests need'
	@echo 'make install      DESTDIR= prefix= libdir= sysconfdir= ...'
	@echo 'make uninstall    with the same variables; leaves the ini'
	@echo 'make install-python, uninstall-python   with PYTHON= pythondir=, too'
	@echo 'make clean        remove build/'
	@echo
	@echo 'SAN=address,undefined or SAN=thread: that sanitizer, in build/san-...'
	@echo 'CC, CFLAGS, CPPFLAGS, LDFLAGS, LDLIBS: yours, added to ours'
	@echo 'WERROR=1: warnings are errors.  NO_DEPS=1: never run apt-get'

.PHONY: all deps check check-build check-asan check-tsan proof-build \
        hostile-build fuzz-build demo bench bench-storm bench-checker soak \
        proof install uninstall install-python uninstall-python \
        without-python without-libmemcached without-cares without-openssl \
        clean help FORCE

-include $(shell find $(B) -name '*.d' 2>/dev/null)
