/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools of all shapes, changed at random by what a kernel could do, too: deep trees, several bitmaps, large counts, held roots,
 * many devices. What they are in the end is for others to look at; here every reference is counted.
 *
 * Environment: THINP_TEST_SEED repeats a run; THINP_RANDOM_STATES pools (default 3), of which every tenth, the first
 * included, has all features; THINP_RANDOM_IMAGES a folder that gets their images.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "format/space_map.h"
#include "support/meta_check.h"
#include "support/save_image.h"

#include <thinp/error.h>
#include <thinp/op_queue.h>
#include <thinp/pool.h>

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* What a pool must have in the end. Any may have more. */
enum {
	DEEP = 1,         /* a tree of three levels */
	TWO_BITMAPS = 2,  /* in use in either map */
	LARGE_COUNTS = 4, /* above 3, in either map */
	HELD = 8,
	MANY = 16, /* devices: ten and more */
	ALL = 31,
};

enum { MOST_DEVICES = 40, MOST_ROOM = 18, DEEP_ID = 7, LARGE_ID = 5000, NR_LARGE = 5 };

/* Keys of a device: from a dense one to one whose keys have nothing between them. */
static const uint64_t spaces[] = {700, 5000, UINT64_C(1) << 20, UINT64_C(1) << 43};

struct states {
	struct thinp_io *io;
	struct thinp_pool *pool;
	struct thinp_pool_opts opts;
	unsigned features;
	uint64_t keys; /* below this one */
	uint64_t rng;
	uint64_t nr_devices;
	uint64_t ids[MOST_DEVICES];
	uint64_t nr_changes, nr_refused, nr_commits;
};

static uint64_t below(struct states *s, uint64_t n)
{
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 7;
	s->rng ^= s->rng << 17;
	return (s->rng * UINT64_C(0x2545f4914f6cdd1d) >> 16) % n;
}

static bool one_in(struct states *s, uint64_t n)
{
	return below(s, n) == 0;
}

/* Only lack of room is a reason, and then nothing was changed. */
static int done(struct states *s, int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	s->nr_changes++;
	if (!r)
		return 0;
	thinp_error_last(&info);
	if (r != THINP_ENOSPC || thinp_pool_status(s->pool))
		fail_msg("%s: %s", thinp_err_name(r), info.message);
	s->nr_refused++;
	return r;
}

/* --- devices --------------------------------------------------------------------------------------------------------- */

static int take_device(void *ctx, const struct thinp_device_info *device)
{
	struct states *s = ctx;

	assert_true(s->nr_devices < MOST_DEVICES);
	s->ids[s->nr_devices++] = device->dev_id;
	return 0;
}

static void list_devices(struct states *s)
{
	s->nr_devices = 0;
	assert_int_equal(thinp_pool_walk_devices(s->pool, take_device, s), 0);
}

static bool is_there(const struct states *s, uint64_t id)
{
	for (uint64_t i = 0; i < s->nr_devices; i++)
		if (s->ids[i] == id)
			return true;
	return false;
}

static void change_devices(struct states *s)
{
	uint64_t id = one_in(s, 2) ? below(s, 30) : below(s, 1 << 24);
	uint64_t most = s->features & MANY ? MOST_ROOM : 8;
	bool is_full = s->nr_devices >= most;

	if (is_full)
		id = s->ids[below(s, s->nr_devices)];
	if (id == DEEP_ID) /* it is made at once, and stays */
		return;
	if (is_there(s, id))
		(void)done(s, thinp_pool_delete_device(s->pool, id));
	else if (s->nr_devices && below(s, 3))
		(void)done(s, thinp_pool_create_snapshot(s->pool, id, s->ids[below(s, s->nr_devices)]));
	else
		(void)done(s, thinp_pool_create_device(s->pool, id));
	list_devices(s);
}

/* --- mappings -------------------------------------------------------------------------------------------------------- */

static int map(struct states *s, uint64_t id, uint64_t block, uint64_t nr)
{
	uint64_t first, nr_taken, nr_done = 0;
	int r = done(s, thinp_pool_alloc_data(s->pool, nr, &first, &nr_taken));

	if (r)
		return r;
	r = done(s, thinp_pool_insert_run(s->pool, id, block, first, nr_taken, &nr_done));
	if (nr_done < nr_taken)
		assert_int_equal(thinp_pool_dec_data(s->pool, first + nr_done, nr_taken - nr_done), 0);
	return r;
}

/* Of the device that is to stay deep, little. */
static void unmap(struct states *s, uint64_t id, uint64_t block)
{
	uint64_t length = below(s, s->keys / (one_in(s, 5) ? 2 : 40) + 1);
	struct thinp_mapped_run run;
	int r;

	if (id == DEEP_ID) {
		r = thinp_pool_lookup_run(s->pool, id, block, UINT64_MAX, &run);
		if (r == THINP_ENODATA)
			return;
		assert_int_equal(r, 0);
		block = run.virtual_begin;
		length = below(s, 300);
	}
	(void)done(s, thinp_pool_remove_range(s->pool, id, block, block + length, 0, NULL, NULL));
}

static void change_mappings(struct states *s)
{
	uint64_t id, block = below(s, s->keys);

	if (!s->nr_devices)
		return;
	id = s->ids[below(s, s->nr_devices)];
	if (one_in(s, 12))
		unmap(s, id, block);
	else if (one_in(s, 3))
		(void)map(s, id, block, 1 + below(s, 120));
	else
		for (uint64_t n = below(s, 12), step = 1 + below(s, 3); n; n--)
			(void)map(s, id, block + n * step, 1);
}

/* --- transactions ---------------------------------------------------------------------------------------------------- */

static void begin(struct states *s)
{
	assert_int_equal(thinp_pool_begin(s->pool), 0);
	list_devices(s);
}

static void commit(struct states *s)
{
	assert_int_equal(thinp_pool_commit(s->pool), 0);
	s->nr_commits++;
	begin(s);
}

static void end_transaction(struct states *s)
{
	switch (below(s, 12)) {
	case 0:
		assert_int_equal(thinp_pool_abort(s->pool), 0);
		begin(s);
		break;
	case 1:
		thinp_pool_close(s->pool);
		assert_int_equal(thinp_pool_open(s->io, &s->opts, &s->pool), 0);
		begin(s);
		break;
	default:
		commit(s);
	}
}

static struct thinp_pool_info info_of(const struct states *s)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	thinp_pool_get_info(s->pool, &info);
	return info;
}

static void change_pool(struct states *s)
{
	struct thinp_pool_info info = info_of(s);

	switch (below(s, 4)) {
	case 0:
		(void)done(s, thinp_pool_grow_data(s->pool, info.nr_data_blocks + below(s, 3000)));
		break;
	case 1:
		(void)done(s, thinp_pool_grow_metadata(s->pool, info.nr_metadata_blocks + below(s, 30)));
		break;
	case 2:
		assert_int_equal(
			thinp_pool_set_transaction_id(s->pool, info.transaction_id, info.transaction_id + below(s, 20)),
			0);
		break;
	default:
		(void)done(s, info.metadata_snap ? thinp_pool_release_metadata_snap(s->pool)
						 : thinp_pool_reserve_metadata_snap(s->pool));
	}
}

static void change_much(struct states *s, uint64_t nr)
{
	while (nr--) {
		uint64_t which = below(s, 100);

		if (which < 14)
			change_devices(s);
		else if (which < 16)
			change_pool(s);
		else
			change_mappings(s);
		if (one_in(s, 30))
			end_transaction(s);
	}
}

/* --- features -------------------------------------------------------------------------------------------------------- */

/* Enough mappings for a root above nodes above leaves, in one of the ways in which devices are filled. */
static void make_deep(struct states *s)
{
	uint64_t way = below(s, 3), nr = way == 0 ? 64000 : 80000;

	(void)done(s, thinp_pool_create_device(s->pool, DEEP_ID));
	for (uint64_t n = 0; n < nr;) {
		uint64_t length = way == 2 ? 1 + below(s, 60) : 1;
		uint64_t block = way == 0 ? n * 3 : way == 1 ? below(s, UINT64_C(1) << 40) : below(s, 1 << 22);

		if (map(s, DEEP_ID, block, length))
			return;
		n += length;
	}
	commit(s);
}

static void need_deep(struct states *s)
{
	list_devices(s);
	if (!is_there(s, DEEP_ID))
		make_deep(s);
}

/* Snapshots that share a root, and snapshots of which each has changed one leaf: what stands in it has as many references. */
static void make_large_counts(struct states *s)
{
	int r = done(s, thinp_pool_create_device(s->pool, LARGE_ID));

	for (uint64_t i = 0; !r && i < 20; i++)
		r = map(s, LARGE_ID, i, 1);
	for (uint64_t i = 1; !r && i <= NR_LARGE; i++) {
		r = done(s, thinp_pool_create_snapshot(s->pool, LARGE_ID + i, LARGE_ID));
		if (!r)
			r = map(s, LARGE_ID + i, i, 1);
	}
	for (uint64_t i = 1; !r && i <= NR_LARGE; i++)
		r = done(s, thinp_pool_create_snapshot(s->pool, LARGE_ID + NR_LARGE + i, LARGE_ID));
	list_devices(s);
}

static void make_many(struct states *s)
{
	for (uint64_t id = 100; s->nr_devices < 10 && id < 120; id++) {
		if (!is_there(s, id) && !done(s, thinp_pool_create_device(s->pool, id)))
			(void)map(s, id, below(s, s->keys), 1 + below(s, 20));
		list_devices(s);
	}
}

/* A metadata device that grows is used from its old end on; of the data device, the blocks follow one another. */
static void use_second_bitmaps(struct states *s)
{
	struct thinp_pool_info info = info_of(s);

	if (info.nr_metadata_blocks < TP_BITMAP_NR_ENTRIES + 100)
		(void)done(s, thinp_pool_grow_metadata(s->pool, TP_BITMAP_NR_ENTRIES + 100 + below(s, 1000)));
	(void)done(s, thinp_pool_create_device(s->pool, 200));
	for (uint64_t n = 0; n < TP_BITMAP_NR_ENTRIES + 10 && !map(s, 200, n, 1000); n += 1000)
		;
	commit(s);
	if (s->features & LARGE_COUNTS || one_in(s, 2))
		(void)done(s, thinp_pool_remove_range(s->pool, 200, below(s, 2000), TP_BITMAP_NR_ENTRIES - 200, 0, NULL,
						      NULL));
	list_devices(s);
}

/* --- pools ----------------------------------------------------------------------------------------------------------- */

static void open_pool(struct states *s)
{
	static const char *const policies[] = {"fifo", "coalescing", "sorted"};
	uint64_t nr_metadata = s->features & TWO_BITMAPS ? TP_BITMAP_NR_ENTRIES - below(s, 40)
			       : s->features & DEEP      ? 1500 + below(s, 3000)
							 : 300 + below(s, 2000);
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = nr_metadata};

	s->opts = (struct thinp_pool_opts){
		.size = sizeof(s->opts),
		.flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE | (one_in(s, 4) ? THINP_POOL_QUEUE_ALWAYS : 0),
		.op_queue_policy = thinp_opq_policy_by_name(policies[below(s, 3)]),
		.nr_data_blocks = s->features & DEEP          ? 90000 + below(s, 100000)
				  : s->features & TWO_BITMAPS ? TP_BITMAP_NR_ENTRIES + 2000 + below(s, 30000)
							      : 2000 + below(s, 30000),
	};
	assert_int_equal(thinp_io_open_memory(&io_opts, &s->io), 0);
	assert_int_equal(thinp_pool_open(s->io, &s->opts, &s->pool), 0);
	s->opts.nr_data_blocks = 0;
	begin(s);
}

static void have_features(struct states *s)
{
	if (s->features & TWO_BITMAPS) /* what stood there may have been copied to elsewhere */
		(void)done(s, thinp_pool_grow_metadata(s->pool, info_of(s).nr_metadata_blocks + 10 + below(s, 50)));
	if (s->features & MANY)
		make_many(s);
	if (s->features & LARGE_COUNTS)
		make_large_counts(s);
	if (s->features & HELD && !info_of(s).metadata_snap)
		(void)done(s, thinp_pool_reserve_metadata_snap(s->pool));
	if (s->features & HELD)
		change_mappings(s); /* what is held is not all that there is */
}

/* Features that changes can take away come last. */
static void make_state(struct states *s, uint64_t number)
{
	uint64_t rng = s->rng;

	*s = (struct states){.rng = rng};
	for (unsigned feature = 1; feature < ALL; feature *= 2)
		s->features |= number % 10 == 0 || one_in(s, 3) ? feature : 0;
	s->keys = spaces[below(s, sizeof(spaces) / sizeof(spaces[0]))];
	open_pool(s);
	change_much(s, below(s, 300));
	if (s->features & DEEP)
		need_deep(s);
	if (s->features & TWO_BITMAPS)
		use_second_bitmaps(s);
	change_much(s, 100 + below(s, 500));
	if (s->features & DEEP)
		need_deep(s); /* an abort may have taken it */
	have_features(s);
	commit(s);
	meta_check_thin(s->io, NULL, NULL);
	save_image(s->io, "state", number);
	thinp_pool_close(s->pool);
	thinp_io_close(s->io);
}

static void pools_of_all_shapes_are_sound(void **state)
{
	const char *seed_text = getenv("THINP_TEST_SEED"), *nr_text = getenv("THINP_RANDOM_STATES");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
	uint64_t nr = nr_text ? strtoull(nr_text, NULL, 10) : 3;
	static struct states s;

	(void)state;
	s.rng = seed * 2 + 1;
	print_message("seed %" PRIu64 ": set THINP_TEST_SEED to repeat\n", seed);
	for (uint64_t i = 0; i < nr; i++) {
		make_state(&s, i);
		print_message("pool %" PRIu64 ": features %#x, %" PRIu64 " devices, %" PRIu64 " changes, %" PRIu64
			      " refused, %" PRIu64 " commits\n",
			      i, s.features, s.nr_devices, s.nr_changes, s.nr_refused, s.nr_commits);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(pools_of_all_shapes_are_sound)};

	return cmocka_run_group_tests_name("thin/end_states", tests, NULL, NULL);
}
