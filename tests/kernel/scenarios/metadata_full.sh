# SPDX-License-Identifier: BSD-3-Clause
# Volumes are made until the metadata is full: the kernel stops the pool, and takes it again as it was. Then both sides delete
# volumes.

guest_fills() {
	local id=1
	activate_pool
	while message create_thin $id; do
		id=$((id + 1))
	done
	echo $((id - 1)) >$results/nr_made
	refused message delete 1
	dmsetup status >$results/stopped
	dmsetup remove pool
}

guest_looks() { # number of devices
	local id
	activate_pool
	for id in $(seq "$1"); do
		activate_thin "$id" 8
	done
	keep_status end
	deactivate
}

guest_deletes() { # first id, last id, number of devices
	local id
	activate_pool
	for id in $(seq "$1" "$2"); do
		message delete "$id"
	done
	for id in $(seq $(($2 + 1)) "$3"); do
		activate_thin "$id" 8
	done
	keep_status end
	deactivate
}

host() {
	local nr
	expected+='|reached low water mark for metadata|No free metadata blocks|switching pool to read-only mode'
	expected+='|aborting current metadata transaction|metadata operation .* failed: error = -28|unable to service pool target messages'
	blank_device metadata 200K # 50 blocks, 5 of which are kept for commits
	blank_device data 32M
	machine guest_fills
	nr=$(cat results/nr_made)
	check "the pool was stopped" grep -q ' 50/50 .* ro ' results/stopped
	devices_are "$metadata" $(seq "$nr")

	machine guest_looks "$nr"
	all_agrees
	change <<-END
		$(printf 'delete %d\ncommit\n' 1 2 3 4 5)
	END
	devices_are "$metadata" $(seq 6 "$nr")
	is_sound "$metadata"
	machine guest_deletes 6 10 "$nr"
	devices_are "$metadata" $(seq 11 "$nr")
	all_agrees
}
