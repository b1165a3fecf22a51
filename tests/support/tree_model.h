/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_model.h - a tree, nested or plain, and what must be found in it: a sorted array.
 */
#ifndef TP_TEST_TREE_MODEL_H
#define TP_TEST_TREE_MODEL_H

#include "support/tree_build.h"

#include <thinp/btree.h>

#define TREE_MAX_VALUE_SIZE 1346u /* more would not let three entries into a leaf */

/* An entry; or, with fewer keys than the tree has levels, an empty tree that hangs there. */
struct tree_item {
	uint64_t keys[THINP_BTREE_MAX_LEVELS];
	uint32_t nr_keys;
};

struct tree_model {
	struct thinp_btree_type type;
	thinp_block_t root;
	struct tree_item *items; /* ascending, empty trees among them */
	size_t nr_items;
	uint64_t *keys; /* of the entries, nr_levels each */
	size_t nr;
};

/* Writes the tree. The items ascend, and are copied; the values follow from the keys. */
void tree_model_build(struct tree_model *model, struct image *image, const struct tree_shape *shape, uint32_t nr_levels,
		      uint32_t value_size, const struct tree_item *items, size_t nr_items);

/* The same for one level. */
void tree_model_build_plain(struct tree_model *model, struct image *image, const struct tree_shape *shape,
			    uint32_t value_size, const uint64_t *keys, size_t nr);

void tree_model_free(struct tree_model *model);

/* The keys of entry i, nr_levels of them. */
const uint64_t *tree_model_keys(const struct tree_model *model, size_t i);

/* -1, 0, 1 */
int tree_model_compare(const struct tree_model *model, const uint64_t *a, const uint64_t *b);

/* The first entry whose key is not smaller; nr when there is none. */
size_t tree_model_find(const struct tree_model *model, const uint64_t *keys);

/* Is this the key of entry i? */
bool tree_model_is(const struct tree_model *model, size_t i, const uint64_t *keys);

/* The value that belongs to a key. */
void tree_model_value(const struct tree_model *model, const uint64_t *keys, uint8_t *value);

/* Fails the test unless key and value are those of entry i. */
void tree_model_expect(const struct tree_model *model, size_t i, const uint64_t *keys, const uint8_t *value);

/* Keys worth asking for: those of all items, each also with one number larger or smaller by one, and the edges of the
 * range of numbers in every place. */
size_t tree_model_nr_probes(const struct tree_model *model);
void tree_model_probe(const struct tree_model *model, size_t number, uint64_t *keys);

/* The edges: 0, 1, 2^32, 2^63, 2^64-2, 2^64-1. */
#define TREE_NR_EDGES 6u
extern const uint64_t tree_edges[TREE_NR_EDGES];

/* --- receiving the spans of a walk ----------------------------------------------------------------------------------- */

struct tree_receiver {
	const struct tree_model *model;
	size_t next;     /* the entry that must come next */
	size_t nr_spans; /* that came */
	size_t stop_at;  /* the span, counted from 1, at which to return stop_with; 0: never */
	int stop_with;
};

/* A thinp_btree_span_fn: compares each entry with the model. */
int tree_receiver_take(void *ctx, const struct thinp_btree_span *span);

#endif
