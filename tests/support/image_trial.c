/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_trial.c - OOMLOOP and ERRLOOP.
 */
#include "support/image_trial.h"

#include "support/image_expect.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int open_reader(struct image_trial *trial)
{
	return image_reader_reopen(&trial->reader, trial->image, 2);
}

static void close_reader(struct image_trial *trial)
{
	image_reader_close(&trial->reader);
}

struct image_trial image_trial_of_reader(struct image *image, int (*use)(struct image_trial *trial), const void *ctx)
{
	return (struct image_trial){.image = image, .open = open_reader, .use = use, .close = close_reader, .ctx = ctx};
}

/* The handle, if it was opened, works once nothing fails any more. */
static void end_attempt(struct image_trial *trial, bool is_open)
{
	alloc_counting_fail(&trial->reader.alloc, 0);
	image_fail_no_reads(trial->image);
	if (is_open) {
		assert_int_equal(trial->use(trial), 0);
		trial->close(trial);
	}
	alloc_counting_check(&trial->reader.alloc);
}

static int begin_attempt(struct image_trial *trial, bool *is_open)
{
	int r = trial->open(trial);

	*is_open = !r;
	return r ? r : trial->use(trial);
}

void image_trial_short_of_memory(struct image_trial *trial)
{
	bool has_failed = true;

	alloc_counting_init(&trial->reader.alloc);
	for (size_t n = 1; has_failed; n++) {
		bool is_open;
		int r;

		alloc_counting_fail(&trial->reader.alloc, n);
		r = begin_attempt(trial, &is_open);
		has_failed = alloc_counting_has_failed(&trial->reader.alloc);
		if (r) {
			assert_true(has_failed);
			assert_int_equal(r, THINP_ENOMEM);
			expect_detail(r);
		}
		end_attempt(trial, is_open);
	}
}

/* Did a read fail? */
static bool try_bad_read(struct image_trial *trial, uint64_t first, uint64_t last)
{
	uint64_t before = atomic_load(&trial->image->nr_reads);
	bool is_open, has_failed;
	int r;

	image_fail_reads(trial->image, first, last);
	r = begin_attempt(trial, &is_open);
	has_failed = atomic_load(&trial->image->nr_reads) >= before + first;
	if (r) {
		assert_true(has_failed);
		assert_int_equal(r, THINP_EIO);
		expect_detail(r);
	} else {
		assert_true(!has_failed || first == last);
	}
	end_attempt(trial, is_open);
	return has_failed;
}

void image_trial_of_bad_reads(struct image_trial *trial)
{
	alloc_counting_init(&trial->reader.alloc);
	for (uint64_t n = 1; try_bad_read(trial, n, n); n++)
		;
	for (uint64_t n = 1; try_bad_read(trial, n, UINT64_MAX); n++)
		;
}

void image_trial_run(struct image_trial *trial)
{
	image_trial_short_of_memory(trial);
	image_trial_of_bad_reads(trial);
}
