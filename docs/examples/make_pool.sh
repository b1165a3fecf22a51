#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# make_pool.sh MAKE_POOL - a pool is made; the second time its devices are there, and nothing is changed
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$1" "$folder/pool"
cp "$folder/pool" "$folder/copy"
"$1" "$folder/pool" 2>&1 || echo "(failed)"
cmp "$folder/pool" "$folder/copy" && echo "the pool is as it was"
PATH=$PATH:/usr/sbin:/sbin
if command -v thin_check > /dev/null; then
	thin_check -q "$folder/pool" # its word counts where it is
fi
