/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_record.c - the device that keeps a log, and what can be rebuilt from the log.
 */
#include "support/fault_fixture.h"
#include "support/io_conformance.h"

#include <thinp/error.h>
#include <thinp/record.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the suite of all back-ends --- */

/* A record over a device that can be made to fail, or what is rebuilt from an empty log under such a device. */
struct conformant {
	struct alloc_counting alloc;
	bool is_rebuilt;
	struct thinp_io *memory, *middle;
	struct thinp_fault *fault;
	struct thinp_record *record;
};

static int open_record(struct conformant *c, const struct thinp_record_opts *opts, const struct thinp_io_opts *io_opts,
		       struct thinp_io **io)
{
	assert_int_equal(thinp_fault_create(c->memory, NULL, &c->fault), 0);
	assert_int_equal(thinp_fault_open(c->fault, NULL, &c->middle), 0);
	assert_int_equal(thinp_record_create(c->middle, opts, &c->record), 0);
	return thinp_record_open(c->record, io_opts, io);
}

static int open_rebuilt(struct conformant *c, const struct thinp_record_opts *opts, const struct thinp_io_opts *io_opts,
			struct thinp_io **io)
{
	assert_int_equal(thinp_record_create(c->memory, opts, &c->record), 0);
	assert_int_equal(thinp_record_rebuild(c->record, UINT64_MAX, NULL, 0, &c->middle), 0);
	assert_int_equal(thinp_fault_create(c->middle, NULL, &c->fault), 0);
	return thinp_fault_open(c->fault, io_opts, io);
}

static int open_conformant(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct conformant *c = ctx;
	struct thinp_io_opts memory_opts = {.size = sizeof(memory_opts), .nr_blocks = nr_blocks};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .flags = flags, .allocator = &c->alloc.table};
	struct thinp_record_opts opts = {.size = sizeof(opts), .allocator = &c->alloc.table};

	assert_int_equal(thinp_io_open_memory(&memory_opts, &c->memory), 0);
	return (c->is_rebuilt ? open_rebuilt : open_record)(c, &opts, &io_opts, io);
}

static void done_conformant(void *ctx)
{
	struct conformant *c = ctx;

	if (c->is_rebuilt) {
		thinp_fault_destroy(c->fault);
		thinp_io_close(c->middle);
		thinp_record_destroy(c->record);
	} else {
		thinp_record_destroy(c->record);
		thinp_io_close(c->middle);
		thinp_fault_destroy(c->fault);
	}
	thinp_io_close(c->memory);
	alloc_counting_check(&c->alloc);
}

static int arm_conformant(void *ctx, uint32_t kind, thinp_block_t block)
{
	struct conformant *c = ctx;

	(void)block;
	return fault_arm(c->fault, kind);
}

static int run_conformance(const char *group, bool is_rebuilt)
{
	struct conformant c = {.is_rebuilt = is_rebuilt};
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

/* --- the log --- */

/* A record over the fixture's device, whose faults and counts are below the log. */
struct fixture {
	struct fault_fixture *below;
	struct thinp_record *record;
	struct thinp_io *io;
};

static void make_record(struct fixture *f, uint64_t max_bytes)
{
	struct thinp_record_opts opts = {
		.size = sizeof(opts), .max_bytes = max_bytes, .allocator = &f->below->alloc.table};

	assert_int_equal(thinp_record_create(f->below->io, &opts, &f->record), 0);
	assert_int_equal(thinp_record_open(f->record, NULL, &f->io), 0);
}

static void drop_record(struct fixture *f)
{
	thinp_io_close(f->io);
	thinp_record_destroy(f->record);
	f->io = NULL;
	f->record = NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *below = NULL;

	assert_non_null(f);
	assert_int_equal(fault_setup(&below), 0);
	f->below = below;
	make_record(f, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *below = f->below;

	drop_record(f);
	free(f);
	return fault_teardown(&below);
}

static struct thinp_record_entry entry_at(struct fixture *f, uint64_t index)
{
	struct thinp_record_entry entry = {.size = sizeof(entry)};

	assert_int_equal(thinp_record_get_entry(f->record, index, &entry), 0);
	return entry;
}

static void expect_entry(struct fixture *f, uint64_t index, uint32_t kind, thinp_block_t block, uint64_t nr_blocks,
			 int result)
{
	struct thinp_record_entry entry = entry_at(f, index);

	assert_int_equal(entry.kind, kind);
	assert_int_equal(entry.block, block);
	assert_int_equal(entry.nr_blocks, nr_blocks);
	assert_int_equal(entry.result, result);
	assert_true(entry.begun > 0 && entry.ended > entry.begun);
}

static void all_that_changes_the_device_is_in_the_log(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 4, 20, NULL);

	assert_int_equal(fault_write(f->io, 3, 2, 2), 0);
	fault_expect(f->io, 3, 2, 2); /* a read is not */
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_io_resize(f->io, 40), 0);
	assert_int_equal(thinp_record_mark(f->record, 4711), 0);

	assert_int_equal(thinp_record_nr_entries(f->record), 5);
	expect_entry(f, 0, THINP_RECORD_WRITE, 3, 2, 0);
	expect_entry(f, 1, THINP_RECORD_DISCARD, 4, 20, 0);
	expect_entry(f, 2, THINP_RECORD_FLUSH, 0, 0, 0);
	expect_entry(f, 3, THINP_RECORD_RESIZE, 0, 40, 0);
	expect_entry(f, 4, THINP_RECORD_MARK, 0, 0, 0);
	assert_int_equal(entry_at(f, 4).mark, 4711);
	io_blocks_expect(entry_at(f, 0).data, 3, 2, 2);
	for (uint64_t i = 1; i < 5; i++)
		assert_null(entry_at(f, i).data);
}

static void the_log_ends_somewhere(void **state)
{
	struct fixture *f = *state;
	struct thinp_record_entry entry = {.size = sizeof(entry), .mark = 77};

	assert_int_equal(thinp_record_get_entry(f->record, 0, &entry), THINP_ENODATA);
	io_expect_told(THINP_ENODATA);
	assert_int_equal(thinp_record_mark(f->record, 1), 0);
	assert_int_equal(thinp_record_get_entry(f->record, 1, &entry), THINP_ENODATA);
	assert_int_equal(thinp_record_get_entry(f->record, UINT64_MAX, &entry), THINP_ENODATA);
	assert_int_equal(entry.mark, 77);
}

static bool is_before(struct fixture *f, uint64_t a, uint64_t b)
{
	return entry_at(f, a).ended < entry_at(f, b).begun;
}

static void ticks_and_batches_tell_what_had_an_order(void **state)
{
	struct fixture *f = *state;
	uint8_t *blocks = io_blocks_new(3);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 1, 1, blocks),
		io_op(THINP_IO_DISCARD, 9, 1, NULL),
		io_op(THINP_IO_WRITE, 2, 1, blocks + THINP_BLOCK_SIZE),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 3, 1, blocks + 2 * THINP_BLOCK_SIZE),
	};

	assert_int_equal(thinp_io_batch(f->io, ops, 5), 0);
	assert_int_equal(fault_write(f->io, 5, 1, 2), 0);
	assert_int_equal(thinp_record_mark(f->record, 1), 0);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(entry_at(f, i).batch, 1);
	assert_int_equal(entry_at(f, 5).batch, 2);
	assert_int_equal(entry_at(f, 6).batch, 0);
	for (uint64_t i = 0; i < 3; i++) {
		assert_true(is_before(f, i, 3));
		for (uint64_t j = 0; j < 3; j++)
			assert_false(is_before(f, i, j));
	}
	for (uint64_t i = 3; i < 6; i++)
		assert_true(is_before(f, i, i + 1));
	free(blocks);
}

static void the_device_below_sees_neighbours_as_one_batch(void **state)
{
	struct fixture *f = *state;
	struct thinp_record *outer = NULL;
	struct thinp_io *io = NULL;
	uint8_t *blocks = io_blocks_new(3);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 1, 1, blocks),
		io_op(THINP_IO_WRITE, 2, 1, blocks + THINP_BLOCK_SIZE),
		io_op(THINP_IO_READ, 7, 1, blocks + 2 * THINP_BLOCK_SIZE),
	};

	assert_int_equal(thinp_record_create(f->io, NULL, &outer), 0);
	assert_int_equal(thinp_record_open(outer, NULL, &io), 0);
	assert_int_equal(thinp_io_batch(io, ops, 3), 0);
	assert_int_equal(entry_at(f, 0).batch, entry_at(f, 1).batch);
	io_blocks_expect(blocks + 2 * THINP_BLOCK_SIZE, 7, 1, 1);
	thinp_io_close(io);
	thinp_record_destroy(outer);
	free(blocks);
}

static void failures_are_in_the_log(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_WRITE, 1, THINP_ENOSPC, NULL), 0);
	assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_FLUSH, 1, 0, NULL), 0);
	assert_int_equal(fault_write(f->io, 3, 1, 2), THINP_ENOSPC);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	expect_entry(f, 0, THINP_RECORD_WRITE, 3, 1, THINP_ENOSPC);
	expect_entry(f, 1, THINP_RECORD_FLUSH, 0, 0, THINP_EIO);
}

static void what_was_never_carried_out_is_not_in_the_log(void **state)
{
	struct fixture *f = *state;
	void *block = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 1, 1, block),
	};

	assert_int_equal(thinp_fault_fail_nth(f->below->fault, THINP_IO_FLUSH, 1, 0, NULL), 0);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), THINP_EIO);
	assert_int_equal(thinp_io_write(f->io, FAULT_NR_BLOCKS, 1, block), THINP_ERANGE);
	assert_int_equal(thinp_record_nr_entries(f->record), 1);
	free(block);
}

static int look_at_the_last(void *ctx, const struct thinp_io_op *op)
{
	struct fixture *f = ctx;
	struct thinp_record_entry entry = entry_at(f, thinp_record_nr_entries(f->record) - 1);

	(void)op;
	assert_int_equal(entry.kind, THINP_RECORD_WRITE);
	assert_true(entry.begun > 0);
	assert_int_equal(entry.ended, 0);
	return 0;
}

static void an_operation_that_is_under_way_has_not_ended(void **state)
{
	struct fixture *f = *state;
	uint64_t id = fault_rule(
		f->below,
		(struct thinp_fault_rule){.kinds = THINP_FAULT_ON_WRITE, .call = look_at_the_last, .call_ctx = f});

	assert_int_equal(fault_write(f->io, 3, 1, 2), 0);
	fault_expect_counts(f->below, id, 1, 1);
}

static void a_discard_goes_no_further_than_the_log(void **state)
{
	struct fixture *f = *state;
	struct thinp_fault_stats stats = {.size = sizeof(stats)};
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 0, FAULT_NR_BLOCKS, NULL);

	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	thinp_fault_get_stats(f->below->fault, &stats);
	assert_int_equal(stats.discards, 0);
	assert_int_equal(stats.reads, 0);
	fault_expect(f->io, 0, FAULT_NR_BLOCKS, 1);
}

static void only_blocks_that_are_written_are_read_and_once(void **state)
{
	struct fixture *f = *state;
	struct thinp_fault_stats stats = {.size = sizeof(stats)};

	for (uint64_t generation = 2; generation < 6; generation++)
		assert_int_equal(fault_write(f->io, 5, 3, generation), 0);
	thinp_fault_get_stats(f->below->fault, &stats);
	assert_int_equal(stats.reads, 3);
}

static void the_memory_of_the_log_is_bounded(void **state)
{
	struct fixture *f = *state;
	uint64_t nr_written = 0;
	int r = 0;

	drop_record(f);
	make_record(f, 40 * THINP_BLOCK_SIZE);
	while (!r && nr_written < 1000) {
		r = fault_write(f->io, 3, 2, 2);
		nr_written += !r;
	}
	assert_int_equal(r, THINP_ENOMEM);
	io_expect_told(THINP_ENOMEM);
	assert_int_equal(nr_written, 18); /* two first contents and a piece of the log leave 37 blocks */
	assert_int_equal(fault_write(f->io, 3, 2, 3), THINP_ENOMEM);
	fault_expect(f->io, 3, 2, 2);
	assert_int_equal(thinp_record_nr_entries(f->record), nr_written);
	assert_int_equal(fault_write(f->io, 3, 1, 3), 0); /* for which there is room */
	assert_int_equal(fault_write(f->io, 9, 1, 3), THINP_ENOMEM);
	assert_int_equal(thinp_io_resize(f->io, 8), THINP_ENOMEM);
	assert_int_equal(thinp_io_flush(f->io), 0);
}

/* --- what is rebuilt --- */

static void expect_zero(struct thinp_io *io, thinp_block_t block)
{
	void *found = io_blocks_new(1);

	assert_int_equal(thinp_io_read(io, block, 1, found), 0);
	io_blocks_expect_zeros(found, 1);
	free(found);
}

static struct thinp_io *rebuild(struct fixture *f, uint64_t nr_entries, const uint64_t *lost, size_t nr_lost)
{
	struct thinp_io *io = NULL;

	assert_int_equal(thinp_record_rebuild(f->record, nr_entries, lost, nr_lost, &io), 0);
	return io;
}

static void every_prefix_of_the_log_can_be_rebuilt(void **state)
{
	struct fixture *f = *state;

	for (uint64_t n = 0; n < 70; n++) /* more than one piece of the log */
		assert_int_equal(fault_write(f->io, n % 10, 1, 2 + n), 0);
	for (uint64_t nr = 0; nr <= 70; nr++) {
		struct thinp_io *io = rebuild(f, nr, NULL, 0);

		for (uint64_t b = 0; b < 10; b++)
			fault_expect(io, b, 1, nr > b ? 2 + (nr - 1 - b) / 10 * 10 + b : 1);
		fault_expect(io, 10, FAULT_NR_BLOCKS - 10, 1);
		thinp_io_close(io);
	}
}

static void lost_entries_are_left_out(void **state)
{
	static const uint64_t lost[] = {1, 3, 100};
	struct fixture *f = *state;
	struct thinp_io *io;

	for (uint64_t n = 0; n < 5; n++)
		assert_int_equal(fault_write(f->io, n, 2, 2 + n), 0);
	io = rebuild(f, UINT64_MAX, lost, 3);
	fault_expect(io, 0, 2, 2);
	fault_expect(io, 2, 2, 4);
	fault_expect(io, 4, 2, 6);
	fault_expect(io, 6, 1, 1);
	thinp_io_close(io);
}

static void lost_entries_must_be_in_order(void **state)
{
	static const uint64_t equal[] = {1, 1}, descending[] = {2, 1};
	struct fixture *f = *state;
	struct thinp_io *io = NULL;

	assert_int_equal(thinp_record_rebuild(f->record, 9, equal, 2, &io), THINP_EINVAL);
	assert_int_equal(thinp_record_rebuild(f->record, 9, descending, 2, &io), THINP_EINVAL);
	assert_null(io);
}

static void what_is_written_to_a_rebuilt_device_stays_in_it(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *one, *two;

	assert_int_equal(fault_write(f->io, 3, 1, 2), 0);
	one = rebuild(f, 1, NULL, 0);
	two = rebuild(f, 1, NULL, 0);
	assert_int_equal(fault_write(one, 3, 2, 7), 0);
	fault_expect(one, 3, 2, 7);
	fault_expect(two, 3, 1, 2);
	fault_expect(two, 4, 1, 1);
	fault_expect(f->io, 3, 1, 2);
	fault_expect(f->below->lower, 4, 1, 1);
	thinp_io_close(two);
	thinp_io_close(one);
}

static void discarded_blocks_are_rebuilt_as_zeros(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op discards[] = {io_op(THINP_IO_DISCARD, 2, 6, NULL), io_op(THINP_IO_DISCARD, 20, 2, NULL),
					 io_op(THINP_IO_DISCARD, 7, 3, NULL), io_op(THINP_IO_DISCARD, 3, 2, NULL)};
	struct thinp_io *io;

	assert_int_equal(fault_write(f->io, 3, 1, 2), 0);
	assert_int_equal(thinp_io_batch(f->io, discards, 4), 0);
	assert_int_equal(fault_write(f->io, 5, 1, 3), 0);
	io = rebuild(f, UINT64_MAX, NULL, 0);
	fault_expect(io, 0, 2, 1);
	for (thinp_block_t b = 2; b < 22; b++) {
		if (b == 5)
			fault_expect(io, b, 1, 3);
		else if (b < 10 || b >= 20)
			expect_zero(io, b);
		else
			fault_expect(io, b, 1, 1);
	}
	thinp_io_close(io);
}

static void changes_of_size_are_rebuilt(void **state)
{
	static const uint64_t sizes[] = {FAULT_NR_BLOCKS, 10, 50, 50};
	struct fixture *f = *state;

	assert_int_equal(thinp_io_resize(f->io, 10), 0);
	assert_int_equal(thinp_io_resize(f->io, 50), 0);
	assert_int_equal(fault_write(f->io, 30, 1, 2), 0);
	for (uint64_t nr = 0; nr < 4; nr++) {
		struct thinp_io *io = rebuild(f, nr, NULL, 0);
		uint64_t size = 0;

		assert_int_equal(thinp_io_size(io, &size), 0);
		assert_int_equal(size, sizes[nr]);
		fault_expect(io, 0, 10, 1);
		if (nr == 0) /* below they are gone; they were kept before that */
			fault_expect(io, 10, 22, 1);
		if (nr >= 2)
			expect_zero(io, 29);
		if (nr == 3)
			fault_expect(io, 30, 1, 2);
		thinp_io_close(io);
	}
}

static void what_lies_beyond_the_end_is_passed_over(void **state)
{
	static const uint64_t lost[] = {0};
	struct fixture *f = *state;
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 30, 8, NULL);
	struct thinp_io *io;

	assert_int_equal(thinp_io_resize(f->io, 40), 0);
	assert_int_equal(fault_write(f->io, 31, 5, 2), 0);
	assert_int_equal(fault_write(f->io, 33, 5, 2), 0);
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	io = rebuild(f, 3, lost, 1);
	fault_expect(io, 31, 1, 2);
	thinp_io_close(io);
	io = rebuild(f, 4, lost, 1);
	expect_zero(io, 31);
	thinp_io_close(io);
}

static void a_size_that_came_out_otherwise_is_in_the_log(void **state)
{
	struct fixture *f = *state;

	/* a device whose power was cut refuses the change */
	assert_int_equal(thinp_fault_power_cut(f->below->fault, NULL, 0), 0);
	assert_int_equal(thinp_io_resize(f->io, 50), THINP_EIO);
	expect_entry(f, 0, THINP_RECORD_RESIZE, 0, FAULT_NR_BLOCKS, THINP_EIO);
}

static void a_device_over_a_read_only_one_is_read_only(void **state)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY, .nr_blocks = 7};
	struct thinp_io *lower = NULL, *io = NULL;
	struct thinp_record *record = NULL;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&opts, &lower), 0);
	assert_int_equal(thinp_record_create(lower, NULL, &record), 0);
	assert_int_equal(thinp_record_open(record, NULL, &io), 0);
	assert_true(thinp_io_is_read_only(io));
	thinp_io_close(io);
	thinp_record_destroy(record);
	thinp_io_close(lower);
}

static void options_that_are_not_known_are_refused(void **state)
{
	struct fixture *f = *state;
	struct thinp_allocator half = {.size = sizeof(half)};
	struct thinp_record_opts opts = {.size = sizeof(opts), .allocator = &half};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .flags = 128};
	struct thinp_record *record = NULL;
	struct thinp_io *io = NULL;

	assert_int_equal(thinp_record_create(f->io, &opts, &record), THINP_EINVAL);
	opts.size = 1;
	assert_int_equal(thinp_record_create(f->io, &opts, &record), THINP_EINVAL);
	assert_null(record);
	assert_int_equal(thinp_record_open(f->record, &io_opts, &io), THINP_ENOTSUP);
	assert_null(io);
	thinp_record_destroy(NULL);
}

/* --- when something fails --- */

struct attempt {
	struct alloc_counting *alloc;
	struct thinp_io *lower;
};

static int do_all(struct thinp_record *record, struct thinp_io *io)
{
	void *buffer = io_blocks_new(4);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 0, 2, buffer),
		io_op(THINP_IO_DISCARD, 4, 2, NULL),
		io_op(THINP_IO_READ, 6, 1, (uint8_t *)buffer + 2 * THINP_BLOCK_SIZE),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 2, 2, buffer),
	};
	int r = thinp_io_batch(io, ops, 5);

	if (!r)
		r = thinp_io_resize(io, 8);
	if (!r)
		r = thinp_io_resize(io, 600);
	if (!r)
		r = thinp_record_mark(record, 1);
	free(buffer);
	return r;
}

static int rebuild_all(struct thinp_record *record)
{
	struct thinp_io *io = NULL;
	int r = thinp_record_rebuild(record, UINT64_MAX, NULL, 0, &io);

	if (!r)
		r = fault_write(io, 599, 1, 1);
	thinp_io_close(io);
	return r;
}

static int attempt_all(void *ctx)
{
	struct attempt *a = ctx;
	struct thinp_record_opts opts = {.size = sizeof(opts), .allocator = &a->alloc->table};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .allocator = &a->alloc->table};
	struct thinp_record *record = NULL;
	struct thinp_io *io = NULL;
	int r;

	assert_int_equal(thinp_io_resize(a->lower, 12), 0);
	r = thinp_record_create(a->lower, &opts, &record);
	if (!r)
		r = thinp_record_open(record, &io_opts, &io);
	if (!r)
		r = do_all(record, io);
	if (!r)
		r = rebuild_all(record);
	if (r)
		io_expect_told(r);
	thinp_io_close(io);
	thinp_record_destroy(record);
	return r;
}

static void OOMLOOP_nothing_leaks(void **state)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = 12};
	struct alloc_counting alloc;
	struct attempt a = {.alloc = &alloc};

	(void)state;
	alloc_counting_init(&alloc);
	assert_int_equal(thinp_io_open_memory(&opts, &a.lower), 0);
	alloc_counting_loop(&alloc, attempt_all, &a);
	thinp_io_close(a.lower);
}

static void ERRLOOP_nothing_leaks_and_the_log_stays_true(void **state)
{
	struct fixture *f = *state;
	uint64_t n, id = 0, fired = 1;

	drop_record(f);
	for (uint32_t kind = THINP_IO_READ; kind <= THINP_IO_FLUSH; kind++) {
		for (n = 1, fired = 1; fired; n++) {
			struct attempt a = {.alloc = &f->below->alloc, .lower = f->below->io};
			size_t live = f->below->alloc.live_bytes;
			int r;

			thinp_fault_clear(f->below->fault);
			assert_int_equal(thinp_fault_fail_nth(f->below->fault, kind, n, 0, &id), 0);
			r = attempt_all(&a);
			assert_int_equal(thinp_fault_get_counts(f->below->fault, id, NULL, &fired), 0);
			assert_int_equal(r, fired ? THINP_EIO : 0);
			thinp_fault_clear(f->below->fault);
			assert_int_equal(thinp_io_resize(f->below->io, 0), 0);
			assert_true(f->below->alloc.live_bytes <= live);
		}
		assert_true(kind == THINP_IO_DISCARD ? n == 2 : n > 2);
	}
	make_record(f, 0);
}

/* --- threads --- */

enum { NR_WORKERS = 3, ROUNDS = 60 };

struct worker {
	struct fixture *f;
	unsigned int number;
	const char *complaint;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	uint8_t *block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);

	for (uint64_t generation = 2; generation < ROUNDS && !w->complaint; generation++) {
		struct thinp_record_entry entry = {.size = sizeof(entry)};

		io_blocks_fill(block, w->number + generation % 4 * 3, 1, generation);
		if (thinp_io_write(w->f->io, w->number + generation % 4 * 3, 1, block))
			w->complaint = "a write failed";
		else if (generation % 8 == 0 && thinp_io_flush(w->f->io))
			w->complaint = "a flush failed";
		else if (thinp_record_mark(w->f->record, generation))
			w->complaint = "a mark failed";
		else if (thinp_record_get_entry(w->f->record, generation - 2, &entry))
			w->complaint = "an entry is missing";
	}
	free(block);
	return NULL;
}

static void threads_share_one_log(void **state)
{
	struct fixture *f = *state;
	struct worker workers[NR_WORKERS];
	uint64_t last = 0;
	struct thinp_io *io;

	for (unsigned int i = 0; i < NR_WORKERS; i++) {
		workers[i] = (struct worker){.f = f, .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned int i = 0; i < NR_WORKERS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	for (unsigned int i = 0; i < NR_WORKERS; i++)
		assert_null(workers[i].complaint);
	for (uint64_t i = 0; i < thinp_record_nr_entries(f->record); i++) {
		struct thinp_record_entry entry = entry_at(f, i);

		assert_true(entry.begun > last && entry.ended > entry.begun);
		last = entry.begun;
	}
	io = rebuild(f, UINT64_MAX, NULL, 0);
	for (unsigned int i = 0; i < NR_WORKERS; i++)
		for (uint64_t generation = ROUNDS - 4; generation < ROUNDS; generation++)
			fault_expect(io, i + generation % 4 * 3, 1, generation);
	thinp_io_close(io);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(all_that_changes_the_device_is_in_the_log),
		CASE(the_log_ends_somewhere),
		CASE(ticks_and_batches_tell_what_had_an_order),
		CASE(the_device_below_sees_neighbours_as_one_batch),
		CASE(failures_are_in_the_log),
		CASE(what_was_never_carried_out_is_not_in_the_log),
		CASE(an_operation_that_is_under_way_has_not_ended),
		CASE(a_discard_goes_no_further_than_the_log),
		CASE(only_blocks_that_are_written_are_read_and_once),
		CASE(the_memory_of_the_log_is_bounded),
		CASE(every_prefix_of_the_log_can_be_rebuilt),
		CASE(lost_entries_are_left_out),
		CASE(lost_entries_must_be_in_order),
		CASE(what_is_written_to_a_rebuilt_device_stays_in_it),
		CASE(discarded_blocks_are_rebuilt_as_zeros),
		CASE(changes_of_size_are_rebuilt),
		CASE(what_lies_beyond_the_end_is_passed_over),
		CASE(a_size_that_came_out_otherwise_is_in_the_log),
		cmocka_unit_test(a_device_over_a_read_only_one_is_read_only),
		CASE(options_that_are_not_known_are_refused),
		cmocka_unit_test(OOMLOOP_nothing_leaks),
		CASE(ERRLOOP_nothing_leaks_and_the_log_stays_true),
		CASE(threads_share_one_log),
	};
	int nr_failed = run_conformance("io/record/conformance", false);

	nr_failed += run_conformance("io/rebuilt/conformance", true);
	nr_failed += cmocka_run_group_tests_name("io/record", tests, NULL, NULL);
	return nr_failed;
}
