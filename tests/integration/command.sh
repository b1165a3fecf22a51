# SPDX-License-Identifier: BSD-3-Clause
# What the tests of the command thinp share; to be sourced, with $thinp set. Makes the folder $work, removed at the end.
work=$(mktemp -d)
loop=
trap 'rm -rf "$work"; [ -z "$loop" ] || losetup -d "$loop"' EXIT
passed=0 failed=0

fail() {
	failed=$((failed + 1))
	echo "FAILED: $1"
	cat "$work/out" "$work/err" 2> /dev/null | head -n 5
}

# expect STATUS NAME ARGUMENT...: the exit status of thinp; output in $work/out, messages in $work/err
expect() {
	local status=$1 name=$2 got=0
	shift 2
	"$thinp" "$@" > "$work/out" 2> "$work/err" || got=$?
	if [ "$got" = "$status" ]; then passed=$((passed + 1)); else fail "$name: status $got, not $status"; fi
}

# says NAME TEXT: the last messages contain it
says() {
	if grep -qF -- "$2" "$work/err"; then passed=$((passed + 1)); else fail "$1: does not say '$2'"; fi
}

# prints NAME TEXT: the last output contains it
prints() {
	if grep -qF -- "$2" "$work/out"; then passed=$((passed + 1)); else fail "$1: does not print '$2'"; fi
}

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@"; then passed=$((passed + 1)); else fail "$name"; fi
}

finish() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}
