# SPDX-License-Identifier: BSD-3-Clause
# The kernel takes a pool that thin_restore made of XML: shared blocks, an empty volume, the greatest id, blocks far out,
# and a volume of many single blocks, whose tree has two levels. Every block that is mapped reads as the data image has it.

xml() {
	local i
	cat <<-END
		<superblock uuid="" time="3" transaction="5" flags="0" version="2" data_block_size="$block_sectors" nr_data_blocks="1024">
		<device dev_id="0" mapped_blocks="41" transaction="0" creation_time="0" snap_time="2">
		<range_mapping origin_begin="0" data_begin="0" length="20" time="0"/>
		<single_mapping origin_block="20" data_block="100" time="1"/>
		<range_mapping origin_begin="40" data_begin="20" length="20" time="0"/>
		</device>
		<device dev_id="7" mapped_blocks="30" transaction="1" creation_time="2" snap_time="2">
		<range_mapping origin_begin="0" data_begin="0" length="10" time="0"/>
		<range_mapping origin_begin="10" data_begin="200" length="20" time="2"/>
		</device>
		<device dev_id="8" mapped_blocks="0" transaction="1" creation_time="2" snap_time="2">
		</device>
		<device dev_id="9" mapped_blocks="3" transaction="4" creation_time="3" snap_time="3">
		<single_mapping origin_block="1000000" data_block="1023" time="3"/>
		<range_mapping origin_begin="1099511627776" data_begin="1021" length="2" time="3"/>
		</device>
		<device dev_id="16777215" mapped_blocks="600" transaction="5" creation_time="3" snap_time="3">
	END
	for ((i = 0; i < 600; i++)); do
		echo "<single_mapping origin_block=\"$((2 * i))\" data_block=\"$((1000 - i))\" time=\"3\"/>"
	done
	echo '</device></superblock>'
}

host() {
	maker=--restored
	expected+='|switching pool to read-only mode' # as it is told to
	blank_device metadata 4M
	blank_device data 64M
	fill_data
	xml >xml
	check "thin_restore" thin_restore -i xml -o "$metadata" >messages

	devices_are "$metadata" 0 7 8 9 16777215
	kernel_sees_the_same read_only
}
