/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_crash.c - which states the crash kit gives, and that each of them is what it is said to be.
 */
#include "support/fault_fixture.h"
#include "support/io_conformance.h"

#include <thinp/crash.h>
#include <thinp/error.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

/* A record over the fixture's device, whose faults are below the log, and an iterator over its states. */
struct fixture {
	struct fault_fixture *below;
	struct thinp_record *record;
	struct thinp_io *io;
	struct thinp_crash *crash;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct thinp_record_opts opts = {.size = sizeof(opts)};
	void *below = NULL;

	assert_non_null(f);
	assert_int_equal(fault_setup(&below), 0);
	f->below = below;
	opts.allocator = &f->below->alloc.table;
	assert_int_equal(thinp_record_create(f->below->io, &opts, &f->record), 0);
	assert_int_equal(thinp_record_open(f->record, NULL, &f->io), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *below = f->below;

	thinp_crash_destroy(f->crash);
	thinp_io_close(f->io);
	thinp_record_destroy(f->record);
	free(f);
	return fault_teardown(&below);
}

static void begin(struct fixture *f, struct thinp_crash_opts opts)
{
	opts.size = sizeof(opts);
	opts.allocator = &f->below->alloc.table;
	thinp_crash_destroy(f->crash);
	f->crash = NULL;
	assert_int_equal(thinp_crash_create(f->record, &opts, &f->crash), 0);
}

static void begin_untorn(struct fixture *f)
{
	begin(f, (struct thinp_crash_opts){.tear = THINP_CRASH_TEAR_NONE});
}

static struct thinp_crash_state state_of(struct fixture *f)
{
	struct thinp_crash_state s = {.size = sizeof(s)};

	assert_int_equal(thinp_crash_get_state(f->crash, &s), 0);
	return s;
}

static struct thinp_crash_piece piece_of(struct fixture *f, uint64_t index)
{
	struct thinp_crash_piece p = {.size = sizeof(p)};

	assert_int_equal(thinp_crash_get_piece(f->crash, index, &p), 0);
	return p;
}

static struct thinp_io *next(struct fixture *f)
{
	struct thinp_io *io = NULL;

	assert_int_equal(thinp_crash_next(f->crash, &io), 0);
	return io;
}

static void expect_end(struct fixture *f)
{
	struct thinp_io *io = NULL;

	assert_int_equal(thinp_crash_next(f->crash, &io), THINP_ENODATA);
	assert_null(io);
}

static void write_one(struct fixture *f, thinp_block_t block, uint64_t generation)
{
	assert_int_equal(fault_write(f->io, block, 1, generation), 0);
}

static void flush(struct fixture *f)
{
	assert_int_equal(thinp_io_flush(f->io), 0);
}

/* The generation that a block holds, or 99 when it is none of the first ones. */
static uint64_t generation_of(struct thinp_io *io, thinp_block_t block)
{
	uint8_t *found = io_blocks_new(1);
	uint8_t *wanted = io_blocks_new(1);
	uint64_t generation = 1;

	assert_int_equal(thinp_io_read(io, block, 1, found), 0);
	for (io_blocks_fill(wanted, block, 1, 1); generation < 10 && memcmp(found, wanted, THINP_BLOCK_SIZE);)
		io_blocks_fill(wanted, block, 1, ++generation);
	free(wanted);
	free(found);
	return generation < 10 ? generation : 99;
}

/* --- which states --- */

static void an_empty_log_has_one_state(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *io;

	begin(f, (struct thinp_crash_opts){0});
	assert_int_equal(thinp_crash_nr_states(f->crash), 1);
	io = next(f);
	fault_expect(io, 0, FAULT_NR_BLOCKS, 1);
	assert_int_equal(state_of(f).nr_pieces, 0);
	assert_int_equal(state_of(f).begin_entry, THINP_CRASH_NO_ENTRY);
	assert_int_equal(state_of(f).end_entry, THINP_CRASH_NO_ENTRY);
	assert_int_equal(state_of(f).has_mark, 0);
	expect_end(f);
}

static void few_unflushed_writes_give_every_subset(void **state)
{
	struct fixture *f = *state;
	unsigned int seen[16] = {0};

	write_one(f, 1, 2);
	write_one(f, 2, 2);
	assert_int_equal(fault_write(f->io, 5, 2, 2), 0); /* its two blocks are apart */
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 16);
	for (unsigned int i = 0; i < 16; i++) {
		struct thinp_io *io = next(f);
		uint64_t subset = generation_of(io, 1) - 1 + (generation_of(io, 2) - 1) * 2 +
				  (generation_of(io, 5) - 1) * 4 + (generation_of(io, 6) - 1) * 8;

		assert_true(subset < 16);
		seen[subset]++;
		assert_int_equal(state_of(f).number, i);
		assert_int_equal(state_of(f).how, THINP_CRASH_SUBSET);
	}
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(seen[i], 1);
	expect_end(f);
}

static void what_was_flushed_is_in_every_later_state(void **state)
{
	struct fixture *f = *state;

	write_one(f, 1, 2);
	flush(f);
	write_one(f, 2, 2);
	write_one(f, 1, 3);
	flush(f);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 2 + 4 + 1);
	for (unsigned int i = 0; i < 7; i++) {
		struct thinp_io *io = next(f);

		assert_int_equal(state_of(f).window, i < 2 ? 0 : i < 6 ? 1 : 2);
		assert_int_equal(state_of(f).begin_entry, i < 2 ? THINP_CRASH_NO_ENTRY : i < 6 ? 1 : 4);
		assert_int_equal(state_of(f).end_entry, i < 2 ? 1 : i < 6 ? 4 : THINP_CRASH_NO_ENTRY);
		if (i >= 2)
			assert_true(generation_of(io, 1) >= 2);
		if (i == 6) {
			assert_int_equal(generation_of(io, 1), 3);
			assert_int_equal(generation_of(io, 2), 2);
		}
	}
	expect_end(f);
}

/* In a log of many writes of one block each, what is kept as a string. */
static void kept_as_text(struct fixture *f, struct thinp_io *io, unsigned int nr, char *text)
{
	for (unsigned int i = 0; i < nr; i++) {
		text[i] = generation_of(io, i) == 2 ? 'k' : 'l';
		assert_int_equal(piece_of(f, i).entry, i);
		assert_int_equal(piece_of(f, i).block, i);
		assert_int_equal(piece_of(f, i).sectors, text[i] == 'k' ? 255 : 0);
	}
	text[nr] = 0;
}

static void many_unflushed_writes_give_prefixes_single_ones_and_random_subsets(void **state)
{
	static const char *const wanted[] = {
		"llll", "klll", "kkll", "kkkl", "kkkk", /* prefixes */
		"lkkk", "klkk", "kklk", "kkkl",         /* one lost */
		"klll", "lkll", "llkl", "lllk",         /* one kept */
	};
	struct fixture *f = *state;
	char text[5];

	for (thinp_block_t b = 0; b < 4; b++)
		write_one(f, b, 2);
	begin(f, (struct thinp_crash_opts){.exhaustive_max = 3, .nr_random = 20, .tear = THINP_CRASH_TEAR_NONE});
	assert_int_equal(thinp_crash_nr_states(f->crash), 13 + 20);
	for (unsigned int i = 0; i < 33; i++) {
		struct thinp_io *io = next(f);
		uint32_t how = state_of(f).how;

		kept_as_text(f, io, 4, text);
		if (i < 13)
			assert_string_equal(text, wanted[i]);
		if (i < 5)
			assert_int_equal(how, THINP_CRASH_PREFIX);
		else if (i < 9)
			assert_int_equal(how, THINP_CRASH_LOST_ONE);
		else
			assert_int_equal(how, i < 13 ? THINP_CRASH_KEPT_ONE : THINP_CRASH_RANDOM);
	}
	expect_end(f);
}

static void nothing_exhaustive_and_nothing_random_can_be_chosen(void **state)
{
	struct fixture *f = *state;

	write_one(f, 0, 2);
	write_one(f, 1, 2);
	begin(f, (struct thinp_crash_opts){.exhaustive_max = THINP_CRASH_NONE,
					   .nr_random = THINP_CRASH_NONE,
					   .tear = THINP_CRASH_TEAR_NONE});
	assert_int_equal(thinp_crash_nr_states(f->crash), 3 + 2 + 2);
}

static void random_subsets_differ_and_come_back_by_their_seed(void **state)
{
	struct fixture *f = *state;
	uint8_t first[2][40][20];
	unsigned int nr_equal = 0, nr_torn = 0;

	for (unsigned int i = 0; i < 20; i++)
		write_one(f, i, 2);
	for (unsigned int run = 0; run < 3; run++) {
		begin(f, (struct thinp_crash_opts){.nr_random = 40, .seed = run == 2 ? 8 : 7});
		for (unsigned int i = 0; i < 40; i++) {
			struct thinp_io *io = NULL;

			assert_int_equal(thinp_crash_seek(f->crash, 61 + i, &io), 0);
			assert_int_equal(state_of(f).how, THINP_CRASH_RANDOM);
			nr_torn += state_of(f).nr_torn > 0;
			for (unsigned int j = 0; j < 20; j++)
				first[run != 0][i][j] = (uint8_t)piece_of(f, j).sectors;
		}
		if (run == 1)
			assert_memory_equal(first[0], first[1], sizeof(first[0]));
	}
	for (unsigned int i = 0; i < 40; i++)
		nr_equal += memcmp(first[0][i], first[1][i], 20) == 0;
	assert_true(nr_equal < 3);
	assert_true(nr_torn > 60);
}

static void each_write_is_torn_as_the_last_and_among_the_others(void **state)
{
	struct fixture *f = *state;

	write_one(f, 1, 2);
	write_one(f, 2, 2);
	begin(f, (struct thinp_crash_opts){0});
	assert_int_equal(thinp_crash_nr_states(f->crash), 4 + 2 * 2 * 7);
	for (uint64_t i = 0; i < 28; i++) {
		struct thinp_io *io = NULL;
		thinp_block_t torn = 1 + i / 7 % 2;
		bool is_last = i < 14;

		assert_int_equal(thinp_crash_seek(f->crash, 4 + i, &io), 0);
		assert_int_equal(state_of(f).how, is_last ? THINP_CRASH_TORN_LAST : THINP_CRASH_TORN_ONE);
		assert_int_equal(state_of(f).nr_torn, 1);
		fault_expect_torn(io, torn, (2u << i % 7) - 1, 2, 1);
		fault_expect(io, 3 - torn, 1, torn == 1 && is_last ? 1 : 2);
	}
	begin(f, (struct thinp_crash_opts){.tear = THINP_CRASH_TEAR_LAST});
	assert_int_equal(thinp_crash_nr_states(f->crash), 4 + 2 * 7);
	begin(f, (struct thinp_crash_opts){.tear = THINP_CRASH_TEAR_ANY});
	assert_int_equal(thinp_crash_nr_states(f->crash), 4 + 2 * 2 * 254);
	for (uint64_t i = 0; i < 254; i++) {
		struct thinp_io *io = NULL;

		assert_int_equal(thinp_crash_seek(f->crash, 4 + 254 + i, &io), 0);
		fault_expect_torn(io, 2, (uint32_t)i + 1, 2, 1);
	}
}

static void a_discard_is_kept_or_lost_and_never_torn(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 4, 3, NULL);
	struct thinp_io *io;

	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	begin(f, (struct thinp_crash_opts){0});
	assert_int_equal(thinp_crash_nr_states(f->crash), 2);
	io = next(f);
	fault_expect(io, 0, FAULT_NR_BLOCKS, 1);
	io = next(f);
	assert_int_equal(generation_of(io, 3), 1);
	assert_int_equal(generation_of(io, 4), 99);
	assert_int_equal(piece_of(f, 0).kind, THINP_RECORD_DISCARD);
	assert_int_equal(piece_of(f, 0).nr_blocks, 3);
	expect_end(f);
}

static void a_mark_is_told_to_all_states_of_its_window(void **state)
{
	struct fixture *f = *state;

	write_one(f, 1, 2);
	flush(f);
	write_one(f, 2, 2);
	assert_int_equal(thinp_record_mark(f->record, 7), 0);
	begin_untorn(f);
	next(f);
	next(f);
	assert_int_equal(state_of(f).has_mark, 0);
	for (unsigned int i = 0; i < 2; i++) {
		next(f);
		assert_int_equal(state_of(f).has_mark, 1);
		assert_int_equal(state_of(f).mark, 7);
	}
	expect_end(f);
}

/* --- what a failed or unfinished operation leaves --- */

static void a_flush_does_not_help_a_write_that_failed(void **state)
{
	struct fixture *f = *state;
	bool is_lost = false, is_kept = false;

	assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_WRITE, 1, 0, NULL), 0);
	assert_int_equal(fault_write(f->io, 1, 1, 2), THINP_EIO);
	write_one(f, 2, 2);
	flush(f);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 4 + 2);
	for (uint64_t i = 4; i < 6; i++) {
		struct thinp_io *io = NULL;

		assert_int_equal(thinp_crash_seek(f->crash, i, &io), 0);
		assert_int_equal(generation_of(io, 2), 2);
		is_lost |= generation_of(io, 1) == 1;
		is_kept |= generation_of(io, 1) == 2;
	}
	assert_true(is_lost && is_kept);
}

static void a_later_flush_does_not_help_the_writes_before_one_that_failed(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *io = NULL;

	write_one(f, 1, 2);
	write_one(f, 3, 2);
	assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_FLUSH, 1, 0, NULL), 0);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	write_one(f, 2, 2);
	write_one(f, 3, 3); /* was written again: now it is durable */
	flush(f);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 16 + 2);
	assert_int_equal(thinp_crash_seek(f->crash, 16, &io), 0);
	assert_int_equal(generation_of(io, 1), 1);
	assert_int_equal(generation_of(io, 2), 2);
	assert_int_equal(generation_of(io, 3), 3);
	assert_int_equal(thinp_crash_seek(f->crash, 17, &io), 0);
	assert_int_equal(generation_of(io, 1), 2);
	assert_int_equal(generation_of(io, 3), 3);
}

static void a_discard_that_failed_is_settled_by_a_write_into_it(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 4, 3, NULL);

	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_FLUSH, 1, 0, NULL), 0);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	flush(f);
	write_one(f, 5, 2);
	flush(f);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 2 + 4 + 1);
}

static int write_and_flush_meanwhile(void *ctx, const struct thinp_io_op *op)
{
	struct fixture *f = ctx;

	(void)op;
	write_one(f, 2, 2);
	flush(f);
	return 0;
}

/* The other write begins and is flushed while this one is under way: no order between them, and no flush for this. */
static void a_flush_does_not_help_a_write_that_is_under_way(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *io = NULL;

	fault_rule(f->below, (struct thinp_fault_rule){.kinds = THINP_FAULT_ON_WRITE,
						       .begin = 1,
						       .end = 2,
						       .call = write_and_flush_meanwhile,
						       .call_ctx = f});
	write_one(f, 1, 2);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 4 + 2);
	assert_int_equal(thinp_crash_seek(f->crash, 4, &io), 0);
	assert_int_equal(generation_of(io, 1), 1);
	assert_int_equal(generation_of(io, 2), 2);
	flush(f);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 4 + 2 + 1);
}

static int write_the_same_meanwhile(void *ctx, const struct thinp_io_op *op)
{
	struct fixture *f = ctx;

	(void)op;
	write_one(f, 1, 3);
	flush(f);
	return 0;
}

/* Neither came before the other, so the device may hold either, although one of them was flushed. */
static void of_two_writes_under_way_at_once_either_may_be_found(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *io = NULL;

	fault_rule(f->below, (struct thinp_fault_rule){
				     .kinds = THINP_FAULT_ON_WRITE, .call = write_the_same_meanwhile, .call_ctx = f});
	write_one(f, 1, 2);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 4 + 2);
	for (uint64_t i = 4; i < 6; i++) {
		assert_int_equal(thinp_crash_seek(f->crash, i, &io), 0);
		assert_int_equal(generation_of(io, 1), i == 4 ? 3 : 2);
	}
}

/* The flush that begins first ends last: it covers nothing, and the window of the other one comes first. */
static void windows_are_in_the_order_in_which_their_flushes_end(void **state)
{
	struct fixture *f = *state;

	fault_rule(f->below, (struct thinp_fault_rule){
				     .kinds = THINP_FAULT_ON_FLUSH, .call = write_and_flush_meanwhile, .call_ctx = f});
	flush(f);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 2 + 1 + 1);
	next(f);
	assert_int_equal(state_of(f).end_entry, 2);
	next(f);
	next(f);
	assert_int_equal(state_of(f).begin_entry, 2);
	assert_int_equal(state_of(f).end_entry, 0);
}

static void a_flush_that_failed_ends_no_window(void **state)
{
	struct fixture *f = *state;

	write_one(f, 1, 2);
	assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_FLUSH, 1, 0, NULL), 0);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	write_one(f, 2, 2);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 4);
}

/* --- size --- */

static void a_change_of_size_is_durable_and_flushes_nothing(void **state)
{
	static const uint64_t sizes[] = {32, 32, 40, 40, 40, 40};
	struct fixture *f = *state;

	write_one(f, 1, 2);
	assert_int_equal(thinp_io_resize(f->io, 40), 0);
	assert_int_equal(fault_write(f->io, 39, 1, 2), 0);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 6);
	for (unsigned int i = 0; i < 6; i++) {
		struct thinp_io *io = next(f);
		uint64_t size = 0;

		assert_int_equal(thinp_io_size(io, &size), 0);
		assert_int_equal(size, sizes[i]);
		assert_int_equal(state_of(f).nr_blocks, size);
		assert_int_equal(generation_of(io, 1), 1 + i % 2);
		if (i >= 2)
			assert_int_equal(generation_of(io, 39), i >= 4 ? 2 : 99);
	}
}

static void what_was_cut_off_is_gone(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op discards[] = {io_op(THINP_IO_DISCARD, 8, 4, NULL), io_op(THINP_IO_DISCARD, 20, 4, NULL)};
	struct thinp_io *io = NULL;

	write_one(f, 20, 2);
	write_one(f, 1, 2);
	assert_int_equal(thinp_io_batch(f->io, discards, 2), 0);
	assert_int_equal(thinp_io_resize(f->io, 10), 0);
	assert_int_equal(thinp_io_resize(f->io, 30), 0);
	flush(f);
	begin_untorn(f);
	assert_int_equal(thinp_crash_nr_states(f->crash), 16 + 4 + 4 + 1);
	assert_int_equal(thinp_crash_seek(f->crash, 19, &io), 0);
	assert_int_equal(piece_of(f, 1).nr_blocks, 2);
	assert_int_equal(thinp_crash_seek(f->crash, 24, &io), 0);
	fault_expect(io, 1, 1, 2);
	for (thinp_block_t b = 8; b < 30; b++)
		assert_int_equal(generation_of(io, b), 99);
}

/* --- the devices --- */

static void what_is_written_to_a_state_is_gone_with_it(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *io;

	write_one(f, 1, 2);
	flush(f);
	begin_untorn(f);
	for (unsigned int i = 0; i < 3; i++) {
		io = next(f);
		assert_int_equal(fault_write(io, 1, 2, 9), 0);
		assert_int_equal(thinp_io_flush(io), 0);
		assert_int_equal(thinp_io_resize(io, 100), 0);
		assert_int_equal(fault_write(io, 99, 1, 9), 0);
		fault_expect(io, 1, 2, 9);
		assert_int_equal(generation_of(io, 50), 99);
	}
	assert_int_equal(thinp_crash_seek(f->crash, 0, &io), 0);
	fault_expect(io, 0, FAULT_NR_BLOCKS, 1);
	fault_expect(f->io, 1, 1, 2);
	fault_expect(f->below->lower, 2, 1, 1);
}

/* A crash while the store recovers from a crash: a record over a state, and the states of that. */
static void a_state_can_be_recorded_itself(void **state)
{
	struct fixture *f = *state;
	struct thinp_record *inner = NULL;
	struct thinp_crash *crash = NULL;
	struct thinp_io *io, *deep = NULL;

	write_one(f, 1, 2);
	begin_untorn(f);
	next(f);
	io = next(f);
	assert_int_equal(thinp_record_create(io, NULL, &inner), 0);
	assert_int_equal(thinp_record_open(inner, NULL, &io), 0);
	assert_int_equal(fault_write(io, 1, 1, 3), 0);
	assert_int_equal(thinp_crash_create(inner, NULL, &crash), 0);
	assert_int_equal(thinp_crash_next(crash, &deep), 0);
	fault_expect(deep, 1, 1, 2);
	assert_int_equal(thinp_crash_next(crash, &deep), 0);
	fault_expect(deep, 1, 1, 3);
	thinp_crash_destroy(crash);
	thinp_io_close(io);
	thinp_record_destroy(inner);
}

static void a_number_brings_its_state_back(void **state)
{
	struct fixture *f = *state;
	char first[400], again[400];
	struct thinp_io *io = NULL;

	for (unsigned int i = 0; i < 20; i++) {
		write_one(f, i % 6, 2 + i / 6);
		if (i % 5 == 4)
			flush(f);
	}
	begin(f, (struct thinp_crash_opts){0});
	for (uint64_t n = thinp_crash_nr_states(f->crash); n > 0; n -= n > 37 ? 37 : n) {
		uint64_t there;

		assert_int_equal(thinp_crash_seek(f->crash, n - 1, &io), 0);
		there = generation_of(io, 3);
		thinp_crash_describe(f->crash, first, sizeof(first));
		assert_int_equal(thinp_crash_seek(f->crash, 0, &io), 0);
		assert_int_equal(thinp_crash_seek(f->crash, n - 1, &io), 0);
		thinp_crash_describe(f->crash, again, sizeof(again));
		assert_string_equal(first, again);
		assert_int_equal(generation_of(io, 3), there);
	}
	assert_int_equal(thinp_crash_seek(f->crash, thinp_crash_nr_states(f->crash), &io), THINP_ENODATA);
	expect_end(f);
	assert_int_equal(thinp_crash_seek(f->crash, 5, &io), 0);
	next(f);
	assert_int_equal(state_of(f).number, 6);
}

static void without_a_state_there_is_nothing_to_look_at(void **state)
{
	struct fixture *f = *state;
	struct thinp_crash_state s = {.size = sizeof(s), .number = 77};
	struct thinp_crash_piece p = {.size = sizeof(p), .block = 77};
	char text[20];

	begin_untorn(f);
	assert_int_equal(thinp_crash_get_state(f->crash, &s), THINP_ENODATA);
	assert_int_equal(thinp_crash_get_piece(f->crash, 0, &p), THINP_ENODATA);
	next(f);
	assert_int_equal(thinp_crash_get_piece(f->crash, 0, &p), THINP_ENODATA);
	io_expect_told(THINP_ENODATA);
	assert_int_equal(s.number, 77);
	assert_int_equal(p.block, 77);
	expect_end(f);
	assert_int_equal(thinp_crash_describe(f->crash, text, sizeof(text)), 10);
	assert_string_equal(text, "no state\n");
}

static void options_that_make_no_sense_are_refused(void **state)
{
	struct fixture *f = *state;
	struct thinp_allocator half = {.size = sizeof(half)};
	struct thinp_crash_opts opts = {.size = sizeof(opts), .exhaustive_max = 33};

	assert_int_equal(thinp_crash_create(f->record, &opts, &f->crash), THINP_EINVAL);
	opts.exhaustive_max = 32;
	opts.tear = 4;
	assert_int_equal(thinp_crash_create(f->record, &opts, &f->crash), THINP_ENOTSUP);
	opts.tear = 0;
	opts.flags = 1;
	assert_int_equal(thinp_crash_create(f->record, &opts, &f->crash), THINP_ENOTSUP);
	opts.flags = 0;
	opts.allocator = &half;
	assert_int_equal(thinp_crash_create(f->record, &opts, &f->crash), THINP_EINVAL);
	assert_null(f->crash);
	thinp_crash_destroy(NULL);
}

static void thirty_two_pieces_can_be_counted(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *io = NULL;

	assert_int_equal(fault_write(f->io, 0, 32, 2), 0);
	begin(f, (struct thinp_crash_opts){.exhaustive_max = 32, .tear = THINP_CRASH_TEAR_NONE});
	assert_int_equal(thinp_crash_nr_states(f->crash), UINT64_C(1) << 32);
	assert_int_equal(thinp_crash_seek(f->crash, UINT64_C(0xdeadbeef), &io), 0);
	for (thinp_block_t b = 0; b < 32; b++)
		assert_int_equal(generation_of(io, b), 1 + (UINT64_C(0xdeadbeef) >> b & 1));
}

static void states_are_described_in_words(void **state)
{
	struct fixture *f = *state;
	static const char wanted[] =
		"state 12 of 25, window 1, 32 blocks: crash after entry 1 (flush), before the end of the log; last "
		"mark 5\n"
		"3 pieces not flushed: 1 kept, 1 torn, 1 lost (one is torn, what follows is lost)\n"
		"lost: entry 4 discard of block 8 to 9\n"
		"torn: entry 3 block 3 (new sectors: 0 1 2)\n";
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 8, 2, NULL);
	struct thinp_io *io = NULL;
	size_t nr_bytes;
	char text[400];

	write_one(f, 1, 2);
	flush(f);
	write_one(f, 2, 2);
	write_one(f, 3, 2);
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	assert_int_equal(thinp_record_mark(f->record, 5), 0);
	begin(f, (struct thinp_crash_opts){.tear = THINP_CRASH_TEAR_LAST});
	for (uint64_t n = 0; n < thinp_crash_nr_states(f->crash); n++) {
		assert_int_equal(thinp_crash_seek(f->crash, n, &io), 0);
		if (state_of(f).how == THINP_CRASH_TORN_LAST && state_of(f).window && piece_of(f, 1).sectors == 7)
			break;
	}
	nr_bytes = thinp_crash_describe(f->crash, text, sizeof(text));
	assert_int_equal(nr_bytes, strlen(text) + 1);
	assert_string_equal(strchr(text, ','), strchr(wanted, ','));
	for (size_t room = 0; room <= strlen(text); room++) {
		char part[400];

		memset(part, 'x', sizeof(part));
		assert_int_equal(thinp_crash_describe(f->crash, part, room), nr_bytes);
		assert_true(part[room] == 'x');
		if (room)
			assert_true(strlen(part) == room - 1 && !memcmp(part, text, room - 1));
	}
}

static void long_lists_are_cut_short(void **state)
{
	struct fixture *f = *state;
	char text[1000];

	assert_int_equal(fault_write(f->io, 0, 30, 2), 0);
	assert_int_equal(thinp_io_resize(f->io, 31), 0);
	begin_untorn(f);
	next(f);
	thinp_crash_describe(f->crash, text, sizeof(text));
	assert_non_null(strstr(text, "before the end of entry 1 (change of size)\n"));
	assert_non_null(strstr(text, "entry 0 block 15 and 14 more\n"));
	assert_null(strstr(text, "block 16"));
	assert_null(strstr(text, "torn: "));
}

/* --- the run --- */

struct counter {
	uint64_t nr_calls;
	uint64_t fail_at; /* number of a state; UINT64_MAX: none */
	int code;
};

static int count(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	struct counter *c = ctx;

	assert_int_equal(thinp_io_flush(io), 0);
	c->nr_calls++;
	return state->number == c->fail_at ? c->code : 0;
}

static void a_run_stops_where_the_check_fails_and_can_go_on(void **state)
{
	struct fixture *f = *state;
	struct counter c = {.fail_at = 5, .code = 42};

	for (thinp_block_t b = 0; b < 4; b++)
		write_one(f, b, 2);
	begin_untorn(f);
	assert_int_equal(thinp_crash_run(f->crash, count, &c), 42);
	assert_int_equal(c.nr_calls, 6);
	assert_int_equal(state_of(f).number, 5);
	assert_int_equal(thinp_crash_run(f->crash, count, &c), 0);
	assert_int_equal(c.nr_calls, 16);
	assert_int_equal(thinp_crash_run(f->crash, count, &c), 0);
	assert_int_equal(c.nr_calls, 16);
}

/* --- against a model --- */

enum { MODEL_BLOCKS = 6, MODEL_BYTES = 8 };

/* The first bytes of each block are all that is written in this test, so all that the model holds. */
struct model {
	uint8_t blocks[16][MODEL_BYTES];
};

static void model_write(struct model *m, thinp_block_t block, const uint8_t *data)
{
	memcpy(m->blocks[block], data, MODEL_BYTES);
}

/* Applies entries that a flush made durable, or that are kept: the ten-line model of a log from one thread. */
static void model_apply(struct fixture *f, struct model *m, uint64_t index, uint64_t block_of_entry, bool is_all)
{
	struct thinp_record_entry entry = {.size = sizeof(entry)};

	assert_int_equal(thinp_record_get_entry(f->record, index, &entry), 0);
	for (uint64_t n = 0; n < entry.nr_blocks; n++) {
		if (!is_all && entry.block + n != block_of_entry && entry.kind == THINP_RECORD_WRITE)
			continue;
		if (entry.kind == THINP_RECORD_WRITE)
			model_write(m, entry.block + n, (const uint8_t *)entry.data + n * THINP_BLOCK_SIZE);
		else if (entry.kind == THINP_RECORD_DISCARD)
			memset(m->blocks[entry.block + n], 0, MODEL_BYTES);
	}
}

static void expect_model(struct fixture *f, struct thinp_io *io, const struct model *first)
{
	struct thinp_crash_state s = state_of(f);
	struct model m = *first;
	uint8_t *found = io_blocks_new(1);

	for (uint64_t i = 0; s.begin_entry != THINP_CRASH_NO_ENTRY && i <= s.begin_entry; i++)
		model_apply(f, &m, i, 0, true);
	for (uint64_t i = 0; i < s.nr_pieces; i++)
		if (piece_of(f, i).sectors & 1) /* the first sector is all that the model knows */
			model_apply(f, &m, piece_of(f, i).entry, piece_of(f, i).block, false);
	for (thinp_block_t b = 0; b < MODEL_BLOCKS; b++) {
		assert_int_equal(thinp_io_read(io, b, 1, found), 0);
		assert_memory_equal(found, m.blocks[b], MODEL_BYTES);
	}
	free(found);
}

static void write_random(struct fixture *f, uint64_t *rng)
{
	thinp_block_t block = random_next(rng) % MODEL_BLOCKS;
	uint64_t nr_blocks = 1 + random_next(rng) % (MODEL_BLOCKS - block < 2 ? 1 : 2);
	uint64_t kind = random_next(rng) % 8;
	uint8_t *blocks = io_blocks_new(2);
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, block, nr_blocks, NULL);

	random_fill(rng, blocks, MODEL_BYTES);
	random_fill(rng, blocks + THINP_BLOCK_SIZE, MODEL_BYTES);
	if (kind < 5)
		assert_int_equal(thinp_io_write(f->io, block, nr_blocks, blocks), 0);
	else if (kind < 6)
		assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	else
		flush(f);
	free(blocks);
}

static void random_logs_give_what_a_model_gives(void **state)
{
	struct fixture *f = *state;
	uint64_t rng = random_begin();
	struct model first;
	struct thinp_io *io = NULL;
	uint8_t *found = io_blocks_new(1);
	uint64_t nr_states = 0;

	for (thinp_block_t b = 0; b < MODEL_BLOCKS; b++) {
		assert_int_equal(thinp_io_read(f->io, b, 1, found), 0);
		memcpy(first.blocks[b], found, MODEL_BYTES);
	}
	free(found);
	for (unsigned int i = 0; i < 60; i++)
		write_random(f, &rng);
	begin(f, (struct thinp_crash_opts){.exhaustive_max = 5, .seed = rng});
	while (thinp_crash_next(f->crash, &io) == 0) {
		expect_model(f, io, &first);
		nr_states++;
	}
	assert_int_equal(nr_states, thinp_crash_nr_states(f->crash));
	assert_true(nr_states > 300);
}

/* --- when something fails --- */

static int sum_up(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	uint64_t *nr = ctx;
	uint8_t *found = io_blocks_new(1);
	int r = thinp_io_read(io, 7, 1, found);

	if (!r)
		r = thinp_io_write(io, 31, 1, found);
	*nr += !r;
	(void)state;
	free(found);
	return r;
}

struct attempt {
	struct thinp_record *record;
	struct alloc_counting alloc;
	uint64_t nr_states;
};

static int attempt_run(void *ctx)
{
	struct attempt *a = ctx;
	struct thinp_crash_opts opts = {.size = sizeof(opts), .allocator = &a->alloc.table, .exhaustive_max = 3};
	struct thinp_crash *crash = NULL;
	uint64_t nr = 0;
	int r = thinp_crash_create(a->record, &opts, &crash);

	assert_true(r ? !crash : !!crash);
	if (!r)
		r = thinp_crash_run(crash, sum_up, &nr);
	if (r)
		io_expect_told(r);
	else
		assert_int_equal(nr, a->nr_states);
	thinp_crash_destroy(crash);
	return r;
}

static void fill_log(struct fixture *f)
{
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 12, 2, NULL);

	write_one(f, 1, 2);
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	flush(f);
	assert_int_equal(thinp_io_resize(f->io, 600), 0);
	write_one(f, 599, 2);
	assert_int_equal(fault_write(f->io, 1, 3, 3), 0);
	flush(f);
}

static void OOMLOOP_nothing_leaks(void **state)
{
	struct fixture *f = *state;
	struct attempt a = {.record = f->record};

	fill_log(f);
	begin(f, (struct thinp_crash_opts){.exhaustive_max = 3, .tear = THINP_CRASH_TEAR_EACH});
	a.nr_states = thinp_crash_nr_states(f->crash);
	alloc_counting_init(&a.alloc);
	alloc_counting_loop(&a.alloc, attempt_run, &a);
}

/* Each failure may be followed by another try, which comes to where the first was to come. */
static void a_move_that_failed_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct thinp_crash_state s = {.size = sizeof(s)};
	struct thinp_io *io = NULL;
	uint64_t nr_states;

	fill_log(f);
	begin(f, (struct thinp_crash_opts){0});
	nr_states = thinp_crash_nr_states(f->crash);
	for (uint64_t number = 0; number < nr_states; number++) {
		for (size_t n = 1; n < 3; n++) { /* the device takes two, whatever the state */
			alloc_counting_fail(&f->below->alloc, n);
			assert_int_equal(thinp_crash_next(f->crash, &io), THINP_ENOMEM);
			assert_int_equal(thinp_crash_get_state(f->crash, &s), THINP_ENODATA);
		}
		alloc_counting_fail(&f->below->alloc, 0);
		io = next(f);
		assert_int_equal(state_of(f).number, number);
		if (state_of(f).window > 0)
			assert_true(generation_of(io, 1) >= 2 || state_of(f).nr_torn);
	}
	expect_end(f);
}

static void ERRLOOP_a_device_below_that_fails_is_told(void **state)
{
	struct fixture *f = *state;
	uint64_t id = 0, fired = 1;

	fill_log(f);
	begin(f, (struct thinp_crash_opts){0});
	for (uint64_t n = 1; fired; n++) {
		uint64_t nr = 0;
		int r;

		begin(f, (struct thinp_crash_opts){0});
		assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_READ, n, 0, &id), 0);
		r = thinp_crash_run(f->crash, sum_up, &nr);
		assert_int_equal(thinp_fault_get_counts(f->below->fault, id, NULL, &fired), 0);
		assert_int_equal(r, fired ? THINP_EIO : 0);
		thinp_fault_clear(f->below->fault);
	}
}

/* --- threads --- */

struct reader {
	struct thinp_io *io;
	unsigned int number;
	int r;
	pthread_t thread;
};

static void *read_and_write(void *arg)
{
	struct reader *reader = arg;
	uint8_t *block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);

	for (unsigned int i = 0; i < 300 && !reader->r; i++) {
		reader->r = thinp_io_read(reader->io, i % FAULT_NR_BLOCKS, 1, block);
		if (!reader->r)
			reader->r = thinp_io_write(reader->io, reader->number * 8 + i % 8, 1, block);
	}
	free(block);
	return NULL;
}

static void threads_may_share_a_state(void **state)
{
	struct fixture *f = *state;
	struct reader readers[3];
	struct thinp_io *io;

	for (thinp_block_t b = 0; b < 12; b++) {
		write_one(f, b, 2);
		if (b == 6)
			flush(f);
	}
	begin_untorn(f);
	assert_int_equal(thinp_crash_seek(f->crash, thinp_crash_nr_states(f->crash) - 1, &io), 0);
	for (unsigned int i = 0; i < 3; i++) {
		readers[i] = (struct reader){.io = io, .number = i};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_and_write, &readers[i]), 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		assert_int_equal(readers[i].r, 0);
	}
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_empty_log_has_one_state),
		CASE(few_unflushed_writes_give_every_subset),
		CASE(what_was_flushed_is_in_every_later_state),
		CASE(many_unflushed_writes_give_prefixes_single_ones_and_random_subsets),
		CASE(nothing_exhaustive_and_nothing_random_can_be_chosen),
		CASE(random_subsets_differ_and_come_back_by_their_seed),
		CASE(each_write_is_torn_as_the_last_and_among_the_others),
		CASE(a_discard_is_kept_or_lost_and_never_torn),
		CASE(a_mark_is_told_to_all_states_of_its_window),
		CASE(a_flush_does_not_help_a_write_that_failed),
		CASE(a_later_flush_does_not_help_the_writes_before_one_that_failed),
		CASE(a_discard_that_failed_is_settled_by_a_write_into_it),
		CASE(a_flush_does_not_help_a_write_that_is_under_way),
		CASE(of_two_writes_under_way_at_once_either_may_be_found),
		CASE(windows_are_in_the_order_in_which_their_flushes_end),
		CASE(a_flush_that_failed_ends_no_window),
		CASE(a_change_of_size_is_durable_and_flushes_nothing),
		CASE(what_was_cut_off_is_gone),
		CASE(what_is_written_to_a_state_is_gone_with_it),
		CASE(a_state_can_be_recorded_itself),
		CASE(a_number_brings_its_state_back),
		CASE(without_a_state_there_is_nothing_to_look_at),
		CASE(options_that_make_no_sense_are_refused),
		CASE(thirty_two_pieces_can_be_counted),
		CASE(states_are_described_in_words),
		CASE(long_lists_are_cut_short),
		CASE(a_run_stops_where_the_check_fails_and_can_go_on),
		CASE(random_logs_give_what_a_model_gives),
		CASE(OOMLOOP_nothing_leaks),
		CASE(a_move_that_failed_can_be_repeated),
		CASE(ERRLOOP_a_device_below_that_fails_is_told),
		CASE(threads_may_share_a_state),
	};

	return cmocka_run_group_tests_name("io/crash", tests, NULL, NULL);
}
