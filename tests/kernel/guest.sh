# SPDX-License-Identifier: BSD-3-Clause
# What the parts of scenarios that run inside the machine share; for busybox's sh -eux. A pool is named pool, its devices
# thin-ID. Blocks are the pool's data blocks.

metadata=/dev/disk/metadata data=/dev/disk/data results=/results
block_sectors=128

pool_table() { # features
	echo "0 $(blockdev --getsz $data) thin-pool $metadata $data $block_sectors 0 $# $*"
}

activate_pool() { # features
	dmsetup create pool --table "$(pool_table "$@")"
}

activate_thin() { # id, number of blocks
	dmsetup create "thin-$1" --table "0 $(($2 * block_sectors)) thin /dev/mapper/pool $1"
}

message() { # to the pool
	dmsetup message pool 0 "$*"
}

refused() { # command: it has to fail
	if "$@"; then
		return 1
	fi
}

create_thin() { # id, number of blocks: a new device, activated
	message create_thin "$1"
	activate_thin "$1" "$2"
}

create_snap() { # id, id of its origin, number of blocks: likewise
	dmsetup suspend "thin-$2"
	message create_snap "$1" "$2"
	dmsetup resume "thin-$2"
	activate_thin "$1" "$3"
}

delete_thin() { # id
	dmsetup remove "thin-$1"
	message delete "$1"
}

deactivate() { # all that is there, devices before their pool
	local name
	for name in $(dmsetup ls | sed -n 's/^\(thin-[0-9]*\).*/\1/p') pool; do
		dmsetup remove "$name"
	done
}

write_blocks() { # id, first block, number of blocks: every block gets other bytes
	dd if=/dev/urandom of="/dev/mapper/thin-$1" bs=${block_sectors}b seek="$2" count="$3" iflag=fullblock conv=fsync status=none
}

discard_blocks() { # id, first block, number of blocks
	blkdiscard -o $(($2 * block_sectors * 512)) -l $(($3 * block_sectors * 512)) "/dev/mapper/thin-$1"
}

read_blocks() { # id, first block, number of blocks: notes what they hold, for host.sh's blocks_agree
	local sum
	sum=$(dd if="/dev/mapper/thin-$1" bs=${block_sectors}b skip="$2" count="$3" iflag=direct status=none | sha1sum)
	echo "$1 $2 $3 ${sum%% *}" >>$results/blocks
}

sum_blocks_of() { # id, first block, number of blocks: notes what each holds, for host.sh's sums_agree and alike
	echo "$2 $3" | blocks sum "/dev/mapper/thin-$1" $((block_sectors * 512)) "$1" >>$results/sums
}

write_every() { # id, first block, step, number of blocks: some bytes of each, then all is made durable
	seq "$2" "$3" $(($2 + $3 * ($4 - 1))) | sed 's/$/ 1/' |
		blocks write "/dev/mapper/thin-$1" $((block_sectors * 512)) "device $1, step $3"
}

keep_status() { # name: what the kernel says now, after a commit; for host.sh's status_agrees
	dmsetup status >"$results/$1.status"
}

keep_metadata() { # name, device: its bytes at this moment, past the cache, which knows nothing of the pool's writes
	dd if="${2:-$metadata}" of="$results/$1.metadata" bs=1M iflag=direct status=none
}

activate_planned() { # every device that /plan names, as large as it has mappings
	local id end
	awk '{ if ($2 + $3 > end[$1]) end[$1] = $2 + $3 } END { for (id in end) printf "%d %.0f\n", id, end[id] }' /plan >/ends
	while read -r id end; do
		activate_thin "$id" "$end"
	done </ends
}

sum_planned() { # what each block of /plan holds: after activate_planned
	local id
	for id in $(sed 's/ .*//' /plan | uniq); do
		sed -n "s/^$id //p" /plan | blocks sum "/dev/mapper/thin-$id" $((block_sectors * 512)) "$id" >>$results/sums
	done
}

read_whole_pool() { # features: every device that /plan names, and every block of it that is mapped
	activate_pool "$@"
	activate_planned
	sum_planned
	keep_status end
	deactivate
}
