#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# kv.sh KV - what the example kv can do
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
kv() {
	echo "\$ kv FILE $*"
	"$program" "$folder/file" "$@" 2>&1 || echo "(failed)"
}
program=$1

kv set 3 30
kv set 1 10
kv set 2 20
kv get 2
kv snapshot 1
kv set 2 21
kv del 3
kv list
kv del 3
kv snapshot 2
kv rollback 1
kv list
kv rollback 2
kv list
kv rollback 3
kv get 3

# Some more, with snapshots in between, make the file grow.
nr_bytes=$(wc -c < "$folder/file")
i=0
while [ $i -lt 240 ]; do
	"$program" "$folder/file" set $((i * 7 % 240 + 100)) $i
	[ $((i % 20)) -ne 0 ] || "$program" "$folder/file" snapshot $((i / 20 + 3))
	i=$((i + 1))
done
[ "$nr_bytes" -ge "$(wc -c < "$folder/file")" ] || echo "the file has grown"
kv get 339
kv rollback 1
kv list
