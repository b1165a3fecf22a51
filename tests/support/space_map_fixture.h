/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/space_map_fixture.h - what tests of space maps start from: a metadata map and a data map on a device in memory, a
 * transaction, and plain arrays of what the counts must be.
 *
 * After each commit all is read from the device again by a block manager of its own: the counts of both maps one by one,
 * every reference to the blocks of the maps themselves, the hints of the index. REFCHECK of the defect history.
 */
#ifndef TP_TEST_SPACE_MAP_FIXTURE_H
#define TP_TEST_SPACE_MAP_FIXTURE_H

#include "space_map/map.h"
#include "support/alloc_counting.h"

#include <thinp/fault.h>
#include <thinp/io.h>

#define SM_PER_BITMAP 16320u

/* A map and what its counts must be. Of a metadata map: the references that the test has, those of block 0 included. */
struct sm_model {
	struct thinp_sm *sm;
	struct tp_sm_root root; /* of the last commit */
	uint64_t nr, nr_committed;
	uint32_t *counts, *committed;
};

struct sm_fixture {
	struct thinp_io *memory;
	struct thinp_fault *fault;
	struct thinp_io *io;
	struct alloc_counting alloc;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	struct thinp_tm *tm;
	struct tp_sm_opts opts;
	struct sm_model meta, data;
	uint64_t nr_commits;
	uint64_t nr_most;  /* room for counts */
	uint64_t nr_taken; /* blocks that the last commit took to record */
	bool hold;         /* what is freed is held */
	uint32_t *
		sums; /* of the blocks of the maps in the last commit that was checked, if there was none since; or 0 */
	bool has_sums;
	bool is_foreign; /* hints of the index may be weaker than ours */
};

/* Formats and commits. nr_most: the most blocks that either map will have. */
struct sm_fixture *sm_fixture_new(uint64_t nr_metadata, uint64_t nr_data, uint64_t nr_most,
				  const struct thinp_opq_policy *policy, bool queue_always);
/* The maps of an image that a kernel wrote. What references there are to metadata blocks beside those of the maps themselves
 * is the test's. */
struct sm_fixture *sm_fixture_open_image(const char *name, uint64_t nr_most);
void sm_fixture_free(struct sm_fixture *f);

/* Commits, and checks all. Returns what recording or the device gave; then nothing was checked, and abort is next. */
int sm_commit(struct sm_fixture *f);
int sm_commit_unchecked(struct sm_fixture *f);
void sm_check(struct sm_fixture *f);

void sm_abort(struct sm_fixture *f);

/* Closes all and opens the last commit; the transaction is lost. */
void sm_reopen(struct sm_fixture *f);

/* Operations, noted in the model when they succeed. */
int sm_take(struct sm_fixture *f, struct sm_model *m, uint64_t nr, uint64_t *first);
int sm_inc(struct sm_model *m, uint64_t first, uint64_t nr);
int sm_dec(struct sm_model *m, uint64_t first, uint64_t nr);
int sm_extend(struct sm_fixture *f, struct sm_model *m, uint64_t nr);

/* Many at once: the count of one block. */
void sm_raise(struct sm_model *m, uint64_t block, uint32_t to);

struct thinp_sm_info sm_info(const struct sm_model *m);

/* Fails the test unless count and free counts in memory are those of the model. For data maps. */
void sm_expect_counts(struct sm_model *m);

#endif
