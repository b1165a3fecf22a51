# SPDX-License-Identifier: BSD-3-Clause
# The library writes to a pool until it finds no room for more metadata, and says so before it changes anything. The kernel
# takes it as it is, reads everything, and goes on with what a discard and a deletion give back; then the library fills it again.

guest_makes_room() {
	activate_pool
	activate_planned
	sum_planned
	keep_status full
	discard_blocks 1 0 200000
	write_blocks 1 0 20
	delete_thin 2
	create_snap 3 1 100
	sum_blocks_of 3 0 100
	keep_status end
	deactivate
}

host() {
	expected+='|reached low water mark for metadata'
	blank_device metadata 320K # 80 blocks
	blank_device data 1G
	change --create 16384 <<-END
		create 1
		create 2
		write 2 0 100
		fill 1 300000 7
		commit
	END
	info_is "$metadata" needs_check False
	is_sound "$metadata"
	cp "$metadata" full.metadata

	machine_with_plan guest_makes_room
	status_agrees full.metadata results/full.status
	check "the kernel did not stop" grep -q '^pool: .* rw ' results/end.status
	devices_are "$metadata" 1 3
	all_agrees
	change <<-END
		fill 3 300000 8
		discard 1 250000 50000
		dismantle 3
		commit
	END
	devices_are "$metadata" 1
	is_sound "$metadata"
	same_as_thin_dump "$metadata"
}
