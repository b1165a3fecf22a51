/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/keys.h - the keys of all benchmarks, and their sorting.
 */
#ifndef BENCH_PEERS_KEYS_H
#define BENCH_PEERS_KEYS_H

#include <stddef.h>
#include <stdint.h>

/* The i-th key in random order: a bijection, so that no key comes twice. */
uint64_t nth_key(uint64_t i);

/* Sorts fewer than 2^32 keys, and values along with them; made for keys that are spread evenly.
 * 0, or -1: no memory */
int sort_keys(uint64_t *keys, uint64_t *values, size_t nr);

#endif
