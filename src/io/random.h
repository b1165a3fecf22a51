/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/random.h - numbers that look random and can be had again from their seed.
 */
#ifndef TP_IO_RANDOM_H
#define TP_IO_RANDOM_H

#include <stdint.h>

/* SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). Any state will do
 * to begin with. */
static inline uint64_t tp_random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

#endif
