/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_kill.c - a process that commits is killed at any moment, again and again; each time the store opens as the
 * last commit that it had told of, or as the one after it.
 *
 * The parent makes the same changes to a store in memory, which tells what must be in the file.
 *
 * THINP_KILL_TIMES  how often
 */
#include "support/io_temp.h"
#include "support/store_world.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/base/random.h"

enum { NR_BLOCKS = 2000, NR_TIMES = 20, MOST_COMMITS = 30, MOST_TURNS = 4000000 };

static uint64_t seed;

/* The transaction with this number is always the same. */
static int change_as(struct store_world *w, uint64_t number)
{
	uint64_t rng = seed + 7919 * number;

	return store_world_change(w, &rng);
}

static void open_file(struct store_world *w, const char *path)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_CREATE, .nr_blocks = NR_BLOCKS};

	assert_int_equal(thinp_io_open_file(path, &opts, &w->io), 0);
	w->format = &tp_store_own_format;
	w->opts = (struct thinp_store_opts){.size = sizeof(w->opts), .cache_blocks = 64};
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_CREATE, &w->store), 0);
}

static void close_file(struct store_world *w)
{
	thinp_store_close(w->store);
	thinp_io_close(w->io);
}

/* Commits until it is killed, and tells of each commit. */
static _Noreturn void commit_for_ever(const char *path, const struct store_model *model, int told)
{
	struct store_world *w = calloc(1, sizeof(*w));

	if (!w)
		_exit(1);
	open_file(w, path);
	w->committed = *model;
	for (;;) {
		uint64_t number = w->committed.number + 1;

		if (change_as(w, number) || thinp_store_commit(w->store))
			_exit(1);
		w->committed = w->now;
		if (write(told, &number, sizeof(number)) != sizeof(number))
			_exit(1);
	}
}

static bool read_number(int fd, uint64_t *number)
{
	return read(fd, number, sizeof(*number)) == sizeof(*number);
}

static void turn(uint64_t times)
{
	for (volatile uint64_t i = 0; i < times; i++)
		;
}

/* Returns the number of the last commit that the child told of. */
static uint64_t run_and_kill(const char *path, const struct store_model *model, uint64_t *rng)
{
	uint64_t promised = model->number;
	int fds[2], status;
	pid_t child;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		close(fds[0]);
		commit_for_ever(path, model, fds[1]);
	}
	close(fds[1]);
	for (uint64_t i = random_next(rng) % MOST_COMMITS; i && read_number(fds[0], &promised); i--)
		;
	turn(random_next(rng) % MOST_TURNS);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	while (read_number(fds[0], &promised))
		;
	close(fds[0]);
	return promised;
}

static uint64_t number_in(struct thinp_store *store)
{
	uint8_t user[THINP_STORE_USER_SIZE];

	thinp_store_get_user(store, user);
	return tp_load_le64(user);
}

static void follow(struct store_world *twin, uint64_t number)
{
	while (twin->committed.number < number) {
		assert_int_equal(change_as(twin, twin->committed.number + 1), 0);
		store_world_commit(twin);
	}
}

static void COW_07_a_killed_process_leaves_a_sound_store(void **state)
{
	const char *times = getenv("THINP_KILL_TIMES");
	struct store_world *twin = calloc(1, sizeof(*twin));
	struct store_world *file = calloc(1, sizeof(*file));
	uint64_t rng, nr_next = 0;
	struct io_temp temp;
	char path[512];

	(void)state;
	rng = seed = random_begin();
	assert_true(twin && file);
	assert_int_equal(io_temp_make(&temp, "."), 0);
	snprintf(path, sizeof(path), "%s", io_temp_path(&temp, "store"));
	store_world_begin(twin, NR_BLOCKS, NULL, NULL);
	for (uint64_t i = times ? strtoull(times, NULL, 0) : NR_TIMES; i; i--) {
		uint64_t promised = run_and_kill(path, &twin->committed, &rng), found;

		open_file(file, path);
		found = number_in(file->store);
		if (found != promised && found != promised + 1)
			fail_msg("%" PRIu64 " was told, %" PRIu64 " is there", promised, found);
		nr_next += found == promised + 1;
		follow(twin, found);
		store_world_check(file->store, &twin->committed);
		close_file(file);
	}
	print_message("%" PRIu64 " commits, %" PRIu64 " times the one after the last that was told\n",
		      twin->committed.number, nr_next);
	assert_true(twin->committed.number > 0);
	store_world_end(twin);
	io_temp_remove(&temp);
	free(file);
	free(twin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(COW_07_a_killed_process_leaves_a_sound_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
