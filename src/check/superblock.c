/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/superblock.c - block 0, and its copy in the metadata snapshot.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "check/checker.h"
#include "format/kind.h"
#include "store/view.h"

#include <inttypes.h>
#include <string.h>

#define MAX_TORN 100u /* so often, a block that is read again and again is not in the middle of a write */

/* A field of the superblock that is not as it should be. */
static void found(struct tp_checker *checker, int rule, int severity, uint64_t stored, uint64_t expected,
		  const char *text)
{
	struct tp_finding finding = tp_finding(rule, severity, THINP_CHECK_SUPERBLOCK, 0);

	finding.stored = stored;
	finding.expected = expected;
	if (expected == THINP_CHECK_NONE)
		tp_found(&checker->workers[0].finder, &finding, "%s: %" PRIu64, text, stored);
	else
		tp_found(&checker->workers[0].finder, &finding, "%s: %" PRIu64 ", not %" PRIu64, text, stored,
			 expected);
}

static bool has_checksum(const uint8_t *data)
{
	return (tp_block_crc(data) ^ TP_CSUM_XOR_THIN_SUPERBLOCK) == tp_load_le32(data);
}

/* Of block 0: is it one? Nothing behind it is looked at when not. */
static bool check_identity(struct tp_checker *checker, const uint8_t *data)
{
	struct tp_worker *worker = &checker->workers[0];
	struct tp_finding finding = tp_finding(THINP_CHECK_SB18, THINP_CHECK_FATAL, THINP_CHECK_SUPERBLOCK, 0);

	if (data && tp_is_zero(data, THINP_BLOCK_SIZE)) {
		tp_found(&worker->finder, &finding, "block 0 is all zero: no pool was ever made here");
		return false;
	}
	/* the kernel refuses a superblock that says it is elsewhere, but it can be read */
	return tp_check_block(worker, data, 0, THINP_CHECK_SUPERBLOCK) || (data && has_checksum(data));
}

static bool check_features(struct tp_checker *checker)
{
	const struct tp_thin_superblock *sb = &checker->live;

	if (sb->magic != TP_THIN_MAGIC)
		found(checker, THINP_CHECK_SB3, THINP_CHECK_FATAL, sb->magic, TP_THIN_MAGIC, "magic number");
	if (sb->incompat_flags)
		found(checker, THINP_CHECK_SB8, THINP_CHECK_FATAL, sb->incompat_flags, 0,
		      "features that must be understood, but are not");
	if (sb->compat_ro_flags)
		found(checker, THINP_CHECK_SB8, THINP_CHECK_FATAL, sb->compat_ro_flags, 0,
		      "unknown features that allow reading only");
	if (sb->compat_flags)
		found(checker, THINP_CHECK_SB7, THINP_CHECK_WARNING, sb->compat_flags, 0,
		      "unknown features that may be ignored");
	return sb->magic == TP_THIN_MAGIC && !sb->incompat_flags;
}

static void check_fields(struct tp_checker *checker, const uint8_t *data)
{
	const struct tp_thin_superblock *sb = &checker->live;
	uint32_t sectors = sb->data_block_size;

	if (sb->version != 1 && sb->version != 2)
		found(checker, THINP_CHECK_SB4, THINP_CHECK_WARNING, sb->version, 2, "version");
	if (sb->flags & ~TP_THIN_FLAG_NEEDS_CHECK)
		found(checker, THINP_CHECK_SB5, THINP_CHECK_WARNING, sb->flags, THINP_CHECK_NONE, "unknown flags");
	if (sb->flags & TP_THIN_FLAG_NEEDS_CHECK)
		found(checker, THINP_CHECK_SB6, THINP_CHECK_STATE, sb->flags, THINP_CHECK_NONE,
		      "the pool asks for a check, flags");
	if (sb->metadata_block_size != TP_METADATA_BLOCK_SECTORS)
		found(checker, THINP_CHECK_SB9, THINP_CHECK_FATAL, sb->metadata_block_size, TP_METADATA_BLOCK_SECTORS,
		      "sectors of a metadata block");
	if (sectors < 128 || sectors > 2097152 || sectors % 128)
		found(checker, THINP_CHECK_SB10, THINP_CHECK_FATAL, sectors, THINP_CHECK_NONE,
		      "no kernel takes data blocks of so many sectors");
	if (sb->metadata_nr_blocks > sb->metadata_sm.nr_blocks)
		found(checker, THINP_CHECK_SB11, THINP_CHECK_WARNING, sb->metadata_nr_blocks, sb->metadata_sm.nr_blocks,
		      "made for more metadata blocks than are counted");
	if (!tp_is_zero(sb->uuid, sizeof(sb->uuid)) || !tp_is_zero(sb->data_sm_tail, sizeof(sb->data_sm_tail)) ||
	    !tp_is_zero(sb->metadata_sm_tail, sizeof(sb->metadata_sm_tail)) ||
	    !tp_is_zero(data + TP_THIN_SUPERBLOCK_SIZE, THINP_BLOCK_SIZE - TP_THIN_SUPERBLOCK_SIZE))
		found(checker, THINP_CHECK_SB12, THINP_CHECK_WARNING, 1, 0, "bytes that should be zero are not");
	if (sb->time > TP_THIN_MAX_TIME)
		found(checker, THINP_CHECK_SB17, THINP_CHECK_FATAL, sb->time, THINP_CHECK_NONE,
		      "the clock is beyond its end");
}

static void check_sizes(struct tp_checker *checker)
{
	const struct tp_thin_superblock *sb = &checker->live;
	const struct tp_sm_root *metadata = &sb->metadata_sm;

	if (metadata->nr_blocks > TP_METADATA_MAX_BLOCKS || !metadata->nr_blocks)
		found(checker, THINP_CHECK_SB13, THINP_CHECK_FATAL, metadata->nr_blocks, THINP_CHECK_NONE,
		      "metadata cannot have so many blocks");
	else if (metadata->nr_blocks > checker->device_blocks)
		found(checker, THINP_CHECK_SB13, THINP_CHECK_WARNING, metadata->nr_blocks, checker->device_blocks,
		      "the device ends before the metadata: blocks");
	if (sb->data_sm.nr_blocks > TP_DATA_MAX_BLOCKS)
		found(checker, THINP_CHECK_SB15, THINP_CHECK_FATAL, sb->data_sm.nr_blocks, THINP_CHECK_NONE,
		      "a data device cannot have so many blocks");
	if (metadata->nr_allocated > metadata->nr_blocks)
		found(checker, THINP_CHECK_SB16, THINP_CHECK_META, metadata->nr_allocated, metadata->nr_blocks,
		      "more metadata blocks in use than there are");
	if (sb->data_sm.nr_allocated > sb->data_sm.nr_blocks)
		found(checker, THINP_CHECK_SB16, THINP_CHECK_META, sb->data_sm.nr_allocated, sb->data_sm.nr_blocks,
		      "more data blocks in use than there are");
	checker->map_blocks =
		metadata->nr_blocks < TP_METADATA_MAX_BLOCKS ? metadata->nr_blocks : TP_METADATA_MAX_BLOCKS;
	checker->nr_blocks =
		checker->map_blocks < checker->device_blocks ? checker->map_blocks : checker->device_blocks;
	checker->has_data_map = sb->data_sm.nr_blocks <= TP_DATA_MAX_BLOCKS;
	checker->nr_counted = checker->nr_blocks * TP_BITMAP_NR_ENTRIES; /* a larger map cannot be whole */
	if (checker->nr_counted > sb->data_sm.nr_blocks)
		checker->nr_counted = sb->data_sm.nr_blocks;
	if (!checker->has_data_map)
		checker->nr_counted = 0;
}

/* A root that cannot be where the superblock says is told here; pointers are followed all the same, and told again. */
static void check_roots(struct tp_checker *checker)
{
	const struct tp_thin_superblock *sb = &checker->live;
	const uint64_t roots[] = {sb->metadata_sm.bitmap_root,
				  sb->metadata_sm.ref_count_root,
				  sb->data_sm.bitmap_root,
				  sb->data_sm.ref_count_root,
				  sb->mapping_root,
				  sb->details_root,
				  sb->held_root};
	size_t nr = sizeof(roots) / sizeof(roots[0]) - !sb->held_root;

	for (size_t i = 0; i < nr; i++) {
		if (!roots[i] || roots[i] >= checker->map_blocks)
			found(checker, THINP_CHECK_SB14, THINP_CHECK_FATAL, roots[i], THINP_CHECK_NONE,
			      "a root that is not within the metadata");
		for (size_t j = 0; j < i; j++)
			if (roots[i] == roots[j])
				found(checker, THINP_CHECK_SB14, THINP_CHECK_FATAL, roots[i], THINP_CHECK_NONE,
				      "two roots at one block");
	}
}

/* Block 0, or what a view has of it. While a pool is in use, block 0 may be read in the middle of a write. */
static const uint8_t *read_superblock(struct tp_checker *checker)
{
	const uint8_t *data;
	unsigned nr = 0;

	if (checker->view)
		return checker->view->commit->record;
	if (!checker->device_blocks)
		return NULL;
	do
		data = tp_window_read_one(&checker->ahead, 0);
	while (checker->only_snap && data && !has_checksum(data) && ++nr < MAX_TORN);
	return data;
}

int tp_superblock_check(struct tp_checker *checker, bool *go_on)
{
	struct tp_worker *worker = &checker->workers[0];
	const uint8_t *data = read_superblock(checker);

	worker->nr_read++;
	*go_on = false;
	if (!check_identity(checker, data))
		return 0;
	tp_thin_superblock_unpack(data, &checker->live);
	if (!check_features(checker))
		return 0;
	check_fields(checker, data);
	check_sizes(checker);
	if (!checker->nr_blocks)
		return 0;
	check_roots(checker);
	*go_on = true;
	return 0;
}

/* --- the metadata snapshot --- */

static void found_snap(struct tp_checker *checker, int rule, int severity, uint64_t stored, uint64_t expected,
		       const char *text)
{
	struct tp_finding finding = tp_finding(rule, severity, THINP_CHECK_SNAP, checker->live.held_root);

	finding.stored = stored;
	finding.expected = expected;
	tp_found(&checker->workers[0].finder, &finding, "metadata snapshot: %s: %" PRIu64 ", not %" PRIu64, text,
		 stored, expected);
}

static bool is_sm_root_zero(const struct tp_sm_root *root)
{
	return !root->nr_blocks && !root->nr_allocated && !root->bitmap_root && !root->ref_count_root;
}

static void check_snap_fields(struct tp_checker *checker)
{
	const struct tp_thin_superblock *held = &checker->held;
	const struct tp_thin_superblock *live = &checker->live;

	if (held->held_root)
		found_snap(checker, THINP_CHECK_H2, THINP_CHECK_WARNING, held->held_root, 0, "has one itself");
	if (!is_sm_root_zero(&held->data_sm) || !is_sm_root_zero(&held->metadata_sm) ||
	    !tp_is_zero(held->data_sm_tail, sizeof(held->data_sm_tail)) ||
	    !tp_is_zero(held->metadata_sm_tail, sizeof(held->metadata_sm_tail)))
		found_snap(checker, THINP_CHECK_H2, THINP_CHECK_WARNING, 1, 0, "bytes of space maps");
	if (held->data_block_size != live->data_block_size)
		found_snap(checker, THINP_CHECK_H3, THINP_CHECK_FATAL, held->data_block_size, live->data_block_size,
			   "sectors of a data block");
	if (held->time > live->time)
		found_snap(checker, THINP_CHECK_H3, THINP_CHECK_FATAL, held->time, live->time,
			   "a time that the pool has not come to");
}

int tp_superblock_check_snap(struct tp_checker *checker)
{
	struct tp_worker *worker = &checker->workers[0];
	struct tp_reach reach = {.part = THINP_CHECK_SNAP, .device_id = THINP_CHECK_NONE};
	const uint8_t *data;
	bool is_sound;
	int r = tp_node_reach(worker, checker->live.held_root, &reach, &is_sound);

	if (r || !is_sound)
		return r;
	worker->nr_read++;
	data = tp_window_read_one(&checker->ahead, (uint32_t)checker->live.held_root);
	if (!tp_check_block(worker, data, (uint32_t)checker->live.held_root, THINP_CHECK_SNAP))
		return 0;
	tp_thin_superblock_unpack(data, &checker->held);
	if (checker->held.magic != TP_THIN_MAGIC) {
		found_snap(checker, THINP_CHECK_H1, THINP_CHECK_FATAL, checker->held.magic, TP_THIN_MAGIC,
			   "magic number");
		return 0;
	}
	checker->has_held = true;
	check_snap_fields(checker);
	return 0;
}
