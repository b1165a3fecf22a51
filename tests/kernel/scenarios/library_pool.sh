# SPDX-License-Identifier: BSD-3-Clause
# The kernel takes a pool that libthinp made: volumes of scattered blocks and of runs, snapshots of snapshots written to and
# not, discards, deleted volumes, more than ten thousand mapped blocks. It counts what the library counts, and reads in each
# block what was put into the data image.

host() {
	blank_device metadata 16M
	blank_device data 800M # 12800 blocks, most of them not written
	change --create 12800 <<-END
		create 1
		scatter 1 4200 1000000 1
		create 2
		write 2 0 3000
		commit
		snap 3 1
		snap 4 3
		scatter 1 600 1000000 1 # these were written before: now they are copied
		scatter 4 300 1000000 1
		commit
		discard 2 500 700
		discard 1 250000 50000
		discard 3 500000 100000
		create 5
		map 5 17592186044416 40
		map 5 0 300
		create 6
		write 6 0 300
		snap 7 6
		create 8
		commit
		delete 6
		write 7 100 50
		delete 8
		create 16777215
		commit
		snap 9 16777215
		write 9 3 1
		abort
	END
	devices_are "$metadata" 1 2 3 4 5 7 16777215
	check "mappings are $(compare mapped "$metadata"), more than 10000" [ "$(compare mapped "$metadata")" -gt 10000 ]
	is_sound "$metadata"
	kernel_sees_the_same
}
