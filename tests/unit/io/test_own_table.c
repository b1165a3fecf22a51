/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_own_table.c - the handle over a caller's own functions, well-behaved and not.
 */
#include "support/alloc_counting.h"
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- a well-behaved device of ten lines: an array under a lock --- */

struct array_device {
	pthread_mutex_t lock;
	uint8_t *blocks;
	uint64_t nr_blocks;
	uint32_t armed; /* the kind of which the next operation fails with EIO; 0: none */
	unsigned int nr_closed;
};

static int array_get_size(void *ctx, uint64_t *nr_blocks)
{
	struct array_device *d = ctx;

	*nr_blocks = d->nr_blocks;
	return 0;
}

static int array_do(struct array_device *d, const struct thinp_io_op *op)
{
	size_t nbytes = (size_t)op->nr_blocks * THINP_BLOCK_SIZE;

	if (d->armed == op->kind) {
		d->armed = 0;
		return -EIO;
	}
	if (op->kind == THINP_IO_READ)
		memcpy(op->buffer, d->blocks + op->block * THINP_BLOCK_SIZE, nbytes);
	else if (op->kind == THINP_IO_WRITE)
		memcpy(d->blocks + op->block * THINP_BLOCK_SIZE, op->buffer, nbytes);
	return 0;
}

static int array_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct array_device *d = ctx;
	bool is_stopped = false;
	int first = 0;

	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < nr_ops; i++) {
		is_stopped |= first && ops[i].kind == THINP_IO_FLUSH;
		ops[i].result = is_stopped ? THINP_ECANCELED : array_do(d, &ops[i]);
		if (ops[i].result && !first)
			first = ops[i].result;
		is_stopped |= ops[i].result && ops[i].kind == THINP_IO_FLUSH;
	}
	pthread_mutex_unlock(&d->lock);
	return first;
}

static int array_resize(void *ctx, uint64_t nr_blocks)
{
	struct array_device *d = ctx;
	uint8_t *blocks = calloc(nr_blocks ? nr_blocks : 1, THINP_BLOCK_SIZE);

	if (!blocks)
		return -ENOMEM;
	if (d->blocks)
		memcpy(blocks, d->blocks, (nr_blocks < d->nr_blocks ? nr_blocks : d->nr_blocks) * THINP_BLOCK_SIZE);
	free(d->blocks);
	d->blocks = blocks;
	d->nr_blocks = nr_blocks;
	return 0;
}

static void array_close(void *ctx)
{
	struct array_device *d = ctx;

	free(d->blocks);
	d->blocks = NULL;
	d->nr_blocks = 0;
	d->nr_closed++;
}

static const struct thinp_io_backend array_backend = {
	.size = sizeof(array_backend),
	.name = "array",
	.get_size = array_get_size,
	.batch = array_batch,
	.resize = array_resize,
	.close = array_close,
};

static int open_array(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = flags};

	assert_int_equal(array_resize(ctx, nr_blocks), 0);
	return thinp_io_create(&array_backend, ctx, &opts, io);
}

/* A table of the time before resize and close. */
static int open_short_table(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = flags};
	struct thinp_io_backend table = array_backend;

	table.size = offsetof(struct thinp_io_backend, resize);
	assert_int_equal(array_resize(ctx, nr_blocks), 0);
	return thinp_io_create(&table, ctx, &opts, io);
}

static void done_array(void *ctx)
{
	struct array_device *d = ctx;

	assert_int_equal(d->nr_closed, 1);
	d->nr_closed = 0;
	d->armed = 0;
}

static void done_short_table(void *ctx)
{
	struct array_device *d = ctx;

	assert_int_equal(d->nr_closed, 0);
	array_close(d);
	done_array(d);
}

static int arm_array(void *ctx, uint32_t kind, thinp_block_t block)
{
	struct array_device *d = ctx;

	(void)block;
	d->armed = kind;
	return THINP_EIO;
}

/* --- a device that says what the test tells it to --- */

enum { MAX_OPS = 8, FORGET = INT32_MAX };

struct liar {
	bool is_huge;
	int size_result;
	int batch_result;
	int resize_result;
	int32_t results[MAX_OPS]; /* FORGET: the result is not set */
	const char *own_words;    /* reported before the batch returns */
	unsigned int nr_batches;
	unsigned int nr_closed;
	size_t nr_ops;
};

static int liar_get_size(void *ctx, uint64_t *nr_blocks)
{
	const struct liar *liar = ctx;

	*nr_blocks = liar->is_huge ? UINT64_MAX : 100;
	return liar->size_result;
}

static int liar_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct liar *liar = ctx;

	liar->nr_batches++;
	liar->nr_ops = nr_ops;
	for (size_t i = 0; i < nr_ops && i < MAX_OPS; i++)
		if (liar->results[i] != FORGET)
			ops[i].result = liar->results[i];
	if (liar->own_words)
		thinp_error_report(liar->batch_result, ops[0].block, liar->own_words);
	return liar->batch_result;
}

static int liar_resize(void *ctx, uint64_t nr_blocks)
{
	const struct liar *liar = ctx;

	(void)nr_blocks;
	return liar->resize_result;
}

static void liar_close(void *ctx)
{
	struct liar *liar = ctx;

	liar->nr_closed++;
}

static const struct thinp_io_backend liar_backend = {
	.size = sizeof(liar_backend),
	.name = "liar",
	.get_size = liar_get_size,
	.batch = liar_batch,
	.resize = liar_resize,
	.close = liar_close,
};

struct fixture {
	struct liar liar;
	struct alloc_counting alloc;
	struct thinp_io *io;
	void *buffer;
	struct thinp_io_op ops[4]; /* reads of blocks 10, 11, 12, 13 */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct thinp_io_opts opts = {.size = sizeof(opts)};

	assert_non_null(f);
	alloc_counting_init(&f->alloc);
	opts.allocator = &f->alloc.table;
	assert_int_equal(thinp_io_create(&liar_backend, &f->liar, &opts, &f->io), 0);
	f->buffer = io_blocks_new(4);
	for (size_t i = 0; i < 4; i++)
		f->ops[i] = io_op(THINP_IO_READ, 10 + i, 1, (uint8_t *)f->buffer + i * THINP_BLOCK_SIZE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	thinp_io_close(f->io);
	assert_int_equal(f->liar.nr_closed, 1);
	alloc_counting_check(&f->alloc);
	free(f->buffer);
	free(f);
	return 0;
}

static void tell(struct fixture *f, int r, int32_t r0, int32_t r1, int32_t r2, int32_t r3)
{
	const int32_t results[] = {r0, r1, r2, r3};

	memcpy(f->liar.results, results, sizeof(results));
	f->liar.batch_result = r;
}

static void expect(struct fixture *f, int r, int32_t r0, int32_t r1, int32_t r2, int32_t r3)
{
	const int32_t results[] = {r0, r1, r2, r3};

	assert_int_equal(thinp_io_batch(f->io, f->ops, 4), r);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(f->ops[i].result, results[i]);
	if (r)
		io_expect_told(r);
}

/* --- what comes back from a back-end --- */

static void negative_errnos_become_codes(void **state)
{
	static const int pairs[][2] = {
		{-EIO, THINP_EIO},       {-ENOSPC, THINP_ENOSPC},   {-ENOMEM, THINP_ENOMEM},
		{-EDQUOT, THINP_ENOSPC}, {-EACCES, THINP_EACCES},   {-EILSEQ, THINP_ECORRUPT},
		{-EPROTO, THINP_EIO},    {-4095, THINP_EIO},        {THINP_ENODATA, THINP_ENODATA},
		{-4096, THINP_EIO},      {THINP_OK + 5, THINP_EIO}, {-20000, THINP_EIO},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		tell(f, pairs[i][0], 0, pairs[i][0], 0, 0);
		expect(f, pairs[i][1], 0, pairs[i][1], 0, 0);
	}
}

static void the_first_failure_in_array_order_is_returned(void **state)
{
	struct fixture *f = *state;

	tell(f, -ENOSPC, 0, -EIO, -ENOSPC, -ENOMEM); /* what it returns is not the first one */
	expect(f, THINP_EIO, 0, THINP_EIO, THINP_ENOSPC, THINP_ENOMEM);
}

static void a_cancelled_operation_is_not_the_first_failure(void **state)
{
	struct fixture *f = *state;

	tell(f, -EIO, -ECANCELED, THINP_ECANCELED, -EIO, THINP_ECANCELED);
	expect(f, THINP_EIO, THINP_ECANCELED, THINP_ECANCELED, THINP_EIO, THINP_ECANCELED);
}

static void a_batch_that_was_only_cancelled_is_a_failure(void **state)
{
	struct fixture *f = *state;

	tell(f, 0, 0, THINP_ECANCELED, 0, 0);
	expect(f, THINP_ECANCELED, 0, THINP_ECANCELED, 0, 0);
	tell(f, THINP_ECANCELED, THINP_ECANCELED, FORGET, FORGET, FORGET);
	expect(f, THINP_ECANCELED, THINP_ECANCELED, THINP_ECANCELED, THINP_ECANCELED, THINP_ECANCELED);
}

static void a_forgotten_result_is_a_failure(void **state)
{
	struct fixture *f = *state;

	tell(f, 0, 0, 0, FORGET, 0);
	expect(f, THINP_EIO, 0, 0, THINP_EIO, 0);
	tell(f, 0, FORGET, FORGET, FORGET, FORGET);
	expect(f, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO);
}

static void operations_behind_a_failure_may_be_left_out(void **state)
{
	struct fixture *f = *state;

	tell(f, -ENOSPC, 0, -ENOSPC, FORGET, FORGET);
	expect(f, THINP_ENOSPC, 0, THINP_ENOSPC, THINP_ECANCELED, THINP_ECANCELED);
}

static void a_returned_error_without_results_is_borne_by_all(void **state)
{
	struct fixture *f = *state;

	tell(f, -ENOSPC, FORGET, FORGET, FORGET, FORGET);
	expect(f, THINP_ENOSPC, THINP_ENOSPC, THINP_ENOSPC, THINP_ENOSPC, THINP_ENOSPC);
	tell(f, -EIO, 0, 0, 0, 0);
	expect(f, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO);
	tell(f, -EIO, 0, FORGET, THINP_ECANCELED, 0);
	expect(f, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO);
}

static void an_error_in_a_result_is_returned_even_if_the_back_end_did_not(void **state)
{
	struct fixture *f = *state;

	tell(f, 0, 0, 0, 0, -EIO);
	expect(f, THINP_EIO, 0, 0, 0, THINP_EIO);
}

static void positive_numbers_are_no_success(void **state)
{
	struct fixture *f = *state;

	tell(f, 42, 0, 0, 0, 0);
	expect(f, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO, THINP_EIO);
	tell(f, 0, 0, 4096, 0, 0);
	expect(f, THINP_EIO, 0, THINP_EIO, 0, 0);
}

static void a_failed_operation_is_told_with_block_and_errno(void **state)
{
	struct fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};

	tell(f, -ENOSPC, 0, 0, -ENOSPC, -EIO);
	assert_int_equal(thinp_io_batch(f->io, f->ops, 4), THINP_ENOSPC);
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_ENOSPC);
	assert_int_equal(info.os_errno, ENOSPC);
	assert_int_equal(info.block, 12);
	assert_non_null(strstr(info.message, "liar: read of 1 blocks failed"));
}

static void what_the_back_end_reported_itself_is_kept(void **state)
{
	struct fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};

	tell(f, THINP_EIO, THINP_EIO, 0, 0, 0);
	f->liar.own_words = "the arm fell off";
	assert_int_equal(thinp_io_batch(f->io, f->ops, 4), THINP_EIO);
	thinp_error_last(&info);
	assert_int_equal(info.block, 10);
	assert_string_equal(info.message, "the arm fell off");
}

static void an_old_report_is_not_taken_for_a_new_one(void **state)
{
	struct fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_report(THINP_EIO, 77, "of yesterday");
	tell(f, THINP_EIO, 0, THINP_EIO, 0, 0);
	assert_int_equal(thinp_io_batch(f->io, f->ops, 4), THINP_EIO);
	thinp_error_last(&info);
	assert_int_equal(info.block, 11);
	assert_null(strstr(info.message, "yesterday"));
}

static void a_failed_flush_names_no_block(void **state)
{
	struct fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};

	tell(f, -EIO, -EIO, 0, 0, 0);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	thinp_error_last(&info);
	assert_true(info.block == THINP_NO_BLOCK);
	assert_non_null(strstr(info.message, "liar: flush failed"));
}

static void without_a_size_nothing_is_done(void **state)
{
	struct fixture *f = *state;
	uint64_t nr_blocks = 4711;

	f->liar.size_result = -EIO;
	expect(f, THINP_EIO, THINP_EIO, THINP_ECANCELED, THINP_ECANCELED, THINP_ECANCELED);
	assert_int_equal(f->liar.nr_batches, 0);
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), THINP_EIO);
	assert_int_equal(nr_blocks, 4711);
	f->liar.size_result = 3;
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), THINP_EIO);
	assert_int_equal(nr_blocks, 4711);
}

static void no_device_is_larger_than_byte_offsets_reach(void **state)
{
	struct fixture *f = *state;
	const uint64_t limit = INT64_MAX / THINP_BLOCK_SIZE;
	uint64_t nr_blocks = 0;

	f->liar.is_huge = true;
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_true(nr_blocks == limit);
	assert_int_equal(thinp_io_read(f->io, limit - 1, 1, f->buffer), 0);
	assert_int_equal(thinp_io_read(f->io, limit - 1, 2, f->buffer), THINP_ERANGE);
	assert_int_equal(thinp_io_read(f->io, UINT64_MAX - 1, 1, f->buffer), THINP_ERANGE);
}

static void errors_of_resize_are_translated(void **state)
{
	struct fixture *f = *state;

	f->liar.resize_result = -ENOSPC;
	assert_int_equal(thinp_io_resize(f->io, 5), THINP_ENOSPC);
	io_expect_told(THINP_ENOSPC);
	f->liar.resize_result = 1;
	assert_int_equal(thinp_io_resize(f->io, 5), THINP_EIO);
	f->liar.resize_result = THINP_EFORKED;
	assert_int_equal(thinp_io_resize(f->io, 5), THINP_EFORKED);
	io_expect_told(THINP_EFORKED);
	f->liar.resize_result = 0;
	assert_int_equal(thinp_io_resize(f->io, 5), 0);
}

static void a_bad_batch_does_not_reach_the_back_end(void **state)
{
	struct fixture *f = *state;

	f->ops[3].block = 100;
	expect(f, THINP_ERANGE, THINP_ECANCELED, THINP_ECANCELED, THINP_ECANCELED, THINP_ERANGE);
	assert_int_equal(thinp_io_batch(f->io, f->ops, 0), 0);
	assert_int_equal(f->liar.nr_batches, 0);
}

/* --- tables and options of other versions --- */

static void a_table_without_its_functions_is_refused(void **state)
{
	struct thinp_io_backend table = liar_backend;
	struct thinp_io *io = NULL;
	struct liar liar = {0};

	(void)state;
	table.get_size = NULL;
	assert_int_equal(thinp_io_create(&table, &liar, NULL, &io), THINP_EINVAL);
	table = liar_backend;
	table.batch = NULL;
	assert_int_equal(thinp_io_create(&table, &liar, NULL, &io), THINP_EINVAL);
	table = liar_backend;
	table.size = offsetof(struct thinp_io_backend, batch);
	assert_int_equal(thinp_io_create(&table, &liar, NULL, &io), THINP_EINVAL);
	table.size = 0;
	assert_int_equal(thinp_io_create(&table, &liar, NULL, &io), THINP_EINVAL);
	assert_int_equal(thinp_io_create(NULL, &liar, NULL, &io), THINP_EINVAL);
	io_expect_told(THINP_EINVAL);
	assert_null(io);
	assert_int_equal(liar.nr_closed, 0);
}

static void a_newer_table_is_taken_when_its_news_are_not_used(void **state)
{
	struct {
		struct thinp_io_backend table;
		void *news;
	} newer = {.table = liar_backend};
	struct thinp_io *io = NULL;
	struct liar liar = {0};

	(void)state;
	newer.table.size = sizeof(newer);
	assert_int_equal(thinp_io_create(&newer.table, &liar, NULL, &io), 0);
	thinp_io_close(io);
	assert_int_equal(liar.nr_closed, 1);

	io = NULL;
	newer.news = &liar;
	assert_int_equal(thinp_io_create(&newer.table, &liar, NULL, &io), THINP_ENOTSUP);
	io_expect_told(THINP_ENOTSUP);
	assert_null(io);
	assert_int_equal(liar.nr_closed, 1);
}

static void a_table_without_a_name_has_one(void **state)
{
	struct thinp_io_backend table = liar_backend;
	struct liar liar = {0};
	struct thinp_io *io = NULL;

	(void)state;
	table.name = NULL;
	assert_int_equal(thinp_io_create(&table, &liar, NULL, &io), 0);
	assert_string_equal(thinp_io_backend_name(io), "device");
	thinp_io_close(io);
}

static void options_that_are_not_known_are_refused(void **state)
{
	static const struct {
		struct thinp_io_opts opts;
		int code;
	} cases[] = {
		{{.size = sizeof(struct thinp_io_opts), .flags = 16}, THINP_ENOTSUP},
		{{.size = sizeof(struct thinp_io_opts), .flags = 1u << 31}, THINP_ENOTSUP},
		{{.size = sizeof(struct thinp_io_opts), .direct = 3}, THINP_ENOTSUP},
		{{.size = sizeof(struct thinp_io_opts), .flags = THINP_IO_CREATE | THINP_IO_READ_ONLY}, THINP_EINVAL},
		{{.size = sizeof(struct thinp_io_opts), .nr_blocks = UINT64_MAX}, THINP_ERANGE},
		{{.size = 0}, THINP_EINVAL},
	};
	struct thinp_allocator half = {.size = sizeof(half)};
	struct thinp_io_opts opts = {.size = sizeof(opts), .allocator = &half};
	struct liar liar = {0};
	struct thinp_io *io = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(thinp_io_create(&liar_backend, &liar, &cases[i].opts, &io), cases[i].code);
		assert_int_equal(thinp_io_open_memory(&cases[i].opts, &io), cases[i].code);
		assert_int_equal(thinp_io_open_file("/dev/null", &cases[i].opts, &io), cases[i].code);
		io_expect_told(cases[i].code);
	}
	assert_int_equal(thinp_io_create(&liar_backend, &liar, &opts, &io), THINP_EINVAL);
	assert_null(io);
	assert_int_equal(liar.nr_closed, 0);
}

static int attempt_create(void *ctx)
{
	struct alloc_counting *alloc = ctx;
	struct thinp_io_opts opts = {.size = sizeof(opts), .allocator = &alloc->table};
	struct liar liar = {0};
	struct thinp_io *io = NULL;
	int r = thinp_io_create(&liar_backend, &liar, &opts, &io);

	thinp_io_close(io);
	assert_int_equal(liar.nr_closed, r ? 0 : 1); /* after a failure ctx is still the caller's */
	return r;
}

static void OOMLOOP_creating_leaks_nothing(void **state)
{
	struct alloc_counting alloc;

	(void)state;
	alloc_counting_init(&alloc);
	alloc_counting_loop(&alloc, attempt_create, &alloc);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	static struct array_device array = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct io_conformance device = {
		.group = "io/own_table/conformance",
		.ctx = &array,
		.open = open_array,
		.done = done_array,
		.arm = arm_array,
		.can_resize = true,
	};
	const struct CMUnitTest tests[] = {
		CASE(negative_errnos_become_codes),
		CASE(the_first_failure_in_array_order_is_returned),
		CASE(a_cancelled_operation_is_not_the_first_failure),
		CASE(a_batch_that_was_only_cancelled_is_a_failure),
		CASE(a_forgotten_result_is_a_failure),
		CASE(operations_behind_a_failure_may_be_left_out),
		CASE(a_returned_error_without_results_is_borne_by_all),
		CASE(an_error_in_a_result_is_returned_even_if_the_back_end_did_not),
		CASE(positive_numbers_are_no_success),
		CASE(a_failed_operation_is_told_with_block_and_errno),
		CASE(what_the_back_end_reported_itself_is_kept),
		CASE(an_old_report_is_not_taken_for_a_new_one),
		CASE(a_failed_flush_names_no_block),
		CASE(without_a_size_nothing_is_done),
		CASE(no_device_is_larger_than_byte_offsets_reach),
		CASE(errors_of_resize_are_translated),
		CASE(a_bad_batch_does_not_reach_the_back_end),
		cmocka_unit_test(a_table_without_its_functions_is_refused),
		cmocka_unit_test(a_newer_table_is_taken_when_its_news_are_not_used),
		cmocka_unit_test(a_table_without_a_name_has_one),
		cmocka_unit_test(options_that_are_not_known_are_refused),
		cmocka_unit_test(OOMLOOP_creating_leaks_nothing),
	};
	int nr_failed;

	nr_failed = io_conformance_run(&device);
	device.group = "io/own_table/short/conformance";
	device.open = open_short_table;
	device.done = done_short_table;
	device.can_resize = false;
	nr_failed += io_conformance_run(&device);
	nr_failed += cmocka_run_group_tests_name("io/own_table", tests, NULL, NULL);
	return nr_failed;
}
