# SPDX-License-Identifier: BSD-3-Clause
# The metadata device of a running pool grows, from less than one bitmap of the space map to the third.

guest_grows() {
	local device=$metadata
	dmsetup create metadata --table "0 4096 linear $device 0"
	metadata=/dev/mapper/metadata
	activate_pool
	create_thin 1 128
	write_blocks 1 0 30
	keep_status small
	keep_metadata small

	dmsetup suspend thin-1
	dmsetup suspend pool
	dmsetup suspend metadata
	dmsetup load metadata --table "0 $(blockdev --getsz $device) linear $device 0"
	dmsetup resume metadata
	dmsetup resume pool
	dmsetup resume thin-1

	create_snap 2 1 128
	write_blocks 1 25 40
	read_blocks 1 0 128
	read_blocks 2 0 128
	keep_status end
	deactivate
	dmsetup remove metadata
}

host() {
	expected+='|growing the metadata device from'
	blank_device metadata 160M
	blank_device data 32M
	machine guest_grows

	info_is results/small.metadata nr_metadata_blocks 512
	same_as_thin_dump results/small.metadata
	info_is "$metadata" nr_metadata_blocks 40960
	devices_are "$metadata" 1 2
	all_agrees
	blocks_agree "$metadata" "$data"
}
