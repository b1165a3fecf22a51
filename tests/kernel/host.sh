# SPDX-License-Identifier: BSD-3-Clause
# What the parts of scenarios that run outside of the machine share; for bash. In the current folder, images is the folder
# of the pool's devices and results what came out of the machine last. The first check that fails ends the scenario.

metadata=images/metadata data=images/data
block_sectors=128
nr_checks=0
maker= # --restored: of a pool by thin_restore 0.9, whose numbers beside the bitmaps are its own

# What kernels say while all is well. A scenario may add what its kernel has to say; everything else about the metadata or
# the devices fails it.
expected='ioctl: [0-9.]*-ioctl|uevent: version|core: CONFIG_IMA_DISABLE_HTABLE'

fail() {
	printf 'FAILED: %s\n' "$*"
	exit 1
}

check() { # name, command
	local name=$1
	shift
	"$@" || fail "$name: $*"
	nr_checks=$((nr_checks + 1))
}

blank_device() { # metadata or data, size in the words of truncate
	rm -f "images/$1"
	truncate -s "$2" "images/$1"
}

machine() { # function of the scenario, arguments: runs it inside, with all that guest.sh has
	local status=0
	say "inside: $*"
	rm -rf results
	"$here/vm" --disk "metadata=$metadata" --disk "data=$data" --program "thinp=$thinp" \
		--program "blocks=$programs/blocks" --results results "${files[@]}" script "$@" || status=$?
	case $status in
	0) grep '^the script begins after' results/console || true ;;
	77) exit 77 ;;
	*) fail "$* ended with $status inside" ;;
	esac
	nr_checks=$((nr_checks + 1))
	kernel_is_content
}

kernel_is_content() { # it has said nothing that is not expected
	local words
	words=$(grep -E 'device-mapper|I/O error|BUG|WARNING' results/dmesg | grep -vE "$expected" || true)
	[ -z "$words" ] || fail "what the kernel says: $words"
	nr_checks=$((nr_checks + 1))
}

change() { # arguments of change_pool, without the devices: the library changes the pool as standard input says
	say "outside: change_pool $*"
	"$programs/change_pool" "$@" "$metadata" "$data" || fail "change_pool $*"
	nr_checks=$((nr_checks + 1))
}

compare() { # command of compare.py, arguments
	local command=$1
	shift
	"$python" -B "$here/compare.py" --thinp "$thinp" "$command" "$@"
}

devices_are() { # image, ids: these devices and no others, as thinp lists them
	local image=$1
	shift
	check "the devices of $image" [ "$*" = "$(ids_of "$image")" ]
}

ids_of() { # image
	compare ids "$1"
}

info_is() { # image, member of thinp info --json, value in Python's words
	check "$2 of $1" [ "$3" = "$(compare info "$1" "$2")" ]
}

device_is() { # image, id, member of thinp ls --json, value
	check "$3 of device $2 of $1" [ "$4" = "$(compare device "$1" "$2" "$3")" ]
}

is_sound() { # image: say the checkers, older ones and a witness among them
	check "thin_check of $1" thin_check -q "$1"
	[ -z "${THINP_THIN_CHECK_1-}" ] || check "thin_check 1 of $1" "$THINP_THIN_CHECK_1" -q "$1"
	check "thinp check of $1" compare clean $maker "$1"
	check "refcheck of $1" "$python" -B "$here/../refcheck/refcheck" -q "$1"
}

status_agrees() { # image, file made by keep_status
	check "the kernel's status and thinp's of $1" compare status "$1" "$2"
}

same_as_thin_dump() { # image, -m for the metadata snapshot
	check "thin_dump's text and thinp's of $*" compare same "$@"
}

blocks_agree() { # image, data: what read_blocks noted is what these hold together
	check "the data of $1" compare blocks "$1" "$2" results/blocks
}

sums_agree() { # image, data, --whole: what sum_blocks_of noted is what these hold together, and every mapped block is in it
	check "the data of $1, block by block" compare sums "$@" "$programs/blocks" results/sums
}

alike() { # file of sums, id, file of sums, id: every block that both tell of holds the same
	check "device $2 by $1 and device $4 by $3" compare alike "$@"
}

unlike() { # the same arguments: some block does not
	check "device $2 by $1 is not as device $4 by $3" refused compare alike "$@" >/dev/null
}

refused() { # command: it has to fail
	! "$@"
}

fill_data() { # so that no two sectors are equal
	compare stamp "$data"
}

all_agrees() { # after keep_status inside: the kernel, thin_check, thin_dump and thinp see one and the same pool
	is_sound "$metadata"
	same_as_thin_dump "$metadata"
	status_agrees "$metadata" results/"${1:-end}".status
}

machine_with_plan() { # as machine, and /plan tells all that is mapped now
	compare plan "$metadata" >plan
	files=(--file plan=plan)
	machine "$@"
	files=()
}

kernel_sees_the_same() { # the kernel takes the pool that is there, whoever made it, and reads every block that is mapped
	machine_with_plan read_whole_pool "$@"
	all_agrees
	sums_agree "$metadata" "$data" --whole
}
