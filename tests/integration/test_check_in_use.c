/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking a pool while it is changed: what is checked is one commit, what comes after it is not seen, and nothing that fails
 * in a check is felt by the transaction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/store.h"
#include "support/alloc_counting.h"
#include "support/pool_model.h"
#include "thin/pool.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <thinp/check.h>
#include <thinp/fault.h>
#include <time.h>

enum { NR_METADATA = 400, NR_DATA = 12000, FIRST_CHANGES = 8000 };

static uint64_t seed;

struct writer {
	struct pool_model *m;
	unsigned nr_changes; /* at each call of the progress callback */
	uint64_t nr_calls;
};

static void change_device(struct pool_model *m, uint32_t device)
{
	uint32_t other = (uint32_t)pool_model_random(m, MODEL_DEVICES);
	uint32_t block = (uint32_t)pool_model_random(m, MODEL_BLOCKS);

	switch (pool_model_random(m, 400)) {
	case 0:
	case 1:
	case 2:
		if (!m->now.devices[other].is_there)
			(void)pool_model_snap(m, other, device);
		break;
	case 3:
		(void)pool_model_delete(m, device);
		break;
	case 4:
	case 5:
		(void)pool_model_unmap(m, device, block, (block + 50) % MODEL_BLOCKS > block ? block + 50 : block);
		break;
	default:
		(void)pool_model_map(m, device, block);
	}
}

static void change(struct pool_model *m)
{
	uint32_t device = (uint32_t)pool_model_random(m, MODEL_DEVICES);

	if (m->now.devices[device].is_there)
		change_device(m, device);
	else
		(void)pool_model_create(m, device);
}

static void change_and_commit(struct pool_model *m, unsigned nr)
{
	pool_model_begin(m);
	while (nr--)
		change(m);
	pool_model_commit(m);
}

static void open_pool(struct pool_model *m)
{
	struct thinp_pool_opts opts = {.size = sizeof(opts), .cache_blocks = 128};

	memset(m, 0, sizeof(*m));
	m->rng = seed;
	m->stride = 7;
	pool_model_open(m, NR_METADATA, NR_DATA, &opts);
	for (unsigned i = 0; i < 8; i++)
		change_and_commit(m, FIRST_CHANGES / 8);
}

static int go_on(void *ctx, uint64_t done, uint64_t total)
{
	struct writer *writer = ctx;

	(void)done;
	(void)total;
	for (unsigned i = 0; i < 5; i++)
		change_and_commit(writer->m, writer->nr_changes);
	writer->nr_calls++;
	return 0;
}

static int print_finding(void *ctx, const struct thinp_check_finding *finding)
{
	unsigned *nr = ctx;

	if (finding->severity == THINP_CHECK_STATE) /* what was not looked at, as asked for */
		return 0;
	(*nr)++;
	print_message("%s: %s\n", finding->name, finding->text);
	return 0;
}

static void assert_same(const struct thinp_check_result *a, const struct thinp_check_result *b)
{
	assert_int_equal(a->nr_devices, b->nr_devices);
	assert_int_equal(a->nr_mappings, b->nr_mappings);
	assert_int_equal(a->nr_data_used, b->nr_data_used);
	assert_int_equal(a->nr_metadata_used, b->nr_metadata_used);
	assert_int_equal(a->nr_blocks_read, b->nr_blocks_read);
}

/* Checks, and nothing is found. */
static void check_clean(struct thinp_pool *pool, struct writer *writer, uint32_t flags,
			struct thinp_check_result *result)
{
	struct thinp_check_opts opts = {.size = sizeof(opts), .flags = flags, .finding = print_finding};
	unsigned nr_found = 0;

	opts.finding_ctx = &nr_found;
	opts.progress = writer ? go_on : NULL;
	opts.progress_ctx = writer;
	result->size = sizeof(*result);
	assert_int_equal(thinp_check_pool(pool, &opts, result), 0);
	assert_int_equal(nr_found, 0);
}

static void what_is_not_committed_is_not_seen(void **state)
{
	struct thinp_check_result before, now;
	struct pool_model m;

	(void)state;
	open_pool(&m);
	check_clean(m.pool, NULL, 0, &before);
	pool_model_begin(&m);
	for (unsigned i = 0; i < 300; i++) { /* the cache is small: much of it is on the device already */
		change(&m);
		if (i % 100 == 50) {
			check_clean(m.pool, NULL, 0, &now);
			assert_same(&before, &now);
		}
	}
	pool_model_commit(&m);
	check_clean(m.pool, NULL, 0, &now);
	assert_int_not_equal(before.nr_mappings, now.nr_mappings);
	pool_model_close(&m);
}

static void commits_while_it_lasts_are_not_seen(void **state)
{
	struct thinp_check_result before, now;
	struct writer writer = {.nr_changes = 20};
	struct pool_model m;

	(void)state;
	open_pool(&m);
	writer.m = &m;
	for (unsigned i = 0; i < 5; i++) {
		check_clean(m.pool, NULL, 0, &before);
		writer.nr_calls = 0;
		check_clean(m.pool, &writer, 0, &now);
		assert_true(writer.nr_calls > 3);
		assert_same(&before, &now);
	}
	pool_model_compare(&m);
	pool_model_close(&m);
}

/* Without the view, the same changes are taken for damage: that is what the view is for. */
static void a_device_that_changes_looks_damaged(void **state)
{
	struct thinp_check_result result = {.size = sizeof(result)};
	struct thinp_check_opts opts = {.size = sizeof(opts), .progress = go_on};
	struct writer writer = {.nr_changes = 20};
	struct pool_model m;
	uint64_t nr_wrong = 0;

	(void)state;
	open_pool(&m);
	writer.m = &m;
	opts.progress_ctx = &writer;
	for (unsigned i = 0; i < 100 && !nr_wrong; i++) {
		assert_int_equal(thinp_check_device(m.io, &opts, &result), 0);
		nr_wrong += result.nr_fatal + result.nr_leak;
	}
	assert_true(nr_wrong > 0);
	pool_model_close(&m);
}

static void the_metadata_snapshot_stays_what_it_is(void **state)
{
	struct thinp_check_result result = {.size = sizeof(result)}, before;
	struct thinp_check_opts opts = {.size = sizeof(opts), .flags = THINP_CHECK_METADATA_SNAP, .progress = go_on};
	struct writer writer = {.nr_changes = 20};
	struct pool_model m;

	(void)state;
	open_pool(&m);
	writer.m = &m;
	opts.progress_ctx = &writer;
	pool_model_begin(&m);
	assert_int_equal(pool_model_hold(&m), 0);
	pool_model_commit(&m);
	assert_int_equal(thinp_check_device(m.io, &(struct thinp_check_opts){.size = sizeof(opts), .flags = opts.flags},
					    &result),
			 0);
	before = result;
	for (unsigned i = 0; i < 5; i++) { /* by the device alone, as another program would */
		assert_int_equal(thinp_check_device(m.io, &opts, &result), 0);
		assert_int_equal(result.nr_fatal + result.nr_leak + result.nr_meta, 0);
		assert_same(&before, &result);
	}
	check_clean(m.pool, &writer, 0, &result); /* with the rest, on a view */
	pool_model_begin(&m);
	assert_int_equal(pool_model_release(&m), 0);
	pool_model_commit(&m);
	assert_int_equal(thinp_check_pool(m.pool, &opts, &result), THINP_ENOENT);
	pool_model_close(&m);
}

static void damage_is_found_all_the_same(void **state)
{
	struct thinp_check_result result = {.size = sizeof(result)};
	struct thinp_check_opts opts = {.size = sizeof(opts), .progress = go_on};
	struct writer writer = {.nr_changes = 0};
	struct pool_model m;
	_Alignas(THINP_BLOCK_SIZE) uint8_t block[THINP_BLOCK_SIZE];
	thinp_block_t details;

	(void)state;
	open_pool(&m);
	details = m.pool->live.details_root;
	assert_int_equal(thinp_io_read(m.io, details, 1, block), 0);
	block[2000] ^= 1;
	assert_int_equal(thinp_io_write(m.io, details, 1, block), 0);
	assert_int_equal(thinp_check_pool(m.pool, NULL, &result), 0);
	assert_true(result.nr_fatal > 0);
	block[2000] ^= 1;
	assert_int_equal(thinp_io_write(m.io, details, 1, block), 0);
	writer.m = &m;
	opts.progress_ctx = &writer;
	assert_int_equal(thinp_check_pool(m.pool, &opts, &result), 0);
	assert_int_equal(result.nr_fatal, 0);
	pool_model_close(&m);
}

static int count_finding(void *ctx, const struct thinp_check_finding *finding)
{
	unsigned *nr = ctx;

	(void)finding;
	(*nr)++;
	return 0;
}

static void a_view_that_gives_way_ends_it_and_nothing_is_told(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_check_result result = {.size = sizeof(result), .nr_fatal = 4711};
	struct writer writer = {.nr_changes = 60};
	unsigned nr_found = 0;
	struct thinp_check_opts opts = {.size = sizeof(opts), .finding = count_finding, .progress = go_on};
	struct thinp_store_info store_info = {.size = sizeof(store_info)};
	struct pool_model m;

	(void)state;
	open_pool(&m);
	writer.m = &m;
	opts.finding_ctx = &nr_found;
	opts.progress_ctx = &writer;
	m.pool->store->opts.view_limit_blocks = 10;
	assert_int_equal(thinp_check_pool(m.pool, &opts, &result), THINP_ESTALE);
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_ESTALE);
	assert_int_equal(nr_found, 0);
	assert_int_equal(result.nr_fatal, 4711);
	m.pool->store->opts.view_limit_blocks = 0;
	thinp_store_get_info(m.pool->store, &store_info);
	assert_int_equal(store_info.nr_views, 0);
	check_clean(m.pool, NULL, 0, &result);
	pool_model_close(&m);
}

/* --- what fails --- */

/* A pool with an open transaction on a device and in memory that fail on demand. */
struct failing {
	struct pool_model m;
	struct thinp_io *memory;
	struct thinp_fault *fault;
	struct alloc_counting alloc;
	struct thinp_check_result before; /* of the last commit */
};

static void open_failing(struct failing *f)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};
	struct thinp_pool_opts opts = {.size = sizeof(opts), .cache_blocks = 128, .allocator = &f->alloc.table};
	struct thinp_io *io;

	memset(f, 0, sizeof(*f));
	f->m.rng = seed;
	alloc_counting_init(&f->alloc);
	assert_int_equal(thinp_io_open_memory(&io_opts, &f->memory), 0);
	assert_int_equal(thinp_fault_create(f->memory, NULL, &f->fault), 0);
	assert_int_equal(thinp_fault_open(f->fault, NULL, &io), 0);
	pool_model_open_on(&f->m, io, NR_DATA, &opts);
	f->m.stride = 7;
	change_and_commit(&f->m, 500);
}

static void close_failing(struct failing *f)
{
	pool_model_close(&f->m);
	alloc_counting_check(&f->alloc);
	thinp_fault_destroy(f->fault);
	thinp_io_close(f->memory);
}

static void begin_transaction(struct failing *f)
{
	check_clean(f->m.pool, NULL, 0, &f->before);
	pool_model_begin(&f->m);
	for (unsigned i = 0; i < 20; i++)
		change(&f->m);
}

/* The transaction is what it was: it goes on, and then it is made or forgotten. No view is left. */
static void end_transaction(struct failing *f, bool commit)
{
	struct thinp_store_info info = {.size = sizeof(info)};
	struct thinp_check_result now;

	assert_int_equal(thinp_pool_status(f->m.pool), 0);
	thinp_store_get_info(f->m.pool->store, &info);
	assert_int_equal(info.nr_views, 0);
	check_clean(f->m.pool, NULL, 0, &now);
	assert_same(&f->before, &now);
	for (unsigned i = 0; i < 20; i++)
		change(&f->m);
	if (commit)
		pool_model_commit(&f->m);
	else
		pool_model_abort(&f->m);
	pool_model_compare(&f->m);
}

/* The n-th allocation fails, of the check or for its view. True: there is one. */
static bool check_without_memory(struct failing *f, size_t n, bool and_all_behind)
{
	unsigned nr_found = 0;
	const struct thinp_check_opts opts = {
		.size = sizeof(opts), .allocator = &f->alloc.table, .finding = count_finding, .finding_ctx = &nr_found};
	struct thinp_check_result result = {.size = sizeof(result), .nr_fatal = 4711};
	size_t live_bytes = f->alloc.live_bytes;
	bool has_failed;
	int r;

	(and_all_behind ? alloc_counting_fail_from : alloc_counting_fail)(&f->alloc, n);
	r = thinp_check_pool(f->m.pool, &opts, &result);
	has_failed = alloc_counting_has_failed(&f->alloc);
	alloc_counting_fail(&f->alloc, 0);
	assert_int_equal(f->alloc.live_bytes, live_bytes);
	assert_int_equal(nr_found, 0);
	if (r)
		assert_true(has_failed && r == THINP_ENOMEM && result.nr_fatal == 4711);
	else
		assert_same(&f->before, &result);
	return has_failed;
}

static void OOMLOOP_a_transaction_goes_on_when_a_check_has_no_memory(void **state)
{
	struct failing f;
	size_t n[2];

	(void)state;
	open_failing(&f);
	for (int and_all_behind = 0; and_all_behind < 2; and_all_behind++) {
		bool has_failed = true;

		for (n[and_all_behind] = 0; has_failed;) {
			begin_transaction(&f);
			has_failed = check_without_memory(&f, ++n[and_all_behind], and_all_behind);
			end_transaction(&f, n[and_all_behind] % 2);
		}
	}
	print_message("%zu and %zu allocations\n", n[0], n[1]);
	assert_true(n[0] > 10 && n[1] > 10);
	close_failing(&f);
}

static int expect_unreadable(void *ctx, const struct thinp_check_finding *finding)
{
	unsigned *nr_unreadable = ctx;

	*nr_unreadable += finding->rule == THINP_CHECK_BL2;
	/* what was not read is not taken for a leak, nor for anything else that could be put right */
	assert_true(finding->severity == THINP_CHECK_FATAL || finding->severity == THINP_CHECK_STATE);
	return 0;
}

/* The n-th read fails, and so many behind it. A block is read once more; then it is a finding, and what cannot be known from
 * then on is told, too. True: there is such a read. */
static bool check_without_device(struct failing *f, uint64_t n, uint64_t nr_failing)
{
	unsigned nr_unreadable = 0;
	const struct thinp_check_opts opts = {
		.size = sizeof(opts), .finding = expect_unreadable, .finding_ctx = &nr_unreadable};
	const struct thinp_fault_rule rule = {.size = sizeof(rule),
					      .kinds = THINP_FAULT_ON_READ,
					      .action = THINP_FAULT_FAIL,
					      .nth = n,
					      .times = nr_failing};
	struct thinp_check_result result = {.size = sizeof(result)};
	struct thinp_error_info before = {.size = sizeof(before)}, now = {.size = sizeof(now)};
	uint64_t id, nr_fired = 0;

	thinp_error_last(&before);
	assert_int_equal(thinp_fault_add(f->fault, &rule, &id), 0);
	assert_int_equal(thinp_check_pool(f->m.pool, &opts, &result), 0);
	thinp_error_last(&now);
	assert_memory_equal(&before, &now, sizeof(now)); /* it was no failure */
	assert_int_equal(thinp_fault_get_counts(f->fault, id, NULL, &nr_fired), 0);
	thinp_fault_clear(f->fault);
	if (nr_unreadable)
		assert_true(nr_fired > 1 && result.nr_fatal >= nr_unreadable && result.nr_unreadable);
	else
		assert_same(&f->before, &result);
	assert_true(nr_unreadable || nr_fired < 2 || nr_failing != THINP_FAULT_ALWAYS);
	return nr_fired;
}

static void ERRLOOP_a_transaction_goes_on_when_a_check_cannot_read(void **state)
{
	static const uint64_t nr_failing[] = {1, 2, THINP_FAULT_ALWAYS};
	struct failing f;

	(void)state;
	open_failing(&f);
	for (size_t i = 0; i < sizeof(nr_failing) / sizeof(nr_failing[0]); i++) {
		bool has_failed = true;
		uint64_t n = 0;

		while (has_failed) {
			begin_transaction(&f);
			has_failed = check_without_device(&f, ++n, nr_failing[i]);
			end_transaction(&f, n % 2);
		}
		print_message("%" PRIu64 " reads\n", n);
		assert_true(n > 10);
	}
	close_failing(&f);
}

/* What the open transaction has changed stays in memory. */
static void a_check_writes_nothing(void **state)
{
	struct thinp_check_result now;
	const struct thinp_fault_rule rule = {.size = sizeof(rule),
					      .kinds = THINP_FAULT_ON_WRITE | THINP_FAULT_ON_FLUSH,
					      .action = THINP_FAULT_FAIL,
					      .nth = 1,
					      .times = THINP_FAULT_ALWAYS};
	uint64_t id, nr_fired = 0;
	struct failing f;

	(void)state;
	open_failing(&f);
	begin_transaction(&f);
	assert_int_equal(thinp_fault_add(f.fault, &rule, &id), 0);
	check_clean(f.m.pool, NULL, 0, &now);
	assert_same(&f.before, &now);
	assert_int_equal(thinp_fault_get_counts(f.fault, id, NULL, &nr_fired), 0);
	assert_int_equal(nr_fired, 0);
	thinp_fault_clear(f.fault);
	end_transaction(&f, true);
	close_failing(&f);
}

/* --- a thread that changes, and one that checks --- */

struct checking {
	struct thinp_pool *pool;
	_Atomic bool is_over;
	_Atomic unsigned nr;
	uint64_t nr_wrong;
};

static void *check_on(void *ctx)
{
	struct checking *checking = ctx;
	struct thinp_check_result result = {.size = sizeof(result)};

	while (!atomic_load(&checking->is_over)) {
		if (thinp_check_pool(checking->pool, NULL, &result))
			checking->nr_wrong++;
		checking->nr_wrong += result.nr_fatal + result.nr_leak + result.nr_meta;
		atomic_fetch_add(&checking->nr, 1);
	}
	return NULL;
}

static void another_thread_checks_while_one_changes(void **state)
{
	struct checking checking = {.nr = 0};
	struct pool_model m;
	pthread_t thread;
	unsigned nr = 0;

	(void)state;
	open_pool(&m);
	checking.pool = m.pool;
	assert_int_equal(pthread_create(&thread, NULL, check_on, &checking), 0);
	while (nr++ < 40 || atomic_load(&checking.nr) < 10)
		change_and_commit(&m, 20);
	atomic_store(&checking.is_over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(checking.nr_wrong, 0);
	pool_model_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_committed_is_not_seen),
		cmocka_unit_test(commits_while_it_lasts_are_not_seen),
		cmocka_unit_test(a_device_that_changes_looks_damaged),
		cmocka_unit_test(the_metadata_snapshot_stays_what_it_is),
		cmocka_unit_test(damage_is_found_all_the_same),
		cmocka_unit_test(a_view_that_gives_way_ends_it_and_nothing_is_told),
		cmocka_unit_test(OOMLOOP_a_transaction_goes_on_when_a_check_has_no_memory),
		cmocka_unit_test(ERRLOOP_a_transaction_goes_on_when_a_check_cannot_read),
		cmocka_unit_test(a_check_writes_nothing),
		cmocka_unit_test(another_thread_checks_while_one_changes),
	};
	const char *text = getenv("THINP_TEST_SEED");

	seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) << 20 | 1;
	print_message("seed %" PRIu64 ": set THINP_TEST_SEED to repeat\n", seed);
	return cmocka_run_group_tests_name("integration/check_in_use", tests, NULL, NULL);
}
