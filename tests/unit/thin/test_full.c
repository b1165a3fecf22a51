/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool that has run out of data blocks, out of metadata blocks, or asks for a check: what goes then, what is refused, and how
 * it goes on.
 */
#include "support/image_expect.h"
#include "support/meta_check.h"

#include "format/space_map.h"
#include "thin/change.h"

#include <thinp/pool_space.h>
#include <thinp/pool_view.h>

enum { NR_METADATA = 300, NR_DATA = 60000, NR_DEVICES = 12, STRIDE = 1000 };

struct world {
	struct thinp_io *io;
	struct thinp_pool *pool;
	uint64_t nr_mapped;          /* of device 1 */
	uint64_t nr_devices;         /* made by a test */
	uint64_t own;                /* a data block of the test */
	uint64_t taken[NR_METADATA]; /* metadata blocks of the test */
	size_t nr_taken, nr_kept;    /* those of the last commit */
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
	w->nr_kept = w->nr_taken;
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

/* --- what goes in which state ---------------------------------------------------------------------------------------- */

static int create_one(struct world *w)
{
	return thinp_pool_create_device(w->pool, 100);
}

static int snap_one(struct world *w)
{
	return thinp_pool_create_snapshot(w->pool, 101, 1);
}

static int map_one(struct world *w)
{
	return map(w, 1, 77);
}

static int map_again(struct world *w) /* of a data block that the caller has */
{
	return thinp_pool_insert(w->pool, 1, 78, w->own);
}

static int take_one(struct world *w)
{
	uint64_t first;
	int r = thinp_pool_alloc_data(w->pool, 1, &first, NULL);

	return r ? r : thinp_pool_dec_data(w->pool, first, 1);
}

static int discard_one(struct world *w)
{
	return thinp_pool_remove(w->pool, 1, 0);
}

static int delete_one(struct world *w)
{
	return thinp_pool_delete_device(w->pool, 2);
}

static int delete_a_part(struct world *w)
{
	struct thinp_pool_step step = {.size = sizeof(step)};

	return thinp_pool_delete_step(w->pool, 2, 1, &step);
}

static int hold(struct world *w)
{
	return thinp_pool_reserve_metadata_snap(w->pool);
}

static int release(struct world *w)
{
	return thinp_pool_release_metadata_snap(w->pool);
}

static int grow_data_a_little(struct world *w)
{
	return thinp_pool_grow_data(w->pool, NR_DATA + 1);
}

static int grow_data_much(struct world *w)
{
	return thinp_pool_grow_data(w->pool, NR_DATA + 100 * TP_BITMAP_NR_ENTRIES);
}

static int grow_metadata(struct world *w)
{
	return thinp_pool_grow_metadata(w->pool, NR_METADATA + 100);
}

static int set_id(struct world *w)
{
	return thinp_pool_set_transaction_id(w->pool, 0, 1);
}

static int mark(struct world *w)
{
	return thinp_pool_set_needs_check(w->pool, true);
}

/* Device 1 and 2, mappings, and a data block that the caller has. */
static void begin_with_devices(struct world *w)
{
	open_world(w, NR_DATA);
	assert_int_equal(thinp_pool_create_device(w->pool, 2), 0);
	for (uint64_t i = 0; i < 600; i++)
		assert_int_equal(map(w, 1 + i % 2, i * STRIDE), 0);
	assert_int_equal(thinp_pool_alloc_data(w->pool, 1, &w->own, NULL), 0);
	commit(w);
}

static void take_all_data(struct world *w)
{
	uint64_t first, nr;

	while (!thinp_pool_alloc_data(w->pool, NR_DATA, &first, &nr))
		;
	commit(w);
	assert_int_equal(info_of(w, THINP_POOL_DATA).nr_available, 0);
}

static bool take_some_metadata(struct world *w)
{
	for (int i = 0; i < 10; i++, w->nr_taken++)
		if (thinp_sm_take(w->pool->store->metadata, 1, &w->taken[w->nr_taken], NULL))
			return i;
	return true;
}

/* A user has taken all but what is kept back. The commit of a few takes gives back what it took. */
static void take_all_metadata(struct world *w)
{
	while (take_some_metadata(w))
		commit(w);
	commit(w);
	assert_int_equal(info_of(w, THINP_POOL_METADATA).nr_available, 0);
}

static void ask_for_check(struct world *w)
{
	assert_int_equal(thinp_pool_set_needs_check(w->pool, true), 0);
	commit(w);
}

static void do_nothing(struct world *w)
{
	(void)w;
}

struct pool_state {
	const char *name;
	void (*enter)(struct world *w);
};

enum { USABLE, NO_DATA, NO_METADATA, NEEDS_CHECK, NR_STATES };
static const struct pool_state states[NR_STATES] = {
	{"usable", do_nothing},
	{"no data blocks", take_all_data},
	{"no metadata blocks", take_all_metadata},
	{"needs a check", ask_for_check},
};

#define SPACE THINP_ENOSPC
#define CHECK THINP_ENEEDSCHECK
static const struct {
	const char *name;
	int (*change)(struct world *w);
	int codes[NR_STATES];
} cells[] = {
	{"create", create_one, {0, 0, SPACE, 0}},
	{"snapshot", snap_one, {0, 0, SPACE, 0}},
	{"take", take_one, {0, SPACE, SPACE, 0}},
	{"map", map_one, {0, SPACE, SPACE, 0}},
	{"map again", map_again, {0, 0, SPACE, 0}},
	{"discard", discard_one, {0, 0, 0, 0}},
	{"delete", delete_one, {0, 0, 0, 0}},
	{"delete a part", delete_a_part, {0, 0, 0, 0}},
	{"hold", hold, {0, 0, SPACE, 0}},
	{"release", release, {THINP_ENOENT, THINP_ENOENT, THINP_ENOENT, THINP_ENOENT}},
	{"grow data a little", grow_data_a_little, {0, 0, 0, CHECK}},
	{"grow data much", grow_data_much, {0, 0, SPACE, CHECK}},
	{"grow metadata", grow_metadata, {0, 0, 0, CHECK}},
	{"set the id", set_id, {0, 0, 0, 0}},
	{"mark", mark, {0, 0, 0, 0}},
};
enum { NR_CELLS = sizeof(cells) / sizeof(cells[0]) };

static struct thinp_pool_info summary(const struct world *w)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	thinp_pool_get_info(w->pool, &info);
	return info;
}

/* What is refused has changed nothing; commit, abort and close go in every state. */
static void run_cell(int number, size_t cell)
{
	struct thinp_pool_info before, after;
	struct world w;
	int r;

	begin_with_devices(&w);
	states[number].enter(&w);
	before = summary(&w);
	r = cells[cell].change(&w);
	if (r != cells[cell].codes[number])
		fail_msg("%s, %s: %s", states[number].name, cells[cell].name, thinp_err_name(r));
	assert_int_equal(thinp_pool_status(w.pool), 0);
	after = summary(&w);
	if (r)
		assert_memory_equal(&before, &after, sizeof(before));
	commit(&w);
	assert_int_equal(thinp_pool_abort(w.pool), 0);
	close_world(&w);
}

static void TH_31_each_change_has_one_answer_in_each_state(void **state)
{
	(void)state;
	for (int number = 0; number < NR_STATES; number++)
		for (size_t cell = 0; cell < NR_CELLS; cell++)
			run_cell(number, cell);
}

/* --- going on -------------------------------------------------------------------------------------------------------- */

static void give_back(struct world *w)
{
	while (w->nr_taken)
		assert_int_equal(thinp_sm_dec(w->pool->store->metadata, w->taken[--w->nr_taken], 1), 0);
	assert_int_equal(thinp_pool_dec_data(w->pool, w->own, 1), 0);
	commit(w);
	meta_check_thin(w->io, NULL, NULL);
}

static void expect_mapped(struct world *w, uint64_t dev_id, uint64_t nr)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct thinp_mapping mapping;

	assert_int_equal(thinp_pool_get_device(w->pool, dev_id, &info), 0);
	assert_int_equal(info.mapped_blocks, nr);
	for (uint64_t i = dev_id - 1; i < 600; i += 2)
		assert_int_equal(thinp_pool_lookup(w->pool, dev_id, i * STRIDE, &mapping), 0);
}

/* All changes but those that free, one after the other: each is refused, or all go. */
static void change_all(struct world *w, bool is_full)
{
	static int (*const changes[])(struct world *) = {create_one, snap_one, map_one, hold, grow_data_much};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		assert_int_equal(changes[i](w), is_full ? THINP_ENOSPC : 0);
}

static void TH_14_TH_17_a_pool_without_metadata_goes_on_when_it_has_grown(void **state)
{
	struct world w;

	(void)state;
	begin_with_devices(&w);
	take_all_metadata(&w);
	change_all(&w, true);
	commit(&w);
	take_all_metadata(&w);
	change_all(&w, true);
	assert_int_equal(discard_one(&w), 0);
	assert_int_equal(thinp_pool_abort(w.pool), 0);
	w.nr_taken = w.nr_kept;
	expect_mapped(&w, 1, 300);
	expect_mapped(&w, 2, 300);
	begin(&w);
	assert_int_equal(thinp_pool_grow_metadata(w.pool, NR_METADATA + 800), 0);
	commit(&w);
	change_all(&w, false);
	commit(&w);
	expect_mapped(&w, 1, 301);
	expect_mapped(&w, 2, 300);
	give_back(&w);
	close_world(&w);
}

/* What it shares with the pool is copied, and what it alone has goes; and so with a device that a snapshot shares. */
static void TH_17_COW_05_what_is_shared_is_given_back_without_an_available_block(void **state)
{
	struct thinp_pool_step step = {.size = sizeof(step)};
	struct world w;

	(void)state;
	begin_with_devices(&w);
	assert_int_equal(thinp_pool_create_snapshot(w.pool, 3, 1), 0);
	assert_int_equal(hold(&w), 0);
	commit(&w);
	for (uint64_t i = 0; i < 300; i += 7)
		assert_int_equal(map(&w, 1 + i % 3, i * STRIDE + 1), 0);
	commit(&w);
	take_all_metadata(&w);
	while (!step.is_complete) {
		assert_int_equal(thinp_pool_release_step(w.pool, 1, &step), 0);
		commit(&w);
		take_all_metadata(&w);
	}
	for (uint64_t dev_id = 1; dev_id <= 3; dev_id++) {
		for (step.is_complete = false; !step.is_complete;) {
			assert_int_equal(thinp_pool_remove_step(w.pool, dev_id, 50 * STRIDE, UINT64_MAX, 1, &step), 0);
			commit(&w);
			take_all_metadata(&w);
		}
		for (step.is_complete = false; !step.is_complete;) {
			assert_int_equal(thinp_pool_delete_step(w.pool, dev_id, 1, &step), 0);
			commit(&w);
			take_all_metadata(&w);
		}
	}
	give_back(&w);
	assert_int_equal(info_of(&w, THINP_POOL_DATA).nr_zero, NR_DATA);
	close_world(&w);
}

/* --- being told ------------------------------------------------------------------------------------------------------ */

struct told {
	struct thinp_pool *pool;
	uint64_t nr;
	uint64_t nr_available;
};

/* Nothing is locked, and the change has ended: the transaction can be looked at. */
static void note(void *ctx, uint64_t nr_available)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct told *told = ctx;

	told->nr++;
	told->nr_available = nr_available;
	assert_int_equal(thinp_pool_live_begin(told->pool), 0);
	assert_int_equal(thinp_pool_get_device(told->pool, 1, &info), 0);
	thinp_pool_live_end(told->pool);
}

/* Once when the number falls to the threshold, and once more after it has been above. */
static void expect_told(struct world *w, int space, int (*take)(struct world *w), int (*free_some)(struct world *w))
{
	uint64_t threshold = info_of(w, space).nr_available - 20;
	struct told told = {.pool = w->pool};

	assert_int_equal(thinp_pool_set_threshold(w->pool, space, threshold, note, &told), 0);
	for (uint64_t round = 1; round < 3; round++) {
		while (told.nr < round) {
			assert_true(info_of(w, space).nr_available > threshold);
			assert_int_equal(take(w), 0);
		}
		assert_in_range(told.nr_available, info_of(w, space).nr_available, threshold);
		for (int i = 0; i < 5; i++)
			assert_int_equal(take(w), 0);
		assert_int_equal(told.nr, round);
		while (info_of(w, space).nr_available <= threshold) {
			assert_int_equal(free_some(w), 0);
			commit(w);
		}
	}
	assert_int_equal(thinp_pool_set_threshold(w->pool, space, 0, NULL, NULL), 0);
}

static int take_data(struct world *w)
{
	return map(w, 1, (1 << 20) + w->nr_mapped++);
}

static int free_data(struct world *w)
{
	return thinp_pool_remove(w->pool, 1, (1 << 20) + --w->nr_mapped);
}

static int take_metadata(struct world *w)
{
	return thinp_pool_create_device(w->pool, 1000 + w->nr_devices++);
}

static int free_metadata(struct world *w)
{
	return thinp_pool_delete_device(w->pool, 1000 + --w->nr_devices);
}

static void thresholds_of_both_spaces_are_told(void **state)
{
	struct thinp_pool_opts opts = defaults;
	struct world w;

	(void)state;
	begin_with_devices(&w);
	thinp_pool_close(w.pool);
	opts.flags |= THINP_POOL_LIVE;
	assert_int_equal(thinp_pool_open(w.io, &opts, &w.pool), 0);
	begin(&w);
	expect_told(&w, THINP_POOL_DATA, take_data, free_data);
	expect_told(&w, THINP_POOL_METADATA, take_metadata, free_metadata);
	assert_int_equal(thinp_pool_set_threshold(w.pool, 3, 1, note, NULL), THINP_EINVAL);
	give_back(&w);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(growing_the_data_of_a_full_pool_leaves_room_to_empty_it),
		cmocka_unit_test(TH_31_each_change_has_one_answer_in_each_state),
		cmocka_unit_test(TH_14_TH_17_a_pool_without_metadata_goes_on_when_it_has_grown),
		cmocka_unit_test(TH_17_COW_05_what_is_shared_is_given_back_without_an_available_block),
		cmocka_unit_test(thresholds_of_both_spaces_are_told),
	};

	return cmocka_run_group_tests_name("thin/full", tests, NULL, NULL);
}
