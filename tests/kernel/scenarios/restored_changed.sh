# SPDX-License-Identifier: BSD-3-Clause
# A pool that thin_restore 0.9 made, whose numbers beside the bitmaps are its own, is changed by the kernel, by libthinp and by
# the kernel again. It is never called damaged, and what libthinp writes has them right.

xml() {
	local i
	cat <<-END
		<superblock uuid="" time="1" transaction="5" flags="0" version="2" data_block_size="$block_sectors" nr_data_blocks="1024">
		<device dev_id="1" mapped_blocks="300" transaction="0" creation_time="0" snap_time="1">
	END
	for ((i = 0; i < 300; i++)); do
		echo "<single_mapping origin_block=\"$((2 * i))\" data_block=\"$((1000 - i))\" time=\"0\"/>"
	done
	cat <<-END
		</device>
		<device dev_id="2" mapped_blocks="20" transaction="1" creation_time="1" snap_time="1">
		<range_mapping origin_begin="0" data_begin="990" length="11" time="0"/>
		<range_mapping origin_begin="11" data_begin="20" length="9" time="1"/>
		</device>
		</superblock>
	END
}

guest_changes() { # id of a new device
	activate_pool
	activate_thin 1 700
	activate_thin 2 64
	write_blocks 1 1 20
	discard_blocks 1 100 100
	create_snap "$1" 1 700
	write_blocks "$1" 0 10
	write_blocks 2 5 30
	sum_blocks_of 1 0 700
	sum_blocks_of "$1" 0 700
	keep_status end
	deactivate
}

counts_of() { # how many findings there are
	"$thinp" check --json "$metadata" | "$python" -c 'import json, sys; print(len(json.load(sys.stdin)["findings"]))'
}

host() {
	maker=--restored
	blank_device metadata 4M
	blank_device data 64M
	fill_data
	xml >xml
	check "thin_restore" thin_restore -i xml -o "$metadata" >messages
	is_sound "$metadata"
	machine guest_changes 3
	all_agrees
	sums_agree "$metadata" "$data"
	check "the numbers of thin_restore are still there" [ "$(counts_of)" -gt 0 ]

	change <<-END
		write 1 3 30
		snap 10 3
		delete 3
		write 10 0 40
		commit
		discard 2 0 8
		delete 10
		commit
	END
	is_sound "$metadata"
	same_as_thin_dump "$metadata"
	machine guest_changes 4
	all_agrees
	sums_agree "$metadata" "$data"
	check "libthinp has put them right" [ "$(counts_of)" = 0 ]
	truncate -s 80M "$data"
	change <<-END
		grow_data 1280
		delete 4
		commit
	END
	maker=
	machine guest_changes 5
	all_agrees
	sums_agree "$metadata" "$data"
}
