/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/checker.h - what the parts of a check share.
 *
 * Height of a node: 0 for a leaf, else one more than its children. Nodes are visited from the greatest height down, so
 * that all pointers to a node are known when it is read: each is read once, in the order of addresses, and what its
 * parents say of it is put together beforehand.
 */
#ifndef TP_CHECK_CHECKER_H
#define TP_CHECK_CHECKER_H

#include "check/counts.h"
#include "check/findings.h"
#include "check/window.h"
#include "format/thin.h"

#include <thinp/check.h>

#define TP_NODE_CHUNK  1024u /* nodes of a chunk, which is made when it is first touched */
#define TP_MAX_HEIGHT  15u
#define TP_PROBE_DEPTH (TP_MAX_HEIGHT + 1)
#define TP_NO_DEVICE   UINT32_MAX
#define TP_MANY        (UINT32_MAX - 1) /* devices */
#define TP_NEVER_ALONE UINT32_MAX       /* a time that no mapping has */
#define TP_NO_RUN      UINT64_MAX

/* Who reaches a node, and what it is known to be. */
#define TP_REACHED_LIVE  1u  /* from the last commit */
#define TP_REACHED_HELD  2u  /* from the metadata snapshot */
#define TP_REACHED_ROOT  4u  /* as the root of a tree */
#define TP_REACHED_CHILD 8u  /* as the child of a node */
#define TP_NODE_STAMP    16u /* a child of the node that is being visited */
#define TP_NODE_DAMAGED  32u /* it, or something below, could not be read or makes no sense */

/* All that is known about one metadata block. */
struct tp_node_info {
	union {
		uint64_t lower;       /* until it is visited: no key may be lower */
		uint64_t nr_mappings; /* then: in all leaves below */
	};
	union {
		uint64_t last; /* until then: nor greater */
		uint64_t
			run_begin; /* then, of a leaf of mappings: its first data block, where all follow it; or TP_NO_RUN */
	};
	uint32_t snap_time; /* the earliest snapshotted_time of the live devices that reach it */
	uint32_t device;    /* the one live device that reaches it: its place in the table; or TP_NO_DEVICE, TP_MANY */
	uint32_t nr_refs;   /* pointers to it */
	uint8_t part;       /* 0: not reached; else ::thinp_check_part */
	uint8_t height;
	uint8_t flags;
	uint8_t probed; /* height + 1 as a look ahead has it; 0: none */
};
static_assert(sizeof(struct tp_node_info) == 32, "a check of 16 GiB of metadata has four million of them");

/* An internal node of a mapping tree, and its children in tp_checker.edges. */
struct tp_inner {
	uint32_t block;
	uint32_t nr_edges;
	size_t first_edge;
};

/* Entries of the small trees, gathered. */
/* What the entries of all leaves that are kept have in front. */
struct tp_leaf_entry {
	uint64_t key;
	uint32_t block; /* the leaf */
	union {
		uint32_t flags; /* TP_REACHED_LIVE, ... */
		uint32_t count; /* in an overflow tree */
	};
};

struct tp_root_entry {
	struct tp_leaf_entry at; /* the device's id */
	uint64_t root;
};

struct tp_details_entry {
	struct tp_leaf_entry at; /* the device's id */
	struct tp_device_details details;
};

struct tp_index_found {
	struct tp_leaf_entry at;
	struct tp_index_entry entry;
};

struct tp_vector {
	void *entries;
	size_t nr;
	size_t room;
};

struct tp_checker;

/* One task's own. */
struct tp_worker {
	struct tp_checker *checker;
	struct tp_finder finder;
	struct tp_window window;
	struct tp_counts live; /* data blocks found in leaves that the last commit reaches */
	struct tp_counts held; /* in others */
	uint64_t nr_mappings;
	uint64_t nr_read;
	uint64_t nr_unreadable;
	uint64_t nr_told; /* blocks read, as far as the sum for the progress knows */
	bool tells_progress;
	int error;
	struct thinp_error_info error_info;
};

struct tp_fixes;

struct tp_checker {
	struct thinp_io *io;
	struct tp_fixes *fixes;  /* where to note what can be put right; NULL: nowhere */
	struct thinp_view *view; /* its commit is checked; NULL: what block 0 has */
	struct thinp_check_opts opts;
	struct tp_memory memory;
	bool only_snap;
	bool has_data_map;

	struct tp_thin_superblock live;
	struct tp_thin_superblock held;
	bool has_held;
	uint64_t device_blocks;
	uint64_t map_blocks; /* of the metadata, as its map has it, within the limit */
	uint64_t nr_blocks;  /* of these, those that the device has: addresses are below it */
	uint64_t nr_counted; /* data blocks that a map on this device could count */

	size_t nr_chunks;
	struct tp_node_info **nodes; /* chunks */
	uint32_t nr_pending[THINP_CHECK_METADATA_INDEX + 1][TP_MAX_HEIGHT + 1];

	struct tp_vector inners;        /* of tp_inner: parents before children */
	struct tp_vector edges;         /* of uint32_t: addresses */
	struct tp_vector roots;         /* of tp_root_entry, by id */
	struct tp_vector details;       /* of tp_details_entry, by id */
	struct tp_vector index;         /* of tp_index_found: the data map's */
	struct tp_vector data_overflow; /* of tp_leaf_entry */
	struct tp_places *places;       /* while data blocks that are in use twice are looked at */
	struct tp_vector metadata_overflow;
	struct tp_window ahead; /* for looks ahead */
	uint8_t *probe_blocks;  /* of them: one block for each height */

	struct tp_worker *workers; /* the first one is that of the calling thread when there is one thread only */
	size_t nr_workers;
	_Atomic size_t next_slice; /* of blocks, that no task has taken yet */
	_Atomic uint64_t nr_read;  /* all tasks, for the progress */
	_Atomic bool is_stopped;

	struct thinp_check_result result;
};

/* --- nodes.c: what is known about blocks, and pointers to them --- */

/* What a pointer says of the block it leads to. */
struct tp_reach {
	int part;
	uint32_t height;
	uint32_t from; /* the block that it stands in */
	uint64_t device_id;
	uint64_t lower;
	uint64_t last;
	uint32_t snap_time;
	uint32_t device;
	uint32_t flags;
	bool is_loop; /* it leads back to where it stands */
};

int tp_nodes_init(struct tp_checker *checker);
void tp_nodes_exit(struct tp_checker *checker);

/* What is known of a block below nr_blocks; NULL: nothing is. */
static inline struct tp_node_info *tp_node_look(const struct tp_checker *checker, uint64_t block)
{
	struct tp_node_info *chunk = checker->nodes[block / TP_NODE_CHUNK];

	return chunk ? &chunk[block % TP_NODE_CHUNK] : NULL;
}

/* The same, made when nothing is known: NULL when there is no memory. */
struct tp_node_info *tp_node_make(struct tp_checker *checker, uint64_t block);

/* Follows a pointer: counts it, and puts down what it says. *is_sound: the block belongs where the pointer is.
 * THINP_ENOMEM, or 0. */
int tp_node_reach(struct tp_worker *worker, uint64_t address, const struct tp_reach *reach, bool *is_sound);

/* --- block.c: checksum and address; nodes --- */

/* Tells what is wrong. False: its content is not to be believed. data NULL: it could not be read. */
bool tp_check_block(struct tp_worker *worker, const uint8_t *data, uint32_t block, int part);

/* The same for a node, and its own rules; *in_order: its keys ascend. */
bool tp_check_node(struct tp_worker *worker, const uint8_t *data, uint32_t block, const struct tp_node_info *info,
		   bool *in_order);

/* --- tree.c: the way down --- */

/* Follows a pointer to the root of a tree; its height is found by looking ahead. */
int tp_tree_reach_root(struct tp_worker *worker, uint64_t root, struct tp_reach *reach);

/* Visits all nodes of some parts (bits 1 << part) that were reached and not visited yet. */
int tp_tree_visit(struct tp_checker *checker, uint32_t parts);

/* --- mappings.c --- */

/* Visits the leaves of mapping trees, by all tasks. */
int tp_mappings_visit(struct tp_checker *checker);

/* What a task does with each leaf; data NULL: it could not be read. */
typedef int (*tp_leaf_fn)(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info);

/* Is a leaf to be read? */
typedef bool (*tp_leaf_wanted_fn)(const struct tp_worker *worker, const struct tp_node_info *info);

/* One task's part of the leaves of all mapping trees: it takes slices until there are no more. is_wanted NULL: all leaves. */
int tp_mappings_visit_leaves(struct tp_worker *worker, tp_leaf_wanted_fn is_wanted, tp_leaf_fn fn);

/* Sums up mappings from leaves to roots. */
void tp_mappings_sum(struct tp_checker *checker);

/* --- sharing.c --- */

/* Says what is wrong with sharing of data blocks; counts are complete. */
int tp_sharing_check(struct tp_checker *checker);

/* --- devices.c --- */

int tp_devices_take_root(struct tp_checker *checker, const uint8_t *leaf, uint32_t block, uint32_t flags);
int tp_devices_take_details(struct tp_checker *checker, const uint8_t *leaf, uint32_t block, uint32_t flags);

/* Compares the two trees, and each device with the superblock. */
void tp_devices_check(struct tp_checker *checker);

/* Follows the pointers to the mappings. */
int tp_devices_reach_mappings(struct tp_checker *checker);

/* Compares numbers of mappings. */
void tp_devices_check_totals(struct tp_checker *checker);

/* --- superblock.c --- */

/* *go_on: there is something to check behind it. */
int tp_superblock_check(struct tp_checker *checker, bool *go_on);
int tp_superblock_check_snap(struct tp_checker *checker);

/* --- maps.c --- */

int tp_maps_take_index(struct tp_checker *checker, const uint8_t *leaf, uint32_t block);
int tp_maps_take_overflow(struct tp_checker *checker, struct tp_vector *overflow, const uint8_t *leaf, uint32_t block);
int tp_maps_check(struct tp_checker *checker);

/* --- checker.c --- */

/* Checks the commit of a view, or, when that is NULL, what block 0 has; what can be put right is noted in fixes, unless that
 * is NULL. */
int tp_check(struct thinp_io *io, struct thinp_view *view, uint32_t more_flags, const struct thinp_check_opts *opts,
	     struct tp_fixes *fixes, struct thinp_check_result *result);

/* Counts a block as read; asks the progress callback now and then. Non-zero: THINP_ECANCELED. */
int tp_checker_read(struct tp_worker *worker, size_t nr_blocks);

/* Runs the same function as all tasks, and gives their first error. */
int tp_checker_run_tasks(struct tp_checker *checker, int (*fn)(struct tp_worker *worker));

/* Makes room in a vector for some entries more. THINP_ENOMEM, or 0. */
int tp_vector_reserve(struct tp_checker *checker, struct tp_vector *vector, size_t nr, size_t size);

/* Appends to a vector: where to write the new entry, or NULL. */
void *tp_vector_add(struct tp_checker *checker, struct tp_vector *vector, size_t size);

/* Vectors of entries of `size` bytes that begin with a struct tp_leaf_entry: sorting them by key and block; where the keys
 * from `key` on begin; the first entry of a key that one of the flags' views reaches, NULL: none. */
void tp_leaf_entries_sort(struct tp_vector *vector, size_t size);
size_t tp_leaf_entries_find(const struct tp_vector *vector, size_t size, uint64_t key);
const void *tp_leaf_entries_find_seen(const struct tp_vector *vector, size_t size, uint64_t key, uint32_t flags);

#endif
