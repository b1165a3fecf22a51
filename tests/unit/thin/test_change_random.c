/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes at random, compared with a model. After each commit every reference is counted.
 *
 * Environment: THINP_TEST_SEED repeats a run; THINP_RANDOM_OPS operations (default 40000); THINP_RANDOM_IMAGES a folder
 * that gets the image of each round's end, and of every THINP_RANDOM_EVERY-th commit (default: none).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/pool_model.h"
#include "support/save_image.h"
#include "thin/change.h"

#include <thinp/pool_view.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPS_EACH = 4000, NR_VIEWS = 3 };

/* A view, and what was there when it was opened. */
struct look {
	struct thinp_pool *view;
	struct model_content content;
};

static struct look looks[NR_VIEWS];

static void end_look(struct pool_model *m, struct look *look)
{
	struct thinp_pool *snap = NULL;
	int r;

	if (!look->view)
		return;
	pool_model_compare_devices(m, look->view, look->content.devices);
	r = thinp_pool_view_open(look->view, THINP_POOL_METADATA_SNAP, &snap);
	assert_int_equal(r, look->content.is_held ? 0 : THINP_ENOENT);
	if (snap)
		pool_model_compare_devices(m, snap, look->content.held);
	thinp_pool_close(snap);
	thinp_pool_close(look->view);
	look->view = NULL;
}

static void begin_look(struct pool_model *m, struct look *look)
{
	assert_int_equal(thinp_pool_view_open(m->pool, 0, &look->view), 0);
	look->content = m->committed;
}

static uint64_t counts_bytes; /* that counts of data blocks may take; 0: as pools have it */

static void limit_counts(struct pool_model *m)
{
	if (counts_bytes)
		tp_sm_set_memory_limit(tp_thin_data_map(m->pool), counts_bytes);
}

static void reopen(struct pool_model *m)
{
	for (size_t i = 0; i < NR_VIEWS; i++)
		end_look(m, &looks[i]);
	pool_model_reopen(m);
	limit_counts(m);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *given = getenv(name);

	return given ? strtoull(given, NULL, 10) : otherwise;
}

static void change_rarely(struct pool_model *m)
{
	uint64_t id = pool_model_random(m, 1000);

	switch (pool_model_random(m, 4)) {
	case 0:
		assert_int_equal(thinp_pool_set_transaction_id(m->pool, m->now.transaction_id, id), 0);
		m->now.transaction_id = id;
		break;
	case 1:
		if (!thinp_pool_grow_data(m->pool, m->now.nr_data + id))
			m->now.nr_data += id;
		assert_int_equal(thinp_pool_status(m->pool), 0);
		break;
	default:
		(void)(m->now.is_held ? pool_model_release(m) : pool_model_hold(m));
	}
}

static void save_some(struct pool_model *m)
{
	uint64_t every = number_from("THINP_RANDOM_EVERY", 0);

	if (every && m->nr_commits % every == 0)
		save_image(m->io, "commit", m->nr_commits);
}

static void end_transaction(struct pool_model *m)
{
	if (pool_model_random(m, 8) == 0)
		pool_model_compare(m);
	if (pool_model_random(m, 6) == 0)
		pool_model_abort(m);
	else if (pool_model_random(m, 20) == 0)
		reopen(m);
	else {
		pool_model_commit(m);
		save_some(m);
	}
	if (pool_model_random(m, 6) == 0)
		pool_model_compare(m);
	if (pool_model_random(m, 10) == 0)
		reopen(m);
	pool_model_begin(m);
}

static void step(struct pool_model *m)
{
	uint32_t device = (uint32_t)pool_model_random(m, MODEL_DEVICES);
	uint64_t which = pool_model_random(m, 100);

	if (pool_model_random(m, 40) == 0) {
		struct look *look = &looks[pool_model_random(m, NR_VIEWS)];

		end_look(m, look);
		if (pool_model_random(m, 3) == 0)
			begin_look(m, look);
	}
	if (which < 12)
		pool_model_change_devices(m, device);
	else if (which < 14)
		change_rarely(m);
	else if (m->now.devices[device].is_there)
		pool_model_change_mappings(m, device);
	if (which > 96)
		end_transaction(m);
}

static void run_round(struct pool_model *m, uint64_t number)
{
	static const char *const policies[] = {"fifo", "coalescing", "sorted"};
	static const uint64_t metadata_sizes[] = {64, 100, 200, 600, 17000}, data_sizes[] = {0, 500, 5000, 100000};
	const struct thinp_pool_opts opts = {
		.flags = pool_model_random(m, 4) ? 0 : THINP_POOL_QUEUE_ALWAYS,
		.cache_blocks = pool_model_random(m, 2) ? 256 : 0,
		.op_queue_policy = thinp_opq_policy_by_name(policies[pool_model_random(m, 3)]),
	};
	uint64_t until = m->nr_ops + OPS_EACH;

	pool_model_open(m, metadata_sizes[pool_model_random(m, 5)], data_sizes[pool_model_random(m, 4)], &opts);
	counts_bytes = pool_model_random(m, 2) * (1 + pool_model_random(m, 100000)); /* a page takes 28 KiB */
	limit_counts(m);
	m->stride = pool_model_random(m, 2) ? 1 : 1 + pool_model_random(m, 1000000);
	pool_model_begin(m);
	while (m->nr_ops < until)
		step(m);
	pool_model_commit(m);
	pool_model_compare(m);
	for (size_t i = 0; i < NR_VIEWS; i++)
		end_look(m, &looks[i]);
	save_image(m->io, "pool", number);
	pool_model_close(m);
}

static void changes_at_random_leave_what_the_model_has(void **state)
{
	uint64_t seed = number_from("THINP_TEST_SEED", (uint64_t)time(NULL));
	uint64_t nr_ops = number_from("THINP_RANDOM_OPS", 40000);
	struct pool_model *m = calloc(1, sizeof(*m));

	(void)state;
	assert_non_null(m);
	m->rng = seed * 2 + 1;
	print_message("seed %" PRIu64 ": set THINP_TEST_SEED to repeat\n", seed);
	for (uint64_t i = 0; m->nr_ops < nr_ops; i++)
		run_round(m, i);
	print_message("%" PRIu64 " operations, %" PRIu64 " commits, %" PRIu64 " aborts, %" PRIu64 " refused\n",
		      m->nr_ops, m->nr_commits, m->nr_aborts, m->nr_refused);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(changes_at_random_leave_what_the_model_has)};

	return cmocka_run_group_tests_name("thin/change_random", tests, NULL, NULL);
}
