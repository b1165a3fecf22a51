# SPDX-License-Identifier: BSD-3-Clause
# What ./quickstart, ./test and the scripts tests/run-* share. To be sourced by bash at the top of the tree.

say() { printf '== %s\n' "$*"; }
stop() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# --- what has to be installed -------------------------------------------------------------------------------------------

# What a build needs: one line each, how to see that it is there, and the Debian package that brings it.
to_build='
cmd:gcc             gcc
file:stdio.h        libc6-dev
cmd:cmake           cmake
cmd:ninja           ninja-build
cmd:pkg-config      pkg-config
file:utlist.h       uthash-dev
file:bsd/sys/tree.h libbsd-dev
pkg:uuid            uuid-dev
pkg:jansson         libjansson-dev
pkg:libisal         libisal-dev
pkg:liburing        liburing-dev'
to_test="$to_build
cmd:g++             g++
pkg:cmocka          libcmocka-dev
cmd:python3         python3
cmd:doxygen         doxygen
cmd:xz              xz-utils
cmd:spin            spin
cmd:valgrind        valgrind
cmd:thin_dump       thin-provisioning-tools"
# What tests/kernel/vm needs to boot a kernel, in the same form.
to_boot='
cmd:qemu-system-x86_64  qemu-system-x86
kernel:dm-thin-pool     linux-image-amd64
cmd:modprobe            kmod
cmd:busybox             busybox-static
cmd:dmsetup             dmsetup
cmd:cpio                cpio'

kernel_with() { # module: the newest installed kernel that has it and can be read
	local version
	for version in $(ls -rv /lib/modules 2>/dev/null); do
		if [ -r "/boot/vmlinuz-$version" ] && modprobe_of "$version" "$1" >/dev/null 2>&1; then
			echo "$version"
			return
		fi
	done
	return 1
}

modprobe_of() { # version of a kernel, modules: what would have to be loaded for them, in order
	PATH=$PATH:/usr/sbin:/sbin modprobe --set-version "$1" --show-depends --all "${@:2}"
}

is_there() { # cmd:PROGRAM, pkg:MODULE of pkg-config, file:HEADER, path:FILE, or kernel:MODULE
	case $1 in
	cmd:*) PATH=$PATH:/usr/sbin:/sbin command -v "${1#*:}" ;;
	pkg:*) pkg-config --exists "${1#*:}" ;;
	path:*) test -e "${1#*:}" ;;
	kernel:*) kernel_with "${1#*:}" ;;
	file:*) printf '#include <%s>\n' "${1#*:}" | gcc -E - ;;
	esac >/dev/null 2>&1
}

missing_packages() { # of the table in $1
	while read -r probe package; do
		[ -z "$probe" ] || is_there "$probe" || printf ' %s' "$package"
	done <<<"$1"
}

install_packages() { # names
	local sudo='' log
	[ "$(id -u)" = 0 ] || sudo=sudo
	if ! command -v apt-get >/dev/null; then
		stop "not installed: $*. These are Debian's names; please install what your system calls them, and try again."
	elif [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
		stop "not installed: $*. Please run: apt-get install $*   (as root), and try again."
	fi
	say "not installed yet, apt-get will do it now: $*"
	log=$(mktemp)
	if ! { $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -qy install --no-install-recommends "$@"; } </dev/null >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		stop "apt-get could not install them"
	fi
	rm -f "$log"
}

need() { # tables: install what is missing of them
	local missing cmake_version
	missing=$(missing_packages "$*")
	[ -z "$missing" ] || install_packages $missing
	missing=$(missing_packages "$*")
	[ -z "$missing" ] || stop "still missing:$missing"
	cmake_version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
	[ "$(printf '%s\n' 3.25 "$cmake_version" | sort -V | head -n 1)" = 3.25 ] ||
		stop "cmake $cmake_version is too old, 3.25 is the oldest that will do"
}

want() { # probe, package, what for: install it where the system has it, say so where not
	is_there "$1" && return
	if command -v apt-cache >/dev/null && apt-cache show "$2" >/dev/null 2>&1; then
		install_packages "$2"
	else
		say "$2 is not to be had here: $3"
	fi
}

# --- building and testing -----------------------------------------------------------------------------------------------

quietly() { # log file, command: its output is shown only when it fails
	local log=$1
	shift
	"$@" >"$log" 2>&1 || {
		cat "$log" >&2
		stop "failed: $*"
	}
}

build() { # name, preset, further options for cmake: builds it in build/test/NAME
	local name=$1 preset=$2 dir=build/test/$1
	shift 2
	say "$name: building in $dir"
	mkdir -p "$dir"
	quietly "$dir/configure.log" cmake --preset "$preset" -B "$dir" -DTHINP_WERROR=ON "$@"
	sed -n 's/^-- \(libthinp [0-9].*\)/\1/p; s/^-- \(  .*\)/\1/p' "$dir/configure.log"
	quietly "$dir/build.log" cmake --build "$dir"
}

nr_tests=0 nr_failed=0 failures='' skipped=''

run_tests() { # name, further options for ctest: runs the tests of build/test/NAME
	local name=$1 dir=build/test/$1 log failed total
	shift
	log=$dir/ctest.log
	say "$name: testing"
	ctest --test-dir "$dir" --output-on-failure --no-tests=error -j "$(nproc)" "$@" 2>&1 | tee "$log" || true
	read -r failed total < <(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\1 \2/p' "$log") || true
	nr_tests=$((nr_tests + ${total:-1}))
	nr_failed=$((nr_failed + ${failed:-1})) # no summary: ctest itself failed
	while read -r test; do
		failures+="$name: $test"$'\n'
	done < <(sed -n 's/^[[:space:]]*[0-9]* - \(.*\)$/\1/p' "$log" | grep -v '(Skipped)$')
	while read -r test; do
		skipped+="$name: $test: $(why_skipped "$dir" "$test")"$'\n'
	done < <(sed -n 's/^[[:space:]]*[0-9]* - \(.*\) (Skipped)$/\1/p' "$log")
}

why_skipped() { # build folder, test: the last line that it printed
	awk -v test="Testing: $2" '
		index($0, test) { ours = 1 }
		ours && /^<end of output>/ { print last; exit }
		NF { last = $0 }' "$1/Testing/Temporary/LastTest.log"
}

finish() { # prints the sum of all runs in the form of ctest, and ends with its status
	local percent=0
	[ -z "$failures" ] || printf '\nFailed:\n%s' "$failures"
	[ -z "$skipped" ] || printf '\nSkipped, with the reason:\n%s' "$skipped"
	[ "$nr_tests" = 0 ] || percent=$(((nr_tests - nr_failed) * 100 / nr_tests))
	printf '\n%d%% tests passed, %d tests failed out of %d\n' "$percent" "$nr_failed" "$nr_tests"
	[ "$nr_failed" = 0 ] && [ "$nr_tests" -gt 0 ]
}
