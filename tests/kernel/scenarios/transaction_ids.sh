# SPDX-License-Identifier: BSD-3-Clause
# The transaction id that user space sets by messages, and what new devices note of it.

guest_counts() {
	activate_pool
	create_thin 1 8
	message set_transaction_id 0 1
	create_thin 2 8
	refused message set_transaction_id 0 2
	message set_transaction_id 1 4294967296
	create_thin 3 8
	create_snap 4 1 8
	message set_transaction_id 4294967296 18446744073709551615
	keep_status end
	deactivate
}

host() {
	blank_device metadata 4M
	blank_device data 32M
	machine guest_counts

	info_is "$metadata" transaction_id 18446744073709551615
	device_is "$metadata" 1 transaction 0
	device_is "$metadata" 2 transaction 1
	device_is "$metadata" 3 transaction 4294967296
	device_is "$metadata" 4 transaction 4294967296
	device_is "$metadata" 3 creation_time 0
	device_is "$metadata" 4 creation_time 1
	device_is "$metadata" 1 snap_time 1
	all_agrees
}
