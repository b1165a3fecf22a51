/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/toy_store.h - the smallest store that survives crashes, and ways to make it worse.
 *
 *   block 0, 1   superblock slots: commit n is in slot n % 2
 *   block 2...   two places for the payload, used in turn, so that a commit overwrites nothing of the one before it
 *
 * A commit writes its payload, flushes, writes its superblock, flushes. Opening takes the newest superblock that is
 * sound, and then relies on the payload being there: the first flush is what makes that right.
 */
#ifndef TP_TEST_TOY_STORE_H
#define TP_TEST_TOY_STORE_H

#include <thinp/io.h>

enum { TOY_PAYLOAD_BLOCKS = 3, TOY_NR_BLOCKS = 2 + 2 * TOY_PAYLOAD_BLOCKS };

#define TOY_NO_CHECKSUM     1u  /* plant: superblocks that span sectors and have no checksum */
#define TOY_NO_FIRST_FLUSH  2u  /* plant: no flush between payload and superblock */
#define TOY_NO_SECOND_FLUSH 4u  /* plant: a commit is acknowledged without a flush */
#define TOY_IN_PLACE        8u  /* plant: the payload of a commit overwrites that of the one before it */
#define TOY_FLUSHES_AGAIN   16u /* plant: after a flush that failed it tries another, without writing again */

/* A store on this device. */
struct toy_store {
	struct thinp_io *io;
	uint32_t plants;
	uint64_t commit; /* the last one that succeeded */
};

/* Makes a store whose commit 0 is there. */
int toy_format(struct toy_store *toy);

/* The next commit. When it fails, the store stays at the commit before, and the next try has the same number. */
int toy_commit(struct toy_store *toy);

/* Opens the store: finds its last commit and checks it. THINP_ECORRUPT when it is damaged, THINP_EUNFORMATTED when it was
 * never made. */
int toy_open(struct toy_store *toy);

#endif
