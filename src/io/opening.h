/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/opening.h - what opening a file and opening a block device have in common.
 */
#ifndef TP_IO_OPENING_H
#define TP_IO_OPENING_H

#include "io/file.h"

struct tp_opening {
	const char *path;
	const struct tp_file_sys *sys;
	struct thinp_io_opts opts;
	struct thinp_allocator allocator;
	struct tp_file *file;
	bool is_created; /* by us: to be removed when something fails */
};

/* Takes the options and makes the handle. name: of the back-end. When it fails, there is nothing to be abandoned. */
int tp_opening_begin(struct tp_opening *o, const char *path, const struct thinp_io_opts *opts,
		     const struct tp_file_sys *sys, const char *name);

/* Then one of these two. Whether they succeed or not, the opening is abandoned when it does not come to an end. */
int tp_opening_do_file(struct tp_opening *o);
int tp_opening_do_device(struct tp_opening *o);

/* Undoes everything: closes, and removes what was created. */
void tp_opening_abandon(const struct tp_opening *o);

/* All of it, when the open file itself is what the back-end stands on: begins, takes one of the two ways, makes the
 * device, and abandons when something fails. */
int tp_opening_do_all(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
		      const struct thinp_io_backend *backend, int (*way)(struct tp_opening *o), struct thinp_io **io);

/* The parts that both have. Each returns 0 or one of enum thinp_err. */
bool tp_opening_is_read_only(const struct tp_opening *o);
int tp_opening_lock(struct tp_opening *o);
int tp_opening_choose_direct(const struct tp_opening *o, bool is_wanted);

/* Reports a failed system call; err is a negative errno. */
int tp_opening_fail(const struct tp_opening *o, int err, const char *what);

#endif
