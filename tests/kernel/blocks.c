/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blocks.c - reads and writes many blocks of a device, past the cache: to start a program for each takes too long inside.
 *
 *   blocks sum DEVICE BLOCK_BYTES [PREFIX]
 *   blocks write DEVICE BLOCK_BYTES TEXT
 *
 * Standard input has lines "FIRST NR_BLOCKS". For each block, "sum" prints a line "BLOCK SUM", with PREFIX and a space before
 * it; what lies behind the end of the device is as if it were zero. "write" writes some bytes of it, which tell of TEXT and
 * the block, and makes them durable at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 4096 };

struct job {
	int fd;
	size_t block_bytes;
	uint8_t *buffer; /* of a block, aligned as the device wants it */
	const char *text;
};

static uint64_t sum_of(const uint64_t *words, size_t nbytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < nbytes / sizeof(*words); i++)
		sum = (sum ^ words[i]) * UINT64_C(0x9E3779B97F4A7C15) + (sum >> 29);
	return sum;
}

static int read_block(const struct job *job, uint64_t block)
{
	size_t done = 0;

	memset(job->buffer, 0, job->block_bytes);
	while (done < job->block_bytes) {
		ssize_t n = pread(job->fd, job->buffer + done, job->block_bytes - done,
				  (off_t)(block * job->block_bytes + done));

		if (n <= 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

static int sum_block(const struct job *job, uint64_t block)
{
	if (read_block(job, block))
		return -1;
	return printf("%s%s%" PRIu64 " %016" PRIx64 "\n", job->text, *job->text ? " " : "", block,
		      sum_of((const void *)job->buffer, job->block_bytes));
}

static int write_block(const struct job *job, uint64_t block)
{
	ssize_t n;

	memset(job->buffer, 0, PIECE);
	snprintf((char *)job->buffer, PIECE, "%s, block %" PRIu64 "\n", job->text, block);
	n = pwrite(job->fd, job->buffer, PIECE, (off_t)(block * job->block_bytes));
	if (n >= 0 && n != PIECE)
		errno = ENOSPC;
	return n == PIECE ? 0 : -1;
}

static int for_each_block(const struct job *job, int (*fn)(const struct job *job, uint64_t block))
{
	uint64_t first, nr;

	while (scanf("%" SCNu64 " %" SCNu64, &first, &nr) == 2)
		for (uint64_t block = first; block - first < nr; block++)
			if (fn(job, block) < 0)
				return -1;
	return 0;
}

static int run(struct job *job, bool is_write)
{
	if (posix_memalign((void **)&job->buffer, PIECE, job->block_bytes))
		return -1;
	if (for_each_block(job, is_write ? write_block : sum_block) || (is_write && fsync(job->fd)))
		return -1;
	free(job->buffer);
	return close(job->fd) || fflush(stdout);
}

int main(int argc, char **argv)
{
	bool is_write = argc == 5 && strcmp(argv[1], "write") == 0;
	struct job job = {.block_bytes = argc > 3 ? strtoul(argv[3], NULL, 0) : 0, .text = argc == 5 ? argv[4] : ""};

	if (!job.block_bytes || job.block_bytes % PIECE || (!is_write && strcmp(argv[1], "sum") != 0)) {
		fprintf(stderr,
			"usage: blocks sum DEVICE BLOCK_BYTES [PREFIX], or blocks write DEVICE BLOCK_BYTES TEXT\n");
		return 2;
	}
	job.fd = open(argv[2], (is_write ? O_WRONLY : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (job.fd >= 0 && run(&job, is_write) == 0)
		return 0;
	fprintf(stderr, "blocks: %s: %s\n", argv[2], strerror(errno));
	return 1;
}
