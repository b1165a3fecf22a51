/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/own.c - the superblock of a store file of our own: 16 roots and 256 bytes for the user.
 */
#include "store/store.h"

#include "base/bytes.h"
#include "store/view.h"

#include <inttypes.h>
#include <string.h>
#include <uuid/uuid.h>

static int check_features(const struct tp_store_superblock *sb)
{
	if (sb->version != TP_STORE_VERSION)
		return tp_fail(THINP_ENOTSUP, sb->block, "store format of version %" PRIu32, sb->version);
	if (sb->incompat_flags)
		return tp_fail(THINP_ENOTSUP, sb->block, "unknown features 0x%" PRIx32 " in the store",
			       sb->incompat_flags);
	return 0;
}

static int unpack(void *ctx, const void *data, struct tp_store_maps *maps)
{
	struct tp_store_superblock *own = ctx;
	struct tp_store_superblock sb;
	int r;

	tp_store_superblock_unpack(data, &sb);
	r = check_features(&sb);
	if (!r)
		r = tp_store_superblock_check_roots(&sb);
	if (r)
		return r;
	*own = sb;
	maps->commit = sb.commit;
	maps->metadata = sb.metadata_sm;
	static_assert(sizeof(maps->data) == sizeof(sb.maps), "as many maps as the format has");
	memcpy(maps->data, sb.maps, sizeof(sb.maps));
	maps->is_for_readers = sb.compat_ro_flags;
	return 0;
}

static void pack(const void *ctx, const struct tp_store_maps *maps, void *data)
{
	struct tp_store_superblock sb = *(const struct tp_store_superblock *)ctx;

	sb.commit = maps->commit;
	sb.metadata_sm = maps->metadata;
	memcpy(sb.maps, maps->data, sizeof(sb.maps));
	tp_store_superblock_pack(&sb, data);
}

static int create(void *ctx, struct thinp_store *store)
{
	struct tp_store_superblock *own = ctx;

	(void)store;
	memset(own, 0, sizeof(*own));
	own->magic = TP_STORE_MAGIC;
	own->version = TP_STORE_VERSION;
	own->block_size = THINP_BLOCK_SIZE / 512;
	uuid_generate(own->uuid);
	return 0;
}

const struct tp_store_format tp_store_own_format = {
	.name = "store",
	.type = tp_store_superblock_type,
	.nr_slots = TP_STORE_NR_SLOTS,
	.unpack = unpack,
	.pack = pack,
	.create = create,
};

/* --- what the user keeps there --- */

static int check_index(uint32_t index)
{
	if (index < THINP_STORE_NR_ROOTS)
		return 0;
	return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a store has no root %" PRIu32, index);
}

int thinp_store_get_root(const struct thinp_store *store, uint32_t index, thinp_block_t *root)
{
	int r = check_index(index);

	if (!r)
		*root = store->own.roots[index];
	return r;
}

int thinp_store_set_root(struct thinp_store *store, uint32_t index, thinp_block_t root)
{
	struct thinp_sm_info info = {.size = sizeof(info)};
	int r = check_index(index);

	if (!r)
		r = tp_store_check_changeable(store);
	if (r)
		return r;
	thinp_sm_get_info(store->metadata, &info);
	if (root && (root < TP_STORE_NR_SLOTS || root >= info.nr_blocks))
		return tp_fail(THINP_EINVAL, root, "a root cannot be there");
	tp_tm_enter(store->tm);
	store->own.roots[index] = root;
	tp_tm_leave(store->tm);
	return 0;
}

void thinp_store_get_user(const struct thinp_store *store, void *bytes)
{
	memcpy(bytes, store->own.user, THINP_STORE_USER_SIZE);
}

int thinp_store_set_user(struct thinp_store *store, const void *bytes)
{
	int r = tp_store_check_changeable(store);

	if (r)
		return r;
	tp_tm_enter(store->tm);
	memcpy(store->own.user, bytes, THINP_STORE_USER_SIZE);
	tp_tm_leave(store->tm);
	return 0;
}

/* The record of a commit has passed its check. */
static void get_shown(const struct thinp_view *view, struct tp_store_superblock *sb)
{
	tp_store_superblock_unpack(view->commit->record, sb);
}

int thinp_view_get_root(const struct thinp_view *view, uint32_t index, thinp_block_t *root)
{
	struct tp_store_superblock sb;
	int r = check_index(index);

	if (r)
		return r;
	get_shown(view, &sb);
	*root = sb.roots[index];
	return 0;
}

void thinp_view_get_user(const struct thinp_view *view, void *bytes)
{
	struct tp_store_superblock sb;

	get_shown(view, &sb);
	memcpy(bytes, sb.user, THINP_STORE_USER_SIZE);
}
