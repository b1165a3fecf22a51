/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_fault_threads.c - the device that misbehaves, used by several threads, and without memory.
 */
#include "support/fault_fixture.h"
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- a thread that stands still --- */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_open;
	unsigned int nr_waiting;
};

static int stop_at(void *ctx, const struct thinp_io_op *op)
{
	struct gate *gate = ctx;

	(void)op;
	pthread_mutex_lock(&gate->lock);
	gate->nr_waiting++;
	pthread_cond_broadcast(&gate->changed);
	while (!gate->is_open)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
	return 0;
}

static void wait_for_stopped(struct gate *gate, unsigned int nr_threads)
{
	pthread_mutex_lock(&gate->lock);
	while (gate->nr_waiting < nr_threads)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

static void open_gate(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->is_open = true;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

struct errand {
	struct thinp_io *io;
	struct thinp_io_op op;
	int r;
	pthread_t thread;
};

static void *run_errand(void *arg)
{
	struct errand *e = arg;

	e->r = thinp_io_batch(e->io, &e->op, 1);
	return NULL;
}

static void send(struct errand *e, struct thinp_io *io, struct thinp_io_op op)
{
	*e = (struct errand){.io = io, .op = op, .r = 1};
	assert_int_equal(pthread_create(&e->thread, NULL, run_errand, e), 0);
}

static void a_stopped_operation_holds_up_no_other(void **state)
{
	struct fault_fixture *f = *state;
	struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	uint8_t *buffer = io_blocks_new(1);
	struct errand errands[3];

	for (uint32_t i = 0; i < 3; i++)
		fault_rule(f, (struct thinp_fault_rule){.kinds = 1u << (i == 2 ? THINP_IO_FLUSH : THINP_IO_READ + i),
							.call = stop_at,
							.call_ctx = &gate});
	io_blocks_fill(buffer, 7, 1, 2);
	send(&errands[0], f->io, io_op(THINP_IO_READ, 3, 1, io_blocks_new(1)));
	send(&errands[1], f->io, io_op(THINP_IO_WRITE, 7, 1, buffer));
	send(&errands[2], f->io, io_op(THINP_IO_FLUSH, 0, 0, NULL));
	wait_for_stopped(&gate, 3);

	assert_int_equal(fault_write(f->io, 5, 1, 2), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	fault_expect(f->io, 5, 1, 2);
	fault_expect(f->io, 7, 1, 1);
	open_gate(&gate);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(errands[i].thread, NULL), 0);
		assert_int_equal(errands[i].r, 0);
	}
	fault_expect(f->io, 7, 1, 2);
	free(errands[0].op.buffer);
	free(buffer);
}

static void a_write_that_is_held_up_does_not_survive_the_power_cut(void **state)
{
	struct fault_fixture *f = *state;
	struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	uint8_t *buffer = io_blocks_new(1);
	struct errand errand;

	fault_rule(f, (struct thinp_fault_rule){.call = stop_at, .call_ctx = &gate});
	send(&errand, f->io, io_op(THINP_IO_WRITE, 7, 1, buffer));
	wait_for_stopped(&gate, 1);
	assert_int_equal(thinp_fault_power_cut(f->fault, NULL, 0), 0);
	open_gate(&gate);
	assert_int_equal(pthread_join(errand.thread, NULL), 0);
	assert_int_equal(errand.r, THINP_EIO);
	fault_reopen(f);
	fault_expect(f->io, 7, 1, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	fault_expect(f->lower, 7, 1, 1);
	free(buffer);
}

/* Cuts the power in the n-th call of the allocator. */
struct saboteur {
	struct thinp_allocator table;
	struct thinp_fault *fault;
	unsigned int cut_at; /* 0: not */
};

static void *saboteur_alloc(void *ctx, size_t nbytes, size_t align)
{
	struct saboteur *s = ctx;
	void *ptr = NULL;

	if (s->cut_at && !--s->cut_at)
		assert_int_equal(thinp_fault_power_cut(s->fault, NULL, 0), 0);
	return posix_memalign(&ptr, align < sizeof(void *) ? sizeof(void *) : align, nbytes) ? NULL : ptr;
}

static void saboteur_free(void *ctx, void *ptr, size_t nbytes)
{
	(void)ctx;
	(void)nbytes;
	free(ptr);
}

static void a_power_cut_may_come_while_memory_is_taken(void **state)
{
	struct saboteur s = {
		.table = {.size = sizeof(s.table), .ctx = &s, .alloc = saboteur_alloc, .free = saboteur_free}};
	struct thinp_io_opts lower_opts = {.size = sizeof(lower_opts), .nr_blocks = 8};
	struct thinp_fault_opts opts = {
		.size = sizeof(opts), .flags = THINP_FAULT_VOLATILE_CACHE, .allocator = &s.table};
	struct thinp_io *lower = NULL, *io = NULL;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&lower_opts, &lower), 0);
	assert_int_equal(thinp_fault_create(lower, &opts, &s.fault), 0);
	for (unsigned int n = 1; n <= 2; n++) { /* a write to a block that has been written takes two pieces */
		assert_int_equal(thinp_fault_open(s.fault, NULL, &io), 0);
		assert_int_equal(fault_write(io, 3, 1, 2), 0);
		s.cut_at = n;
		assert_int_equal(fault_write(io, 3, 1, 3), THINP_EIO);
		assert_int_equal(s.cut_at, 0);
		assert_int_equal(thinp_fault_list_unflushed(s.fault, NULL, 0), 0);
		thinp_io_close(io);
	}
	thinp_fault_destroy(s.fault);
	thinp_io_close(lower);
}

/* --- threads that do not stand still --- */

struct worker {
	struct fault_fixture *f;
	unsigned int number;
	const char *complaint;
	pthread_t thread;
};

enum { NR_WORKERS = 3, ROUNDS = 200 };

/* Every worker has blocks of its own, more than the cache holds altogether, so that they drive out each other's. */
static const char *work_round(struct worker *w, uint64_t generation, uint8_t *out, uint8_t *in)
{
	thinp_block_t block = w->number * 4 + generation % 4;
	struct thinp_io_op flush = io_op(THINP_IO_FLUSH, 0, 0, NULL);

	io_blocks_fill(out, block, 1, generation);
	if (thinp_io_write(w->f->io, block, 1, out))
		return "a write failed";
	if (generation % 7 == 0 && thinp_io_batch(w->f->io, &flush, 1))
		return "a flush failed";
	if (thinp_io_read(w->f->io, block, 1, in))
		return "a read failed";
	return memcmp(in, out, THINP_BLOCK_SIZE) ? "a thread does not read what it wrote" : NULL;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint8_t *blocks = aligned_alloc(THINP_BLOCK_SIZE, (size_t)2 * THINP_BLOCK_SIZE);

	for (uint64_t generation = 2; generation < ROUNDS && !w->complaint; generation++)
		w->complaint = work_round(w, generation, blocks, blocks + THINP_BLOCK_SIZE);
	free(blocks);
	return NULL;
}

/* Asks for everything that can be asked for, and adds and clears rules that change nothing. */
static void *meddle(void *arg)
{
	struct worker *w = arg;
	struct thinp_fault_rule rule = {.size = sizeof(rule), .action = THINP_FAULT_PASS, .times = THINP_FAULT_ALWAYS};
	struct thinp_fault_stats stats = {.size = sizeof(stats)};
	thinp_block_t blocks[4];
	uint64_t id = 0, matched;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		rule.action = i % 2 ? THINP_FAULT_PASS : THINP_FAULT_STALE;
		rule.nth = i % 2 ? 1 : UINT64_MAX; /* never its turn, but contents are kept for it */
		if (thinp_fault_add(w->f->fault, &rule, &id) || thinp_fault_get_counts(w->f->fault, id, &matched, NULL))
			w->complaint = "a rule could not be added";
		thinp_fault_get_stats(w->f->fault, &stats);
		(void)thinp_fault_list_unflushed(w->f->fault, blocks, 4);
		if (i % 5 == 0)
			thinp_fault_clear(w->f->fault);
	}
	return NULL;
}

static void threads_lose_nothing(void **state)
{
	struct fault_fixture *f = *state;
	struct worker workers[NR_WORKERS + 1];

	for (unsigned int i = 0; i <= NR_WORKERS; i++) {
		workers[i] = (struct worker){.f = f, .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, i < NR_WORKERS ? work : meddle, &workers[i]),
				 0);
	}
	for (unsigned int i = 0; i <= NR_WORKERS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	for (unsigned int i = 0; i <= NR_WORKERS; i++)
		if (workers[i].complaint)
			fail_msg("thread %u: %s", i, workers[i].complaint);
	assert_int_equal(thinp_io_flush(f->io), 0);
	for (unsigned int i = 0; i < NR_WORKERS; i++)
		for (uint64_t generation = ROUNDS - 4; generation < ROUNDS; generation++)
			fault_expect(f->lower, i * 4 + generation % 4, 1, generation);
}

/* Writes and flushes for ever, and is stopped by the power cut only. */
static void *write_until_the_power_is_cut(void *arg)
{
	struct worker *w = arg;
	uint8_t *blocks = aligned_alloc(THINP_BLOCK_SIZE, (size_t)20 * THINP_BLOCK_SIZE);
	int r = 0;

	memset(blocks, 0x77, (size_t)20 * THINP_BLOCK_SIZE);
	while (!r) {
		r = thinp_io_write(w->f->io, 0, 20, blocks);
		if (!r)
			r = thinp_io_flush(w->f->io);
	}
	if (r != THINP_EIO)
		w->complaint = "it did not end by the power cut";
	free(blocks);
	return NULL;
}

static void nothing_gets_into_the_cache_once_the_power_is_cut(void **state)
{
	struct fault_fixture *f = *state;

	for (unsigned int i = 0; i < 50; i++) {
		struct worker w = {.f = f};

		assert_int_equal(pthread_create(&w.thread, NULL, write_until_the_power_is_cut, &w), 0);
		for (unsigned int looks = 0; looks < i * 10; looks++)
			(void)thinp_fault_list_unflushed(f->fault, NULL,
							 0); /* so that the cut comes at another moment */
		assert_int_equal(thinp_fault_power_cut(f->fault, NULL, 0), 0);
		assert_int_equal(pthread_join(w.thread, NULL), 0);
		assert_null(w.complaint);
		assert_int_equal(thinp_fault_list_unflushed(f->fault, NULL, 0), 0);
		fault_reopen(f);
	}
}

/* --- memory --- */

static int attempt_all(void *ctx)
{
	struct alloc_counting *alloc = ctx;
	struct thinp_fault_opts opts = {.size = sizeof(opts),
					.flags = THINP_FAULT_VOLATILE_CACHE,
					.cache_blocks = 2,
					.allocator = &alloc->table};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .allocator = &alloc->table, .nr_blocks = 8};
	struct thinp_fault_rule rule = {.size = sizeof(rule), .action = THINP_FAULT_STALE, .end = 4};
	struct thinp_fault_rule tear = {.size = sizeof(tear), .action = THINP_FAULT_TEAR, .begin = 6, .nr_sectors = 9};
	struct thinp_fault_rule cut = {.size = sizeof(cut), .action = THINP_FAULT_SHORT, .begin = 6, .nr_sectors = 9};
	void *buffer = io_blocks_new(8);
	struct thinp_io *lower = NULL, *io = NULL;
	struct thinp_fault *fault = NULL;
	thinp_block_t survivor = 5;
	int r;

	r = thinp_io_open_memory(&io_opts, &lower);
	if (!r)
		r = thinp_fault_create(lower, &opts, &fault);
	if (!r)
		r = thinp_fault_add(fault, &rule, NULL);
	if (!r)
		r = thinp_fault_add(fault, &tear, NULL);
	if (!r)
		r = thinp_fault_add(fault, &cut, NULL);
	if (!r)
		r = thinp_fault_open(fault, &io_opts, &io);
	if (!r)
		r = thinp_io_write(io, 0, 6, buffer);
	if (!r)
		r = thinp_io_write(io, 6, 2, buffer);
	if (!r)
		r = thinp_io_flush(io);
	if (!r)
		r = thinp_io_read(io, 6, 2, buffer);
	if (!r)
		r = thinp_io_write(io, 4, 2, buffer);
	if (!r)
		r = thinp_fault_power_cut(fault, &survivor, 1);
	if (r)
		io_expect_told(r);
	thinp_io_close(io);
	thinp_fault_destroy(fault);
	thinp_io_close(lower);
	free(buffer);
	return r;
}

static void OOMLOOP_nothing_leaks(void **state)
{
	struct alloc_counting alloc;

	(void)state;
	alloc_counting_init(&alloc);
	alloc_counting_loop(&alloc, attempt_all, &alloc);
}

/* Uses the device whenever memory is wanted or given back: a lock that were held now would be met. */
struct curious {
	struct thinp_allocator table;
	struct thinp_fault *fault;
	struct thinp_io *io;
	bool is_inside;
	unsigned int nr_looks;
};

static void look(struct curious *c)
{
	struct thinp_fault_stats stats = {.size = sizeof(stats)};
	void *buffer;

	if (!c->io || c->is_inside)
		return;
	c->is_inside = true;
	thinp_fault_get_stats(c->fault, &stats);
	buffer = io_blocks_new(1);
	assert_int_equal(thinp_io_read(c->io, 3, 1, buffer), 0);
	free(buffer);
	c->nr_looks++;
	c->is_inside = false;
}

static void *curious_alloc(void *ctx, size_t nbytes, size_t align)
{
	void *ptr = NULL;

	look(ctx);
	return posix_memalign(&ptr, align < sizeof(void *) ? sizeof(void *) : align, nbytes) ? NULL : ptr;
}

static void curious_free(void *ctx, void *ptr, size_t nbytes)
{
	(void)nbytes;
	look(ctx);
	free(ptr);
}

static void BM_11_the_lock_is_not_held_while_the_allocator_is_called(void **state)
{
	struct curious c = {
		.table = {.size = sizeof(c.table), .ctx = &c, .alloc = curious_alloc, .free = curious_free}};
	struct thinp_fault_opts opts = {
		.size = sizeof(opts), .flags = THINP_FAULT_VOLATILE_CACHE, .cache_blocks = 2, .allocator = &c.table};
	struct thinp_io_opts lower_opts = {.size = sizeof(lower_opts), .nr_blocks = 8};
	struct thinp_fault_rule rule = {.size = sizeof(rule), .action = THINP_FAULT_STALE, .nth = UINT64_MAX};
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 0, 8, NULL);
	struct thinp_io *lower = NULL, *io = NULL;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&lower_opts, &lower), 0);
	assert_int_equal(thinp_fault_create(lower, &opts, &c.fault), 0);
	assert_int_equal(thinp_fault_open(c.fault, NULL, &io), 0);
	c.io = io;
	assert_int_equal(thinp_fault_add(c.fault, &rule, NULL), 0);
	assert_int_equal(fault_write(io, 0, 8, 2), 0);
	assert_int_equal(fault_write(io, 0, 8, 3), 0);
	assert_int_equal(thinp_io_batch(io, &discard, 1), 0);
	assert_int_equal(fault_write(io, 0, 2, 4), 0);
	assert_int_equal(thinp_io_flush(io), 0);
	thinp_fault_clear(c.fault);
	assert_true(c.nr_looks > 50);
	c.io = NULL;
	thinp_io_close(io);
	thinp_fault_destroy(c.fault);
	thinp_io_close(lower);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fault_setup_volatile, fault_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_stopped_operation_holds_up_no_other),
		CASE(a_write_that_is_held_up_does_not_survive_the_power_cut),
		cmocka_unit_test_setup_teardown(a_write_that_is_held_up_does_not_survive_the_power_cut, fault_setup,
						fault_teardown),
		cmocka_unit_test(a_power_cut_may_come_while_memory_is_taken),
		CASE(threads_lose_nothing),
		cmocka_unit_test_setup_teardown(threads_lose_nothing, fault_setup, fault_teardown),
		CASE(nothing_gets_into_the_cache_once_the_power_is_cut),
		cmocka_unit_test(OOMLOOP_nothing_leaks),
		cmocka_unit_test(BM_11_the_lock_is_not_held_while_the_allocator_is_called),
	};

	return cmocka_run_group_tests_name("io/fault_threads", tests, NULL, NULL);
}
