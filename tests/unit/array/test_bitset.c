/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing bitsets, beside a plain array of bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/change_fixture.h"
#include "support/meta_check.h"
#include "unit/base/random.h"

#include <thinp/array.h>
#include <thinp/error.h>

#include <string.h>

static const struct thinp_array_type words = {.size = sizeof(words), .value_size = 8};

enum { MOST_BITS = 3 * 509 * 64 };

struct bits {
	struct change_fixture *f;
	struct thinp_bitset *bitset;
	uint64_t nr;
	uint8_t model[MOST_BITS];
};

static struct bits *new_bits(uint64_t nr)
{
	struct bits *bits = calloc(1, sizeof(*bits));
	thinp_block_t root;

	assert_non_null(bits);
	bits->f = change_fixture_new(600, 100);
	bits->nr = nr;
	assert_int_equal(thinp_array_create(bits->f->tm, &words, &root), 0);
	assert_int_equal(thinp_bitset_create(bits->f->tm, root, 0, &bits->bitset), 0);
	assert_int_equal(thinp_bitset_resize(bits->bitset, nr, false), 0);
	return bits;
}

static void free_bits(struct bits *bits)
{
	thinp_bitset_destroy(bits->bitset);
	change_fixture_free(bits->f);
	free(bits);
}

static void put(struct bits *bits, uint64_t bit, bool is_set)
{
	assert_int_equal((is_set ? thinp_bitset_set : thinp_bitset_clear)(bits->bitset, bit), 0);
	bits->model[bit] = is_set;
}

static void resize(struct bits *bits, uint64_t nr, bool is_set)
{
	assert_int_equal(thinp_bitset_resize(bits->bitset, nr, is_set), 0);
	if (nr > bits->nr)
		memset(bits->model + bits->nr, is_set, nr - bits->nr);
	bits->nr = nr;
}

static void check_handle(struct bits *bits)
{
	assert_int_equal(thinp_bitset_nr_bits(bits->bitset), bits->nr);
	for (uint64_t i = 0; i < bits->nr; i++) {
		bool is_set;

		assert_int_equal(thinp_bitset_get(bits->bitset, i, &is_set), 0);
		assert_int_equal(is_set, bits->model[i]);
	}
}

/* What a reader sees, which knows nothing of the handle. */
static void check_root(struct bits *bits, thinp_block_t root)
{
	struct thinp_reader *reader = thinp_tm_reader(bits->f->tm);
	uint64_t nr_words = 0;

	for (uint64_t i = 0; i < bits->nr; i++) {
		bool is_set;

		assert_int_equal(thinp_bitset_test(reader, root, i, &is_set), 0);
		assert_int_equal(is_set, bits->model[i]);
	}
	assert_int_equal(thinp_array_nr_values(reader, &words, root, &nr_words), 0);
	assert_int_equal(nr_words, (bits->nr + 63) / 64);
}

static void check_counts(struct bits *bits, thinp_block_t root)
{
	struct meta_array kind = {.values = {.name = "bitset", .value_size = 8}};
	struct meta_check check;

	meta_check_begin(&check, thinp_tm_reader(bits->f->tm), bits->f->image.nr_blocks, 0);
	meta_check_refer(&check, 0, bits);
	meta_check_array(&check, root, &kind, (bits->nr + 63) / 64);
	meta_check_compare_tm(&check, bits->f->tm);
	meta_check_end(&check);
}

static thinp_block_t flush(struct bits *bits)
{
	thinp_block_t root = THINP_NO_BLOCK;

	assert_int_equal(thinp_bitset_flush(bits->bitset, &root), 0);
	return root;
}

/* --- the tests --------------------------------------------------------------------------------------------------------- */

static void BS_01_the_word_that_is_kept_is_seen_and_written(void **state)
{
	struct bits *bits = new_bits(200);

	(void)state;
	for (uint64_t i = 10; i < 20; i++) /* more than one, as the first is written at once */
		put(bits, i, true);
	check_handle(bits);
	check_root(bits, flush(bits));
	for (uint64_t i = 70; i < 80; i++)
		put(bits, i, true);
	put(bits, 199, true); /* another word */
	check_root(bits, flush(bits));
	for (uint64_t i = 70; i < 75; i++)
		put(bits, i, false);
	resize(bits, 300, true); /* without a flush */
	check_root(bits, flush(bits));
	for (uint64_t i = 70; i < 75; i++)
		put(bits, i, true);
	resize(bits, 100, true);
	check_root(bits, flush(bits));
	free_bits(bits);
}

/* What is kept when a commit comes is written later, and not lost. */
static void BS_01_a_commit_without_a_flush_loses_nothing(void **state)
{
	struct bits *bits = new_bits(200);

	(void)state;
	for (uint64_t i = 10; i < 20; i++)
		put(bits, i, true);
	change_fixture_commit(bits->f);
	check_handle(bits);
	put(bits, 25, true);
	change_fixture_commit(bits->f);
	check_root(bits, flush(bits));
	free_bits(bits);
}

static void BS_02_reading_bits_writes_nothing(void **state)
{
	struct bits *bits = new_bits(10000);
	uint64_t before;
	thinp_block_t root;

	(void)state;
	put(bits, 5, true);
	root = flush(bits);
	change_fixture_commit(bits->f);
	before = thinp_tm_generation(bits->f->tm);
	check_handle(bits);
	for (uint64_t i = 0; i < bits->nr; i++) /* as it is already */
		put(bits, i, bits->model[i]);
	assert_int_equal(flush(bits), root);
	assert_int_equal(thinp_tm_generation(bits->f->tm), before);
	free_bits(bits);
}

static void BS_03_bits_behind_the_end_take_the_default_when_they_come_in(void **state)
{
	(void)state;
	for (uint64_t from = 1; from < 200; from += 21)
		for (int was_set = 0; was_set < 2; was_set++)
			for (int is_set = 0; is_set < 2; is_set++) {
				struct bits *bits = new_bits(0);

				resize(bits, from, was_set); /* leaves bits behind the end */
				resize(bits, from + 3, is_set);
				resize(bits, from + 100, !is_set);
				resize(bits, from, false);
				resize(bits, from + 200, is_set);
				check_handle(bits);
				check_root(bits, flush(bits));
				free_bits(bits);
			}
}

/* The word that is kept may be one that a shorter bitset does not have. */
static void BS_03_a_word_that_was_cut_off_is_forgotten(void **state)
{
	struct bits *bits = new_bits(200);

	(void)state;
	put(bits, 130, true);
	resize(bits, 64, false);
	resize(bits, 200, true);
	put(bits, 135, false);
	check_handle(bits);
	put(bits, 130, false);
	resize(bits, 128, false);
	resize(bits, 200, false);
	check_handle(bits);
	check_root(bits, flush(bits));
	free_bits(bits);
}

static void BS_04_the_first_bit_of_a_word_is_not_lost(void **state)
{
	const uint64_t edges[] = {63, 64, 65, 127, 128};

	(void)state;
	for (size_t i = 0; i < 5; i++)
		for (size_t k = 0; k < 5; k++) { /* with i == k: alone */
			struct bits *bits = new_bits(129);

			put(bits, edges[i], true);
			put(bits, edges[k], true);
			check_handle(bits);
			check_root(bits, flush(bits));
			free_bits(bits);
		}
}

/* A handle has its root, so a word cannot be taken for one of another bitset; a reset forgets it. */
static void BS_05_two_bitsets_do_not_mix(void **state)
{
	struct bits *bits = new_bits(200);
	struct thinp_bitset *other;
	thinp_block_t root, other_root;
	bool is_set = true;

	(void)state;
	assert_int_equal(thinp_array_new(bits->f->tm, &words, 4, NULL, NULL, &other_root), 0);
	assert_int_equal(thinp_bitset_create(bits->f->tm, other_root, 200, &other), 0);
	for (uint64_t i = 0; i < 64; i += 2) {
		put(bits, i, true);
		assert_int_equal(thinp_bitset_set(other, i + 1), 0);
	}
	root = flush(bits);
	assert_int_equal(thinp_bitset_flush(other, &other_root), 0);
	check_root(bits, root);
	thinp_bitset_reset(bits->bitset, other_root, 200);
	for (uint64_t i = 0; i < 64; i++) {
		assert_int_equal(thinp_bitset_get(bits->bitset, i, &is_set), 0);
		assert_int_equal(is_set, i % 2);
	}
	thinp_bitset_destroy(other);
	free_bits(bits);
}

static void BS_06_after_an_abort_and_a_reset_all_is_as_committed(void **state)
{
	struct bits *bits = new_bits(5000);
	thinp_block_t root;

	(void)state;
	for (uint64_t i = 0; i < 5000; i += 7)
		put(bits, i, true);
	root = flush(bits);
	change_fixture_commit(bits->f);
	for (uint64_t i = 1; i < 5000; i += 5)
		assert_int_equal(thinp_bitset_set(bits->bitset, i), 0);
	assert_int_equal(thinp_bitset_resize(bits->bitset, 9000, true), 0);
	change_fixture_abort(bits->f);
	thinp_bitset_reset(bits->bitset, root, 5000);
	check_handle(bits);
	check_root(bits, flush(bits));
	check_counts(bits, root);
	free_bits(bits);
}

static void expect_refused(struct bits *bits, uint64_t bit)
{
	bool is_set = true;

	assert_int_equal(thinp_bitset_set(bits->bitset, bit), THINP_ENODATA);
	assert_int_equal(thinp_bitset_clear(bits->bitset, bit), THINP_ENODATA);
	assert_int_equal(thinp_bitset_get(bits->bitset, bit, &is_set), THINP_ENODATA);
	assert_true(is_set);
}

static void BS_07_bits_behind_the_end_are_refused(void **state)
{
	(void)state;
	for (uint64_t nr = 0; nr < 200; nr += 31) {
		struct bits *bits = new_bits(nr);

		expect_refused(bits, nr);
		expect_refused(bits, UINT64_MAX);
		resize(bits, nr + 100, true);
		check_handle(bits); /* the last word is kept */
		resize(bits, nr, false);
		expect_refused(bits, nr);
		expect_refused(bits, nr + 99);
		check_root(bits, flush(bits));
		free_bits(bits);
	}
}

static void take_all_blocks(struct bits *bits)
{
	struct thinp_alloc table = {.size = sizeof(table)};
	thinp_block_t block;

	thinp_memory_map_get_alloc(bits->f->map, &table);
	while (!table.take(table.ctx, THINP_CAUSE_USER, &block))
		;
}

/* The first change of a word takes the blocks; after it a flush takes none. first: a bit that is set before. */
static void expect_flush_takes_nothing(struct bits *bits, uint64_t first, uint64_t bit)
{
	thinp_block_t root = flush(bits);

	change_fixture_commit(bits->f);
	put(bits, first, true);
	put(bits, bit, true);
	take_all_blocks(bits);
	put(bits, bit + 1, true);
	check_root(bits, flush(bits));
	change_fixture_abort(bits->f);
	bits->model[first] = bits->model[bit] = bits->model[bit + 1] = 0;
	thinp_bitset_reset(bits->bitset, root, bits->nr);
}

static void a_flush_finds_its_blocks_taken(void **state)
{
	struct bits *bits = new_bits(509 * 64 + 100);

	(void)state;
	expect_flush_takes_nothing(bits, 10, 10);
	put(bits, 12, true); /* a word that was written in the transaction before */
	expect_flush_takes_nothing(bits, 14, 14);
	expect_flush_takes_nothing(bits, 14, 509 * 64 + 10); /* a word of another block, after one that was written */
	free_bits(bits);
}

static void a_flush_writes_only_what_was_not_written(void **state)
{
	struct bits *bits = new_bits(200);
	uint64_t before;

	(void)state;
	put(bits, 10, true);
	before = thinp_tm_generation(bits->f->tm);
	flush(bits);
	assert_int_equal(thinp_tm_generation(bits->f->tm), before);
	put(bits, 11, true);
	put(bits, 12, true);
	flush(bits);
	before = thinp_tm_generation(bits->f->tm);
	flush(bits);
	assert_int_equal(thinp_tm_generation(bits->f->tm), before);
	free_bits(bits);
}

static void change_at_random(struct bits *bits, uint64_t *rng)
{
	switch (random_next(rng) % 32) {
	case 0:
		resize(bits, random_next(rng) % MOST_BITS, random_next(rng) % 2);
		break;
	case 1:
		flush(bits);
		break;
	case 2:
		check_root(bits, flush(bits));
		change_fixture_commit(bits->f);
		break;
	default:
		for (uint64_t i = random_next(rng) % (bits->nr + 1), n = random_next(rng) % 100; n && i < bits->nr;
		     n--, i++)
			put(bits, i, random_next(rng) % 2);
	}
}

static void operations_at_random_agree_with_plain_bits(void **state)
{
	uint64_t rng = random_begin();
	struct bits *bits = new_bits(1000);

	(void)state;
	for (unsigned int i = 0; i < 400; i++) {
		change_at_random(bits, &rng);
		if (i % 20 == 0)
			check_handle(bits);
	}
	check_counts(bits, flush(bits));
	free_bits(bits);
}

static int attempt(void *ctx)
{
	struct bits *bits = ctx;
	struct thinp_bitset *bitset;
	int r = thinp_bitset_create(bits->f->tm, 1, 5, &bitset);

	if (!r)
		thinp_bitset_destroy(bitset);
	return r;
}

static void OOMLOOP_a_handle_needs_memory(void **state)
{
	struct bits *bits = new_bits(100);
	size_t before = bits->f->alloc.live_allocations;

	(void)state;
	alloc_counting_fail(&bits->f->alloc, 1);
	assert_int_equal(attempt(bits), THINP_ENOMEM);
	assert_int_equal(attempt(bits), 0);
	assert_int_equal(bits->f->alloc.live_allocations, before);
	free_bits(bits);
}

/* The word that could not be written is kept, and written the next time. */
static void ERRLOOP_a_change_that_fails_leaves_the_bit_as_it_was(void **state)
{
	int r = THINP_EIO;

	(void)state;
	for (uint64_t n = 1; r; n++) {
		struct bits *bits = new_bits(509 * 64 + 100);
		bool is_set = true;
		thinp_block_t root = flush(bits);

		change_fixture_commit(bits->f);
		thinp_bitset_destroy(bits->bitset);
		change_fixture_reopen(bits->f);
		assert_int_equal(thinp_bitset_create(bits->f->tm, root, bits->nr, &bits->bitset), 0);
		assert_int_equal(thinp_fault_fail_nth(bits->f->fault, THINP_FAULT_ON_READ, n, 0, NULL), 0);
		r = thinp_bitset_set(bits->bitset, 509 * 64);
		thinp_fault_clear(bits->f->fault);
		if (r) {
			assert_int_equal(r, THINP_EIO);
			change_fixture_expect_unlocked(bits->f);
			assert_int_equal(thinp_bitset_get(bits->bitset, 509 * 64, &is_set), 0);
			assert_false(is_set);
		}
		free_bits(bits);
		assert_true(n < 50);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BS_01_the_word_that_is_kept_is_seen_and_written),
		cmocka_unit_test(BS_01_a_commit_without_a_flush_loses_nothing),
		cmocka_unit_test(BS_02_reading_bits_writes_nothing),
		cmocka_unit_test(BS_03_bits_behind_the_end_take_the_default_when_they_come_in),
		cmocka_unit_test(BS_03_a_word_that_was_cut_off_is_forgotten),
		cmocka_unit_test(BS_04_the_first_bit_of_a_word_is_not_lost),
		cmocka_unit_test(BS_05_two_bitsets_do_not_mix),
		cmocka_unit_test(BS_06_after_an_abort_and_a_reset_all_is_as_committed),
		cmocka_unit_test(BS_07_bits_behind_the_end_are_refused),
		cmocka_unit_test(a_flush_finds_its_blocks_taken),
		cmocka_unit_test(a_flush_writes_only_what_was_not_written),
		cmocka_unit_test(operations_at_random_agree_with_plain_bits),
		cmocka_unit_test(OOMLOOP_a_handle_needs_memory),
		cmocka_unit_test(ERRLOOP_a_change_that_fails_leaves_the_bit_as_it_was),
	};

	return cmocka_run_group_tests_name("array/bitset", tests, NULL, NULL);
}
