# SPDX-License-Identifier: BSD-3-Clause
# The kernel writes until it has no metadata block left, and is stopped in the middle. What it leaves has leaks, at worst.
# The library mends them and gives space back; then it asks for a check in the kernel's way, and the kernel obeys. In the end
# the kernel goes on.

guest_writes_on() {
	local id
	activate_pool error_if_no_space
	activate_thin 1 65536
	for id in 2 3 4 5 6; do
		create_snap $id 1 65536 || break
		write_every $id $id 300 200 || break
	done
	dmsetup status >$results/stopped
	deactivate
}

guest_obeys() {
	activate_pool
	activate_thin 1 65536
	dmsetup status >$results/obeys
	refused message create_thin 7
	refused write_every 1 60000 1 1
	sum_blocks_of 1 0 100
	deactivate
}

host() {
	blank_device metadata 512K # 128 blocks
	blank_device data 3G
	change --create 49152 <<-END
		create 1
		fill 1 65536 3
		commit
	END
	expected+='|reached low water mark for metadata|No free metadata blocks|switching pool to read-only mode'
	expected+='|aborting current metadata transaction|metadata operation .* failed: error = -28'
	machine guest_writes_on
	check "the pool was stopped" grep -q '^pool: .* 128/128 .* ro ' results/stopped
	check "nothing is wrong but that blocks are lost" compare clean --leaks "$metadata"

	compare leaks "$metadata" >leaks
	cat leaks
	change --ignore-needs-check <<-END
		needs_check 0
		$(cat leaks)
		delete 2
		commit
	END
	is_sound "$metadata"
	change <<-END
		discard 1 40000 20000
		commit
		create 10
		write 10 0 20
		needs_check 1
		commit
	END
	info_is "$metadata" needs_check True

	expected+='|unable to switch pool to write mode until repaired|unable to service pool target messages'
	machine guest_obeys
	check "the kernel obeys" grep -q '^pool: .* ro .* needs_check ' results/obeys
	sums_agree "$metadata" "$data"
	check "and so does the library" refused_to_open THINP_ENEEDSCHECK
	change --ignore-needs-check <<-END
		needs_check 0
		commit
	END
	kernel_sees_the_same
	check "the kernel goes on" grep -q '^pool: .* rw ' results/end.status
}

refused_to_open() { # code
	refused "$programs/change_pool" "$metadata" "$data" </dev/null 2>messages
	grep -q "$1" messages
}
