/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/meta_check.h - SHAPE and REFCHECK of the defect history: walks trees and arrays, counts every reference, and
 * compares each count.
 *
 * Every block is entered once; each pointer to it counts. The first thing that is wrong fails the test.
 */
#ifndef TP_TEST_META_CHECK_H
#define TP_TEST_META_CHECK_H

#include <thinp/block.h>
#include <thinp/io.h>
#include <thinp/transaction.h>

struct meta_check;

/* What a tree is. Compared by address: a block must not be part of two kinds. */
struct meta_kind {
	const char *name;
	uint32_t value_size;
	/* Sees each leaf once. NULL: values are plain numbers. */
	void (*take)(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
		     const uint8_t *values_le, uint32_t nr);
	void *ctx;
};

/* What is below a pointer. */
struct meta_below {
	uint64_t first, last; /* keys; only when there are entries */
	uint64_t nr_entries;
	uint32_t depth; /* 0: not visited yet */
	bool is_small;  /* the node itself has too few entries, unless it is a root */
};

struct meta_check {
	struct thinp_reader *reader;
	uint64_t nr_blocks;
	uint64_t nr_data;
	uint32_t *counts;      /* references to metadata blocks */
	uint32_t *data_counts; /* references to data blocks */
	const void **kinds;    /* what each block is part of */
	struct meta_below *nodes;
};

/* nr_data may be 0. */
void meta_check_begin(struct meta_check *check, struct thinp_reader *reader, uint64_t nr_blocks, uint64_t nr_data);
void meta_check_end(struct meta_check *check);

/* Counts a reference. true: the block was not met before. */
bool meta_check_refer(struct meta_check *check, thinp_block_t block, const void *kind);
void meta_check_refer_data(struct meta_check *check, uint64_t block);

/* A reference to the root of a tree. */
struct meta_below meta_check_tree(struct meta_check *check, thinp_block_t root, const struct meta_kind *kind);

/* What an array is; one for all arrays that may share blocks. Its tree's kind is filled in by the first check. */
struct meta_array {
	struct meta_kind values; /* take: as for a tree, for the values of a block; keys NULL */
	struct meta_kind tree;
	uint64_t nr_values;
};

/* A reference to the root of an array of that length. */
void meta_check_array(struct meta_check *check, thinp_block_t root, struct meta_array *array, uint64_t nr_values);

/* All counts are those that the transaction knows. */
void meta_check_compare_tm(struct meta_check *check, struct thinp_tm *tm);

/* A whole image of a thin pool, as it is on the device: every count of both maps, hints, mapped_blocks. more:
 * counts references that no superblock knows of; NULL: there are none. */
void meta_check_thin(struct thinp_io *io, void (*more)(struct meta_check *check, void *ctx), void *ctx);

/* References from the mappings of a pool's open transaction. */
struct meta_mappings {
	struct meta_check check; /* the first; has the counts of data blocks; ended with meta_check_end() */
	struct meta_kind top, device;
};

/* Counts those of the trees below mapping_root and of the metadata snapshot; held_root 0: there is none. */
void meta_mappings_begin(struct meta_mappings *mappings, struct thinp_reader *reader, uint64_t nr_blocks,
			 uint64_t nr_data, thinp_block_t mapping_root, thinp_block_t held_root);

#endif
