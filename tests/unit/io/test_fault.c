/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_fault.c - the device that misbehaves by script: well-behaved without rules, and every rule.
 */
#include "support/fault_fixture.h"
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the suite of all back-ends --- */

struct conformant {
	struct alloc_counting alloc;
	uint32_t flags;
	uint32_t cache_blocks;
	struct thinp_io *lower;
	struct thinp_fault *fault;
};

static int open_conformant(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct conformant *c = ctx;
	struct thinp_io_opts lower_opts = {.size = sizeof(lower_opts), .nr_blocks = nr_blocks};
	struct thinp_fault_opts opts = {.size = sizeof(opts), .flags = c->flags, .cache_blocks = c->cache_blocks};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .flags = flags, .allocator = &c->alloc.table};

	lower_opts.allocator = &c->alloc.table;
	opts.allocator = &c->alloc.table;
	assert_int_equal(thinp_io_open_memory(&lower_opts, &c->lower), 0);
	assert_int_equal(thinp_fault_create(c->lower, &opts, &c->fault), 0);
	return thinp_fault_open(c->fault, &io_opts, io);
}

static void done_conformant(void *ctx)
{
	struct conformant *c = ctx;

	thinp_fault_destroy(c->fault);
	thinp_io_close(c->lower);
	alloc_counting_check(&c->alloc);
}

static int arm_conformant(void *ctx, uint32_t kind, thinp_block_t block)
{
	struct conformant *c = ctx;

	(void)block;
	return fault_arm(c->fault, kind);
}

static int run_conformance(const char *group, uint32_t flags, uint32_t cache_blocks)
{
	struct conformant c = {.flags = flags, .cache_blocks = cache_blocks};
	const struct io_conformance device = {
		.group = group,
		.ctx = &c,
		.open = open_conformant,
		.done = done_conformant,
		.arm = arm_conformant,
		.can_resize = true,
	};

	alloc_counting_init(&c.alloc);
	return io_conformance_run(&device);
}

/* --- which operation --- */

static void the_nth_of_a_kind_fails_and_no_other(void **state)
{
	struct fault_fixture *f = *state;
	uint8_t *buffer = io_blocks_new(1);
	uint64_t id = 0;

	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_READ, 3, 0, &id), 0);
	for (unsigned int i = 1; i <= 5; i++) {
		assert_int_equal(fault_write(f->io, 1, 1, 1), 0);
		assert_int_equal(thinp_io_read(f->io, i, 1, buffer), i == 3 ? THINP_EIO : 0);
	}
	fault_expect_counts(f, id, 5, 1);
	free(buffer);
}

static void every_kind_can_be_made_to_fail_with_any_code(void **state)
{
	static const int codes[] = {THINP_ENOSPC, THINP_ENOMEM, THINP_ECORRUPT, -ENOSPC};
	struct fault_fixture *f = *state;
	void *buffer = io_blocks_new(1);

	for (uint32_t kind = THINP_IO_READ; kind <= THINP_IO_FLUSH; kind++) {
		for (size_t i = 0; i < 4; i++) {
			struct thinp_io_op op = io_op(kind, 1, 1, buffer);
			int told = codes[i] == -ENOSPC ? THINP_ENOSPC : codes[i];

			assert_int_equal(thinp_fault_fail_nth(f->fault, kind, 1, codes[i], NULL), 0);
			assert_int_equal(thinp_io_batch(f->io, &op, 1), told);
			io_expect_told(told);
			assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
		}
	}
	free(buffer);
}

static void a_rule_acts_on_operations_that_touch_its_range(void **state)
{
	struct fault_fixture *f = *state;
	uint64_t id =
		fault_rule(f, (struct thinp_fault_rule){
				      .action = THINP_FAULT_FAIL, .begin = 4, .end = 8, .times = THINP_FAULT_ALWAYS});

	assert_int_equal(fault_write(f->io, 0, 4, 2), 0);
	assert_int_equal(fault_write(f->io, 8, 4, 2), 0);
	assert_int_equal(thinp_io_flush(f->io), 0); /* touches no block */
	assert_int_equal(fault_write(f->io, 3, 2, 2), THINP_EIO);
	assert_int_equal(fault_write(f->io, 7, 1, 2), THINP_EIO);
	assert_int_equal(fault_write(f->io, 0, 32, 2), THINP_EIO);
	fault_expect_counts(f, id, 3, 3);
	fault_expect(f->lower, 4, 4, 1);
}

static void a_rule_without_an_end_reaches_to_the_last_block(void **state)
{
	struct fault_fixture *f = *state;

	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_FAIL, .begin = 31, .times = 2});
	assert_int_equal(fault_write(f->io, 0, 31, 2), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(fault_write(f->io, 31, 1, 2), THINP_EIO);
	assert_int_equal(fault_write(f->io, 30, 2, 2), THINP_EIO);
	assert_int_equal(fault_write(f->io, 31, 1, 2), 0);
}

static void a_rule_acts_as_often_as_it_says(void **state)
{
	struct fault_fixture *f = *state;
	uint64_t id = fault_rule(f, (struct thinp_fault_rule){.kinds = THINP_FAULT_ON_WRITE | THINP_FAULT_ON_FLUSH,
							      .action = THINP_FAULT_FAIL,
							      .nth = 2,
							      .times = 3});
	static const int wanted[] = {0, THINP_EIO, THINP_EIO, THINP_EIO, 0, 0};

	for (unsigned int i = 0; i < 6; i++) {
		int r = i % 2 ? thinp_io_flush(f->io) : fault_write(f->io, i, 1, 2);

		assert_int_equal(r, wanted[i]);
	}
	fault_expect_counts(f, id, 6, 3);
}

static void of_two_rules_the_first_acts_and_both_count(void **state)
{
	struct fault_fixture *f = *state;
	uint64_t first = fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_FAIL, .code = THINP_ENOSPC});
	uint64_t second = fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_FAIL, .times = 2});

	assert_int_equal(fault_write(f->io, 0, 1, 2), THINP_ENOSPC);
	assert_int_equal(fault_write(f->io, 0, 1, 2), THINP_EIO);
	assert_int_equal(fault_write(f->io, 0, 1, 2), 0); /* the second's other turn is over */
	fault_expect_counts(f, first, 3, 1);
	fault_expect_counts(f, second, 3, 1);
}

static void operations_of_a_batch_are_met_in_their_order(void **state)
{
	struct fault_fixture *f = *state;
	uint8_t *blocks = io_blocks_new(3);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 5, 1, blocks),
		io_op(THINP_IO_WRITE, 3, 1, blocks + THINP_BLOCK_SIZE),
		io_op(THINP_IO_WRITE, 4, 1, blocks + 2 * THINP_BLOCK_SIZE),
	};

	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_WRITE, 2, 0, NULL), 0);
	assert_int_equal(thinp_io_batch(f->io, ops, 3), THINP_EIO);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, THINP_EIO);
	assert_int_equal(ops[2].result, 0);
	fault_expect(f->lower, 3, 1, 1);
	free(blocks);
}

static void rules_can_be_taken_away(void **state)
{
	struct fault_fixture *f = *state;
	uint64_t id = fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_FAIL, .times = THINP_FAULT_ALWAYS});

	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	thinp_fault_clear(f->fault);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_fault_get_counts(f->fault, id, NULL, NULL), THINP_ENODATA);
	io_expect_told(THINP_ENODATA);
}

static void rules_that_make_no_sense_are_refused(void **state)
{
	static const struct thinp_fault_rule rules[] = {
		{.action = THINP_FAULT_TEAR, .kinds = THINP_FAULT_ON_READ},
		{.action = THINP_FAULT_STALE, .kinds = THINP_FAULT_ON_WRITE | THINP_FAULT_ON_READ},
		{.action = THINP_FAULT_SHORT, .kinds = THINP_FAULT_ON_WRITE},
		{.action = THINP_FAULT_FLIP, .kinds = THINP_FAULT_ON_DISCARD},
		{.action = THINP_FAULT_MISDIRECT, .kinds = THINP_FAULT_ON_FLUSH},
		{.action = THINP_FAULT_FAIL, .begin = 5, .end = 5},
		{.action = THINP_FAULT_FAIL, .begin = 5, .end = 4},
		{.action = THINP_FAULT_FAIL, .code = 1},
		{.action = THINP_FAULT_FLIP, .offset_bytes = THINP_BLOCK_SIZE},
		{.action = THINP_FAULT_FLIP, .flip_mask = 256},
	};
	static const struct thinp_fault_rule unknown[] = {
		{.action = THINP_FAULT_FLIP + 1},
		{.action = THINP_FAULT_FAIL, .kinds = 1},
		{.action = THINP_FAULT_FAIL, .kinds = 32},
		{.action = THINP_FAULT_FAIL, .flags = 2},
	};
	struct fault_fixture *f = *state;
	struct thinp_fault_rule rule = {0};
	uint64_t id = 77;

	assert_int_equal(thinp_fault_add(f->fault, &rule, &id), THINP_EINVAL); /* no size */
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		rule = rules[i];
		rule.size = sizeof(rule);
		assert_int_equal(thinp_fault_add(f->fault, &rule, &id), THINP_EINVAL);
		io_expect_told(THINP_EINVAL);
	}
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		rule = unknown[i];
		rule.size = sizeof(rule);
		assert_int_equal(thinp_fault_add(f->fault, &rule, &id), THINP_ENOTSUP);
	}
	assert_int_equal(thinp_fault_fail_nth(f->fault, 0, 1, 0, &id), THINP_ENOTSUP);
	assert_int_equal(thinp_fault_fail_nth(f->fault, 5, 1, 0, &id), THINP_ENOTSUP);
	assert_int_equal(id, 77);
}

static void figures_tell_what_was_asked_for(void **state)
{
	struct fault_fixture *f = *state;
	struct thinp_fault_stats stats = {.size = sizeof(stats)};
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 0, 1, NULL);

	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_WRITE, 2, 0, NULL), 0);
	assert_int_equal(fault_write(f->io, 0, 2, 2), 0);
	assert_int_equal(fault_write(f->io, 0, 2, 2), THINP_EIO);
	fault_expect(f->io, 0, 1, 2);
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_fault_power_cut(f->fault, NULL, 0), 0);
	thinp_fault_get_stats(f->fault, &stats);
	assert_int_equal(stats.reads, 1);
	assert_int_equal(stats.writes, 2);
	assert_int_equal(stats.discards, 1);
	assert_int_equal(stats.flushes, 3);
	assert_int_equal(stats.fired, 1);
	assert_int_equal(stats.unflushed_blocks, 0);
	assert_int_equal(stats.power_cuts, 1);
}

/* --- what happens to it --- */

static void a_write_can_be_lost_and_acknowledged(void **state)
{
	struct fault_fixture *f = *state;

	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_DROP, .kinds = THINP_FAULT_ON_WRITE});
	assert_int_equal(fault_write(f->io, 3, 2, 2), 0);
	fault_expect(f->io, 3, 2, 1);
	assert_int_equal(fault_write(f->io, 3, 2, 2), 0);
	fault_expect(f->io, 3, 2, 2);
}

/* A second fault device below is the one that fails. */
static void a_write_that_failed_can_be_acknowledged(void **state)
{
	struct fault_fixture *f = *state;
	struct thinp_fault *above = NULL;
	struct thinp_io *io = NULL;
	struct thinp_fault_rule rule = {.size = sizeof(rule),
					.action = THINP_FAULT_ANSWER,
					.times = 2,
					.kinds = THINP_FAULT_ON_WRITE | THINP_FAULT_ON_FLUSH};

	assert_int_equal(thinp_fault_create(f->io, NULL, &above), 0);
	assert_int_equal(thinp_fault_open(above, NULL, &io), 0);
	assert_int_equal(thinp_fault_add(above, &rule, NULL), 0);
	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_FAIL, .times = 3});
	assert_int_equal(fault_write(io, 3, 1, 2), 0);
	assert_int_equal(thinp_io_flush(io), 0);
	assert_int_equal(thinp_io_flush(io), THINP_EIO);
	fault_expect(f->lower, 3, 1, 1);
	thinp_io_close(io);
	thinp_fault_destroy(above);
}

static void a_write_that_succeeded_can_be_called_a_failure(void **state)
{
	struct fault_fixture *f = *state;

	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_ANSWER, .code = THINP_ENOSPC});
	assert_int_equal(fault_write(f->io, 3, 1, 2), THINP_ENOSPC);
	fault_expect(f->io, 3, 1, 2);
}

static void of_a_torn_write_the_first_sectors_arrive(void **state)
{
	struct fault_fixture *f = *state;

	for (uint64_t n = 0; n <= 24; n++) {
		int code = n % 2 ? THINP_EIO : 0;

		assert_int_equal(fault_write(f->lower, 4, 3, 1), 0);
		fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_TEAR, .nr_sectors = n, .code = code});
		assert_int_equal(fault_write(f->io, 4, 3, 2), code);
		for (uint64_t b = 0; b < 3; b++) {
			uint64_t nr = n < 8 * b ? 0 : n - 8 * b;

			fault_expect_torn(f->lower, 4 + b, nr < 8 ? (1u << nr) - 1 : 255, 2, 1);
		}
	}
}

static void of_a_torn_write_chosen_sectors_arrive(void **state)
{
	struct fault_fixture *f = *state;

	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_TEAR, .sector_mask = 0x00ff81});
	assert_int_equal(fault_write(f->io, 4, 3, 2), 0);
	fault_expect_torn(f->lower, 4, 0x81, 2, 1);
	fault_expect_torn(f->lower, 5, 0xff, 2, 1);
	fault_expect_torn(f->lower, 6, 0x00, 2, 1);

	assert_int_equal(fault_write(f->lower, 4, 3, 2), 0);
	fault_rule(f, (struct thinp_fault_rule){
			      .action = THINP_FAULT_TEAR, .sector_mask = UINT64_MAX << 2, .nr_sectors = 20});
	assert_int_equal(fault_write(f->io, 4, 3, 3), 0);
	fault_expect_torn(f->lower, 4, 0xfc, 3, 2);
	fault_expect_torn(f->lower, 5, 0xff, 3, 2);
	fault_expect_torn(f->lower, 6, 0x0f, 3, 2);
}

static void the_mask_of_sectors_begins_anew_after_64(void **state)
{
	struct fault_fixture *f = *state;

	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_TEAR, .sector_mask = 0x03});
	assert_int_equal(fault_write(f->io, 0, 10, 2), 0);
	for (thinp_block_t b = 0; b < 10; b++)
		fault_expect_torn(f->lower, b, b % 8 ? 0 : 3, 2, 1);
}

static void a_misdirected_write_lands_elsewhere(void **state)
{
	struct fault_fixture *f = *state;
	uint8_t *found = io_blocks_new(2);

	fault_rule(f, (struct thinp_fault_rule){
			      .action = THINP_FAULT_MISDIRECT, .kinds = THINP_FAULT_ON_WRITE, .target = 20});
	assert_int_equal(fault_write(f->io, 3, 2, 2), 0);
	fault_expect(f->lower, 3, 2, 1);
	assert_int_equal(thinp_io_read(f->lower, 20, 2, found), 0);
	io_blocks_expect(found, 3, 2, 2);
	free(found);
}

static void BM_04_a_misdirected_read_gives_another_block(void **state)
{
	struct fault_fixture *f = *state;
	uint8_t *found = io_blocks_new(1);

	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_MISDIRECT, .target = 9});
	assert_int_equal(thinp_io_read(f->io, 7, 1, found), 0);
	io_blocks_expect(found, 9, 1, 1);
	free(found);
}

static void what_is_misdirected_beyond_the_end_fails(void **state)
{
	static const thinp_block_t targets[] = {31, 32, 33, UINT64_MAX};
	struct fault_fixture *f = *state;

	for (size_t i = 0; i < 4; i++) {
		fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_MISDIRECT, .target = targets[i]});
		assert_int_equal(fault_write(f->io, 3, 2, 2), THINP_ERANGE);
		io_expect_told(THINP_ERANGE);
	}
	fault_expect(f->lower, 0, FAULT_NR_BLOCKS, 1);
}

static void a_stale_read_gives_what_was_there_before_the_last_write(void **state)
{
	struct fault_fixture *f = *state;
	void *found = io_blocks_new(4);

	fault_rule(f,
		   (struct thinp_fault_rule){.action = THINP_FAULT_STALE, .begin = 5, .end = 7, .nth = 2, .times = 2});
	fault_expect(f->io, 4, 4, 1);
	assert_int_equal(fault_write(f->io, 4, 4, 2), 0);
	assert_int_equal(fault_write(f->io, 6, 1, 3), 0);
	assert_int_equal(thinp_io_read(f->io, 4, 4, found), 0);
	io_blocks_expect(found, 4, 1, 2);
	io_blocks_expect((uint8_t *)found + THINP_BLOCK_SIZE, 5, 1, 1);
	io_blocks_expect((uint8_t *)found + 2 * THINP_BLOCK_SIZE, 6, 1, 2);
	io_blocks_expect((uint8_t *)found + 3 * THINP_BLOCK_SIZE, 7, 1, 2);
	assert_int_equal(fault_write(f->io, 5, 1, 4), 0);
	fault_expect(f->io, 5, 1, 2);
	fault_expect(f->io, 5, 1, 4);
	free(found);
}

static void what_was_never_written_is_not_stale(void **state)
{
	struct fault_fixture *f = *state;
	const struct thinp_fault_rule stale = {.action = THINP_FAULT_STALE, .times = THINP_FAULT_ALWAYS};

	fault_rule(f, stale);
	fault_expect(f->io, 0, FAULT_NR_BLOCKS, 1);
	assert_int_equal(fault_write(f->io, 5, 1, 2), 0);
	fault_expect(f->io, 5, 1, 1);
	thinp_fault_clear(f->fault); /* what was kept is forgotten */
	fault_rule(f, stale);
	fault_expect(f->io, 5, 1, 2);
}

static void a_short_read_leaves_the_rest_of_the_buffer(void **state)
{
	struct fault_fixture *f = *state;
	uint8_t *wanted = io_blocks_new(2);
	uint8_t *found = io_blocks_new(2);

	io_blocks_fill(wanted, 8, 2, 1);
	for (size_t n = 0; n <= 16; n++) {
		memset(found, 0x11, (size_t)2 * THINP_BLOCK_SIZE);
		memset(wanted + n * 512, 0x11, (16 - n) * 512);
		fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_SHORT, .nr_sectors = n});
		assert_int_equal(thinp_io_read(f->io, 8, 2, found), 0);
		assert_memory_equal(found, wanted, (size_t)2 * THINP_BLOCK_SIZE);
		io_blocks_fill(wanted, 8, 2, 1);
	}
	free(found);
	free(wanted);
}

static void BM_14_a_short_read_may_bring_garbage_and_a_code(void **state)
{
	struct fault_fixture *f = *state;
	uint8_t *wanted = io_blocks_new(1);
	uint8_t *found = io_blocks_new(1);
	size_t nr_untouched = 0;

	io_blocks_fill(wanted, 8, 1, 1);
	memset(found, 0x11, THINP_BLOCK_SIZE);
	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_SHORT,
						.nr_sectors = 2,
						.flags = THINP_FAULT_GARBAGE,
						.code = THINP_EIO});
	assert_int_equal(thinp_io_read(f->io, 8, 1, found), THINP_EIO);
	assert_memory_equal(found, wanted, 1024);
	for (size_t i = 1024; i < THINP_BLOCK_SIZE; i++)
		nr_untouched += found[i] == 0x11 || found[i] == wanted[i];
	assert_true(nr_untouched < 200);
	free(found);
	free(wanted);
}

static void bits_are_flipped_in_the_blocks_of_the_range(void **state)
{
	struct fault_fixture *f = *state;
	uint8_t *wanted = io_blocks_new(3);
	uint8_t *found = io_blocks_new(3);

	io_blocks_fill(wanted, 8, 3, 1);
	wanted[THINP_BLOCK_SIZE + 4095] ^= 0x10;
	fault_rule(f,
		   (struct thinp_fault_rule){
			   .action = THINP_FAULT_FLIP, .begin = 9, .end = 10, .offset_bytes = 4095, .flip_mask = 0x10});
	assert_int_equal(thinp_io_read(f->io, 8, 3, found), 0);
	assert_memory_equal(found, wanted, (size_t)3 * THINP_BLOCK_SIZE);

	io_blocks_fill(wanted, 8, 3, 1);
	wanted[0] ^= 0xff;
	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_FLIP});
	assert_int_equal(thinp_io_read(f->io, 8, 1, found), 0);
	assert_memory_equal(found, wanted, THINP_BLOCK_SIZE);
	fault_expect(f->io, 8, 3, 1);
	free(found);
	free(wanted);
}

/* Seen from a second fault device below, which has no rules and counts. */
static void a_discard_and_a_flush_can_be_dropped(void **state)
{
	struct fault_fixture *f = *state;
	struct thinp_fault_rule rule = {.size = sizeof(rule), .action = THINP_FAULT_DROP, .times = 2};
	struct thinp_fault_stats stats = {.size = sizeof(stats)};
	struct thinp_io_op ops[] = {io_op(THINP_IO_DISCARD, 3, 1, NULL), io_op(THINP_IO_FLUSH, 0, 0, NULL)};
	struct thinp_fault *above = NULL;
	struct thinp_io *io = NULL;

	assert_int_equal(thinp_fault_create(f->io, NULL, &above), 0);
	assert_int_equal(thinp_fault_open(above, NULL, &io), 0);
	assert_int_equal(thinp_fault_add(above, &rule, NULL), 0);
	for (uint64_t nr_arrived = 0; nr_arrived < 2; nr_arrived++) {
		assert_int_equal(thinp_io_batch(io, ops, 2), 0);
		thinp_fault_get_stats(f->fault, &stats);
		assert_int_equal(stats.discards, nr_arrived);
		assert_int_equal(stats.flushes, nr_arrived);
	}
	thinp_io_close(io);
	thinp_fault_destroy(above);
}

/* --- callbacks --- */

struct watcher {
	struct thinp_io_op seen;
	unsigned int nr_calls;
	int answer;
	struct thinp_io *io; /* used from within the callback; NULL: not */
};

static int watch(void *ctx, const struct thinp_io_op *op)
{
	struct watcher *w = ctx;

	w->seen = *op;
	w->nr_calls++;
	if (w->io)
		fault_expect(w->io, 30, 1, 1);
	return w->answer;
}

static void a_callback_sees_the_operation_before_it_is_done(void **state)
{
	struct fault_fixture *f = *state;
	struct watcher w = {.io = f->io};

	fault_rule(f,
		   (struct thinp_fault_rule){.kinds = THINP_FAULT_ON_WRITE, .nth = 2, .call = watch, .call_ctx = &w});
	assert_int_equal(fault_write(f->io, 1, 1, 2), 0);
	assert_int_equal(w.nr_calls, 0);
	assert_int_equal(fault_write(f->io, 2, 3, 2), 0);
	assert_int_equal(w.nr_calls, 1);
	assert_int_equal(w.seen.kind, THINP_IO_WRITE);
	assert_int_equal(w.seen.block, 2);
	assert_int_equal(w.seen.nr_blocks, 3);
	fault_expect(f->lower, 1, 4, 2);
}

static void a_callback_can_fail_the_operation(void **state)
{
	struct fault_fixture *f = *state;
	struct watcher w = {.answer = THINP_ENOSPC};

	fault_rule(f, (struct thinp_fault_rule){.call = watch, .call_ctx = &w});
	assert_int_equal(fault_write(f->io, 2, 3, 2), THINP_ENOSPC);
	fault_expect(f->lower, 2, 3, 1);
}

/* --- opening --- */

static void a_device_over_a_read_only_one_is_read_only(void **state)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY, .nr_blocks = 2};
	struct thinp_io *lower = NULL, *io = NULL;
	struct thinp_fault *fault = NULL;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&opts, &lower), 0);
	assert_int_equal(thinp_fault_create(lower, NULL, &fault), 0);
	assert_int_equal(thinp_fault_open(fault, NULL, &io), 0);
	assert_true(thinp_io_is_read_only(io));
	assert_int_equal(fault_write(io, 0, 1, 1), THINP_EROFS);
	thinp_io_close(io);
	thinp_fault_destroy(fault);
	thinp_io_close(lower);
}

static void options_that_are_not_known_are_refused(void **state)
{
	struct fault_fixture *f = *state;
	struct thinp_fault_opts opts = {.size = sizeof(opts), .flags = 2};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .flags = 128};
	struct thinp_allocator half = {.size = sizeof(half)};
	struct thinp_fault *fault = NULL;
	struct thinp_io *io = NULL;

	assert_int_equal(thinp_fault_create(f->lower, &opts, &fault), THINP_ENOTSUP);
	opts.flags = 0;
	opts.allocator = &half;
	assert_int_equal(thinp_fault_create(f->lower, &opts, &fault), THINP_EINVAL);
	opts.size = 0;
	assert_int_equal(thinp_fault_create(f->lower, &opts, &fault), THINP_EINVAL);
	assert_null(fault);
	assert_int_equal(thinp_fault_open(f->fault, &io_opts, &io), THINP_ENOTSUP);
	assert_null(io);
	thinp_fault_destroy(NULL);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fault_setup, fault_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_nth_of_a_kind_fails_and_no_other),
		CASE(every_kind_can_be_made_to_fail_with_any_code),
		CASE(a_rule_acts_on_operations_that_touch_its_range),
		CASE(a_rule_without_an_end_reaches_to_the_last_block),
		CASE(a_rule_acts_as_often_as_it_says),
		CASE(of_two_rules_the_first_acts_and_both_count),
		CASE(operations_of_a_batch_are_met_in_their_order),
		CASE(rules_can_be_taken_away),
		CASE(rules_that_make_no_sense_are_refused),
		CASE(figures_tell_what_was_asked_for),
		CASE(a_write_can_be_lost_and_acknowledged),
		CASE(a_write_that_failed_can_be_acknowledged),
		CASE(a_write_that_succeeded_can_be_called_a_failure),
		CASE(of_a_torn_write_the_first_sectors_arrive),
		CASE(of_a_torn_write_chosen_sectors_arrive),
		CASE(the_mask_of_sectors_begins_anew_after_64),
		CASE(a_misdirected_write_lands_elsewhere),
		CASE(BM_04_a_misdirected_read_gives_another_block),
		CASE(what_is_misdirected_beyond_the_end_fails),
		CASE(a_stale_read_gives_what_was_there_before_the_last_write),
		CASE(what_was_never_written_is_not_stale),
		CASE(a_short_read_leaves_the_rest_of_the_buffer),
		CASE(BM_14_a_short_read_may_bring_garbage_and_a_code),
		CASE(bits_are_flipped_in_the_blocks_of_the_range),
		CASE(a_discard_and_a_flush_can_be_dropped),
		CASE(a_callback_sees_the_operation_before_it_is_done),
		CASE(a_callback_can_fail_the_operation),
		cmocka_unit_test(a_device_over_a_read_only_one_is_read_only),
		CASE(options_that_are_not_known_are_refused),
	};
	int nr_failed = run_conformance("io/fault/conformance", 0, 0);

	nr_failed += run_conformance("io/fault/volatile/conformance", THINP_FAULT_VOLATILE_CACHE, 0);
	nr_failed += run_conformance("io/fault/small_volatile/conformance", THINP_FAULT_VOLATILE_CACHE, 3);
	nr_failed += cmocka_run_group_tests_name("io/fault", tests, NULL, NULL);
	return nr_failed;
}
