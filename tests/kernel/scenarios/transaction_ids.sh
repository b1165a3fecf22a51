# SPDX-License-Identifier: BSD-3-Clause
# The transaction id of a pool: each side finds what the other has set, what new devices note of it, and refuses to set it
# for somebody who believes that it is another one.

guest_counts() {
	activate_pool
	activate_thin 1 8
	keep_status found
	refused message set_transaction_id 4 6
	message set_transaction_id 5 6
	create_thin 2 8
	refused message set_transaction_id 5 7
	message set_transaction_id 6 4294967296
	create_thin 3 8
	create_snap 4 1 8
	message set_transaction_id 4294967296 18446744073709551615
	keep_status end
	deactivate
}

host() {
	expected+='|mismatched transaction id|Failed to change transaction id'
	blank_device metadata 4M
	blank_device data 32M
	change --create 512 <<-END
		refused THINP_EINVAL transaction 1 2
		transaction 0 5
		create 1
		commit
		transaction 5 9
		abort
	END
	info_is "$metadata" transaction_id 5
	device_is "$metadata" 1 transaction 5

	machine guest_counts
	check "the kernel has the library's number" grep -q '^pool: .* thin-pool 5 ' results/found.status
	info_is "$metadata" transaction_id 18446744073709551615
	device_is "$metadata" 2 transaction 6
	device_is "$metadata" 3 transaction 4294967296
	device_is "$metadata" 4 transaction 4294967296
	device_is "$metadata" 3 creation_time 0
	device_is "$metadata" 4 creation_time 1
	device_is "$metadata" 1 snap_time 1
	all_agrees

	change <<-END
		refused THINP_EINVAL transaction 4294967296 7
		create 5
		transaction 18446744073709551615 7
		create 6
		commit
	END
	info_is "$metadata" transaction_id 7
	device_is "$metadata" 5 transaction 18446744073709551615
	device_is "$metadata" 6 transaction 7
}
