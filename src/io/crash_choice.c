/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/crash_choice.c - which pieces of a window are kept in its n-th state, and which sectors of the torn ones.
 *
 * The states of a window with n pieces, in this order:
 *
 *   few pieces    2^n subsets
 *   many pieces   n + 1 prefixes, n with one lost, n with one kept, random ones
 *   both          for each block of a write: its torn forms as the last one; then its torn forms among the others
 *
 * Everything follows from the options, the number of the window and n, so that a number brings its state back.
 */
#include "io/crash.h"
#include "io/random.h"
#include "io/sectors.h"

/* Ways to tear one block: the first 1 to 7 sectors are new; or any subset but none and all. */
enum { NR_PREFIXES = TP_SECTORS_PER_BLOCK - 1, NR_ANY = (1 << TP_SECTORS_PER_BLOCK) - 2 };

static uint64_t nr_untorn(const struct tp_choice *choice, uint64_t nr_pieces)
{
	if (nr_pieces <= choice->exhaustive_max)
		return UINT64_C(1) << nr_pieces;
	return 3 * nr_pieces + 1 + choice->nr_random;
}

static uint64_t nr_torn_forms(const struct tp_choice *choice)
{
	if (choice->tear == THINP_CRASH_TEAR_NONE)
		return 0;
	return choice->tear == THINP_CRASH_TEAR_ANY ? NR_ANY : NR_PREFIXES;
}

static size_t count_writes(const struct tp_history *window)
{
	size_t nr = 0;

	for (size_t i = 0; i < window->nr_pieces; i++)
		nr += window->pieces[i].data != NULL;
	return nr;
}

uint64_t tp_choice_nr_states(const struct tp_choice *choice, const struct tp_history *window)
{
	uint64_t nr_places = choice->tear == THINP_CRASH_TEAR_LAST ? 1 : 2;

	return nr_untorn(choice, window->nr_pieces) + nr_places * count_writes(window) * nr_torn_forms(choice);
}

/* The pieces from begin to end. */
static void fill(uint8_t *sectors, size_t begin, size_t end, uint8_t value)
{
	for (size_t i = begin; i < end; i++)
		sectors[i] = value;
}

static uint32_t make_subset(uint64_t n, size_t nr_pieces, uint8_t *sectors)
{
	for (size_t i = 0; i < nr_pieces; i++)
		sectors[i] = n >> i & 1 ? TP_SECTORS_ALL : TP_SECTORS_NONE;
	return THINP_CRASH_SUBSET;
}

static uint32_t make_prefix(size_t nr_kept, size_t nr_pieces, uint8_t *sectors)
{
	fill(sectors, 0, nr_kept, TP_SECTORS_ALL);
	fill(sectors, nr_kept, nr_pieces, TP_SECTORS_NONE);
	return THINP_CRASH_PREFIX;
}

static uint32_t make_lost_one(size_t lost, size_t nr_pieces, uint8_t *sectors)
{
	fill(sectors, 0, nr_pieces, TP_SECTORS_ALL);
	sectors[lost] = TP_SECTORS_NONE;
	return THINP_CRASH_LOST_ONE;
}

static uint32_t make_kept_one(size_t kept, size_t nr_pieces, uint8_t *sectors)
{
	fill(sectors, 0, nr_pieces, TP_SECTORS_NONE);
	sectors[kept] = TP_SECTORS_ALL;
	return THINP_CRASH_KEPT_ONE;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t state = a;

	state = tp_random_next(&state) ^ b;
	return tp_random_next(&state);
}

/* How much is kept differs from state to state, from one piece in eight to seven. One block in eight is torn. */
static uint32_t make_random(const struct tp_choice *choice, const struct tp_history *window, uint64_t n,
			    uint8_t *sectors)
{
	uint64_t random = mix(mix(choice->seed, window->window), n);
	uint64_t kept_in_8 = 1 + tp_random_next(&random) % 7;

	for (size_t i = 0; i < window->nr_pieces; i++) {
		uint64_t drawn = tp_random_next(&random);
		bool is_torn = choice->tear != THINP_CRASH_TEAR_NONE && window->pieces[i].data && drawn >> 60 < 2;
		bool is_kept = drawn % 8 < kept_in_8;

		if (is_torn)
			sectors[i] = (uint8_t)(drawn >> 8);
		else
			sectors[i] = is_kept ? TP_SECTORS_ALL : TP_SECTORS_NONE;
	}
	return THINP_CRASH_RANDOM;
}

static uint32_t make_untorn(const struct tp_choice *choice, const struct tp_history *window, uint64_t n,
			    uint8_t *sectors)
{
	size_t nr_pieces = window->nr_pieces;

	if (nr_pieces <= choice->exhaustive_max)
		return make_subset(n, nr_pieces, sectors);
	if (n <= nr_pieces)
		return make_prefix((size_t)n, nr_pieces, sectors);
	n -= nr_pieces + 1;
	if (n < nr_pieces)
		return make_lost_one((size_t)n, nr_pieces, sectors);
	n -= nr_pieces;
	if (n < nr_pieces)
		return make_kept_one((size_t)n, nr_pieces, sectors);
	return make_random(choice, window, n - nr_pieces, sectors);
}

/* The n-th block of a write, or the number of pieces when there are not so many. */
static size_t find_write(const struct tp_history *window, uint64_t n)
{
	size_t i;

	for (i = 0; i < window->nr_pieces; i++)
		if (window->pieces[i].data && !n--)
			break;
	return i;
}

static uint32_t make_torn(const struct tp_choice *choice, const struct tp_history *window, uint64_t n, uint8_t *sectors)
{
	uint64_t nr_forms = nr_torn_forms(choice);
	uint64_t nr_writes = count_writes(window);
	bool is_last = n / nr_forms < nr_writes;
	size_t torn = find_write(window, n / nr_forms % nr_writes);
	uint32_t form = (uint32_t)(n % nr_forms) + 1;

	fill(sectors, 0, torn, TP_SECTORS_ALL);
	sectors[torn] = (uint8_t)(choice->tear == THINP_CRASH_TEAR_ANY ? form : (1u << form) - 1);
	fill(sectors, torn + 1, window->nr_pieces, is_last ? TP_SECTORS_NONE : TP_SECTORS_ALL);
	return is_last ? THINP_CRASH_TORN_LAST : THINP_CRASH_TORN_ONE;
}

uint32_t tp_choice_make(const struct tp_choice *choice, const struct tp_history *window, uint64_t n, uint8_t *sectors)
{
	uint64_t nr_whole = nr_untorn(choice, window->nr_pieces);

	if (n < nr_whole)
		return make_untorn(choice, window, n, sectors);
	return make_torn(choice, window, n - nr_whole, sectors);
}
