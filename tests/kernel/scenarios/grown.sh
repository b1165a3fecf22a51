# SPDX-License-Identifier: BSD-3-Clause
# Metadata and data that libthinp has grown are used by the kernel, and what the kernel has grown is used by the library: each
# time so much is written that it cannot be without what has been added.

guest_uses() { # snapshots, and blocks in each leaf of their trees: as many new leaves
	activate_pool
	activate_thin 1 65536
	create_snap 2 1 65536
	write_every 2 0 656 100
	create_snap 3 1 65536
	create_snap 4 1 65536
	create_snap 5 1 65536
	write_every 3 1 656 100
	write_every 4 2 656 100
	write_every 5 3 656 100
	write_every 1 3 656 100
	sum_blocks_of 1 0 1000
	sum_blocks_of 2 0 1000
	keep_status end
	deactivate
}

guest_grows() { # what it is given is larger than before
	activate_pool
	activate_thin 1 65536
	activate_thin 2 65536
	activate_thin 3 65536
	activate_thin 4 65536
	activate_thin 5 65536
	write_blocks 1 1 10
	sum_blocks_of 1 0 20
	keep_status end
	deactivate
}

uses_more_than() { # member of thinp info, number
	check "$1 of $metadata, which is $(compare info "$metadata" "$1"), above $2" [ "$(compare info "$metadata" "$1")" -gt "$2" ]
}

host() {
	expected+='|growing the (metadata|data) device from'
	blank_device metadata 320K # 80 blocks
	blank_device data 200M # 3200 blocks
	change --create 3200 <<-END
		create 1
		fill 1 65536 1
		commit
	END
	is_sound "$metadata"
	info_is "$metadata" nr_data_allocated 3200

	truncate -s 80M "$metadata" # over the end of the first bitmap
	truncate -s 300M "$data"
	change <<-END
		refused THINP_EINVAL grow_data 3199
		grow_metadata 20480
		grow_data 4800
		commit
	END
	is_sound "$metadata"
	machine guest_uses
	all_agrees
	sums_agree "$metadata" "$data"
	uses_more_than nr_metadata_allocated 80
	uses_more_than nr_data_allocated 3200

	truncate -s 130M "$metadata" # and of the second
	truncate -s 400M "$data"
	machine guest_grows
	info_is "$metadata" nr_metadata_blocks 33280
	info_is "$metadata" nr_data_blocks 6400
	all_agrees
	sums_agree "$metadata" "$data"
	change <<-END
		delete 2
		delete 3
		delete 4
		dismantle 5
		commit
		create 6
		scatter 6 2500 1000000 3
		commit
	END
	uses_more_than nr_data_allocated 4800
	kernel_sees_the_same
}
