/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/base/random.h - numbers for random tests, and the seed that brings a failure back.
 */
#ifndef UNIT_BASE_RANDOM_H
#define UNIT_BASE_RANDOM_H

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). */
static inline uint64_t random_next(uint64_t *rng)
{
	uint64_t z = *rng += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint64_t random_below(uint64_t *rng, uint64_t limit)
{
	return random_next(rng) % limit;
}

/* A new seed each time, printed; the environment variable THINP_TEST_SEED repeats a run. */
static inline uint64_t random_begin(void)
{
	const char *given = getenv("THINP_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

	print_message("THINP_TEST_SEED=%" PRIu64 "\n", seed);
	return seed;
}

static inline void random_fill(uint64_t *rng, uint8_t *bytes, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		bytes[i] = (uint8_t)random_next(rng);
}

#endif
