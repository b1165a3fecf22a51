/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a pool answers in every state it can be in, and at its limits: what has gone wrong there before, by its number.
 */
#include "support/alloc_counting.h"
#include "support/image_expect.h"
#include "support/meta_check.h"

#include "format/space_map.h"
#include "format/thin.h"
#include "thin/change.h"

#include <thinp/fault.h>
#include <thinp/pool_space.h>
#include <thinp/pool_view.h>

#include <inttypes.h>
#include <stdlib.h>

enum { NR_METADATA = 400, NR_DATA = 5000 };

struct world {
	struct thinp_io *memory, *io;
	struct thinp_fault *fault;
	struct thinp_pool *pool;
};

static const struct thinp_pool_opts defaults = {.size = sizeof(defaults),
						.flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE | THINP_POOL_LIVE,
						.cache_blocks = 256,
						.nr_data_blocks = NR_DATA};

static int map(struct thinp_pool *pool, uint64_t device, uint64_t block, uint64_t nr)
{
	uint64_t first, nr_taken, nr_done;
	int r = thinp_pool_alloc_data(pool, nr, &first, &nr_taken);

	return r ? r : thinp_pool_insert_run(pool, device, block, first, nr_taken, &nr_done);
}

static void open_memory(struct world *w, uint64_t nr_blocks)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = nr_blocks};

	assert_int_equal(thinp_io_open_memory(&io_opts, &w->memory), 0);
	assert_int_equal(thinp_fault_create(w->memory, NULL, &w->fault), 0);
	assert_int_equal(thinp_fault_open(w->fault, NULL, &w->io), 0);
}

static void open_world(struct world *w)
{
	open_memory(w, NR_METADATA);
	assert_int_equal(thinp_pool_open(w->io, &defaults, &w->pool), 0);
	assert_int_equal(thinp_pool_begin(w->pool), 0);
	assert_int_equal(thinp_pool_create_device(w->pool, 1), 0);
	assert_int_equal(map(w->pool, 1, 0, 100), 0);
	assert_int_equal(thinp_pool_set_transaction_id(w->pool, 0, 1), 0);
	assert_int_equal(thinp_pool_commit(w->pool), 0);
}

static void close_world(struct world *w)
{
	thinp_pool_close(w->pool);
	thinp_io_close(w->io);
	thinp_fault_destroy(w->fault);
	thinp_io_close(w->memory);
}

/* --- the table of states --------------------------------------------------------------------------------------------- */

static int create(struct thinp_pool *pool)
{
	return thinp_pool_create_device(pool, 2);
}

static int snap(struct thinp_pool *pool)
{
	return thinp_pool_create_snapshot(pool, 3, 1);
}

static int delete (struct thinp_pool *pool)
{
	return thinp_pool_delete_device(pool, 1);
}

static int delete_step(struct thinp_pool *pool)
{
	struct thinp_pool_step step = {.size = sizeof(step)};

	return thinp_pool_delete_step(pool, 1, 1, &step);
}

static int take(struct thinp_pool *pool)
{
	uint64_t first;

	return thinp_pool_alloc_data(pool, 1, &first, NULL);
}

static int insert(struct thinp_pool *pool)
{
	return thinp_pool_insert(pool, 1, 5, 5);
}

static int discard(struct thinp_pool *pool)
{
	return thinp_pool_remove_range(pool, 1, 0, 10, 0, NULL, NULL);
}

static int grow_data(struct thinp_pool *pool)
{
	return thinp_pool_grow_data(pool, NR_DATA + 10);
}

static int grow_metadata(struct thinp_pool *pool)
{
	return thinp_pool_grow_metadata(pool, NR_METADATA);
}

static int set_id(struct thinp_pool *pool)
{
	return thinp_pool_set_transaction_id(pool, 1, 2);
}

static int mark(struct thinp_pool *pool)
{
	return thinp_pool_set_needs_check(pool, true);
}

static int (*const changes[])(struct thinp_pool *) = {
	create,
	snap,
	delete,
	delete_step,
	take,
	insert,
	discard,
	thinp_pool_reserve_metadata_snap,
	grow_data,
	grow_metadata,
	set_id,
	mark,
	thinp_pool_commit,
};

static void expect_all(struct thinp_pool *pool, int code)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		int r = changes[i](pool);

		if (r != code)
			fail_msg("change %zu: %s, not %s", i, thinp_err_name(r), thinp_err_name(code));
	}
}

static void expect_last_commit(struct thinp_pool *pool)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct thinp_pool_info info = {.size = sizeof(info)};

	assert_int_equal(thinp_pool_get_device(pool, 1, &device), 0);
	assert_int_equal(device.mapped_blocks, 100);
	assert_int_equal(thinp_pool_get_device(pool, 2, &device), THINP_ENODATA);
	thinp_pool_get_info(pool, &info);
	assert_int_equal(info.transaction_id, 1);
}

static void TH_31_without_a_transaction_nothing_changes(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	expect_all(w.pool, THINP_EINVAL);
	assert_int_equal(thinp_pool_abort(w.pool), 0);
	expect_last_commit(w.pool);
	close_world(&w);
}

static void TH_31_a_pool_that_is_read_is_never_changed(void **state)
{
	struct thinp_pool *pool;
	struct world w;

	(void)state;
	open_world(&w);
	assert_int_equal(thinp_pool_open(w.io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_begin(pool), THINP_EROFS);
	expect_all(pool, THINP_EROFS);
	assert_int_equal(thinp_pool_abort(pool), THINP_EROFS);
	expect_last_commit(pool);
	thinp_pool_close(pool);
	close_world(&w);
}

static void TH_31_after_a_failure_half_way_only_an_abort_helps(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(thinp_pool_create_device(w.pool, 2), 0);
	assert_int_equal(thinp_tm_poison(tp_thin_tm(w.pool), THINP_EIO), THINP_EIO); /* as a change does then */
	expect_all(w.pool, THINP_EMUSTABORT);
	assert_int_equal(thinp_pool_live_begin(w.pool), THINP_EMUSTABORT);
	assert_int_equal(thinp_pool_begin(w.pool), THINP_EBUSY);
	assert_int_equal(thinp_pool_abort(w.pool), 0);
	expect_last_commit(w.pool);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	for (size_t i = 0; i + 1 < sizeof(changes) / sizeof(changes[0]); i++)
		if (changes[i] != insert && changes[i] != delete &&changes[i] != discard)
			assert_int_equal(changes[i](w.pool), 0); /* all goes again */
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	close_world(&w);
}

static void commit_with_flush_failing(struct world *w, uint64_t nth)
{
	assert_int_equal(thinp_pool_begin(w->pool), 0);
	assert_int_equal(thinp_pool_create_device(w->pool, 2), 0);
	assert_int_equal(thinp_fault_fail_nth(w->fault, THINP_IO_FLUSH, nth, THINP_EIO, NULL), 0);
}

/* The device holds the new commit, or the last one: nothing but looking at the last one and closing is left. */
static void TH_12_TH_15_TH_16_after_a_commit_of_unknown_end_all_is_refused(void **state)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct thinp_pool *view;
	struct world w;

	(void)state;
	open_world(&w);
	commit_with_flush_failing(&w, 2);
	assert_int_equal(thinp_pool_commit(w.pool), THINP_EUNKNOWN);
	expect_all(w.pool, THINP_EINVAL);
	assert_int_equal(thinp_pool_begin(w.pool), THINP_EUNKNOWN);
	assert_int_equal(thinp_pool_live_begin(w.pool), THINP_EUNKNOWN);
	assert_int_equal(thinp_pool_abort(w.pool), 0);
	expect_last_commit(w.pool);
	assert_int_equal(thinp_pool_view_open(w.pool, 0, &view), 0);
	expect_last_commit(view);
	thinp_pool_close(view);
	thinp_pool_close(w.pool);
	assert_int_equal(thinp_pool_open(w.io, &defaults, &w.pool), 0);
	assert_int_equal(thinp_pool_get_device(w.pool, 2, &device), 0); /* here it was the new one */
	meta_check_thin(w.memory, NULL, NULL);
	close_world(&w);
}

static void TH_14_TH_16_after_a_commit_that_failed_all_is_as_before(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	commit_with_flush_failing(&w, 1);
	assert_int_equal(thinp_pool_commit(w.pool), THINP_EIO);
	expect_all(w.pool, THINP_EMUSTABORT);
	assert_int_equal(thinp_pool_abort(w.pool), 0); /* which needs nothing of the device */
	expect_last_commit(w.pool);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(thinp_pool_create_device(w.pool, 2), 0);
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	meta_check_thin(w.memory, NULL, NULL);
	close_world(&w);
}

/* --- limits ---------------------------------------------------------------------------------------------------------- */

static void count_warning(void *ctx, const struct thinp_log_record *rec)
{
	assert_int_equal(rec->level, THINP_LOG_WARNING);
	assert_non_null(strstr(rec->text, "no more than 4161600"));
	++*(size_t *)ctx;
}

/* Twice: made, and opened again. Each time the excess is told once. */
static void open_large(struct world *w, size_t nr_warnings)
{
	struct thinp_pool_opts opts = defaults;

	opts.log = count_warning;
	for (int i = 0; i < 2; i++) {
		size_t nr = 0;

		thinp_pool_close(w->pool);
		opts.log_ctx = &nr;
		assert_int_equal(thinp_pool_open(w->io, &opts, &w->pool), 0);
		assert_int_equal(nr, nr_warnings);
	}
	opts.log = NULL;
	thinp_pool_close(w->pool);
	assert_int_equal(thinp_pool_open(w->io, &opts, &w->pool), 0);
}

static void TH_07_metadata_beyond_the_limit_is_left_unused(void **state)
{
	static const uint64_t sizes[] = {TP_METADATA_MAX_BLOCKS - 1, TP_METADATA_MAX_BLOCKS, TP_METADATA_MAX_BLOCKS + 1,
					 UINT64_C(16) << 18, UINT64_C(64) << 18};

	(void)state;
	assert_int_equal(TP_METADATA_MAX_BLOCKS, 255 * 16320);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct thinp_pool_info info = {.size = sizeof(info)};
		struct world w = {.pool = NULL};

		open_memory(&w, sizes[i]);
		open_large(&w, sizes[i] > TP_METADATA_MAX_BLOCKS);
		thinp_pool_get_info(w.pool, &info);
		assert_int_equal(info.nr_metadata_blocks,
				 sizes[i] < TP_METADATA_MAX_BLOCKS ? sizes[i] : TP_METADATA_MAX_BLOCKS);
		assert_int_equal(thinp_pool_begin(w.pool), 0);
		assert_int_equal(thinp_pool_grow_metadata(w.pool, TP_METADATA_MAX_BLOCKS + 1), THINP_ERANGE);
		assert_int_equal(thinp_pool_create_device(w.pool, 1), 0);
		assert_int_equal(map(w.pool, 1, 0, 1000), 0);
		assert_int_equal(thinp_pool_commit(w.pool), 0);
		close_world(&w);
	}
}

static void TH_29_the_roots_of_space_maps_fit_their_fields(void **state)
{
	uint8_t block[THINP_BLOCK_SIZE];
	struct tp_thin_superblock sb = {.magic = TP_THIN_MAGIC};

	(void)state;
	memset(block, 0xee, sizeof(block));
	sb.data_sm = sb.metadata_sm = (struct tp_sm_root){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	tp_thin_superblock_pack(&sb, block);
	for (size_t i = 32; i < 128; i++) { /* of 128 bytes each the root takes 32 */
		assert_int_equal(block[64 + i], 0);
		assert_int_equal(block[192 + i], 0);
	}
	tp_thin_superblock_unpack(block, &sb);
	assert_true(sb.data_sm.nr_blocks == UINT64_MAX && sb.metadata_sm.ref_count_root == UINT64_MAX);
}

/* --- threads that must not wait --------------------------------------------------------------------------------------- */

static uint64_t nr_reads(const struct world *w)
{
	struct thinp_fault_stats stats = {.size = sizeof(stats)};

	thinp_fault_get_stats(w->fault, &stats);
	return stats.reads;
}

static void expect_cached(struct world *w, uint64_t dev_id, uint64_t block, int code)
{
	struct thinp_mapping cached = {.data_block = 4711}, mapping;
	uint64_t before = nr_reads(w);

	assert_int_equal(thinp_pool_lookup_cached(w->pool, dev_id, block, &cached), code);
	assert_int_equal(nr_reads(w), before);
	if (code) {
		assert_int_equal(cached.data_block, 4711);
		return;
	}
	assert_int_equal(thinp_pool_lookup(w->pool, dev_id, block, &mapping), 0);
	assert_memory_equal(&cached, &mapping, sizeof(mapping));
}

static void TM_10_a_mapping_that_is_not_in_memory_is_unknown_and_not_absent(void **state)
{
	struct thinp_mapping mapping;
	struct world w;

	(void)state;
	open_world(&w);
	thinp_pool_close(w.pool);
	assert_int_equal(thinp_pool_open(w.io, &defaults, &w.pool), 0);
	expect_cached(&w, 1, 5, THINP_EWOULDBLOCK);   /* mapped */
	expect_cached(&w, 1, 500, THINP_EWOULDBLOCK); /* not mapped */
	expect_cached(&w, 2, 5, THINP_ENODATA);       /* no such device: opening a pool for changes reads both roots */
	assert_int_equal(thinp_pool_lookup(w.pool, 1, 5, &mapping), 0);
	expect_cached(&w, 1, 5, 0);
	expect_cached(&w, 1, 500, THINP_ENODATA);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(map(w.pool, 1, 500, 1), 0);
	expect_cached(&w, 1, 500, 0);
	close_world(&w);
}

/* --- times ----------------------------------------------------------------------------------------------------------- */

static void expect_times(struct thinp_pool *pool, uint64_t dev_id, uint32_t created, uint32_t snapped)
{
	struct thinp_device_info info = {.size = sizeof(info)};

	assert_int_equal(thinp_pool_get_device(pool, dev_id, &info), 0);
	assert_int_equal(info.creation_time, created);
	assert_int_equal(info.snapshotted_time, snapped);
}

static void expect_mapping(struct thinp_pool *pool, uint64_t dev_id, uint64_t block, uint32_t time, bool is_shared)
{
	struct thinp_mapping mapping;

	assert_int_equal(thinp_pool_lookup(pool, dev_id, block, &mapping), 0);
	assert_int_equal(mapping.time, time);
	assert_int_equal(mapping.is_shared, is_shared);
}

/* Create, write, snap, write, snap of the snap, write, delete, as Linux keeps the times. */
static void TH_20_times_are_those_that_linux_keeps(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(thinp_pool_create_snapshot(w.pool, 2, 1), 0);
	expect_times(w.pool, 1, 0, 1);
	expect_times(w.pool, 2, 1, 1);
	assert_int_equal(map(w.pool, 1, 7, 1), 0);
	assert_int_equal(thinp_pool_create_snapshot(w.pool, 3, 2), 0);
	expect_times(w.pool, 1, 0, 1);
	expect_times(w.pool, 2, 1, 2);
	expect_times(w.pool, 3, 2, 2);
	assert_int_equal(map(w.pool, 3, 8, 1), 0);
	assert_int_equal(thinp_pool_delete_device(w.pool, 2), 0);
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	expect_mapping(w.pool, 1, 7, 1, false);
	expect_mapping(w.pool, 1, 8, 0, true);
	expect_mapping(w.pool, 3, 7, 0, true);
	expect_mapping(w.pool, 3, 8, 2, false);
	close_world(&w);
}

/* --- crashes --------------------------------------------------------------------------------------------------------- */

static void read_superblock(struct world *w, void *block)
{
	assert_int_equal(thinp_io_read(w->memory, 0, 1, block), 0);
}

static uint64_t transaction_id_of(struct world *w)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct thinp_pool *pool;

	assert_int_equal(thinp_pool_open(w->memory, NULL, &pool), 0);
	thinp_pool_get_info(pool, &info);
	thinp_pool_close(pool);
	meta_check_thin(w->memory, NULL, NULL);
	return info.transaction_id;
}

static void TH_30_a_torn_superblock_is_one_commit_or_the_other(void **state)
{
	uint8_t *before = aligned_alloc(4096, 4096), *after = aligned_alloc(4096, 4096);
	struct thinp_pool *pool;
	struct world w;

	(void)state;
	assert_true(before && after);
	open_world(&w);
	read_superblock(&w, before);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(map(w.pool, 1, 50, 100), 0);
	assert_int_equal(thinp_pool_create_snapshot(w.pool, 2, 1), 0);
	assert_int_equal(thinp_pool_set_transaction_id(w.pool, 1, 2), 0);
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	read_superblock(&w, after);
	for (size_t i = 0; i <= 4096; i += 512) {
		memcpy(before, after, i);
		assert_int_equal(thinp_io_write(w.memory, 0, 1, before), 0);
		assert_int_equal(transaction_id_of(&w), i ? 2 : 1);
	}
	memset(before + 100, 0x5a, 50); /* within the first sector */
	assert_int_equal(thinp_io_write(w.memory, 0, 1, before), 0);
	assert_int_equal(thinp_pool_open(w.memory, NULL, &pool), THINP_ECORRUPT);
	close_world(&w);
	free(before);
	free(after);
}

/* --- a huge device --------------------------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define NR_HUGE 500000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NR_HUGE 500000
#endif
#endif
#ifndef NR_HUGE
#define NR_HUGE 10000000
#endif

/* THINP_HUGE_MAPPINGS: how many mappings, if not ten million, or half a million where all is slow. */
static uint64_t nr_huge(void)
{
	const char *given = getenv("THINP_HUGE_MAPPINGS");

	return given ? strtoull(given, NULL, 10) : NR_HUGE;
}

static void make_huge(struct world *w, const struct thinp_pool_opts *opts)
{
	enum { RUN = 2000 };

	assert_int_equal(thinp_pool_open(w->io, opts, &w->pool), 0);
	assert_int_equal(thinp_pool_begin(w->pool), 0);
	assert_int_equal(thinp_pool_create_device(w->pool, 1), 0);
	for (uint64_t i = 0; i < opts->nr_data_blocks; i += RUN)
		assert_int_equal(map(w->pool, 1, i, RUN), 0);
	assert_int_equal(thinp_pool_commit(w->pool), 0);
}

/* A device of many mappings goes away leaf by leaf; what each commit leaves is sound, which is looked at now and then. Memory is
 * for the cache, for counts of data blocks as far as it goes, and a little for each block of metadata. */
static void TH_22_a_huge_device_is_deleted_in_steps(void **state)
{
	enum { LEAVES_EACH = 200, MOST_LOOKS = 12 };
	struct thinp_pool_opts opts = defaults;
	struct thinp_pool_step step = {.size = sizeof(step)};
	struct thinp_sm_info info = {.size = sizeof(info)};
	struct alloc_counting alloc;
	struct world w;
	uint64_t nr_mappings = nr_huge() / 2000 * 2000, nr_removed = 0, nr_looks = 0;

	(void)state;
	alloc_counting_init(&alloc);
	open_memory(&w, 2000 + nr_mappings / 100);
	opts.allocator = &alloc.table;
	opts.nr_data_blocks = nr_mappings;
	opts.counts_mib = 4;
	make_huge(&w, &opts);
	alloc.peak_bytes = alloc.live_bytes;
	while (!step.is_complete) {
		assert_int_equal(thinp_pool_begin(w.pool), 0);
		assert_int_equal(thinp_pool_delete_step(w.pool, 1, LEAVES_EACH, &step), 0);
		assert_true(step.nr_removed <= (uint64_t)LEAVES_EACH * 252);
		nr_removed += step.nr_removed;
		assert_int_equal(thinp_pool_commit(w.pool), 0);
		if (nr_removed >= nr_mappings / MOST_LOOKS * nr_looks) {
			meta_check_thin(w.memory, NULL, NULL); /* what a crash would leave now */
			nr_looks++;
		}
	}
	assert_int_equal(nr_removed, nr_mappings);
	assert_int_equal(thinp_pool_get_space(w.pool, THINP_POOL_DATA, &info), 0);
	assert_int_equal(info.nr_zero, nr_mappings);
	print_message("%" PRIu64 " mappings: %zu bytes of memory at most\n", nr_mappings, alloc.peak_bytes);
	assert_true(alloc.peak_bytes <= (6 << 20) + nr_mappings / 4);
	close_world(&w);
	alloc_counting_check(&alloc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TH_31_without_a_transaction_nothing_changes),
		cmocka_unit_test(TH_31_a_pool_that_is_read_is_never_changed),
		cmocka_unit_test(TH_31_after_a_failure_half_way_only_an_abort_helps),
		cmocka_unit_test(TH_12_TH_15_TH_16_after_a_commit_of_unknown_end_all_is_refused),
		cmocka_unit_test(TH_14_TH_16_after_a_commit_that_failed_all_is_as_before),
		cmocka_unit_test(TH_07_metadata_beyond_the_limit_is_left_unused),
		cmocka_unit_test(TH_29_the_roots_of_space_maps_fit_their_fields),
		cmocka_unit_test(TM_10_a_mapping_that_is_not_in_memory_is_unknown_and_not_absent),
		cmocka_unit_test(TH_20_times_are_those_that_linux_keeps),
		cmocka_unit_test(TH_30_a_torn_superblock_is_one_commit_or_the_other),
		cmocka_unit_test(TH_22_a_huge_device_is_deleted_in_steps),
	};

	return cmocka_run_group_tests_name("thin/states", tests, NULL, NULL);
}
