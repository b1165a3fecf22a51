/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/keys.c - random keys, and a radix sort for them.
 */
#include "keys.h"

#include <stdlib.h>
#include <string.h>

enum { BITS = 11, NR_BUCKETS = 1 << BITS, NR_PASSES = 6 };

struct pair {
	uint64_t key, value;
};

uint64_t nth_key(uint64_t i)
{
	i++;
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
	i = (i ^ i >> 27) * 0x94d049bb133111eb;
	return i ^ i >> 31;
}

static size_t bucket_of(uint64_t key, int pass)
{
	return key >> (pass * BITS) & (NR_BUCKETS - 1);
}

static void count(size_t (*starts)[NR_BUCKETS], const uint64_t *keys, size_t nr)
{
	memset(starts, 0, NR_PASSES * sizeof(*starts));
	for (size_t i = 0; i < nr; i++)
		for (int pass = 0; pass < NR_PASSES; pass++)
			starts[pass][bucket_of(keys[i], pass)]++;
	for (int pass = 0; pass < NR_PASSES; pass++)
		for (size_t b = 0, sum = 0; b < NR_BUCKETS; b++) {
			size_t here = starts[pass][b];

			starts[pass][b] = sum;
			sum += here;
		}
}

static void distribute(size_t *starts, const struct pair *from, struct pair *to, size_t nr, int pass)
{
	for (size_t i = 0; i < nr; i++)
		to[starts[bucket_of(from[i].key, pass)]++] = from[i];
}

int sort_keys(uint64_t *keys, uint64_t *values, size_t nr)
{
	struct pair *pairs = malloc(2 * nr * sizeof(*pairs)), *from = pairs, *to = pairs + nr;
	size_t(*starts)[NR_BUCKETS] = malloc(NR_PASSES * sizeof(*starts));
	int r = pairs && starts ? 0 : -1;

	if (!r)
		count(starts, keys, nr);
	for (size_t i = 0; i < nr && !r; i++)
		from[i] = (struct pair){.key = keys[i], .value = values[i]};
	for (int pass = 0; pass < NR_PASSES && !r; pass++) {
		struct pair *other = from;

		distribute(starts[pass], from, to, nr, pass);
		from = to;
		to = other;
	}
	for (size_t i = 0; i < nr && !r; i++) {
		keys[i] = from[i].key;
		values[i] = from[i].value;
	}
	free(starts);
	free(pairs);
	return r;
}
