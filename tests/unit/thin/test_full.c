/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool that has run out of data blocks, out of metadata blocks, or asks for a check: what goes then, what is refused, and how
 * it goes on.
 */
#include "support/image_expect.h"
#include "support/meta_check.h"

#include "format/space_map.h"

#include <thinp/pool_space.h>

enum { NR_METADATA = 300, NR_DATA = 60000, NR_DEVICES = 12, STRIDE = 1000 };

struct world {
	struct thinp_io *io;
	struct thinp_pool *pool;
	uint64_t nr_mapped; /* of device 1 */
};

static const struct thinp_pool_opts defaults = {.size = sizeof(defaults),
						.flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
						.cache_blocks = 256,
						.nr_data_blocks = NR_DATA};

static struct thinp_sm_info info_of(const struct world *w, int space)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	assert_int_equal(thinp_pool_get_space(w->pool, space, &info), 0);
	return info;
}

static void begin(struct world *w)
{
	assert_int_equal(thinp_pool_begin(w->pool), 0);
}

static void commit(struct world *w)
{
	assert_int_equal(thinp_pool_commit(w->pool), 0);
	begin(w);
}

static int map(struct world *w, uint64_t dev_id, uint64_t block)
{
	uint64_t first;
	int r = thinp_pool_alloc_data(w->pool, 1, &first, NULL);

	if (r)
		return r;
	r = thinp_pool_insert(w->pool, dev_id, block, first);
	if (r)
		assert_int_equal(thinp_pool_dec_data(w->pool, first, 1), 0);
	return r;
}

static void open_world(struct world *w, uint64_t nr_data)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};
	struct thinp_pool_opts opts = defaults;

	*w = (struct world){.io = NULL};
	opts.nr_data_blocks = nr_data;
	assert_int_equal(thinp_io_open_memory(&io_opts, &w->io), 0);
	assert_int_equal(thinp_pool_open(w->io, &opts, &w->pool), 0);
	begin(w);
	assert_int_equal(thinp_pool_create_device(w->pool, 1), 0);
	commit(w);
}

static void close_world(struct world *w)
{
	thinp_pool_close(w->pool);
	thinp_io_close(w->io);
}

/* Mappings far from each other, until nothing goes even after a commit. */
static void fill(struct world *w)
{
	int nr_vain = 0;

	while (nr_vain < 2) {
		nr_vain = map(w, 1, w->nr_mapped * STRIDE) ? nr_vain + 1 : 0;
		w->nr_mapped += !nr_vain;
		if (nr_vain || w->nr_mapped % 50 == 0)
			commit(w);
	}
}

static void expect_deletable(struct world *w)
{
	struct thinp_pool_step step = {.size = sizeof(step)};
	uint64_t nr_removed = 0;

	while (!step.is_complete) {
		assert_int_equal(thinp_pool_delete_step(w->pool, 1, 1, &step), 0);
		nr_removed += step.nr_removed;
		commit(w);
	}
	assert_int_equal(nr_removed, w->nr_mapped);
	meta_check_thin(w->io, NULL, NULL);
}

/* Bitmaps for new data blocks stay: they must not come from what is kept back for changes that free space. */
static void growing_the_data_of_a_full_pool_leaves_room_to_empty_it(void **state)
{
	uint64_t nr = NR_DATA, nr_refused = 0;
	struct world w;

	(void)state;
	open_world(&w, NR_DATA);
	fill(&w);
	for (uint64_t more = 1024 * TP_BITMAP_NR_ENTRIES; more; more /= 2) {
		int r = thinp_pool_grow_data(w.pool, nr + more);

		if (r)
			assert_int_equal(r, THINP_ENOSPC);
		nr_refused += r != 0;
		nr += r ? 0 : more;
		assert_int_equal(info_of(&w, THINP_POOL_DATA).nr_blocks, nr);
		commit(&w);
	}
	assert_true(nr_refused && nr > NR_DATA);
	expect_deletable(&w);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(growing_the_data_of_a_full_pool_leaves_room_to_empty_it),
	};

	return cmocka_run_group_tests_name("thin/full", tests, NULL, NULL);
}
