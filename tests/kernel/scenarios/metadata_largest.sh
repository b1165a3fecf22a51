# SPDX-License-Identifier: BSD-3-Clause
# Of a metadata device that is larger than metadata can be the kernel uses what it can.

guest_makes() {
	activate_pool
	create_thin 1 128
	write_blocks 1 0 30
	read_blocks 1 0 128
	keep_status end
	deactivate
}

host() {
	expected+='|is larger than 33292800 sectors: excess space will not be used'
	blank_device metadata 17G
	blank_device data 32M
	machine guest_makes

	info_is "$metadata" nr_metadata_blocks 4161600
	devices_are "$metadata" 1
	all_agrees
	blocks_agree "$metadata" "$data"
}
