/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_readers.c - one thread commits, two read views of whatever is the last commit: each view shows exactly the
 * model of its commit. Meant for the thread sanitizer as well.
 *
 * THINP_READERS_SECONDS  how long; without it, a number of commits
 */
#include "support/store_world.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

enum { NR_BLOCKS = 3000, NR_READERS = 2, NR_MODELS = 512, NR_COMMITS = 300, MOST_READS = 8 };

/* The model of a transaction, which stays as long as a reader holds the lock. */
struct slot {
	pthread_rwlock_t lock;
	struct store_model model;
};

struct readers_test {
	struct store_world world;
	struct slot *slots;
	_Atomic bool is_over;
	_Atomic uint64_t nr_read, nr_stale;
	_Atomic int failure;
};

static struct slot *slot_of(struct readers_test *t, uint64_t number)
{
	return &t->slots[number % NR_MODELS];
}

/* Reads a view a few times. It is stale when the writer was much faster. */
static void read_view(struct readers_test *t, struct thinp_view *view, uint64_t nr_times)
{
	uint8_t user[THINP_STORE_USER_SIZE];
	struct slot *slot;
	int r = 0;

	thinp_view_get_user(view, user);
	slot = slot_of(t, tp_load_le64(user));
	pthread_rwlock_rdlock(&slot->lock);
	for (uint64_t i = 0; !r && slot->model.number == tp_load_le64(user) && i < nr_times; i++) {
		r = store_world_read_view(view, &slot->model);
		atomic_fetch_add(&t->nr_read, !r);
	}
	pthread_rwlock_unlock(&slot->lock);
	if (r == THINP_ESTALE)
		atomic_fetch_add(&t->nr_stale, 1);
	else if (r)
		atomic_store(&t->failure, r);
}

static void *read_views(void *ctx)
{
	struct readers_test *t = ctx;
	uint64_t rng = (uint64_t)(uintptr_t)&rng;

	while (!atomic_load(&t->is_over) && !atomic_load(&t->failure)) {
		struct thinp_view *view;
		int r = thinp_view_open(t->world.store, &view);

		if (r) {
			atomic_store(&t->failure, r);
			break;
		}
		read_view(t, view, 1 + random_next(&rng) % MOST_READS);
		thinp_view_close(view);
	}
	return NULL;
}

static void publish_model(struct readers_test *t, const struct store_model *model)
{
	struct slot *slot = slot_of(t, model->number);

	pthread_rwlock_wrlock(&slot->lock);
	slot->model = *model;
	pthread_rwlock_unlock(&slot->lock);
}

static void commit_once(struct readers_test *t, uint64_t *rng)
{
	int r = store_world_change(&t->world, rng);

	if (r == THINP_ENOSPC || (!r && random_next(rng) % 16 == 0)) {
		store_world_abort(&t->world);
		return;
	}
	assert_int_equal(r, 0);
	publish_model(t, &t->world.now);
	store_world_commit(&t->world);
}

static bool is_time_over(time_t begun)
{
	const char *seconds = getenv("THINP_READERS_SECONDS");

	return !seconds || time(NULL) >= begun + (time_t)strtol(seconds, NULL, 0);
}

static void write_and_read(struct readers_test *t, uint64_t *rng)
{
	pthread_t readers[NR_READERS];
	time_t begun = time(NULL);

	for (size_t i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_views, t), 0);
	while (!atomic_load(&t->failure) &&
	       (t->world.committed.number < NR_COMMITS || !atomic_load(&t->nr_read) || !is_time_over(begun)))
		commit_once(t, rng);
	atomic_store(&t->is_over, true);
	for (size_t i = 0; i < NR_READERS; i++)
		pthread_join(readers[i], NULL);
}

static void COW_07_every_view_is_the_model_of_its_commit(void **state)
{
	struct thinp_store_opts opts = {.size = sizeof(opts), .cache_blocks = 256, .view_limit_blocks = 60};
	struct readers_test *t = calloc(1, sizeof(*t));
	struct thinp_io_opts memory = {.size = sizeof(memory), .nr_blocks = NR_BLOCKS};
	uint64_t rng = random_begin();

	(void)state;
	assert_non_null(t);
	t->slots = calloc(NR_MODELS, sizeof(*t->slots));
	assert_non_null(t->slots);
	for (size_t i = 0; i < NR_MODELS; i++)
		pthread_rwlock_init(&t->slots[i].lock, NULL);
	t->world.format = &tp_store_own_format;
	t->world.opts = opts;
	assert_int_equal(thinp_io_open_memory(&memory, &t->world.io), 0); /* no log: the run may be long */
	assert_int_equal(store_world_open_on(&t->world, t->world.io, THINP_STORE_CREATE, &t->world.store), 0);
	write_and_read(t, &rng);
	print_message("%" PRIu64 " commits, %" PRIu64 " reads of whole views, %" PRIu64 " views became stale\n",
		      t->world.committed.number, atomic_load(&t->nr_read), atomic_load(&t->nr_stale));
	assert_int_equal(atomic_load(&t->failure), 0);
	store_world_check(t->world.store, &t->world.committed);
	thinp_store_close(t->world.store);
	thinp_io_close(t->world.io);
	for (size_t i = 0; i < NR_MODELS; i++)
		pthread_rwlock_destroy(&t->slots[i].lock);
	free(t->slots);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(COW_07_every_view_is_the_model_of_its_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
