# SPDX-License-Identifier: BSD-3-Clause
# What the other scenarios rely on: a script that fails, a kernel that panics and a machine that hangs are told apart, and
# each comparison finds what is changed behind its back.

guest_makes() {
	activate_pool
	create_thin 1 64
	write_blocks 1 0 20
	read_blocks 1 0 64
	sum_blocks_of 1 0 64
	keep_status end
	keep_metadata before
	write_blocks 1 30 1
	delete_thin 1
	create_thin 2 64
	write_blocks 2 0 20
	deactivate
}

guest_fails() {
	refused true
}

guest_panics() {
	echo c >/proc/sysrq-trigger
}

guest_hangs() {
	while :; do :; done
}

fails_with() { # text, command: it has to fail and to say so
	local text=$1
	shift
	if ("$@") >messages 2>&1; then
		fail "not noticed: $text: $*"
	fi
	grep -q -- "$text" messages || fail "$* does not say '$text': $(cat messages)"
	nr_checks=$((nr_checks + 1))
}

host() {
	blank_device metadata 4M
	blank_device data 32M
	fails_with "guest_fails ended with 1 inside" machine guest_fails
	fails_with "Kernel panic" machine guest_panics
	VM_TIMEOUT=30 fails_with "was stopped after 30 seconds" machine guest_hangs

	machine guest_makes
	echo "[    5.000000] device-mapper: thin metadata: aborting" >>results/dmesg
	fails_with "what the kernel says.*thin metadata: aborting" kernel_is_content
	local before=results/before.metadata
	fails_with "^nr_data_allocated:" status_agrees "$before" <(sed 's, 20/512 , 21/512 ,' results/end.status)
	fails_with "^device 1:" status_agrees "$before" <(sed '/^thin-1:/d' results/end.status)
	fails_with "^needs_check:" status_agrees "$before" <(sed '/^pool:/s/ - \([0-9]* *\)$/ needs_check \1/' results/end.status)
	fails_with "^device 2:" status_agrees "$metadata" results/end.status
	fails_with "no block" compare sums "$metadata" "$data" "$programs/blocks" results/sums
	fails_with "block 3 does not hold" compare sums "$before" "$data" "$programs/blocks" <(sed 's/^1 3 ./&0/' results/sums)
	fails_with "1 blocks are mapped that" compare sums --whole "$before" "$data" "$programs/blocks" <(sed '/^1 3 /d' results/sums)
	fails_with "block 3 differs" compare alike results/sums 1 <(sed 's/^1 3 ./&0/' results/sums) 1
	fails_with "no block" blocks_agree "$metadata" "$data"
	fails_with "do not hold" compare blocks "$metadata" "$data" <(sed 's/^1 /2 /' results/blocks)
	fails_with "the devices of" devices_are "$metadata" 1 2
	fails_with "transaction_id of" info_is "$metadata" transaction_id 1

	cp --sparse=always "$before" damaged
	dd if=/dev/zero of=damaged bs=4096 seek=1 count=30 conv=notrunc status=none
	fails_with "thin_check of" is_sound damaged
	fails_with "BL3 fatal" compare clean damaged

	fails_with "THINP_ENODATA" change <<-END
		snap 5 4
	END
	fails_with "done, not THINP_EEXIST" change <<-END
		refused THINP_EEXIST create 5
	END
	fails_with "THINP_EEXIST, not THINP_ENODATA" change <<-END
		refused THINP_ENODATA create 2
	END
	fails_with "neither commit nor abort" change <<-END
		create 5
	END
	devices_are "$metadata" 2
}
