# SPDX-License-Identifier: BSD-3-Clause
# A pool whose mark may be taken away although a node is too empty (rule N7): the kernel works with it, and mends it. Beside a
# node with an odd capacity (N4) it fails; that keeps the mark.

guest_discards() { # first block, number of blocks
	activate_pool
	activate_thin 1 1024
	discard_blocks 1 "$@"
	keep_status end
	deactivate
}

guest_fails_to_discard() { # likewise
	activate_pool
	activate_thin 1 1024
	refused discard_blocks 1 "$@"
	deactivate
}

change_leaf() { # underfull or odd: the second leaf of device 1
	"$python" -B - "$here/../integration" "$metadata" "$1" <<-'END'
		import struct
		import sys
		sys.path.insert(0, sys.argv[1])
		from damage import Image
		with open(sys.argv[2], "rb") as file:
		    image = Image(bytearray(file.read()))
		leaf = image.leaves(image.device_roots()[0])[1]
		if sys.argv[3] == "underfull":
		    image.put(leaf, 16, 30, "I")
		else: # room for one entry less, and the values where they are then
		    nr = min(image.nr(leaf), 251)
		    values = bytes(image.data[4096 * leaf + 32 + 8 * 252:4096 * leaf + 32 + 8 * (252 + nr)])
		    image.data[4096 * leaf + 32 + 8 * 251:4096 * leaf + 32 + 8 * (251 + nr)] = values
		    image.put(leaf, 16, nr, "I")
		    image.put(leaf, 20, 251, "I")
		with open(sys.argv[2], "wb") as file:
		    file.write(image.data)
	END
	check "the mark" "$thinp" needs-check set "$metadata"
}

findings_are() { # rules of all findings but states
	local found
	found=$({ "$thinp" check --json "$metadata" || true; } | "$python" -c 'import json, sys
print(*sorted({each["rule"] for each in json.load(sys.stdin)["findings"] if each["severity"] != "state"}))')
	check "findings: $found" [ "$*" = "$found" ]
}

fix_and_clear() {
	refused "$thinp" check --quiet --fix-leaks --clear-needs-check "$metadata"
}

host() {
	blank_device metadata 4M
	blank_device data 80M
	change --create 1280 <<-END
		create 1
		write 1 0 1000
		commit
	END
	is_sound "$metadata"
	cp "$metadata" before

	change_leaf underfull
	check "the leaf stays" fix_and_clear
	findings_are N7
	info_is "$metadata" needs_check False
	machine guest_discards 260 10
	all_agrees
	info_is "$metadata" needs_check False

	cp before "$metadata"
	change_leaf odd
	check "the leaf keeps the mark" fix_and_clear
	info_is "$metadata" needs_check True
	check "to see why" "$thinp" needs-check clear "$metadata"
	expected+='|max_entries differ|metadata operation .* failed: error = -84|aborting current metadata|switching pool to read-only'
	expected+='|unable to read space map root|needs_check'
	machine guest_fails_to_discard 260 10
	info_is "$metadata" needs_check True
}
