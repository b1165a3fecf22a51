/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_trial.h - OOMLOOP and ERRLOOP of history.md for functions that read.
 *
 * A trial opens a handle, uses it, and closes it. It is repeated with the first, second, third ... allocation or read
 * failing, until it comes to its end without. Whatever failed, the handle must work afterwards, and leave nothing behind.
 */
#ifndef TP_TEST_IMAGE_TRIAL_H
#define TP_TEST_IMAGE_TRIAL_H

#include "support/image_device.h"

struct image_trial {
	struct image *image;
	int (*open)(struct image_trial *trial);
	/* Looks at the results itself when the library returns 0; never turns 0 into something else, nor back. */
	int (*use)(struct image_trial *trial);
	void (*close)(struct image_trial *trial);
	const void *ctx;
	struct image_reader reader; /* its allocator is the one that fails; the rest is for image_trial_of_reader() */
	void *handle;               /* for a trial of another kind */
};

/* Fills in open and close for a use of trial->reader with a cache of two blocks. */
struct image_trial image_trial_of_reader(struct image *image, int (*use)(struct image_trial *trial), const void *ctx);

/* The n-th allocation fails: the use returns THINP_ENOMEM, or 0 where the library can do without. */
void image_trial_short_of_memory(struct image_trial *trial);

/* The n-th read fails, alone or with all behind it: the use returns THINP_EIO; 0 is allowed when only one read fails,
 * as it may have been a prefetch. */
void image_trial_of_bad_reads(struct image_trial *trial);

/* Both. */
void image_trial_run(struct image_trial *trial);

#endif
