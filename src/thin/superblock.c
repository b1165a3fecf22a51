/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/superblock.c - reading the superblock, and deciding what to make of it.
 *
 * Three answers: refused as damage, refused as a feature that we do not know, taken with a word to the log. Which is
 * which is listed in docs/format.md under "Checks".
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "format/kind.h"
#include "format/space_map.h"
#include "thin/pool.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void warn(const struct thinp_pool *pool, const char *format, ...) TP_PRINTF(2, 3);

static void warn(const struct thinp_pool *pool, const char *format, ...)
{
	char text[160];
	struct thinp_log_record rec = {.size = sizeof(rec), .level = THINP_LOG_WARNING, .room = "thin", .text = text};
	va_list args;

	if (!pool->log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pool->log(pool->log_ctx, &rec);
}

/* What people hand over by mistake. */
static int refuse_other_input(const uint8_t *data)
{
	static const char *const beginnings[] = {"<superblock", "<?xml"};

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (!memcmp(data, beginnings[i], strlen(beginnings[i])))
			return tp_fail(THINP_ECORRUPT, 0, "this looks like XML, not like the metadata of a pool");
	return 0;
}

static int read_block0(struct thinp_pool *pool, uint8_t *data)
{
	uint64_t nr_blocks;
	int r = thinp_io_size(pool->io, &nr_blocks);

	if (r)
		return r;
	if (!nr_blocks)
		return tp_fail(THINP_ECORRUPT, 0, "smaller than a block: too small for the metadata of a pool");
	r = thinp_io_read(pool->io, 0, 1, data);
	if (r)
		return r;
	if (tp_is_zero(data, THINP_BLOCK_SIZE))
		return tp_fail(THINP_EUNFORMATTED, 0, "block 0 is all zero: no pool was ever made here");
	r = refuse_other_input(data);
	return r ? r : tp_block_verify(data, 0, thinp_block_type_thin_superblock());
}

static int check_features(const struct thinp_pool *pool, const struct tp_thin_superblock *sb)
{
	if (sb->incompat_flags)
		return tp_fail(THINP_ENOTSUP, sb->block,
			       "the pool uses features that must be understood, but are not: incompat %#x",
			       sb->incompat_flags);
	if (sb->compat_ro_flags)
		warn(pool, "unknown features that allow reading only: compat_ro %#x", sb->compat_ro_flags);
	if (sb->compat_flags)
		warn(pool, "unknown features that may be ignored: compat %#x", sb->compat_flags);
	return 0;
}

static bool is_good_data_block_size(uint32_t sectors)
{
	return sectors >= 128 && sectors <= 2097152 && sectors % 128 == 0;
}

/* 0: it does not tell, which is no failure of what is done here. */
static uint64_t size_of_device(const struct thinp_pool *pool)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	uint64_t nr_blocks;

	thinp_error_last(&before);
	if (!thinp_io_size(pool->io, &nr_blocks))
		return nr_blocks;
	tp_error_restore(&before);
	return 0;
}

static void warn_of_oddities(const struct thinp_pool *pool, const struct tp_thin_superblock *sb, const uint8_t *data)
{
	uint64_t device_blocks = size_of_device(pool);

	if (sb->version != 1 && sb->version != 2)
		warn(pool, "superblock: version %u, known are 1 and 2", sb->version);
	if (sb->flags & ~TP_THIN_FLAG_NEEDS_CHECK)
		warn(pool, "superblock: unknown flags %#x", sb->flags);
	if (!is_good_data_block_size(sb->data_block_size))
		warn(pool, "superblock: data blocks of %u sectors, which no kernel takes", sb->data_block_size);
	if (sb->metadata_nr_blocks > sb->metadata_sm.nr_blocks)
		warn(pool, "superblock: made for %" PRIu64 " metadata blocks, but counts are kept of %" PRIu64,
		     sb->metadata_nr_blocks, sb->metadata_sm.nr_blocks);
	if (!tp_is_zero(sb->uuid, sizeof(sb->uuid)) || !tp_is_zero(sb->data_sm_tail, sizeof(sb->data_sm_tail)) ||
	    !tp_is_zero(sb->metadata_sm_tail, sizeof(sb->metadata_sm_tail)) ||
	    !tp_is_zero(data + TP_THIN_SUPERBLOCK_SIZE, THINP_BLOCK_SIZE - TP_THIN_SUPERBLOCK_SIZE))
		warn(pool, "superblock: bytes that should be zero are not");
	if (device_blocks && device_blocks < sb->metadata_sm.nr_blocks)
		warn(pool, "the metadata has %" PRIu64 " blocks, but the device ends after %" PRIu64,
		     sb->metadata_sm.nr_blocks, device_blocks);
}

void tp_thin_warn_of_excess(const struct thinp_pool *pool)
{
	uint64_t device_blocks = size_of_device(pool);

	if (device_blocks > TP_METADATA_MAX_BLOCKS)
		warn(pool, "the metadata device has %" PRIu64 " blocks, of which a pool can use no more than %" PRIu64,
		     device_blocks, TP_METADATA_MAX_BLOCKS);
}

int tp_thin_read_superblock(struct thinp_pool *pool)
{
	uint8_t *data = tp_alloc_aligned(&pool->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	struct tp_thin_superblock sb;
	int r;

	if (!data)
		return THINP_ENOMEM;
	r = read_block0(pool, data);
	if (r)
		goto out;
	tp_thin_superblock_unpack(data, &sb);
	r = check_features(pool, &sb);
	if (!r)
		r = tp_thin_superblock_check_roots(&sb);
	if (r)
		goto out;
	warn_of_oddities(pool, &sb, data);
	pool->live = sb;
	pool->shown = &pool->live;
out:
	tp_free(&pool->allocator, data, THINP_BLOCK_SIZE);
	return r;
}

/* The copy was made from the live superblock, at an earlier time of the same pool. */
static int check_against_live(const struct tp_thin_superblock *copy, const struct tp_thin_superblock *live)
{
	if (copy->data_block_size != live->data_block_size)
		return tp_fail(THINP_ECORRUPT, live->held_root,
			       "metadata snapshot: data blocks of %u sectors, the pool has %u", copy->data_block_size,
			       live->data_block_size);
	if (copy->time > live->time)
		return tp_fail(THINP_ECORRUPT, live->held_root,
			       "metadata snapshot: time %u is later than the pool's %u", copy->time, live->time);
	return tp_thin_superblock_check_snap_roots(copy, live->metadata_sm.nr_blocks);
}

int tp_thin_read_metadata_snap(struct thinp_pool *pool)
{
	struct thinp_read_section section;
	struct tp_thin_superblock copy;
	const void *data;
	int r;

	if (!pool->live.held_root)
		return tp_fail(THINP_ENOENT, THINP_NO_BLOCK, "the pool has no metadata snapshot");
	thinp_read_begin(pool->reader, &section);
	r = thinp_read_block(&section, pool->live.held_root, thinp_block_type_thin_superblock(), &data);
	if (!r)
		tp_thin_superblock_unpack(data, &copy);
	thinp_read_end(&section);
	if (!r)
		r = check_features(pool, &copy);
	if (!r)
		r = check_against_live(&copy, &pool->live);
	if (r)
		return r;
	if (copy.held_root || copy.data_sm.nr_blocks || copy.metadata_sm.nr_blocks)
		warn(pool, "metadata snapshot: bytes that should be zero are not");
	pool->snap = copy;
	pool->shown = &pool->snap;
	pool->is_metadata_snap = true;
	return 0;
}
