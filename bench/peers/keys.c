/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/keys.c - random keys, and a radix sort for them.
 */
#include "keys.h"

#include <stdbool.h>
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

/* The highest passes of all: those of so many are enough for nearly all random keys. */
enum { MOST_DIGITS = 3 };

static void count(size_t (*starts)[NR_BUCKETS], const uint64_t *keys, size_t nr, int first_pass)
{
	memset(starts, 0, NR_PASSES * sizeof(*starts));
	for (size_t i = 0; i < nr; i++)
		for (int pass = first_pass; pass < NR_PASSES; pass++)
			starts[pass][bucket_of(keys[i], pass)]++;
	for (int pass = first_pass; pass < NR_PASSES; pass++)
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

/* Sorts by the digits of these passes; *sorted is the half of `pairs` in which they come to be. */
static void sort_digits(size_t (*starts)[NR_BUCKETS], struct pair *pairs, size_t nr, int first_pass,
			struct pair **sorted)
{
	struct pair *from = pairs, *to = pairs + nr;

	for (int pass = first_pass; pass < NR_PASSES; pass++) {
		struct pair *other = from;

		distribute(starts[pass], from, to, nr, pass);
		from = to;
		to = other;
	}
	*sorted = from;
}

/* Puts the few right that lower digits are to decide on. False: they are not few. */
static bool put_right(struct pair *pairs, size_t nr)
{
	size_t nr_moves = 0;

	for (size_t i = 1; i < nr; i++) {
		struct pair pair = pairs[i];
		size_t at = i;

		for (; at && pairs[at - 1].key > pair.key; at--, nr_moves++)
			pairs[at] = pairs[at - 1];
		pairs[at] = pair;
		if (nr_moves > nr)
			return false;
	}
	return true;
}

static void join(const uint64_t *keys, const uint64_t *values, struct pair *pairs, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		pairs[i] = (struct pair){.key = keys[i], .value = values[i]};
}

static void split(const struct pair *pairs, uint64_t *keys, uint64_t *values, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		keys[i] = pairs[i].key;
		values[i] = pairs[i].value;
	}
}

int sort_keys(uint64_t *keys, uint64_t *values, size_t nr)
{
	struct pair *pairs = malloc(2 * nr * sizeof(*pairs)), *sorted;
	size_t(*starts)[NR_BUCKETS] = malloc(NR_PASSES * sizeof(*starts));
	int first_pass = NR_PASSES - MOST_DIGITS;
	int r = pairs && starts ? 0 : -1;

	while (!r) {
		join(keys, values, pairs, nr);
		count(starts, keys, nr, first_pass);
		sort_digits(starts, pairs, nr, first_pass, &sorted);
		if (!first_pass || put_right(sorted, nr))
			break;
		first_pass = 0;
	}
	if (!r)
		split(sorted, keys, values, nr);
	free(starts);
	free(pairs);
	return r;
}
