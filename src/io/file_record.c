/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_record.c - records of one block that are read back before they are written again.
 *
 * Whoever commits looks whether the record is still the one that it wrote, for somebody else may have written to the file.
 * Past the page cache that is a request to the device, a fifth of a small commit. So a block that is written durably and
 * alone goes through the page cache, by a descriptor of its own, and is read from there. What others on this system write to
 * the file, by whatever way, is in the page cache or takes what is there out of it.
 *
 * Only files: a kernel that uses a block device writes past its page cache.
 */
#include "io/file.h"

#include <stdio.h>

static void try_cache(struct tp_file *file)
{
	char path[32];

	file->has_tried_cache = true;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	file->cached_fd = tp_file_open_fd(file->sys, path, O_RDWR);
}

int tp_file_record_fd(struct tp_file *file)
{
	if (!file->is_direct || file->is_device)
		return file->fd;
	if (!file->has_tried_cache)
		try_cache(file);
	return file->cached_fd >= 0 ? file->cached_fd : file->fd;
}

void tp_file_note_record(struct tp_file *file, thinp_block_t block)
{
	if (file->cached_fd >= 0)
		atomic_store(&file->cached[block % TP_FILE_NR_CACHED], block + 1);
}

static bool is_cached(struct tp_file *file, thinp_block_t block)
{
	return atomic_load(&file->cached[block % TP_FILE_NR_CACHED]) == block + 1;
}

/* What is written past the page cache is not in it any more. */
static void forget(struct tp_file *file, thinp_block_t begin, thinp_block_t end)
{
	for (uint32_t i = 0; i < TP_FILE_NR_CACHED; i++)
		if (atomic_load(&file->cached[i]) - 1 - begin < end - begin)
			atomic_store(&file->cached[i], 0);
}

int tp_file_fd_for(struct tp_file *file, const struct tp_run *run)
{
	const struct thinp_io_op *last = &run->ops[run->nr_ops - 1];
	thinp_block_t begin = run->ops[0].block, end = last->block + last->nr_blocks;

	if (run->ops[0].kind == THINP_IO_WRITE) {
		forget(file, begin, end);
		return file->fd;
	}
	if (end - begin > TP_FILE_NR_CACHED)
		return file->fd;
	for (thinp_block_t block = begin; block < end; block++)
		if (!is_cached(file, block))
			return file->fd;
	return file->cached_fd;
}
