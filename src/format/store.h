/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/store.h - the superblock of a store file of our own: what no kernel knows.
 *
 * Blocks 0 and 1 are two slots, written in turn: commit n goes to slot n % 2. So the commit before the last can always be
 * found again.
 */
#ifndef TP_FORMAT_STORE_H
#define TP_FORMAT_STORE_H

#include "format/space_map.h"

#include <thinp/format.h>

#define TP_STORE_MAGIC           UINT64_C(0x0065726f74736874) /* "thstore" and a zero, as bytes */
#define TP_STORE_VERSION         1u
#define TP_STORE_NR_SLOTS        2u
#define TP_STORE_NR_MAPS         4u
#define TP_STORE_NR_ROOTS        16u
#define TP_STORE_USER_SIZE       256u
#define TP_STORE_SUPERBLOCK_SIZE 640u /* bytes of the record; zeros follow */

struct tp_store_superblock {
	uint32_t flags;
	thinp_block_t block; /* own address: the slot */
	uint8_t uuid[16];
	uint64_t magic;
	uint32_t version;
	uint32_t block_size; /* sectors */
	uint64_t commit;     /* counts commits from 1 on */
	uint32_t compat_flags;
	uint32_t compat_ro_flags;
	uint32_t incompat_flags;
	struct tp_sm_root metadata_sm;
	struct tp_sm_root maps[TP_STORE_NR_MAPS]; /* data maps; all zero: none */
	thinp_block_t roots[TP_STORE_NR_ROOTS];   /* the user's; 0: none */
	uint8_t user[TP_STORE_USER_SIZE];
};

/* Any bytes are taken; the next two tell whether they make sense. Packing writes the record, all but the checksum. */
void tp_store_superblock_unpack(const void *data, struct tp_store_superblock *sb);
void tp_store_superblock_pack(const struct tp_store_superblock *sb, void *data);

/* Rules without context: magic, block size, that the commit belongs into this slot. THINP_ECORRUPT naming block and reason. */
int tp_store_superblock_check(const void *data, thinp_block_t block);

/* Rules of its roots: sizes of all maps within their limits; the roots of maps, and the user's, behind the slots and before
 * the end of the metadata; those of maps pairwise different. THINP_ECORRUPT naming sb->block and reason. */
int tp_store_superblock_check_roots(const struct tp_store_superblock *sb);

const struct thinp_block_type *tp_store_superblock_type(void);

#endif
