#!/bin/sh
#
# tests/proof/hammer.sh - readers against a writer that never rests.
#
#	tests/proof/hammer.sh [--quick|--full]
#
# proof_hammer in the plain build, and threads on one handle under TSan, whose
# build is $BUILD/san-thread (make hostile-build).

set -u
cd "$(dirname "$0")/../.." || exit 1
: "${BUILD:=build}"
depth=${1---quick}

# TSan can not live with the widest address randomisation there is.
fixed=
setarch "$(uname -m)" -R true 2>/dev/null && fixed="setarch $(uname -m) -R"

"$BUILD/tests/proof_hammer" "$depth" || exit 1
echo 'threads on one handle, under TSan:'
TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
    $fixed "$BUILD/san-thread/tests/proof_hammer" "$depth" --threads || exit 1
