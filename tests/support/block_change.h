/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/block_change.h - what tests of changing blocks share: bitmaps with a content made of address and version.
 */
#ifndef TP_TEST_BLOCK_CHANGE_H
#define TP_TEST_BLOCK_CHANGE_H

#include "support/block_fixture.h"

#define BLOCK_CHANGE_HEADER 16u /* checksum and address, which are filled in as a block is written */

/* The content behind the header. */
void block_change_fill(void *data, thinp_block_t block, uint64_t version);
bool block_change_is(const void *data, thinp_block_t block, uint64_t version);

/* Begins a new block and fills it; to be unlocked. The lock must succeed. */
struct thinp_buffer *block_change_lock(struct block_fixture *f, thinp_block_t block, uint64_t version);

/* A whole change of a new block, or of one that has the content of a version before; they return what the lock did. */
int block_change_new(struct block_fixture *f, thinp_block_t block, uint64_t version);
int block_change_again(struct block_fixture *f, thinp_block_t block, uint64_t before, uint64_t version);

/* New blocks, which must succeed. */
void block_change_range(struct block_fixture *f, thinp_block_t begin, thinp_block_t end, uint64_t version);

/* Commits with block 0 as record. */
int block_change_commit(struct block_fixture *f, uint64_t version);

/* Does a read give this version? */
bool block_change_reads(struct block_fixture *f, thinp_block_t block, uint64_t version);

/* Does the device have it, with checksum and address in place? */
bool block_change_is_on_device(struct block_fixture *f, thinp_block_t block, uint64_t version);

/* Everything at rest: each buffer of the cache, and the writer's own, can be locked by one thread. LOCKCHECK of the defect history. */
void block_change_expect_at_rest(struct block_fixture *f);

#endif
