/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a pool keeps back for giving space back, while counts of data blocks grow until nothing goes any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "space_map/sm.h"
#include "thin/change.h"

enum { NR_METADATA = 120, NR_DATA = 2000, NR_MAPPED = 300, STEP = 1151 };

struct world {
	struct thinp_io *io;
	struct thinp_pool *pool;
	struct thinp_sm *metadata;
	uint64_t own; /* the first of NR_DATA data blocks with two owners */
};

static void commit(struct world *w)
{
	assert_int_equal(thinp_pool_commit(w->pool), 0);
	assert_int_equal(thinp_pool_begin(w->pool), 0);
}

static void open_world(struct world *w)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
					     .nr_data_blocks = NR_DATA + NR_MAPPED};
	uint64_t first, nr_done;

	assert_int_equal(thinp_io_open_memory(&io_opts, &w->io), 0);
	assert_int_equal(thinp_pool_open(w->io, &opts, &w->pool), 0);
	assert_int_equal(thinp_pool_begin(w->pool), 0);
	w->metadata = w->pool->store->metadata;
	assert_int_equal(thinp_pool_create_device(w->pool, 1), 0);
	assert_int_equal(thinp_pool_alloc_data(w->pool, NR_MAPPED, &first, NULL), 0);
	assert_int_equal(thinp_pool_insert_run(w->pool, 1, 0, first, NR_MAPPED, &nr_done), 0);
	assert_int_equal(thinp_pool_alloc_data(w->pool, NR_DATA, &w->own, NULL), 0);
	assert_int_equal(thinp_pool_inc_data(w->pool, w->own, NR_DATA), 0);
	commit(w);
}

static void close_world(struct world *w)
{
	thinp_pool_close(w->pool);
	thinp_io_close(w->io);
}

/* Blocks that can be taken, beyond those that are kept back. */
static int64_t nr_free(const struct world *w)
{
	return (int64_t)w->metadata->now.nr_available - (int64_t)tp_sm_commit_cost(w->metadata) -
	       (int64_t)tp_sm_release_cost(w->metadata);
}

/* Somebody else has taken all but so many. */
static void leave(struct world *w, int64_t nr)
{
	while (nr_free(w) > nr) {
		uint64_t first;

		if (thinp_sm_take(w->metadata, 1, &first, NULL))
			return;
		commit(w);
	}
}

/* One after the other gets a third owner, in no order, which makes it an entry of the tree of large counts. */
static void raise_while_there_is_room(struct world *w, uint64_t nr_at_once)
{
	uint64_t nr_done = 0;
	int r = 0;

	while (!r && nr_done + nr_at_once <= NR_DATA) {
		for (uint64_t i = 0; i < nr_at_once && !r; i++)
			r = thinp_pool_inc_data(w->pool, w->own + (nr_done + i) * STEP % NR_DATA, 1);
		if (r)
			assert_int_equal(r, THINP_ENOSPC);
		nr_done += nr_at_once;
		commit(w);
		assert_true(nr_free(w) >= 0);
	}
}

static void counts_that_grow_leave_what_is_kept_back(void **state)
{
	static const uint64_t nr_at_once[] = {10, 50, 120, 190, 260, 330, 400};

	(void)state;
	for (size_t i = 0; i < sizeof(nr_at_once) / sizeof(nr_at_once[0]); i++)
		for (int64_t nr = 0; nr < 40; nr++) {
			struct world w;

			open_world(&w);
			leave(&w, nr);
			raise_while_there_is_room(&w, nr_at_once[i]);
			close_world(&w);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_that_grow_leave_what_is_kept_back),
	};

	return cmocka_run_group_tests_name("thin/room", tests, NULL, NULL);
}
