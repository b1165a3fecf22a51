/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums beside the bitmaps as restore 0.9 has them (docs/format.md, 4.3): whoever writes one of them writes all of them right.
 * After each commit sm_check() compares every sum with the counts.
 */
#include "block/manager.h"
#include "format/kind.h"
#include "support/space_map_fixture.h"

#include <thinp/block.h>
#include <thinp/error.h>

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
	FIRST_ENTRY = 16,           /* of an index block */
	FIRST_VALUE = 32 + 168 * 8, /* of a leaf of an index tree */
};

/* Lets nr_free of an entry be less than it is. */
static void hide(struct sm_fixture *f, thinp_block_t index, size_t entry, const struct thinp_block_type *type,
		 uint32_t nr)
{
	alignas(THINP_BLOCK_SIZE) uint8_t data[THINP_BLOCK_SIZE];
	struct tp_index_entry found;

	assert_int_equal(thinp_io_read(f->memory, index, 1, data), 0);
	tp_index_entry_unpack(data + entry, &found);
	found.nr_free -= nr;
	tp_index_entry_pack(&found, data + entry);
	tp_block_seal(data, index, type);
	assert_int_equal(thinp_io_write(f->memory, index, 1, data), 0);
	f->has_sums = false; /* a block of the last commit is another one now */
}

static void hide_in_index(struct sm_fixture *f, uint32_t bitmap, uint32_t nr)
{
	hide(f, f->meta.root.bitmap_root, FIRST_ENTRY + 16 * (size_t)bitmap, thinp_block_type_index(), nr);
}

static uint32_t tail_of(uint64_t nr_blocks)
{
	return (uint32_t)((SM_PER_BITMAP - nr_blocks % SM_PER_BITMAP) % SM_PER_BITMAP);
}

/* One free block is hidden by the root and the first entry; the last entry is without its tail. */
static void restore_metadata(struct sm_fixture *f, bool without_tail)
{
	uint64_t last = (f->meta.root.nr_blocks - 1) / SM_PER_BITMAP;

	hide_in_index(f, 0, 1);
	f->meta.root.nr_allocated++;
	if (without_tail)
		hide_in_index(f, (uint32_t)last, tail_of(f->meta.root.nr_blocks));
	sm_reopen(f);
}

static void take_and_commit(struct sm_fixture *f)
{
	uint64_t block;

	assert_int_equal(sm_take(f, &f->data, 1, &block), 0);
	assert_int_equal(sm_commit(f), 0);
}

static void sums_that_hide_a_block_are_written_right(void **state)
{
	static const struct {
		uint64_t nr_blocks;
		bool without_tail; /* of the bitmap that is written */
	} maps[] = {{1000, true},
		    {1000, false},
		    {SM_PER_BITMAP, true},
		    {SM_PER_BITMAP + 700, false},
		    {2 * SM_PER_BITMAP, false}};

	(void)state;
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		struct sm_fixture *f = sm_fixture_new(maps[i].nr_blocks, 500, 50000, NULL, i % 2);

		restore_metadata(f, maps[i].without_tail);
		assert_int_equal(sm_info(&f->meta).nr_zero, maps[i].nr_blocks - f->meta.root.nr_allocated);
		take_and_commit(f);
		take_and_commit(f);
		sm_fixture_free(f);
	}
}

static void an_abort_forgets_that_they_were_written(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 500, 5000, NULL, false);
	uint64_t block;
	uint64_t id;

	(void)state;
	restore_metadata(f, true);
	assert_int_equal(sm_take(f, &f->data, 1, &block), 0);
	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_WRITE, 1, 0, &id), 0);
	assert_int_not_equal(sm_commit(f), 0);
	thinp_fault_clear(f->fault);
	sm_abort(f);
	assert_int_equal(sm_info(&f->meta).nr_zero, 1000 - f->meta.root.nr_allocated);
	take_and_commit(f);
	sm_fixture_free(f);
}

static void entries_of_bitmaps_that_are_not_written_are_written_right(void **state)
{
	struct sm_fixture *f = sm_fixture_new(SM_PER_BITMAP + 700, 500, 50000, NULL, false);
	uint32_t count;

	(void)state;
	restore_metadata(f, true);
	assert_int_equal(thinp_sm_count(f->meta.sm, SM_PER_BITMAP + 5, &count), 0);
	take_and_commit(f);
	sm_fixture_free(f);
}

/* Who knows which of the two is right? */
static void a_root_that_the_index_does_not_bear_out_is_left_alone(void **state)
{
	uint64_t nr_allocated[2];

	(void)state;
	for (uint64_t more = 0; more < 2; more++) {
		struct sm_fixture *f = sm_fixture_new(SM_PER_BITMAP, 500, 50000, NULL, false);
		uint64_t block;

		f->meta.root.nr_allocated += more;
		if (more)
			hide_in_index(f, 0, 2);
		sm_reopen(f);
		assert_int_equal(sm_take(f, &f->data, 1, &block), 0);
		assert_int_equal(sm_commit_unchecked(f), 0);
		nr_allocated[more] = f->meta.root.nr_allocated;
		sm_fixture_free(f);
	}
	assert_int_equal(nr_allocated[1], nr_allocated[0] + 1);
}

static void what_a_check_has_counted_is_written(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 500, 5000, NULL, false);
	uint64_t nr_used = f->meta.root.nr_allocated;

	(void)state;
	restore_metadata(f, true);
	assert_int_equal(tp_sm_write_anew(f->meta.sm, 0), 0);
	tp_sm_set_nr_used(f->meta.sm, nr_used);
	assert_int_equal(sm_commit(f), 0);
	take_and_commit(f);
	sm_fixture_free(f);
}

/* --- growing --- */

static struct sm_fixture *without_tails(void)
{
	struct sm_fixture *f = sm_fixture_new(1000, 600, 50000, NULL, false);

	hide_in_index(f, 0, tail_of(1000));
	hide(f, f->data.root.bitmap_root, FIRST_VALUE, thinp_block_type_node(), tail_of(600));
	sm_reopen(f);
	return f;
}

/* A kernel would not find blocks that nr_free does not know of. */
static void growing_counts_the_tail(void **state)
{
	static const uint64_t sizes[] = {601, 1500, SM_PER_BITMAP, SM_PER_BITMAP + 1, 40000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct sm_fixture *f = without_tails();

		assert_int_equal(sm_extend(f, &f->data, sizes[i]), 0);
		assert_int_equal(sm_extend(f, &f->meta, 400 + sizes[i]), 0);
		assert_int_equal(sm_commit(f), 0);
		sm_fixture_free(f);
	}
}

static void expect_size(struct sm_fixture *f, uint64_t nr_metadata, uint64_t nr_data)
{
	assert_int_equal(sm_info(&f->meta).nr_blocks, nr_metadata);
	assert_int_equal(sm_info(&f->data).nr_blocks, nr_data);
}

/* Grows either map while something fails; what is left is the size before, or the new one. */
static int grow_one(struct sm_fixture *f, bool is_data)
{
	int r = is_data ? sm_extend(f, &f->data, 1500) : sm_extend(f, &f->meta, 1500);

	expect_size(f, is_data || r ? 1000 : 1500, is_data && !r ? 1500 : 600);
	return r;
}

/* So that the next read of one goes to the device: opening has read neighbours of what it needed. */
static void forget_cached(struct sm_fixture *f)
{
	thinp_block_t blocks[1000];

	for (size_t i = 0; i < 1000; i++)
		blocks[i] = i;
	tp_reader_drop_unused(f->reader, blocks, 1000);
}

static void OOMLOOP_ERRLOOP_growing_reads_the_old_end_first(void **state)
{
	(void)state;
	for (int is_data = 0; is_data < 2; is_data++) {
		struct sm_fixture *f = without_tails();
		uint64_t id;
		size_t n = 0;

		forget_cached(f);
		assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_READ, 1, 0, &id), 0);
		assert_int_equal(grow_one(f, is_data), THINP_EIO);
		thinp_fault_clear(f->fault);
		sm_reopen(f);
		do {
			alloc_counting_fail(&f->alloc, ++n);
		} while (grow_one(f, is_data) == THINP_ENOMEM);
		assert_true(n > 1);
		alloc_counting_fail(&f->alloc, 0);
		expect_size(f, is_data ? 1000 : 1500, is_data ? 1500 : 600);
		assert_int_equal(sm_extend(f, is_data ? &f->meta : &f->data, 1500), 0);
		assert_int_equal(sm_commit(f), 0);
		sm_fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_that_hide_a_block_are_written_right),
		cmocka_unit_test(an_abort_forgets_that_they_were_written),
		cmocka_unit_test(entries_of_bitmaps_that_are_not_written_are_written_right),
		cmocka_unit_test(a_root_that_the_index_does_not_bear_out_is_left_alone),
		cmocka_unit_test(what_a_check_has_counted_is_written),
		cmocka_unit_test(growing_counts_the_tail),
		cmocka_unit_test(OOMLOOP_ERRLOOP_growing_reads_the_old_end_first),
	};

	return cmocka_run_group_tests_name("space_map/hints", tests, NULL, NULL);
}
