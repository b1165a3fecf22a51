/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/alloc.c - the map in memory, through its table.
 */
#include "failures.h"

#include <thinp/alloc.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NR = 100000, FAR = 70000, LONG_RUN = 30000, LARGE_COUNT = 300, PROBES = 5 };
#define UNTOUCHED UINT64_C(0x1234567812345678)

static const thinp_block_t probes[PROBES] = {0, FAR - 1, FAR, FAR + LONG_RUN - 1, NR - 1};

struct counts {
	uint64_t nr_zero;
	uint32_t at[PROBES];
};

static struct counts look(struct thinp_memory_map *map, const struct thinp_alloc *table)
{
	struct counts counts = {.nr_zero = thinp_memory_map_nr_zero(map)};

	for (size_t i = 0; i < PROBES; i++)
		assert_int_equal(table->count(table->ctx, probes[i], &counts.at[i]), 0);
	return counts;
}

static void expect_same(struct thinp_memory_map *map, const struct thinp_alloc *table, const struct counts *before)
{
	struct counts now = look(map, table);

	assert_int_equal(now.nr_zero, before->nr_zero);
	assert_memory_equal(now.at, before->at, sizeof(now.at));
}

/* Neither inc nor dec changes anything when it fails, wherever in the range that is. */
static int change_runs(struct thinp_memory_map *map, const struct thinp_alloc *table)
{
	struct counts before = look(map, table);
	int r = table->inc(table->ctx, FAR, LONG_RUN, THINP_CAUSE_USER);

	for (int i = 1; i < LARGE_COUNT && !r; i++) {
		before = look(map, table);
		r = table->inc(table->ctx, FAR + 10, 1, THINP_CAUSE_USER);
	}
	if (!r) {
		before = look(map, table);
		thinp_memory_map_commit(map);
		expect_same(map, table, &before);
		r = table->dec(table->ctx, FAR, LONG_RUN, THINP_CAUSE_USER);
	}
	if (r)
		expect_same(map, table, &before);
	return r;
}

static int take(const struct thinp_alloc *table)
{
	thinp_block_t block = UNTOUCHED;
	int r = table->reserve(table->ctx, 10, 0);

	for (int i = 0; i < 10 && !r; i++) {
		block = UNTOUCHED;
		r = table->take(table->ctx, THINP_CAUSE_NEW, &block);
	}
	assert_int_equal(block == UNTOUCHED, r != 0);
	return r;
}

static int use_map(struct world *w)
{
	struct thinp_memory_map *map = NULL;
	struct thinp_alloc table = {.size = sizeof(table)};
	struct counts before;
	int r = thinp_memory_map_create(NR, &w->alloc.table, &map);

	if (r) {
		assert_null(map);
		return r;
	}
	thinp_memory_map_get_alloc(map, &table);
	before = look(map, &table);
	r = take(&table);
	thinp_memory_map_abort(map);
	expect_same(map, &table, &before);
	if (!r)
		r = change_runs(map, &table);
	thinp_memory_map_destroy(map);
	return r;
}

static const struct scenario using = {.name = "a map in memory", .attempt = use_map};

const struct covered failures_of_alloc[] = {
	{"thinp_memory_map_create", &using},
	{NULL, NULL},
};
