/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_attachment.c - what is attached to a block is found as long as the block stays as it is, and no longer; its
 * memory is used again when nobody can look at it any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "support/block_change.h"
#include "support/image_expect.h"

enum { NR_BLOCKS = 500, CACHE = 16, NBYTES = 256 };
#define MOST ((size_t)CACHE * (THINP_BLOCK_SIZE / TP_ATTACHMENT_SHARE))

static struct tp_cache *cache_of(struct block_fixture *f)
{
	return &f->bm->cache;
}

static struct tp_attachment *find(struct block_fixture *f, thinp_block_t block)
{
	struct thinp_read_section section;
	struct tp_attachment *found;

	thinp_read_begin(f->reader, &section);
	found = tp_attachment_of(&cache_of(f)->attachments, block);
	thinp_read_end(&section);
	return found;
}

/* To a block that is in the cache. */
static bool attach(struct block_fixture *f, thinp_block_t block)
{
	struct tp_attachment *attachment = tp_attachment_alloc(cache_of(f), NBYTES);
	struct thinp_read_section section;
	struct thinp_buffer *buffer;
	bool is_attached;

	assert_non_null(attachment);
	thinp_read_begin(f->reader, &section);
	buffer = tp_read_peek_buffer(&section, block, thinp_block_type_bitmap());
	assert_non_null(buffer);
	is_attached = tp_attachment_attach(cache_of(f), attachment, buffer);
	thinp_read_end(&section);
	if (!is_attached)
		tp_attachment_free(cache_of(f), attachment);
	return is_attached;
}

static struct block_fixture *with_one_attached(thinp_block_t block)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);

	assert_int_equal(block_fixture_read(f, block), 0);
	assert_true(attach(f, block));
	assert_non_null(find(f, block));
	return f;
}

static void expect_bytes(struct block_fixture *f)
{
	assert_int_equal(block_fixture_stats(f).bytes, f->alloc.live_bytes - sizeof(struct thinp_reader));
}

static void it_is_found_by_its_block_and_counted(void **state)
{
	struct block_fixture *f = with_one_attached(7);

	(void)state;
	assert_int_equal(find(f, 7)->block, 7);
	assert_null(find(f, 8));
	assert_null(find(f, 7 + TP_ATTACHMENT_PLACES));
	expect_bytes(f);
	block_fixture_free(f);
}

static void a_place_is_kept_by_whoever_came_first(void **state)
{
	struct block_fixture *f = with_one_attached(7);

	(void)state;
	assert_int_equal(block_fixture_read(f, 7 + TP_ATTACHMENT_PLACES), 0);
	assert_false(attach(f, 7 + TP_ATTACHMENT_PLACES));
	assert_false(attach(f, 7));
	assert_non_null(find(f, 7));
	expect_bytes(f);
	block_fixture_free(f);
}

static void it_goes_when_its_block_is_evicted(void **state)
{
	struct block_fixture *f = with_one_attached(7);

	(void)state;
	block_fixture_read_range(f, 100, 300);
	assert_false(block_fixture_has(f, 7));
	assert_null(find(f, 7));
	assert_int_equal(block_fixture_read(f, 7), 0); /* the block comes again, what was attached does not */
	assert_null(find(f, 7));
	assert_true(attach(f, 7));
	expect_bytes(f);
	block_fixture_free(f);
}

static void it_goes_when_its_block_is_forgotten_dropped_or_replaced(void **state)
{
	(void)state;
	for (int way = 0; way < 3; way++) {
		struct block_fixture *f = with_one_attached(7);

		if (way == 0)
			thinp_bm_forget(f->bm, 7);
		else if (way == 1)
			block_fixture_drop_range(f, 7, 8);
		else
			assert_int_equal(block_change_new(f, 7, 1), 0);
		assert_null(find(f, 7));
		thinp_bm_abort(f->bm);
		expect_bytes(f);
		block_fixture_free(f);
	}
}

static void a_block_that_is_changed_has_none_and_gets_none(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);

	(void)state;
	assert_int_equal(block_change_new(f, 7, 1), 0);
	assert_false(attach(f, 7));
	assert_int_equal(thinp_bm_flush(f->bm), 0); /* clean, and may be changed once more */
	assert_false(attach(f, 7));
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(attach(f, 7));
	assert_int_equal(block_change_again(f, 7, 1, 2), 0); /* by a caller who knows that nobody reads it */
	assert_null(find(f, 7));
	assert_false(attach(f, 7));
	assert_int_equal(block_change_commit(f, 2), 0);
	assert_true(attach(f, 7));
	expect_bytes(f);
	block_fixture_free(f);
}

static void its_memory_stays_while_somebody_may_look_at_it(void **state)
{
	struct block_fixture *f = with_one_attached(7);
	struct thinp_read_section section;
	struct tp_attachment *seen, *other;
	uint64_t bytes;

	(void)state;
	thinp_read_begin(f->reader, &section);
	seen = tp_attachment_of(&cache_of(f)->attachments, 7);
	memset(seen + 1, 0x5a, NBYTES - sizeof(*seen));
	thinp_bm_forget(f->bm, 7);
	bytes = block_fixture_stats(f).bytes;
	other = tp_attachment_alloc(cache_of(f), NBYTES);
	assert_int_equal(block_fixture_stats(f).bytes, bytes + NBYTES);
	for (size_t i = 0; i < NBYTES - sizeof(*seen); i++)
		assert_int_equal(((uint8_t *)(seen + 1))[i], 0x5a);
	thinp_read_end(&section);
	tp_attachment_free(cache_of(f), other);

	other = tp_attachment_alloc(cache_of(f), NBYTES); /* gives back what nobody looks at */
	assert_int_equal(block_fixture_stats(f).bytes, bytes);
	tp_attachment_free(cache_of(f), other);
	block_fixture_free(f);
}

static void there_are_no_more_of_them_than_their_share(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct tp_attachment *most;

	(void)state;
	assert_null(tp_attachment_alloc(cache_of(f), MOST + 1));
	assert_null(tp_attachment_alloc(cache_of(f), SIZE_MAX));
	most = tp_attachment_alloc(cache_of(f), MOST);
	assert_non_null(most);
	assert_null(tp_attachment_alloc(cache_of(f), sizeof(*most)));
	tp_attachment_free(cache_of(f), most);
	assert_true(block_fixture_read(f, 7) == 0 && attach(f, 7));
	assert_null(tp_attachment_alloc(cache_of(f), MOST));
	expect_bytes(f);
	block_fixture_free(f);
}

static void without_memory_there_is_none_and_no_failure(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct tp_attachment *attachment;

	(void)state;
	alloc_counting_fail(&f->alloc, 1);
	detail_mark();
	assert_null(tp_attachment_alloc(cache_of(f), MOST));
	expect_detail_untouched();
	assert_true(alloc_counting_has_failed(&f->alloc));
	attachment = tp_attachment_alloc(cache_of(f), MOST); /* nothing of the share is lost */
	assert_non_null(attachment);
	tp_attachment_free(cache_of(f), attachment);
	block_fixture_free(f);
}

static void wishes_are_counted_for_the_last_that_was_wished_for(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct tp_attachments *attachments = &cache_of(f)->attachments;

	(void)state;
	for (uint32_t i = 1; i < 10; i++) {
		assert_int_equal(tp_attachment_wish(attachments, 7), i);
		assert_int_equal(tp_attachment_wish(attachments, 8), i);
	}
	assert_int_equal(tp_attachment_wish(attachments, 7 + TP_ATTACHMENT_PLACES), 1);
	assert_int_equal(tp_attachment_wish(attachments, 7), 1);
	assert_int_equal(block_fixture_read(f, 7), 0);
	assert_true(attach(f, 7));
	assert_int_equal(tp_attachment_wish(attachments, 7), 0);
	assert_int_equal(tp_attachment_wish(attachments, 7 + TP_ATTACHMENT_PLACES), 0);
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_found_by_its_block_and_counted),
		cmocka_unit_test(a_place_is_kept_by_whoever_came_first),
		cmocka_unit_test(it_goes_when_its_block_is_evicted),
		cmocka_unit_test(it_goes_when_its_block_is_forgotten_dropped_or_replaced),
		cmocka_unit_test(a_block_that_is_changed_has_none_and_gets_none),
		cmocka_unit_test(its_memory_stays_while_somebody_may_look_at_it),
		cmocka_unit_test(there_are_no_more_of_them_than_their_share),
		cmocka_unit_test(without_memory_there_is_none_and_no_failure),
		cmocka_unit_test(wishes_are_counted_for_the_last_that_was_wished_for),
	};

	return cmocka_run_group_tests_name("block/attachment", tests, NULL, NULL);
}
