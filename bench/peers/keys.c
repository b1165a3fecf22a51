/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/keys.c - random keys, and a sort for them.
 *
 * Random keys are spread evenly. So their upper bits tell to which of many parts a key belongs, and the next ones nearly its
 * place in there. A part fits the processor's nearest cache: the keys go through memory twice only.
 */
#include "keys.h"

#include <stdlib.h>
#include <string.h>

enum { PART_BITS = 9, MOST_PART_BITS = 11, MOST_PLACE_BITS = 12 };

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

/* The bits of a key from `first` on, counted from its upper end. */
struct digit {
	unsigned int first, nr_bits;
};

static size_t nr_of(const struct digit *digit)
{
	return (size_t)1 << digit->nr_bits;
}

static inline size_t digit_of(const struct digit *digit, uint64_t key)
{
	return key << digit->first >> (64 - digit->nr_bits);
}

/* How often a number can be halved before it is 1. */
static unsigned int nr_halvings(size_t nr)
{
	unsigned int n = 0;

	while (nr >>= 1)
		n++;
	return n;
}

static unsigned int at_most(unsigned int nr, unsigned int most)
{
	return nr < most ? nr : most;
}

/* Parts of some 2^PART_BITS keys. */
static struct digit digit_of_parts(size_t nr)
{
	unsigned int n = nr_halvings(nr);

	return (struct digit){.nr_bits = n > PART_BITS ? at_most(n - PART_BITS, MOST_PART_BITS) : 1};
}

/* Twice as many places as keys. */
static struct digit digit_of_places(const struct digit *parts, size_t nr)
{
	return (struct digit){.first = parts->nr_bits, .nr_bits = at_most(nr_halvings(nr) + 1, MOST_PLACE_BITS)};
}

/* How many there are becomes where they begin. */
static void add_up(uint32_t *starts, size_t nr)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < nr; i++) {
		uint32_t here = starts[i];

		starts[i] = sum;
		sum += here;
	}
}

/* Afterwards starts[] tells where each part ends. */
static void distribute(const uint64_t *keys, const uint64_t *values, size_t nr, const struct digit *digit,
		       uint32_t *starts, struct pair *to)
{
	memset(starts, 0, nr_of(digit) * sizeof(*starts));
	for (size_t i = 0; i < nr; i++)
		starts[digit_of(digit, keys[i])]++;
	add_up(starts, nr_of(digit));
	for (size_t i = 0; i < nr; i++)
		to[starts[digit_of(digit, keys[i])]++] = (struct pair){.key = keys[i], .value = values[i]};
}

static void place(const struct pair *from, size_t nr, const struct digit *digit, uint32_t *starts, uint64_t *keys,
		  uint64_t *values)
{
	memset(starts, 0, nr_of(digit) * sizeof(*starts));
	for (size_t i = 0; i < nr; i++)
		starts[digit_of(digit, from[i].key)]++;
	add_up(starts, nr_of(digit));
	for (size_t i = 0; i < nr; i++) {
		uint32_t at = starts[digit_of(digit, from[i].key)]++;

		keys[at] = from[i].key;
		values[at] = from[i].value;
	}
}

/* Puts the few right on which lower bits are to decide. Keys that are not spread evenly take longer, but come out right. */
static void put_right(uint64_t *keys, uint64_t *values, size_t nr)
{
	for (size_t i = 1; i < nr; i++) {
		uint64_t key = keys[i], value = values[i];
		size_t at = i;

		for (; at && keys[at - 1] > key; at--) {
			keys[at] = keys[at - 1];
			values[at] = values[at - 1];
		}
		keys[at] = key;
		values[at] = value;
	}
}

static void sort_part(const struct pair *from, size_t nr, const struct digit *parts, uint64_t *keys, uint64_t *values)
{
	const struct digit places = digit_of_places(parts, nr);
	uint32_t starts[1 << MOST_PLACE_BITS];

	place(from, nr, &places, starts, keys, values);
	put_right(keys, values, nr);
}

int sort_keys(uint64_t *keys, uint64_t *values, size_t nr)
{
	const struct digit parts = digit_of_parts(nr);
	uint32_t ends[1 << MOST_PART_BITS];
	struct pair *pairs = malloc(nr * sizeof(*pairs));
	uint32_t begin = 0;

	if (!pairs)
		return -1;
	distribute(keys, values, nr, &parts, ends, pairs);
	for (size_t i = 0; i < nr_of(&parts); begin = ends[i++])
		sort_part(pairs + begin, ends[i] - begin, &parts, keys + begin, values + begin);
	free(pairs);
	return 0;
}
