# SPDX-License-Identifier: BSD-3-Clause
# A metadata snapshot stays what the pool was when it was reserved, while the pool goes on: read from the running pool, and
# from copies of its metadata.

guest_reserves() {
	activate_pool
	create_thin 1 128
	write_blocks 1 0 30
	message reserve_metadata_snap
	refused message reserve_metadata_snap
	keep_status reserved
	keep_metadata reserved

	write_blocks 1 20 30
	create_snap 2 1 128
	write_blocks 2 0 5
	keep_status changed
	keep_metadata changed
	thinp dump --metadata-snap $metadata | sed 's/ nr_data_blocks="[0-9]*"//' >$results/running.xml

	message release_metadata_snap
	refused thinp dump --metadata-snap $metadata
	message reserve_metadata_snap
	keep_metadata second
	thinp dump --metadata-snap $metadata | sed 's/ nr_data_blocks="[0-9]*"//' >$results/running_second.xml

	delete_thin 2
	keep_status end
	deactivate
}

dump() { # arguments, the last of which is the file to write; without the pool's size, which a snapshot does not have
	"$thinp" dump "${@:1:$#-1}" | sed 's/ nr_data_blocks="[0-9]*"//' >"${@: -1}"
}

host() {
	expected+='|metadata snapshot already exists|reserve_metadata_snap message failed'
	blank_device metadata 4M
	blank_device data 32M
	machine guest_reserves

	dump results/reserved.metadata reserved.xml
	dump --metadata-snap results/changed.metadata snap.xml
	dump results/changed.metadata changed.xml
	check "the snapshot is what was reserved" cmp reserved.xml snap.xml
	check "the running pool has that snapshot" cmp reserved.xml results/running.xml
	check "the pool has gone on" grep -q 'dev_id="2"' changed.xml
	same_as_thin_dump results/changed.metadata -m

	dump results/second.metadata second.xml
	check "the second snapshot is the changed pool" cmp changed.xml second.xml
	check "the running pool has the second snapshot" cmp second.xml results/running_second.xml
	dump --metadata-snap "$metadata" snap.xml
	check "the second snapshot outlives a deletion and the pool's end" cmp second.xml snap.xml

	is_sound results/changed.metadata
	devices_are "$metadata" 1
	all_agrees
}
