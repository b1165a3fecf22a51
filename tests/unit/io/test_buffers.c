/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_buffers.c - buffers that are registered: with a table of the test's own, with back-ends that gain nothing
 * by it, and with io_uring.
 */
#include "support/alloc_counting.h"
#include "support/io_conformance.h"
#include "support/uring_script.h"

#include <thinp/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- a table that remembers what it was told --- */

struct listener {
	struct thinp_io_buffer last;
	size_t nr_buffers;
	unsigned int nr_calls;
	int result;
};

static int listener_get_size(void *ctx, uint64_t *nr_blocks)
{
	(void)ctx;
	*nr_blocks = 1;
	return 0;
}

static int listener_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	(void)ctx;
	(void)ops;
	(void)nr_ops;
	return THINP_EIO;
}

static int listener_register(void *ctx, const struct thinp_io_buffer *buffers, size_t nr_buffers)
{
	struct listener *l = ctx;

	l->nr_calls++;
	l->nr_buffers = nr_buffers;
	if (nr_buffers)
		l->last = buffers[nr_buffers - 1];
	return l->result;
}

static const struct thinp_io_backend listener_backend = {
	.size = sizeof(listener_backend),
	.get_size = listener_get_size,
	.batch = listener_batch,
	.register_buffers = listener_register,
};

static void buffers_are_told_to_the_back_end(void **state)
{
	char memory[100];
	struct thinp_io_buffer buffers[] = {{memory, 10}, {memory + 50, 50}};
	struct listener l = {.nr_calls = 0};
	struct thinp_io *io = NULL;

	(void)state;
	assert_int_equal(thinp_io_create(&listener_backend, &l, NULL, &io), 0);
	assert_int_equal(thinp_io_register_buffers(io, buffers, 2), 0);
	assert_int_equal(l.nr_buffers, 2);
	assert_ptr_equal(l.last.begin, memory + 50);
	assert_int_equal(l.last.nbytes, 50);
	assert_int_equal(thinp_io_unregister_buffers(io), 0);
	assert_int_equal(l.nr_buffers, 0);
	assert_int_equal(thinp_io_register_buffers(io, NULL, 0), 0);
	assert_int_equal(l.nr_calls, 3);
	thinp_io_close(io);
}

static void what_the_back_end_says_is_translated(void **state)
{
	static const int pairs[][2] = {{-ENOMEM, THINP_ENOMEM},
				       {-EINVAL, THINP_EINVAL},
				       {THINP_EFORKED, THINP_EFORKED},
				       {-EFAULT, THINP_EIO},
				       {7, THINP_EIO}};
	struct thinp_io_buffer buffer = {&buffer, sizeof(buffer)};
	struct listener l = {.nr_calls = 0};
	struct thinp_io *io = NULL;

	(void)state;
	assert_int_equal(thinp_io_create(&listener_backend, &l, NULL, &io), 0);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		l.result = pairs[i][0];
		assert_int_equal(thinp_io_register_buffers(io, &buffer, 1), pairs[i][1]);
		io_expect_told(pairs[i][1]);
		assert_int_equal(thinp_io_unregister_buffers(io), pairs[i][1]);
	}
	thinp_io_close(io);
}

static void buffers_that_are_none_are_refused(void **state)
{
	struct thinp_io_buffer buffers[] = {{&buffers[0], 1}, {NULL, 1}, {&buffers[0], 0}};
	struct listener l = {.nr_calls = 0};
	struct thinp_io *io = NULL;

	(void)state;
	assert_int_equal(thinp_io_create(&listener_backend, &l, NULL, &io), 0);
	assert_int_equal(thinp_io_register_buffers(io, NULL, 1), THINP_EINVAL);
	io_expect_told(THINP_EINVAL);
	assert_int_equal(thinp_io_register_buffers(io, buffers, 2), THINP_EINVAL);
	buffers[1] = buffers[2];
	assert_int_equal(thinp_io_register_buffers(io, buffers, 2), THINP_EINVAL);
	io_expect_told(THINP_EINVAL);
	assert_int_equal(l.nr_calls, 0);
	thinp_io_close(io);
}

static void where_nothing_is_gained_nothing_is_done(void **state)
{
	struct thinp_io_buffer buffer = {&buffer, sizeof(buffer)};
	struct thinp_io_backend older = listener_backend;
	struct listener l = {.nr_calls = 0};
	struct thinp_io *io = NULL;

	(void)state;
	assert_int_equal(thinp_io_open_memory(NULL, &io), 0);
	assert_int_equal(thinp_io_register_buffers(io, &buffer, 1), 0);
	assert_int_equal(thinp_io_unregister_buffers(io), 0);
	thinp_io_close(io);

	older.size = offsetof(struct thinp_io_backend, register_buffers);
	assert_int_equal(thinp_io_create(&older, &l, NULL, &io), 0);
	assert_int_equal(thinp_io_register_buffers(io, &buffer, 1), 0);
	assert_int_equal(l.nr_calls, 0);
	thinp_io_close(io);
}

/* --- io_uring --- */

#ifdef THINP_WITH_URING
#include "support/uring_fixture.h"

#include <sys/mman.h>

enum { SIZE = 64 };

static int setup(void **state)
{
	return uring_fixture_setup(state, SIZE);
}

static unsigned int nr_fixed(void)
{
	return uring_count_requests(IORING_OP_READ_FIXED) + uring_count_requests(IORING_OP_WRITE_FIXED);
}

/* Writes blocks from the memory and reads them into it again; did both use what is registered? */
static bool is_fixed(struct thinp_io *io, uint8_t *memory, uint64_t nr_blocks)
{
	static uint64_t generation;
	unsigned int before = nr_fixed();

	generation++;
	io_blocks_fill(memory, 5, nr_blocks, generation);
	assert_int_equal(thinp_io_write(io, 5, nr_blocks, memory), 0);
	memset(memory, 0, nr_blocks * THINP_BLOCK_SIZE);
	assert_int_equal(thinp_io_read(io, 5, nr_blocks, memory), 0);
	io_blocks_expect(memory, 5, nr_blocks, generation);
	assert_true(nr_fixed() == before || nr_fixed() == before + 2);
	return nr_fixed() == before + 2;
}

static void transfers_within_a_registered_buffer_use_it(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *m = io_blocks_new(40);
	struct thinp_io_buffer buffers[] = {{m + 20 * 4096, 8 * 4096}, {m + 4096, 8 * 4096}, {m + 30 * 4096, 4096 + 7}};

	assert_false(is_fixed(f->io, m + 20 * 4096, 1));
	assert_int_equal(thinp_io_register_buffers(f->io, buffers, 3), 0);
	assert_true(is_fixed(f->io, m + 20 * 4096, 1));
	assert_true(is_fixed(f->io, m + 20 * 4096, 8));
	assert_true(is_fixed(f->io, m + 27 * 4096, 1));
	assert_true(is_fixed(f->io, m + 4096, 8));
	assert_true(is_fixed(f->io, m + 30 * 4096, 1));
	assert_false(is_fixed(f->io, m, 1));              /* in front of all */
	assert_false(is_fixed(f->io, m, 2));              /* reaches into one */
	assert_false(is_fixed(f->io, m + 8 * 4096, 2));   /* reaches out of one */
	assert_false(is_fixed(f->io, m + 9 * 4096, 1));   /* right behind one */
	assert_false(is_fixed(f->io, m + 15 * 4096, 1));  /* between two */
	assert_false(is_fixed(f->io, m + 19 * 4096, 10)); /* around one */
	assert_false(is_fixed(f->io, m + 30 * 4096, 2));
	assert_false(is_fixed(f->io, m + 39 * 4096, 1)); /* behind all */
	io_file_close(f);
	free(m);
}

static void neighbours_that_lie_side_by_side_are_one_registered_transfer(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *m = io_blocks_new(8);
	struct thinp_io_buffer buffer = {m, 8 * THINP_BLOCK_SIZE};
	struct thinp_io_op ops[8];

	assert_int_equal(thinp_io_register_buffers(f->io, &buffer, 1), 0);
	for (size_t i = 0; i < 8; i++)
		ops[i] = io_op(THINP_IO_WRITE, 20 + i, 1, m + i * THINP_BLOCK_SIZE);
	assert_int_equal(thinp_io_batch(f->io, ops, 8), 0);
	assert_int_equal(uring_count_requests(IORING_OP_WRITE_FIXED), 1);
	for (size_t i = 0; i < 8; i++)
		ops[i].buffer = m + (7 - i) * THINP_BLOCK_SIZE;
	assert_int_equal(thinp_io_batch(f->io, ops, 8), 0);
	assert_int_equal(uring_count_requests(IORING_OP_WRITE_FIXED), 1);
	assert_int_equal(uring_count_requests(IORING_OP_WRITEV), 1);
	io_file_close(f);
	free(m);
}

static void a_later_registration_replaces_an_earlier_one(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *m = io_blocks_new(2);
	struct thinp_io_buffer buffers[] = {{m, THINP_BLOCK_SIZE}, {m + THINP_BLOCK_SIZE, THINP_BLOCK_SIZE}};

	assert_int_equal(thinp_io_register_buffers(f->io, &buffers[0], 1), 0);
	assert_int_equal(thinp_io_register_buffers(f->io, &buffers[1], 1), 0);
	assert_false(is_fixed(f->io, m, 1));
	assert_true(is_fixed(f->io, m + THINP_BLOCK_SIZE, 1));
	assert_int_equal(thinp_io_unregister_buffers(f->io), 0);
	assert_int_equal(thinp_io_unregister_buffers(f->io), 0);
	assert_false(is_fixed(f->io, m + THINP_BLOCK_SIZE, 1));
	free(m);
}

static void ERRLOOP_a_failed_registration_leaves_none(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *m = io_blocks_new(1);
	struct thinp_io_buffer buffer = {m, THINP_BLOCK_SIZE};

	assert_int_equal(thinp_io_register_buffers(f->io, &buffer, 1), 0);
	uring_fail(URING_REGISTER_BUFFERS, 1, 1, ENOMEM);
	assert_int_equal(thinp_io_register_buffers(f->io, &buffer, 1), THINP_ENOMEM);
	io_expect_told(THINP_ENOMEM);
	assert_false(is_fixed(f->io, m, 1));
	alloc_counting_fail(&f->alloc, 1);
	assert_int_equal(thinp_io_register_buffers(f->io, &buffer, 1), THINP_ENOMEM);
	assert_false(is_fixed(f->io, m, 1));
	assert_int_equal(thinp_io_register_buffers(f->io, &buffer, 1), 0);
	uring_fail(URING_UNREGISTER_BUFFERS, 1, 1, EIO);
	assert_int_equal(thinp_io_unregister_buffers(f->io), THINP_EIO);
	assert_true(is_fixed(f->io, m, 1)); /* it is still known */
	io_file_close(f);
	free(m);
}

/* The memory is never touched, since the call is made to fail before that. */
static void what_is_larger_than_the_kernel_takes_is_registered_in_parts(void **state)
{
	const size_t nbytes = ((size_t)5 << 29) + 4096; /* 2.5 GiB and a block */
	struct io_file_fixture *f = *state;
	void *m;

	if (sizeof(void *) < 8) {
		print_message("no address space for %zu bytes\n", nbytes);
		skip();
	}
	m = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(m != MAP_FAILED);
	uring_fail(URING_REGISTER_BUFFERS, 1, 1, ENOMEM);
	assert_int_equal(thinp_io_register_buffers(f->io, &(struct thinp_io_buffer){m, nbytes}, 1), THINP_ENOMEM);
	assert_int_equal(uring_nr_buffers(), 3);
	assert_int_equal(uring_largest_buffer(), (size_t)1 << 30);
	munmap(m, nbytes);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, uring_fixture_teardown)

static int run_uring(void)
{
	const struct CMUnitTest tests[] = {
		CASE(transfers_within_a_registered_buffer_use_it),
		CASE(neighbours_that_lie_side_by_side_are_one_registered_transfer),
		CASE(a_later_registration_replaces_an_earlier_one),
		CASE(ERRLOOP_a_failed_registration_leaves_none),
		CASE(what_is_larger_than_the_kernel_takes_is_registered_in_parts),
	};

	return cmocka_run_group_tests_name("io/buffers/uring", tests, NULL, NULL);
}
#else
static int run_uring(void)
{
	return 0;
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_are_told_to_the_back_end),
		cmocka_unit_test(what_the_back_end_says_is_translated),
		cmocka_unit_test(buffers_that_are_none_are_refused),
		cmocka_unit_test(where_nothing_is_gained_nothing_is_done),
	};
	const char *obstacle = uring_obstacle();
	int nr_failed = cmocka_run_group_tests_name("io/buffers", tests, NULL, NULL);

	if (obstacle)
		print_message("io/buffers/uring is skipped: io_uring cannot be had here: %s\n", obstacle);
	else
		nr_failed += run_uring();
	return nr_failed;
}
