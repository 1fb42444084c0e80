#!/bin/sh
#
# tests/proof/hostile.sh - files that are damaged, or made to do harm.
#
#	tests/proof/hostile.sh [--quick|--full]
#
# proof_hostile under ASan and UBSan, from $BUILD/san-address-undefined (make
# hostile-build); with --full, a reduced set under valgrind, too.

set -u
cd "$(dirname "$0")/../.." || exit 1
: "${BUILD:=build}"
depth=${1---quick}
asan=$BUILD/san-address-undefined

ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 \
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$asan/tests/proof_hostile" "$depth" "$asan/mc-shmdump" || exit 1

[ "$depth" = --full ] || exit 0
echo 'a reduced set, under valgrind:'
valgrind -q --leak-check=full --error-exitcode=99 \
    "$BUILD/tests/proof_hostile" --reduced - || exit 1
