#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# delete_device.sh DELETE_DEVICE METADATA - a copy of a pool loses a device; what is left is sound
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cp "$2" "$folder/pool"
chmod u+w "$folder/pool"
"$1" "$folder/pool" 0
"$1" "$folder/pool" 0 2>&1 | sed 's/.*: //'
PATH=$PATH:/usr/sbin:/sbin
if command -v thin_check > /dev/null; then
	thin_check -q "$folder/pool" # its word counts where it is
fi
