# SPDX-License-Identifier: BSD-3-Clause
# A pool goes to and fro between the kernel, which made it, and libthinp, three times: each writes, makes snapshots, deletes
# and discards what the other has left, and finds in it what it should.

guest_makes() {
	activate_pool
	create_thin 1 128
	create_thin 2 64
	create_thin 3 64
	write_blocks 1 0 60
	write_blocks 2 5 30
	create_snap 4 1 128
	write_blocks 1 10 10
	discard_blocks 4 0 5
	delete_thin 3
	guest_ends 1 2 4
}

guest_shares() { # what the library made, and what that was made of, are written to; then more snapshots
	activate_pool
	activate_thin 1 128
	activate_thin 2 64
	activate_thin 4 128
	activate_thin 10 128
	activate_thin 11 128
	sum_blocks_of 10 0 64
	sum_blocks_of 11 0 64
	mv $results/sums $results/found
	write_blocks 10 0 3
	write_blocks 1 50 20
	create_snap 5 10 128
	create_snap 6 5 128
	write_blocks 5 20 10
	discard_blocks 2 0 64
	delete_thin 4
	guest_ends 1 2 5 6 10 11
}

guest_gives_back() { # snapshots of both sides, their origins gone
	activate_pool
	activate_thin 1 128
	activate_thin 2 64
	activate_thin 5 128
	activate_thin 6 128
	activate_thin 11 128
	activate_thin 12 128
	sum_blocks_of 12 0 64
	mv $results/sums $results/found
	create_snap 13 12 128
	write_blocks 12 0 20
	discard_blocks 11 0 128
	delete_thin 5
	delete_thin 1
	create_thin 1 64
	write_blocks 1 60 4
	guest_ends 1 2 6 11 12 13
}

guest_ends() { # ids
	local id
	for id; do
		sum_blocks_of "$id" 0 64
	done
	keep_status end
	deactivate
}

agrees() { # name of the round, ids: all see the same in the pool that the kernel has left
	devices_are "$metadata" "${@:2}"
	all_agrees
	sums_agree "$metadata" "$data"
	cp results/sums "by_kernel_$1"
}

agrees_after_change() { # ids
	devices_are "$metadata" "$@"
	is_sound "$metadata"
	same_as_thin_dump "$metadata"
}

host() {
	blank_device metadata 4M
	blank_device data 64M

	machine guest_makes
	info_is "$metadata" nr_data_allocated 100
	agrees 1 1 2 4
	change <<-END
		snap 10 1
		write 1 0 8
		snap 11 4
		discard 4 20 20
		commit
		create 7
		write 7 0 10
		write 2 30 10
		commit
		delete 7
		write 10 100 5
		commit
	END
	agrees_after_change 1 2 4 10 11

	machine guest_shares
	agrees 2 1 2 5 6 10 11
	alike by_kernel_1 1 results/found 10
	alike by_kernel_1 4 results/found 11
	alike by_kernel_2 10 by_kernel_2 6
	unlike by_kernel_1 1 by_kernel_2 1
	unlike by_kernel_2 10 by_kernel_2 5
	change <<-END
		write 2 3 9
		snap 12 5
		write 5 30 10
		commit
		dismantle 10
		discard 6 0 64
		commit
	END
	agrees_after_change 1 2 5 6 11 12

	machine guest_gives_back
	agrees 3 1 2 6 11 12 13
	alike by_kernel_2 5 results/found 12
	alike results/found 12 by_kernel_3 13
	unlike by_kernel_3 12 by_kernel_3 13
	change <<-END
		delete 6
		snap 14 13
		snap 15 1
		write 13 0 30
		commit
		delete 1
		discard 12 100 10
		commit
	END
	agrees_after_change 2 11 12 13 14 15

	kernel_sees_the_same
	alike by_kernel_3 13 results/sums 14
	alike by_kernel_3 1 results/sums 15
	unlike by_kernel_3 13 results/sums 13
}
