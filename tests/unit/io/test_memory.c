/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_memory.c - the device in memory.
 */
#include "support/alloc_counting.h"
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct thinp_io_opts opts_of(struct alloc_counting *alloc, uint32_t flags, uint64_t nr_blocks)
{
	return (struct thinp_io_opts){
		.size = sizeof(struct thinp_io_opts),
		.flags = flags,
		.nr_blocks = nr_blocks,
		.allocator = &alloc->table,
	};
}

/* --- the suite of all back-ends --- */

static int open_conformant(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct thinp_io_opts opts = opts_of(ctx, flags, nr_blocks);

	return thinp_io_open_memory(&opts, io);
}

static void done_conformant(void *ctx)
{
	alloc_counting_check(ctx);
}

/* A write fails when there is no memory for a block; nothing else can. */
static int arm_conformant(void *ctx, uint32_t kind, thinp_block_t block)
{
	(void)block;
	if (kind != THINP_IO_WRITE)
		return 0;
	alloc_counting_fail(ctx, 1);
	return THINP_ENOMEM;
}

/* --- memory --- */

struct fixture {
	struct alloc_counting alloc;
	struct thinp_io *io;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	alloc_counting_init(&f->alloc);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	thinp_io_close(f->io);
	alloc_counting_check(&f->alloc);
	free(f);
	return 0;
}

static void open_memory(struct fixture *f, uint64_t nr_blocks)
{
	struct thinp_io_opts opts = opts_of(&f->alloc, 0, nr_blocks);

	assert_int_equal(thinp_io_open_memory(&opts, &f->io), 0);
}

static void write_block(struct fixture *f, thinp_block_t block, uint64_t generation)
{
	void *buffer = io_blocks_new(1);

	io_blocks_fill(buffer, block, 1, generation);
	assert_int_equal(thinp_io_write(f->io, block, 1, buffer), 0);
	free(buffer);
}

static void expect_block(struct fixture *f, thinp_block_t block, uint64_t generation)
{
	void *buffer = io_blocks_new(1);

	assert_int_equal(thinp_io_read(f->io, block, 1, buffer), 0);
	if (generation)
		io_blocks_expect(buffer, block, 1, generation);
	else
		io_blocks_expect_zeros(buffer, 1);
	free(buffer);
}

#define HUGE_DEVICE ((uint64_t)INT64_MAX / THINP_BLOCK_SIZE)

static void only_blocks_that_were_written_take_memory(void **state)
{
	struct fixture *f = *state;

	open_memory(f, HUGE_DEVICE);
	write_block(f, 0, 1);
	write_block(f, HUGE_DEVICE / 3, 1);
	write_block(f, HUGE_DEVICE - 1, 1);
	assert_true(f->alloc.live_bytes < 128 * 1024);

	expect_block(f, 0, 1);
	expect_block(f, 1, 0);
	expect_block(f, HUGE_DEVICE / 3, 1);
	expect_block(f, HUGE_DEVICE / 3 + 1, 0);
	expect_block(f, HUGE_DEVICE - 1, 1);
}

static void reading_takes_no_memory(void **state)
{
	struct fixture *f = *state;
	size_t nr_calls;

	open_memory(f, 1000000);
	nr_calls = f->alloc.nr_calls;
	expect_block(f, 0, 0);
	expect_block(f, 999999, 0);
	assert_int_equal(f->alloc.nr_calls, nr_calls);
}

static void a_discard_gives_memory_back(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op op = io_op(THINP_IO_DISCARD, 0, 2000, NULL);
	size_t before;

	open_memory(f, 2000);
	write_block(f, 0, 1);
	write_block(f, 1999, 1);
	before = f->alloc.live_bytes;
	for (thinp_block_t b = 0; b < 2000; b++)
		write_block(f, b, 2);
	assert_true(f->alloc.live_bytes >= before + (size_t)1998 * THINP_BLOCK_SIZE);

	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
	assert_true(f->alloc.live_bytes <= before + (size_t)8 * THINP_BLOCK_SIZE); /* nodes remain */
	expect_block(f, 0, 0);
	expect_block(f, 1999, 0);
}

static void a_discard_of_what_was_never_written_costs_nothing(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op op = io_op(THINP_IO_DISCARD, 0, HUGE_DEVICE, NULL);
	size_t before;

	open_memory(f, HUGE_DEVICE);
	before = f->alloc.nr_calls;
	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0); /* would take days, block by block */
	assert_int_equal(f->alloc.nr_calls, before);

	write_block(f, 513, 1);
	write_block(f, HUGE_DEVICE / 2 + 5, 1);
	write_block(f, HUGE_DEVICE - 1, 1);
	op = io_op(THINP_IO_DISCARD, 514, HUGE_DEVICE - 515, NULL);
	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
	expect_block(f, 513, 1);
	expect_block(f, HUGE_DEVICE / 2 + 5, 0);
	expect_block(f, HUGE_DEVICE - 1, 1);
}

static void growth_keeps_the_content_at_every_height(void **state)
{
	struct fixture *f = *state;

	open_memory(f, 1);
	write_block(f, 0, 1);
	for (uint64_t size = 2; size < HUGE_DEVICE / 2; size *= 2) {
		assert_int_equal(thinp_io_resize(f->io, size), 0);
		expect_block(f, size - 1, 0);
		write_block(f, size - 1, size);
	}
	expect_block(f, 0, 1);
	for (uint64_t size = 2; size < HUGE_DEVICE / 2; size *= 2)
		expect_block(f, size - 1, size);
	for (uint64_t size = HUGE_DEVICE / 2; size; size /= 2) {
		assert_int_equal(thinp_io_resize(f->io, size), 0);
		expect_block(f, 0, 1);
	}
}

static void a_device_without_options_has_no_blocks(void **state)
{
	struct thinp_io *io = NULL;
	uint64_t nr_blocks = 1;

	(void)state;
	assert_int_equal(thinp_io_open_memory(NULL, &io), 0);
	assert_int_equal(thinp_io_size(io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, 0);
	assert_int_equal(thinp_io_resize(io, 3), 0);
	thinp_io_close(io);
}

static void a_size_beyond_the_limit_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_opts opts = opts_of(&f->alloc, 0, HUGE_DEVICE + 1);

	assert_int_equal(thinp_io_open_memory(&opts, &f->io), THINP_ERANGE);
	assert_null(f->io);
}

static void BM_12_no_allocation_is_larger_than_a_block(void **state)
{
	struct fixture *f = *state;

	open_memory(f, HUGE_DEVICE);
	write_block(f, 12345678, 1);
	assert_true(f->alloc.largest <= THINP_BLOCK_SIZE);
}

/* --- when there is no memory --- */

static int attempt_open(void *ctx)
{
	struct fixture *f = ctx;
	struct thinp_io_opts opts = opts_of(&f->alloc, 0, 1000);
	struct thinp_io *io = NULL;
	int r = thinp_io_open_memory(&opts, &io);

	assert_true(r ? !io : !!io);
	thinp_io_close(io);
	return r;
}

/* All that takes memory: new blocks at both ends, and a root above a tree that is not empty. */
static int attempt_all(void *ctx)
{
	struct fixture *f = ctx;
	struct thinp_io_opts opts = opts_of(&f->alloc, 0, 1000);
	void *buffer = io_blocks_new(2);
	struct thinp_io *io = NULL;
	int r;

	r = thinp_io_open_memory(&opts, &io);
	if (!r)
		r = thinp_io_write(io, 0, 2, buffer);
	if (!r)
		r = thinp_io_resize(io, 1000000);
	if (!r)
		r = thinp_io_write(io, 999998, 2, buffer);
	if (r)
		io_expect_told(r);
	thinp_io_close(io);
	free(buffer);
	return r;
}

static void OOMLOOP_opening_leaks_nothing(void **state)
{
	struct fixture *f = *state;

	alloc_counting_loop(&f->alloc, attempt_open, f);
}

static void OOMLOOP_writing_and_growing_leak_nothing(void **state)
{
	struct fixture *f = *state;

	alloc_counting_loop(&f->alloc, attempt_all, f);
}

static void a_write_without_memory_harms_no_other_block(void **state)
{
	struct fixture *f = *state;
	void *buffer = io_blocks_new(4);

	open_memory(f, 100);
	write_block(f, 9, 1);
	write_block(f, 14, 1);
	io_blocks_fill(buffer, 10, 4, 2);
	for (size_t n = 1; n <= 4; n++) {
		struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 10, 4, NULL);

		alloc_counting_fail(&f->alloc, n);
		assert_int_equal(thinp_io_write(f->io, 10, 4, buffer), THINP_ENOMEM);
		expect_block(f, 9, 1);
		expect_block(f, 14, 1);
		assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	}
	assert_int_equal(thinp_io_write(f->io, 10, 4, buffer), 0);
	for (thinp_block_t b = 10; b < 14; b++)
		expect_block(f, b, 2);
	free(buffer);
}

static void a_failed_growth_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t nr_blocks = 0;

	open_memory(f, 100);
	write_block(f, 99, 1);
	alloc_counting_fail(&f->alloc, 2); /* the second of several roots */
	assert_int_equal(thinp_io_resize(f->io, HUGE_DEVICE), THINP_ENOMEM);
	io_expect_told(THINP_ENOMEM);
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, 100);
	expect_block(f, 99, 1);
	expect_block(f, 98, 0);
}

struct curious {
	struct thinp_allocator table;
	struct thinp_io *io;
	bool is_inside;
	unsigned int nr_looks;
};

/* Looks at the very block that memory is wanted for: a lock that were held now would be met here. */
static void look(struct curious *c)
{
	void *buffer;

	if (!c->io || c->is_inside)
		return;
	c->is_inside = true;
	buffer = io_blocks_new(1);
	assert_int_equal(thinp_io_read(c->io, 7, 1, buffer), 0);
	free(buffer);
	c->nr_looks++;
	c->is_inside = false;
}

static void *curious_alloc(void *ctx, size_t nbytes, size_t align)
{
	(void)align;
	look(ctx);
	return malloc(nbytes);
}

static void curious_free(void *ctx, void *ptr, size_t nbytes)
{
	(void)nbytes;
	look(ctx);
	free(ptr);
}

static void BM_11_no_lock_is_held_while_the_allocator_is_called(void **state)
{
	struct curious c = {
		.table = {.size = sizeof(c.table), .ctx = &c, .alloc = curious_alloc, .free = curious_free}};
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = 1000, .allocator = &c.table};
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 0, 1000, NULL);
	void *buffer = io_blocks_new(1);
	struct thinp_io *io = NULL;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&opts, &io), 0);
	c.io = io;
	assert_int_equal(thinp_io_write(io, 7, 1, buffer), 0);
	assert_int_equal(thinp_io_batch(io, &discard, 1), 0);
	assert_true(c.nr_looks >= 4); /* two nodes and a block taken, a block given back */
	c.io = NULL;
	thinp_io_close(io);
	free(buffer);
}

/* --- threads --- */

struct duel {
	struct thinp_io *io;
	atomic_bool is_over;
	atomic_uint nr_torn;
};

static void *write_for_ever(void *arg)
{
	struct duel *d = arg;
	uint8_t *buffer = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);

	for (int value = 1; value < 200; value++) {
		memset(buffer, value, THINP_BLOCK_SIZE);
		thinp_io_write(d->io, 5, 1, buffer);
	}
	atomic_store(&d->is_over, true);
	free(buffer);
	return NULL;
}

static void *look_for_mixtures(void *arg)
{
	struct duel *d = arg;
	uint8_t *buffer = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);

	while (!atomic_load(&d->is_over)) {
		thinp_io_read(d->io, 5, 1, buffer);
		if (memcmp(buffer, buffer + 1, THINP_BLOCK_SIZE - 1))
			atomic_fetch_add(&d->nr_torn, 1);
	}
	free(buffer);
	return NULL;
}

static void threads_on_one_block_never_see_a_mixture(void **state)
{
	struct fixture *f = *state;
	struct duel duel = {0};
	pthread_t threads[3];

	open_memory(f, 10);
	duel.io = f->io;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? look_for_mixtures : write_for_ever, &duel),
				 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&duel.nr_torn), 0);
}

struct filler {
	struct thinp_io *io;
	unsigned int number;
	int r;
};

enum { NR_FILLERS = 4, NR_FILLED = 3000 };

/* Blocks side by side, so that all threads make the same nodes at the same time. */
static void *fill_every_fourth_block(void *arg)
{
	struct filler *filler = arg;
	void *buffer = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);

	for (thinp_block_t b = filler->number; b < NR_FILLED && !filler->r; b += NR_FILLERS) {
		io_blocks_fill(buffer, b * 300, 1, 1);
		filler->r = thinp_io_write(filler->io, b * 300, 1, buffer);
	}
	free(buffer);
	return NULL;
}

static void threads_that_meet_in_the_tree_lose_nothing(void **state)
{
	struct fixture *f = *state;
	struct filler fillers[NR_FILLERS];
	pthread_t threads[NR_FILLERS];

	open_memory(f, (uint64_t)NR_FILLED * 300);
	for (unsigned int i = 0; i < NR_FILLERS; i++) {
		fillers[i] = (struct filler){.io = f->io, .number = i};
		assert_int_equal(pthread_create(&threads[i], NULL, fill_every_fourth_block, &fillers[i]), 0);
	}
	for (unsigned int i = 0; i < NR_FILLERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(fillers[i].r, 0);
	}
	for (thinp_block_t b = 0; b < NR_FILLED; b++)
		expect_block(f, b * 300, 1);
}

int main(void)
{
	static struct alloc_counting alloc;
	const struct io_conformance device = {
		.group = "io/memory/conformance",
		.ctx = &alloc,
		.open = open_conformant,
		.done = done_conformant,
		.arm = arm_conformant,
		.can_resize = true,
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_blocks_that_were_written_take_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(reading_takes_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_discard_gives_memory_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_discard_of_what_was_never_written_costs_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(growth_keeps_the_content_at_every_height, setup, teardown),
		cmocka_unit_test(a_device_without_options_has_no_blocks),
		cmocka_unit_test_setup_teardown(a_size_beyond_the_limit_is_refused_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(BM_12_no_allocation_is_larger_than_a_block, setup, teardown),
		cmocka_unit_test_setup_teardown(OOMLOOP_opening_leaks_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(OOMLOOP_writing_and_growing_leak_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_write_without_memory_harms_no_other_block, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_growth_changes_nothing, setup, teardown),
		cmocka_unit_test(BM_11_no_lock_is_held_while_the_allocator_is_called),
		cmocka_unit_test_setup_teardown(threads_on_one_block_never_see_a_mixture, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_that_meet_in_the_tree_lose_nothing, setup, teardown),
	};
	int nr_failed;

	alloc_counting_init(&alloc);
	nr_failed = io_conformance_run(&device);
	nr_failed += cmocka_run_group_tests_name("io/memory", tests, NULL, NULL);
	return nr_failed;
}
