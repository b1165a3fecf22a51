/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th allocation fails, the n-th access of the device fails: nothing that the caller was not told has changed, the
 * device keeps the last commit, an abort makes all well.
 */
#include "support/image_expect.h"
#include "support/image_space_map.h"
#include "support/image_trial.h"
#include "support/space_map_fixture.h"

#include <stdlib.h>

/* Maps with counts of all kinds in several bitmaps. */
static struct sm_fixture *begin(void)
{
	struct sm_fixture *f = sm_fixture_new(SM_PER_BITMAP + 100, 3 * SM_PER_BITMAP, 70000, NULL, false);
	uint64_t first;

	assert_int_equal(sm_take(f, &f->meta, 800, &first), 0);
	assert_int_equal(sm_inc(&f->meta, first, 500), 0);
	assert_int_equal(sm_inc(&f->meta, first, 340), 0);
	assert_int_equal(sm_inc(&f->data, SM_PER_BITMAP - 200, 400), 0);
	assert_int_equal(sm_inc(&f->data, SM_PER_BITMAP - 200, 400), 0);
	assert_int_equal(sm_inc(&f->data, SM_PER_BITMAP - 200, 400), 0);
	sm_raise(&f->data, 40000, 260);
	assert_int_equal(sm_commit(f), 0);
	sm_reopen(f);
	return f;
}

/* One of each, from pages that are not in memory. What succeeds is noted by the model. */
static int change_all(struct sm_fixture *f)
{
	uint64_t first;
	int r = sm_inc(&f->data, SM_PER_BITMAP - 300, 600);

	if (!r)
		r = sm_dec(&f->data, SM_PER_BITMAP - 100, 90);
	if (!r)
		r = sm_dec(&f->data, SM_PER_BITMAP - 100, 90);
	if (!r)
		r = sm_take(f, &f->data, 1000, &first);
	if (!r)
		r = sm_take(f, &f->meta, 3, &first);
	if (!r)
		r = sm_inc(&f->meta, first, 3);
	if (!r)
		r = sm_inc(&f->data, 40000, 1);
	if (!r)
		r = sm_extend(f, &f->data, 4 * SM_PER_BITMAP);
	if (!r)
		r = sm_extend(f, &f->meta, 2 * SM_PER_BITMAP + 1);
	return r;
}

static bool is_plain_failure(int r)
{
	return r == THINP_ENOMEM || r == THINP_EIO;
}

/* Something failed. Sometimes the transaction can go on: then what the model has must be so. */
static void go_on(struct sm_fixture *f, bool has_recorded, uint64_t n)
{
	if (!has_recorded && n % 2) {
		assert_int_equal(sm_commit(f), 0);
		return;
	}
	sm_abort(f);
	sm_check(f);
	assert_int_equal(change_all(f), 0);
	assert_int_equal(sm_commit(f), 0);
}

static void OOMLOOP_no_allocation_that_fails_does_harm(void **state)
{
	size_t n = 0;
	bool failed = true;

	(void)state;
	while (failed) {
		struct sm_fixture *f = begin();
		bool has_recorded = false;
		int r;

		alloc_counting_fail(&f->alloc, ++n);
		r = change_all(f);
		if (!r) {
			has_recorded = true;
			r = sm_commit_unchecked(f);
		}
		failed = alloc_counting_has_failed(&f->alloc);
		alloc_counting_fail(&f->alloc, 0);
		if (r) {
			assert_int_equal(r, THINP_ENOMEM);
			expect_detail(r);
			go_on(f, has_recorded, n);
		} else {
			sm_check(f);
		}
		sm_fixture_free(f);
	}
	print_message("%zu allocations\n", n);
	assert_true(n > 10);
}

static void ERRLOOP_no_access_that_fails_does_harm(void **state)
{
	static const uint32_t kinds[] = {THINP_IO_READ, THINP_IO_WRITE};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		uint64_t n = 0, fired = 1;

		while (fired) {
			struct sm_fixture *f = begin();
			bool has_recorded = false;
			uint64_t id, before = f->nr_commits;
			int r;

			assert_int_equal(thinp_fault_fail_nth(f->fault, kinds[k], ++n, 0, &id), 0);
			r = change_all(f);
			if (!r) {
				has_recorded = true;
				r = sm_commit_unchecked(f);
			}
			assert_int_equal(thinp_fault_get_counts(f->fault, id, NULL, &fired), 0);
			thinp_fault_clear(f->fault);
			if (r == THINP_EUNKNOWN) { /* the record itself: only opening again tells */
				assert_int_equal(f->nr_commits, before);
			} else if (r) {
				assert_true(is_plain_failure(r));
				expect_detail(r);
				go_on(f, has_recorded, n);
			} else {
				sm_check(f);
			}
			sm_fixture_free(f);
		}
		print_message("%llu accesses\n", (unsigned long long)n);
	}
}

/* Opening: the n-th allocation, the n-th read. */
static int try_open(void *ctx)
{
	struct sm_fixture *f = ctx;
	struct thinp_sm *meta, *data;
	int r = tp_sm_open_metadata(f->reader, &f->meta.root, &f->opts, &meta);

	if (r)
		return r;
	r = tp_sm_open_data(f->reader, &f->data.root, meta, &f->opts, &data);
	if (!r)
		tp_sm_close(data);
	tp_sm_close(meta);
	return r;
}

static void OOMLOOP_opening(void **state)
{
	struct sm_fixture *f = begin();
	struct alloc_counting alloc;

	(void)state;
	alloc_counting_init(&alloc);
	f->opts.allocator = &alloc.table;
	alloc_counting_loop(&alloc, try_open, f);
	sm_fixture_free(f);
}

/* What waits is put through when memory is short; what cannot be goes on waiting. */
static void OOMLOOP_nothing_that_waits_is_lost(void **state)
{
	bool failed = true;

	(void)state;
	for (size_t n = 1; failed; n++) {
		struct sm_fixture *f = sm_fixture_new(2000, 1000, 2000, NULL, true);
		int r = 0;

		assert_int_equal(sm_inc(&f->data, 100, 500), 0);
		assert_int_equal(sm_inc(&f->data, 300, 500), 0);
		alloc_counting_fail_from(&f->alloc, n);
		for (uint64_t i = 0; i < 40 && !r; i++)
			r = sm_inc(&f->data, 7 * i, 300);
		failed = alloc_counting_has_failed(&f->alloc);
		alloc_counting_fail(&f->alloc, 0);
		assert_int_equal(r, failed ? THINP_ENOMEM : 0);
		sm_expect_counts(&f->data);
		assert_int_equal(sm_inc(&f->data, 200, 700), 0);
		sm_expect_counts(&f->data);
		assert_int_equal(sm_commit(f), 0);
		sm_expect_counts(&f->data);
		sm_fixture_free(f);
	}
}

/* --- SM-16: damage --- */

struct damaged {
	struct image image;
	struct image_reader reader;
	struct tp_sm_root root;
	uint32_t *counts;
};

static void damaged_open(struct damaged *d, enum image_map_kind kind)
{
	static const struct tree_shape shape = {0};

	d->counts = calloc(2 * SM_PER_BITMAP, sizeof(*d->counts));
	assert_non_null(d->counts);
	d->counts[5] = 3;
	d->counts[20000] = 7;
	image_open(&d->image, 40000);
	image_space_map(&d->image, kind, &shape, d->counts, 2 * SM_PER_BITMAP, &d->root);
}

/* Takes a block, and raises count 20000, which the overflow tree has. */
static int open_and_take(struct damaged *d, enum image_map_kind kind, uint64_t *block)
{
	struct thinp_sm *meta = NULL, *sm = NULL;
	int r;

	assert_int_equal(image_reader_open(&d->reader, &d->image, 64), 0);
	if (kind == IMAGE_METADATA_MAP) {
		r = tp_sm_open_metadata(d->reader.reader, &d->root, NULL, &sm);
	} else {
		assert_int_equal(tp_sm_open_metadata(d->reader.reader, NULL, NULL, &meta), 0);
		assert_int_equal(thinp_sm_extend(meta, 1000), 0);
		r = tp_sm_open_data(d->reader.reader, &d->root, meta, NULL, &sm);
	}
	if (!r)
		r = thinp_sm_take(sm, 1, block, NULL);
	if (!r)
		r = thinp_sm_inc(sm, 20000, 1);
	tp_sm_close(sm);
	tp_sm_close(meta);
	image_reader_close(&d->reader);
	return r;
}

static void damaged_close(struct damaged *d)
{
	image_close(&d->image);
	free(d->counts);
}

static void lie(struct damaged *d, uint32_t nr_free, uint32_t none_free_before)
{
	struct tp_index_entry entry = {image_bitmap(&d->image, IMAGE_METADATA_MAP, &d->root, 0), nr_free,
				       none_free_before};
	struct image_block content;

	image_read(&d->image, d->root.bitmap_root, &content);
	tp_index_entry_pack(&entry, content.data + IMAGE_INDEX_ENTRY(0));
	image_put(&d->image, d->root.bitmap_root, &content, thinp_block_type_index());
}

static void SM_16_hints_of_the_index_are_not_believed(void **state)
{
	static const uint32_t lies[][2] = {{0, 0}, {0, 16320}, {UINT32_MAX, UINT32_MAX}, {16320, 5}, {1, 99999}};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct damaged d;
		uint64_t block = 4711;

		damaged_open(&d, IMAGE_METADATA_MAP);
		lie(&d, lies[i][0], lies[i][1]);
		assert_int_equal(open_and_take(&d, IMAGE_METADATA_MAP, &block), 0);
		assert_int_equal(block, 0);
		damaged_close(&d);
	}
}

/* What the bitmap has for a block, in place of what it should. */
static void set_bits(struct damaged *d, enum image_map_kind kind, uint64_t block, uint32_t bits)
{
	thinp_block_t bitmap = image_bitmap(&d->image, kind, &d->root, (uint32_t)(block / SM_PER_BITMAP));
	struct image_block content;

	image_read(&d->image, bitmap, &content);
	tp_bitmap_set(content.data, (uint32_t)(block % SM_PER_BITMAP), bits);
	image_put(&d->image, bitmap, &content, thinp_block_type_bitmap());
}

static void SM_16_bitmap_and_overflow_tree_must_agree(void **state)
{
	static const struct {
		uint64_t block;
		uint32_t bits;
		int wanted;
	} damages[] = {{20000, 2, 0}, {20001, 3, THINP_ECORRUPT}, {20001, 2, 0}, {5, 3, 0}};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(damages) / sizeof(damages[0]); i++) {
		enum image_map_kind kind = i % 2 ? IMAGE_DATA_MAP : IMAGE_METADATA_MAP;
		struct damaged d;
		uint64_t block = 4711;
		int r;

		damaged_open(&d, kind);
		set_bits(&d, kind, damages[i / 2].block, damages[i / 2].bits);
		r = open_and_take(&d, kind, &block);
		assert_int_equal(r, damages[i / 2].wanted);
		if (r)
			expect_detail(r);
		damaged_close(&d);
	}
}

/* SM4 of the invariants: what stands behind the end is none of the map's, also when it grows. */
static void junk_behind_the_end_is_not_counted(void **state)
{
	struct damaged d;
	struct thinp_sm *sm;
	uint32_t count = 4711;

	(void)state;
	damaged_open(&d, IMAGE_METADATA_MAP);
	set_bits(&d, IMAGE_METADATA_MAP, 2 * SM_PER_BITMAP - 1, 2);
	d.root.nr_blocks -= 10;
	assert_int_equal(image_reader_open(&d.reader, &d.image, 64), 0);
	assert_int_equal(tp_sm_open_metadata(d.reader.reader, &d.root, NULL, &sm), 0);
	assert_int_equal(thinp_sm_inc(sm, 20000, 1), 0);
	assert_int_equal(thinp_sm_extend(sm, 2 * SM_PER_BITMAP), 0);
	assert_int_equal(thinp_sm_count(sm, 2 * SM_PER_BITMAP - 1, &count), 0);
	assert_int_equal(count, 0);
	tp_sm_close(sm);
	image_reader_close(&d.reader);
	damaged_close(&d);
}

/* SM-05: bitmaps that the index cannot mean. */
static void SM_16_addresses_of_bitmaps_are_checked(void **state)
{
	static const thinp_block_t bad[] = {0, 40000, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tp_index_entry entry = {.bitmap = bad[i]};
		struct image_block content;
		struct damaged d;
		uint64_t block = 4711;

		damaged_open(&d, IMAGE_METADATA_MAP);
		image_read(&d.image, d.root.bitmap_root, &content);
		tp_index_entry_pack(&entry, content.data + IMAGE_INDEX_ENTRY(0));
		image_put(&d.image, d.root.bitmap_root, &content, thinp_block_type_index());
		assert_int_equal(open_and_take(&d, IMAGE_METADATA_MAP, &block), THINP_ECORRUPT);
		assert_int_equal(block, 4711);
		damaged_close(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(OOMLOOP_no_allocation_that_fails_does_harm),
		cmocka_unit_test(ERRLOOP_no_access_that_fails_does_harm),
		cmocka_unit_test(OOMLOOP_opening),
		cmocka_unit_test(OOMLOOP_nothing_that_waits_is_lost),
		cmocka_unit_test(SM_16_hints_of_the_index_are_not_believed),
		cmocka_unit_test(SM_16_bitmap_and_overflow_tree_must_agree),
		cmocka_unit_test(junk_behind_the_end_is_not_counted),
		cmocka_unit_test(SM_16_addresses_of_bitmaps_are_checked),
	};

	return cmocka_run_group_tests_name("space_map/failures", tests, NULL, NULL);
}
