/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/toy_store.c - the smallest store that survives crashes.
 */
#include "support/toy_store.h"

#include "base/crc32c.h"
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x746f7921, PAYLOAD_BYTES = TOY_PAYLOAD_BLOCKS * THINP_BLOCK_SIZE };

/* Its ends are in different sectors, so that a torn one is a mixture. */
struct superblock {
	uint32_t magic;
	uint32_t sum; /* of all behind it; 0 without checksums */
	uint64_t commit;
	uint8_t unused[THINP_BLOCK_SIZE - 32];
	uint64_t payload_block;
	uint64_t payload_sum;
};
static_assert(sizeof(struct superblock) == THINP_BLOCK_SIZE, "a superblock is a block");

static uint32_t sum_of(const struct superblock *sb)
{
	return tp_crc32c(UINT32_MAX, &sb->commit, sizeof(*sb) - offsetof(struct superblock, commit));
}

static thinp_block_t payload_of(const struct toy_store *toy, uint64_t commit)
{
	return 2 + (toy->plants & TOY_IN_PLACE ? 0 : commit % 2 * TOY_PAYLOAD_BLOCKS);
}

static int flush(struct toy_store *toy, uint32_t unless)
{
	int r = toy->plants & unless ? 0 : thinp_io_flush(toy->io);

	return r && toy->plants & TOY_FLUSHES_AGAIN ? thinp_io_flush(toy->io) : r;
}

static int write_payload(struct toy_store *toy, uint64_t commit, uint32_t *sum)
{
	thinp_block_t block = payload_of(toy, commit);
	uint8_t *payload = io_blocks_new(TOY_PAYLOAD_BLOCKS);
	int r;

	io_blocks_fill(payload, block, TOY_PAYLOAD_BLOCKS, commit + 1);
	*sum = tp_crc32c(UINT32_MAX, payload, PAYLOAD_BYTES);
	r = thinp_io_write(toy->io, block, TOY_PAYLOAD_BLOCKS, payload);
	free(payload);
	return r;
}

static int write_superblock(struct toy_store *toy, uint64_t commit, uint32_t payload_sum)
{
	struct superblock *sb = io_blocks_new(1);
	int r;

	memset(sb, 0, sizeof(*sb));
	sb->magic = MAGIC;
	sb->commit = commit;
	sb->payload_block = payload_of(toy, commit);
	sb->payload_sum = payload_sum;
	sb->sum = toy->plants & TOY_NO_CHECKSUM ? 0 : sum_of(sb);
	r = thinp_io_write(toy->io, commit % 2, 1, sb);
	free(sb);
	return r;
}

static int write_commit(struct toy_store *toy, uint64_t commit)
{
	uint32_t sum = 0;
	int r = write_payload(toy, commit, &sum);

	if (!r)
		r = flush(toy, TOY_NO_FIRST_FLUSH);
	if (!r)
		r = write_superblock(toy, commit, sum);
	if (!r)
		r = flush(toy, TOY_NO_SECOND_FLUSH);
	if (!r)
		toy->commit = commit;
	return r;
}

int toy_format(struct toy_store *toy)
{
	return write_commit(toy, 0);
}

int toy_commit(struct toy_store *toy)
{
	return write_commit(toy, toy->commit + 1);
}

static bool is_sound(const struct toy_store *toy, const struct superblock *sb)
{
	return sb->magic == MAGIC && (toy->plants & TOY_NO_CHECKSUM || sb->sum == sum_of(sb));
}

static int check_payload(struct toy_store *toy, const struct superblock *sb)
{
	uint8_t *payload = io_blocks_new(TOY_PAYLOAD_BLOCKS);
	int r = thinp_io_read(toy->io, sb->payload_block, TOY_PAYLOAD_BLOCKS, payload);

	if (!r && tp_crc32c(UINT32_MAX, payload, PAYLOAD_BYTES) != sb->payload_sum)
		r = thinp_error_report(THINP_ECORRUPT, sb->payload_block, "the payload is not that of the commit");
	free(payload);
	return r;
}

static int choose(struct toy_store *toy, const struct superblock *slots)
{
	const struct superblock *newest = NULL;

	for (size_t i = 0; i < 2; i++)
		if (is_sound(toy, &slots[i]) && (!newest || slots[i].commit > newest->commit))
			newest = &slots[i];
	if (!newest)
		return thinp_error_report(THINP_EUNFORMATTED, 0, "no sound superblock");
	if (newest->payload_block >= TOY_NR_BLOCKS)
		return thinp_error_report(THINP_ECORRUPT, 0, "the superblock points beyond the end");
	toy->commit = newest->commit;
	return check_payload(toy, newest);
}

int toy_open(struct toy_store *toy)
{
	struct superblock *slots = io_blocks_new(2);
	int r = thinp_io_read(toy->io, 0, 2, slots);

	if (!r)
		r = choose(toy, slots);
	free(slots);
	return r;
}
