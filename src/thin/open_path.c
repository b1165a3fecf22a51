/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/open_path.c - a pool together with its device.
 */
#include "base/error.h"
#include "thin/pool.h"

/* What may change while it is read is refused: all but a metadata snapshot. */
static uint32_t device_flags(uint32_t pool_flags)
{
	if (pool_flags & THINP_POOL_WRITABLE)
		return 0;
	return THINP_IO_READ_ONLY | (pool_flags & THINP_POOL_METADATA_SNAP ? 0u : THINP_IO_EXCLUSIVE);
}

static bool has_size_for_new(const struct thinp_pool_opts *opts)
{
	return opts->flags & THINP_POOL_CREATE && opts->nr_metadata_blocks;
}

static int open_device(const char *path, const struct thinp_pool_opts *opts, struct thinp_io **io)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct thinp_io_opts io_opts = {
		.size = sizeof(io_opts), .flags = device_flags(opts->flags), .allocator = opts->allocator};
	int r;

	thinp_error_last(&before);
	r = thinp_io_open(path, &io_opts, io);
	if (r != THINP_ENOENT || !has_size_for_new(opts))
		return r;
	io_opts.flags |= THINP_IO_CREATE;
	r = thinp_io_open(path, &io_opts, io);
	if (!r)
		tp_error_restore(&before);
	return r;
}

/* A pool that is there keeps the size of its device, whatever the options say of new ones. */
static int give_size(struct thinp_io *io, const struct thinp_pool_opts *opts)
{
	uint64_t nr_blocks;
	int r = thinp_io_size(io, &nr_blocks);

	if (!r && !nr_blocks && has_size_for_new(opts))
		r = thinp_io_resize(io, opts->nr_metadata_blocks);
	return r;
}

int thinp_pool_open_path(const char *path, const struct thinp_pool_opts *user_opts, struct thinp_pool **pool)
{
	struct thinp_allocator allocator;
	struct thinp_pool_opts opts;
	struct thinp_pool *opened;
	struct thinp_io *io;
	int r = tp_thin_take_opts(&opts, &allocator, user_opts);

	if (!r)
		r = open_device(path, &opts, &io);
	if (r)
		return r;
	r = give_size(io, &opts);
	if (!r)
		r = thinp_pool_open(io, user_opts, &opened);
	if (r) {
		thinp_io_close(io);
		return r;
	}
	opened->owns_io = true;
	*pool = opened;
	return 0;
}
