# SPDX-License-Identifier: BSD-3-Clause
# Metadata snapshots of either side. One that libthinp reserved stays what it was while the kernel goes on, and the kernel
# releases it; one that the kernel reserved stays what it was while the library goes on, and the library releases it.

guest_goes_on() {
	activate_pool
	activate_thin 1 128
	activate_thin 2 128
	keep_status found
	refused message reserve_metadata_snap
	write_blocks 1 20 30
	create_snap 3 1 128
	write_blocks 3 0 5
	delete_thin 2
	thinp dump --metadata-snap $metadata | sed 's/ nr_data_blocks="[0-9]*"//' >$results/running.xml
	keep_metadata changed
	message release_metadata_snap
	refused thinp dump --metadata-snap $metadata
	refused message release_metadata_snap
	write_blocks 3 50 5
	keep_metadata released
	message reserve_metadata_snap
	write_blocks 1 0 3
	keep_status end
	deactivate
}

dump() { # arguments, the last of which is the file to write; without the pool's size, which a snapshot does not have
	"$thinp" dump "${@:1:$#-1}" | sed 's/ nr_data_blocks="[0-9]*"//' >"${@: -1}"
}

host() {
	expected+='|metadata snapshot already exists|No pool metadata snapshot found|(reserve|release)_metadata_snap message failed'
	blank_device metadata 4M
	blank_device data 32M
	change --create 512 <<-END
		create 1
		write 1 0 40
		snap 2 1
		write 2 10 100
		commit
		refused THINP_ENOENT release
		reserve
		commit
		refused THINP_EBUSY reserve
		write 2 0 5
		commit
	END
	dump --metadata-snap "$metadata" reserved.xml
	check "the pool has gone on" refused cmp -s reserved.xml <("$thinp" dump "$metadata")
	is_sound "$metadata"
	same_as_thin_dump "$metadata" -m

	local address
	address=$(compare info "$metadata" metadata_snap)
	machine guest_goes_on
	check "the kernel has the library's snapshot" grep -q " $address rw " results/found.status
	check "and lets it be while it goes on" cmp reserved.xml results/running.xml
	dump --metadata-snap results/changed.metadata snap.xml
	check "as the metadata has it" cmp reserved.xml snap.xml
	is_sound results/changed.metadata
	same_as_thin_dump results/changed.metadata -m
	is_sound results/released.metadata
	info_is results/released.metadata metadata_snap 0
	all_agrees

	dump results/released.metadata released.xml
	dump --metadata-snap "$metadata" reserved.xml
	check "the kernel's snapshot is what it was reserved on" cmp released.xml reserved.xml
	change <<-END
		refused THINP_EBUSY reserve
		snap 4 3
		write 3 0 20
		delete 1
		commit
		discard 4 0 10
		commit
	END
	dump --metadata-snap "$metadata" snap.xml
	check "the library lets the kernel's snapshot be" cmp reserved.xml snap.xml
	same_as_thin_dump "$metadata" -m
	is_sound "$metadata"
	machine_with_plan read_whole_pool
	all_agrees
	sums_agree "$metadata" "$data" --whole
	change <<-END
		release
		commit
		refused THINP_ENOENT release
		abort
	END
	info_is "$metadata" metadata_snap 0
	is_sound "$metadata"
}
