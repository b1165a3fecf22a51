/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tm_toy.h - the smallest store over a transaction manager: versions of one little array, each a snapshot of another.
 *
 *   block 0   record: number of the commit, roots of the versions; all within the first sector, which is not torn
 *   root      addresses of its leaves
 *   leaf      one value, spread over all bytes
 *
 * Roots are shared between versions, leaves between roots. A change that fails half way marks the transaction.
 */
#ifndef TP_TEST_TM_TOY_H
#define TP_TEST_TM_TOY_H

#include <thinp/transaction.h>

enum { TM_TOY_VERSIONS = 8, TM_TOY_LEAVES = 6 };

struct tm_toy {
	struct thinp_bm *bm;
	struct thinp_memory_map *map;
	struct thinp_tm *tm;
	uint64_t commit;
	thinp_block_t roots[TM_TOY_VERSIONS]; /* THINP_NO_BLOCK: there is no such version */
};

/* What the versions hold. */
struct tm_toy_values {
	bool exists[TM_TOY_VERSIONS];
	uint64_t values[TM_TOY_VERSIONS][TM_TOY_LEAVES];
};

/* Makes a record without versions the content of block 0. Returns what the device did. */
int tm_toy_format(struct thinp_io *io);

/* Reads the record, and raises the counts of all that it leads to in a fresh map; the map has a commit behind it. */
int tm_toy_open(struct tm_toy *toy);

/* Changes. A version that is made holds 0 in all leaves; a snapshot takes the place of a version that is not there. */
int tm_toy_make(struct tm_toy *toy, unsigned int version);
int tm_toy_set(struct tm_toy *toy, unsigned int version, unsigned int leaf, uint64_t value);
int tm_toy_snapshot(struct tm_toy *toy, unsigned int from, unsigned int version);
int tm_toy_drop(struct tm_toy *toy, unsigned int version);

/* Ends the transaction and begins the next. After a commit that failed, abort. */
int tm_toy_commit(struct tm_toy *toy);
void tm_toy_abort(struct tm_toy *toy, const thinp_block_t *committed_roots);

/* Reads everything as the open transaction has it. THINP_ECORRUPT when a leaf is not whole. */
int tm_toy_read(struct tm_toy *toy, struct tm_toy_values *values);

/* REFCHECK of the defect history: each count is the number of pointers to the block. */
int tm_toy_check_counts(struct tm_toy *toy, uint64_t nr_blocks);

#endif
