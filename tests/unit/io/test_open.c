/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_open.c - which back-end a name leads to.
 */
#include "support/io_conformance.h"
#include "support/io_device_fixture.h"
#include "support/io_file_fixture.h"
#include "support/uring_script.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
	int r = io_file_setup(state);

	io_file_make(*state, 5 * THINP_BLOCK_SIZE, 1);
	return r;
}

/* Opens a name made of a word and a path; "" when it was refused, else the back-end's name. */
static const char *opened_by(struct io_file_fixture *f, const char *word, const char *path, int code)
{
	static char backend[16];
	char name[160];

	snprintf(name, sizeof(name), "%s%s", word, path);
	assert_int_equal(thinp_io_open(name, &f->opts, &f->io), code);
	if (code) {
		assert_null(f->io);
		io_expect_told(code);
		return "";
	}
	snprintf(backend, sizeof(backend), "%s", thinp_io_backend_name(f->io));
	io_file_close(f);
	alloc_counting_check(&f->alloc);
	return backend;
}

static void a_file_is_opened_as_a_file(void **state)
{
	struct io_file_fixture *f = *state;

	assert_string_equal(opened_by(f, "", f->path, 0), "file");
	assert_string_equal(opened_by(f, "file:", f->path, 0), "file");
	opened_by(f, "device:", f->path, THINP_ENOTSUP);
}

static void io_uring_is_used_when_it_is_named(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};

	if (!uring_obstacle()) {
		assert_string_equal(opened_by(f, "uring:", f->path, 0), "uring");
		return;
	}
	opened_by(f, "uring:", f->path, THINP_ENOTSUP);
	thinp_error_last(&info);
	assert_non_null(strstr(info.message, "io_uring"));
	print_message("io_uring cannot be had here: %s\n", uring_obstacle());
}

static void a_block_device_is_opened_as_one(void **state)
{
	struct io_file_fixture *f = *state;
	static struct io_device_fixture d;
	const char *obstacle = io_device_obstacle();

	if (obstacle) {
		print_message("loop devices cannot be had here: %s\n", obstacle);
		skip();
	}
	io_device_make(&d, 5, 512);
	assert_string_equal(opened_by(f, "", d.loop.path, 0), "device");
	assert_string_equal(opened_by(f, "device:", d.loop.path, 0), "device");
	opened_by(f, "file:", d.loop.path, THINP_ENOTSUP);
	if (!uring_obstacle())
		assert_string_equal(opened_by(f, "uring:", d.loop.path, 0), "uring");
	f->opts.flags = THINP_IO_CREATE; /* which only matters where nothing is */
	assert_string_equal(opened_by(f, "", d.loop.path, 0), "device");
	io_device_remove(&d);
}

static void memory_has_the_size_that_is_asked_for(void **state)
{
	struct io_file_fixture *f = *state;
	uint64_t nr_blocks = 0;

	f->opts.nr_blocks = 77;
	assert_int_equal(thinp_io_open("memory:", &f->opts, &f->io), 0);
	assert_string_equal(thinp_io_backend_name(f->io), "memory");
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, 77);
	io_file_close(f);
	opened_by(f, "memory:", f->path, THINP_EINVAL);
}

static void a_plain_path_can_be_created(void **state)
{
	struct io_file_fixture *f = *state;

	unlink(f->path);
	opened_by(f, "", f->path, THINP_ENOENT);
	f->opts.flags = THINP_IO_CREATE;
	assert_string_equal(opened_by(f, "", f->path, 0), "file");
}

static void what_is_neither_is_refused(void **state)
{
	struct io_file_fixture *f = *state;

	opened_by(f, "", "/dev/null", THINP_ENOTSUP);
	opened_by(f, "", f->temp.dir, THINP_ENOTSUP);
	opened_by(f, "", "", THINP_ENOENT);
	opened_by(f, "file:", "", THINP_ENOENT);
	opened_by(f, "device:", "", THINP_ENOENT);
	assert_int_equal(thinp_io_open(NULL, NULL, &f->io), THINP_EINVAL);
	io_expect_told(THINP_EINVAL);
}

/* A file whose name begins with one of the words, or with a word that is none. */
static void a_folder_in_front_makes_a_name_a_path(void **state)
{
	static const char *const names[] = {"file:x", "device:x", "uring:x", "memory:"};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(rename(f->path, io_temp_path(&f->temp, names[i])), 0);
		snprintf(f->path, sizeof(f->path), "%s", io_temp_path(&f->temp, names[i]));
		assert_string_equal(opened_by(f, "", f->path, 0), "file");
	}
	assert_int_equal(chdir(f->temp.dir), 0);
	opened_by(f, "", "memory:x", THINP_EINVAL);
	opened_by(f, "", "file:memory", THINP_ENOENT);
	assert_string_equal(opened_by(f, "file:", "memory:", 0), "file");
	assert_int_equal(rename("memory:", "ftp:x"), 0);
	assert_string_equal(opened_by(f, "", "ftp:x", 0), "file");
	assert_int_equal(chdir(".."), 0);
}

static int attempt_open(void *ctx)
{
	struct io_file_fixture *f = ctx;
	int r = thinp_io_open(f->path, &f->opts, &f->io);

	io_file_close(f);
	return r;
}

static void OOMLOOP_opening_leaks_nothing(void **state)
{
	struct io_file_fixture *f = *state;

	alloc_counting_loop(&f->alloc, attempt_open, f);
	snprintf(f->path, sizeof(f->path), "memory:");
	alloc_counting_loop(&f->alloc, attempt_open, f);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, io_file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_file_is_opened_as_a_file),
		CASE(io_uring_is_used_when_it_is_named),
		CASE(a_block_device_is_opened_as_one),
		CASE(memory_has_the_size_that_is_asked_for),
		CASE(a_plain_path_can_be_created),
		CASE(what_is_neither_is_refused),
		CASE(a_folder_in_front_makes_a_name_a_path),
		CASE(OOMLOOP_opening_leaks_nothing),
	};

	return cmocka_run_group_tests_name("io/open", tests, NULL, NULL);
}
