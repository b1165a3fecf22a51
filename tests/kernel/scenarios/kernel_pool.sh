# SPDX-License-Identifier: BSD-3-Clause
# The kernel formats a pool, and changes it in three rounds, each of which activates it anew: volumes are made, written,
# snapshotted, discarded, deleted. After each round all tools see what the kernel sees.

guest_makes() { # volumes 1 to 3, the last one empty
	activate_pool
	create_thin 1 128
	create_thin 2 64
	create_thin 3 64
	write_blocks 1 0 40
	write_blocks 1 100 1
	write_blocks 2 7 20
	guest_ends 1 2 3
}

guest_shares() { # snapshots 4 and 5 of 1 and 4, with writes to all, old blocks as well as new ones
	activate_pool
	activate_thin 1 128
	activate_thin 2 64
	activate_thin 3 64
	create_snap 4 1 128
	write_blocks 1 10 5
	create_snap 5 4 128
	write_blocks 4 12 50
	write_blocks 5 39 2
	write_blocks 3 63 1
	guest_ends 1 2 3 4 5
}

guest_gives_back() { # discards of shared and of own blocks, whole volumes deleted, one id used again
	activate_pool skip_block_zeroing
	activate_thin 1 128
	activate_thin 2 64
	activate_thin 3 64
	activate_thin 4 128
	activate_thin 5 128
	discard_blocks 1 0 30
	discard_blocks 4 20 20
	discard_blocks 2 0 64
	delete_thin 3
	delete_thin 5
	create_thin 3 256
	write_blocks 3 255 1
	guest_ends 1 2 3 4
}

guest_ends() { # ids
	local id
	for id; do
		read_blocks "$id" 0 64
	done
	keep_status end
	deactivate
}

host() {
	blank_device metadata 4M
	blank_device data 32M

	machine guest_makes
	devices_are "$metadata" 1 2 3
	info_is "$metadata" nr_data_allocated 61
	all_agrees
	blocks_agree "$metadata" "$data"

	machine guest_shares
	devices_are "$metadata" 1 2 3 4 5
	all_agrees
	blocks_agree "$metadata" "$data"

	machine guest_gives_back
	devices_are "$metadata" 1 2 3 4
	all_agrees
	blocks_agree "$metadata" "$data"
}
