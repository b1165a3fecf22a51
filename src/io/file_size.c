/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_size.c - growing and shrinking a file.
 *
 * Room is allocated before it is promised (COW-24): a file that were only made longer would run out of space when a
 * commit writes to it, or worse, when the page cache does. Where the file system cannot allocate, the new blocks are
 * written as zeros, which takes as long as it takes but leaves nothing to be found out later; the same where the user asks
 * for it, since room that was only allocated costs the file system a write of its own when it is used. The new size is made
 * durable before anybody builds on it. Growth does not touch the name of the file, so its directory is not flushed.
 *
 *   before   | block 0 | block 1 | tail |                       the tail is shorter than a block and does not count
 *   after    | block 0 | block 1 | block 2 | ... | block n |    blocks 2 to n read as zeros, the old tail included
 */
#include "io/file.h"

#include "base/error.h"

#include <errno.h>

enum { ZEROS_PER_CALL = 256 };

static const _Alignas(THINP_BLOCK_SIZE) uint8_t zero_block[THINP_BLOCK_SIZE];

static int write_zeros(const struct tp_file *file, off_t begin, off_t end)
{
	struct iovec iov[ZEROS_PER_CALL];

	for (size_t i = 0; i < ZEROS_PER_CALL; i++) {
		iov[i].iov_base = (void *)(uintptr_t)zero_block; /* only read from */
		iov[i].iov_len = sizeof(zero_block);
	}
	while (begin < end) {
		off_t left = (end - begin) / (off_t)sizeof(zero_block);
		size_t nr = left < ZEROS_PER_CALL ? (size_t)left : ZEROS_PER_CALL;
		ssize_t n;

		if (!nr) { /* the rest of a block that a short write left behind */
			nr = 1;
			iov[0].iov_len = (size_t)(end - begin);
		}
		n = tp_file_move(file, file->fd, true, iov, nr, begin);
		if (n <= 0)
			return n ? (int)n : -EIO;
		begin += n;
	}
	return 0;
}

/* Takes room for the bytes from begin to end, which read as zeros afterwards. `old` is the size of the file. */
static int take_room(const struct tp_file *file, off_t old, off_t begin, off_t end)
{
	int r = tp_file_allocate(file, 0, begin, end - begin);

	if (r == -EOPNOTSUPP || r == -ENOSYS || (!r && file->writes_zeros))
		return write_zeros(file, begin, end);
	if (!r && old > begin)
		r = write_zeros(file, begin, begin + THINP_BLOCK_SIZE);
	return r;
}

static int grow(struct tp_file *file, uint64_t nr_blocks)
{
	off_t begin = tp_file_offset(atomic_load(&file->nr_blocks));
	struct stat st;
	int r;

	if (file->sys->fstat(file->fd, &st) < 0)
		return -errno;
	r = take_room(file, st.st_size, begin, tp_file_offset(nr_blocks));
	if (!r)
		r = tp_file_sync_size(file);
	if (r) {
		tp_file_truncate(file, st.st_size); /* if that fails too the file is longer than it need be, no more */
		return r;
	}
	atomic_store(&file->nr_blocks, nr_blocks);
	return 0;
}

static int shrink(struct tp_file *file, uint64_t nr_blocks)
{
	int r = tp_file_truncate(file, tp_file_offset(nr_blocks));

	if (r)
		return r;
	/* even if the flush fails: the blocks cut off are not there any more */
	atomic_store(&file->nr_blocks, nr_blocks);
	return tp_file_sync_size(file);
}

/* The size to grow to: a whole number of steps more than now. */
static int step_up(const struct tp_file *file, uint64_t now, uint64_t wanted, uint64_t *nr_blocks)
{
	uint64_t more = wanted - now;
	uint64_t over = file->grow_step ? more % file->grow_step : 0;
	uint64_t extra = over ? file->grow_step - over : 0;

	if (extra > TP_IO_MAX_BLOCKS - wanted)
		return -ERANGE;
	*nr_blocks = wanted + extra;
	return 0;
}

int tp_file_resize(struct tp_file *file, uint64_t nr_blocks)
{
	uint64_t now = atomic_load(&file->nr_blocks);
	int r;

	if (file->is_device)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s: a block device cannot change its size", file->name);
	if (nr_blocks < now)
		return shrink(file, nr_blocks);
	if (nr_blocks == now)
		return 0;
	r = step_up(file, now, nr_blocks, &nr_blocks);
	return r ? r : grow(file, nr_blocks);
}
