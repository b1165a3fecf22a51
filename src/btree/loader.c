/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/loader.c - a tree out of sorted entries, from the leaves up.
 *
 * For each height there is a row of two nodes in the loader's memory: the one being filled, and the full one before it. Only at
 * the end is it known whether the last node of a row is filled to a third, or has to take entries from the one before; so
 * that goes into a block only when the next one is full, too. Its address goes into the row above.
 *
 * Invariants
 *   1. Every block is pointed to by a node in memory, or by a block.
 *   2. The node held back is full; the one being filled is empty only before the first entry.
 *   3. add() takes all of its entries, or none: the blocks that it and the end may take are asked for before, and rows
 *      for all heights are made.
 */
#include "base/alloc.h"
#include "btree/insert.h"

#include "transaction/manager.h"

#include <string.h>

struct row {
	uint8_t nodes[2][THINP_BLOCK_SIZE];
	uint32_t now;     /* the node being filled */
	bool is_held;     /* the other one is full, and not in a block yet */
	bool has_entries; /* an entry has been put in */
};

struct thinp_btree_loader {
	struct thinp_tm *tm;
	struct thinp_btree_type type;
	uint64_t nr_entries;
	uint64_t last;        /* key */
	uint64_t transaction; /* that the tree is made in */
	bool is_finished;
	uint32_t nr_rows;
	struct row *rows[THINP_BTREE_MAX_DEPTH];
};

/* A node in a block, as its parent knows it. */
struct entry {
	uint64_t key;
	thinp_block_t block;
};

static const struct thinp_allocator *allocator_of(const struct thinp_btree_loader *loader)
{
	return tp_reader_allocator(thinp_tm_reader(loader->tm));
}

int thinp_btree_loader_create(struct thinp_tm *tm, const struct thinp_btree_type *user_type,
			      struct thinp_btree_loader **out)
{
	struct thinp_btree_loader *loader;
	struct thinp_btree_type type;
	int r = tp_btree_type_take(&type, user_type);

	if (!r && type.nr_levels != 1)
		r = tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a tree of %u levels cannot be loaded", type.nr_levels);
	if (r)
		return r;
	loader = tp_alloc_zeroed(tp_reader_allocator(thinp_tm_reader(tm)), 1, sizeof(*loader));
	if (!loader)
		return THINP_ENOMEM;
	loader->tm = tm;
	loader->type = type;
	loader->transaction = tm->number;
	*out = loader;
	return 0;
}

/* --- rows ------------------------------------------------------------------------------------------------------------ */

static uint8_t *filling(struct row *row)
{
	return row->nodes[row->now];
}

static uint8_t *held(struct row *row)
{
	return row->nodes[!row->now];
}

static void start_node(const struct thinp_btree_loader *loader, uint32_t height)
{
	tp_node_init(filling(loader->rows[height]), height ? TP_NODE_INTERNAL : TP_NODE_LEAF, 0,
		     height ? 8 : loader->type.value_size);
}

static int make_row(struct thinp_btree_loader *loader)
{
	struct row *row = tp_alloc_zeroed(allocator_of(loader), 1, sizeof(*row));

	if (!row)
		return THINP_ENOMEM;
	loader->rows[loader->nr_rows] = row;
	start_node(loader, loader->nr_rows++);
	return 0;
}

static void put_entry(struct row *row, const struct entry *entry)
{
	tp_node_insert64(filling(row), tp_node_nr_entries(filling(row)), entry->key, entry->block);
	row->has_entries = true;
}

/* A node in memory becomes a block. */
static int write_node(struct thinp_btree_loader *loader, const uint8_t *node, struct entry *entry)
{
	struct tp_btree_frame frame;
	int r = tp_btree_new_node_like(loader->tm, node, THINP_CAUSE_NEW, &frame);

	if (r)
		return r;
	memcpy(frame.node + TP_NODE_HEADER_SIZE, node + TP_NODE_HEADER_SIZE, THINP_BLOCK_SIZE - TP_NODE_HEADER_SIZE);
	tp_node_set_nr_entries(frame.node, tp_node_nr_entries(node));
	entry->key = tp_node_nr_entries(node) ? tp_node_key(node, 0) : 0;
	entry->block = frame.block;
	tp_btree_end(loader->tm, &frame);
	return 0;
}

/* Begins the next node of a row whose node is full. *goes_up: the one held back has gone into a block, whose entry has to go
 * into the row above. */
static int begin_next_node(struct thinp_btree_loader *loader, uint32_t height, struct entry *up, bool *goes_up)
{
	struct row *row = loader->rows[height];

	*goes_up = row->is_held;
	if (row->is_held) {
		int r = write_node(loader, held(row), up);

		if (r)
			return r;
	}
	row->is_held = true;
	row->now = !row->now;
	start_node(loader, height);
	return 0;
}

/* Puts an entry into a row; what becomes full on the way goes up and up. */
static int push(struct thinp_btree_loader *loader, uint32_t height, struct entry entry)
{
	for (bool goes_up = true; goes_up; height++) {
		struct row *row = loader->rows[height];
		struct entry up;
		int r = 0;

		goes_up = false;
		if (!tp_node_room(filling(row)))
			r = begin_next_node(loader, height, &up, &goes_up);
		if (r)
			return r;
		put_entry(row, &entry);
		entry = up;
	}
	return 0;
}

/* --- adding ---------------------------------------------------------------------------------------------------------- */

/* All that is in memory and all that is to come, each row with two nodes that may be less than full. */
static uint64_t most_blocks(const struct thinp_btree_loader *loader, uint64_t nr_entries)
{
	uint64_t nr = nr_entries / tp_node_max_entries(loader->type.value_size) + 3;
	uint64_t nr_blocks = nr;

	for (uint32_t height = 1; height < loader->nr_rows; height++) {
		nr = nr / tp_node_max_entries(8) + 3;
		nr_blocks += nr;
	}
	return nr_blocks;
}

static uint32_t rows_needed(const struct thinp_btree_loader *loader, uint64_t nr_entries)
{
	uint64_t capacity = tp_node_max_entries(loader->type.value_size);
	uint64_t nr = (nr_entries + capacity - 1) / capacity;
	uint32_t rows = 1;

	for (; nr > 1; rows++)
		nr = (nr + tp_node_max_entries(8) - 1) / tp_node_max_entries(8);
	return rows;
}

static int check_keys(const struct thinp_btree_loader *loader, const uint64_t *keys, size_t nr_entries)
{
	bool is_ascending = !loader->nr_entries || loader->last < keys[0];

	for (size_t i = 1; i < nr_entries; i++)
		is_ascending &= keys[i - 1] < keys[i];
	return is_ascending ? 0 : tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the keys do not ascend");
}

/* Rows that are made and then not needed do no harm. */
static int make_ready(struct thinp_btree_loader *loader, uint64_t nr_entries)
{
	uint32_t rows = rows_needed(loader, loader->nr_entries + nr_entries);

	while (loader->nr_rows < rows) {
		int r = make_row(loader);

		if (r)
			return r;
	}
	return thinp_tm_reserve(loader->tm, most_blocks(loader, nr_entries), 0);
}

static int begin_next_leaf(struct thinp_btree_loader *loader)
{
	struct entry up;
	bool goes_up;
	int r = begin_next_node(loader, 0, &up, &goes_up);

	return !r && goes_up ? push(loader, 1, up) : r;
}

static int add_all(struct thinp_btree_loader *loader, const uint64_t *keys, const uint8_t *values_le, size_t nr)
{
	while (nr) {
		uint32_t room = tp_node_room(filling(loader->rows[0]));
		uint32_t now = nr < room ? (uint32_t)nr : room;

		if (!room) {
			int r = begin_next_leaf(loader);

			if (r)
				return r;
			continue;
		}
		tp_node_append(filling(loader->rows[0]), keys, values_le, now);
		keys += now;
		values_le += (size_t)now * loader->type.value_size;
		nr -= now;
	}
	return 0;
}

static int check_open(const struct thinp_btree_loader *loader)
{
	int r = thinp_tm_status(loader->tm);

	if (!r && loader->is_finished)
		r = tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the loader is finished");
	if (!r && loader->transaction != loader->tm->number)
		r = tp_fail(THINP_ESTALE, THINP_NO_BLOCK, "the transaction that the loader began in has ended");
	return r;
}

static int add_entries(struct thinp_btree_loader *loader, const uint64_t *keys, const void *values_le,
		       size_t nr_entries)
{
	int r = check_open(loader);

	if (r || !nr_entries)
		return r;
	r = check_keys(loader, keys, nr_entries);
	if (!r)
		r = make_ready(loader, nr_entries);
	if (r)
		return r;
	loader->nr_entries += nr_entries;
	loader->last = keys[nr_entries - 1];
	r = add_all(loader, keys, values_le, nr_entries);
	return r ? thinp_tm_poison(loader->tm, r) : 0;
}

int thinp_btree_loader_add(struct thinp_btree_loader *loader, const uint64_t *keys, const void *values_le,
			   size_t nr_entries)
{
	int r;

	tp_tm_enter(loader->tm);
	r = add_entries(loader, keys, values_le, nr_entries);
	tp_tm_leave(loader->tm);
	return r;
}

/* --- the end --------------------------------------------------------------------------------------------------------- */

/* The last node of a row is filled to a third at least. */
static void even_out(struct row *row)
{
	uint32_t nr_left = tp_node_nr_entries(held(row));
	uint32_t nr_right = tp_node_nr_entries(filling(row));

	if (3 * nr_right < tp_node_capacity(filling(row)))
		tp_node_share(held(row), filling(row), (nr_left + nr_right) / 2);
}

static int write_and_push(struct thinp_btree_loader *loader, uint32_t height, const uint8_t *node)
{
	struct entry entry;
	int r = write_node(loader, node, &entry);

	return r ? r : push(loader, height + 1, entry);
}

static bool is_top(const struct thinp_btree_loader *loader, uint32_t height)
{
	return !loader->rows[height]->is_held &&
	       (height + 1 == loader->nr_rows || !loader->rows[height + 1]->has_entries);
}

static int finish_rows(struct thinp_btree_loader *loader, struct entry *root)
{
	uint32_t height = 0;

	for (; !is_top(loader, height); height++) {
		struct row *row = loader->rows[height];
		int r = 0;

		if (row->is_held) {
			even_out(row);
			r = write_and_push(loader, height, held(row));
		}
		if (!r)
			r = write_and_push(loader, height, filling(row));
		if (r)
			return r;
	}
	return write_node(loader, filling(loader->rows[height]), root);
}

static int finish(struct thinp_btree_loader *loader, thinp_block_t *root)
{
	struct entry entry;
	int r = check_open(loader);

	if (!r)
		r = make_ready(loader, 0);
	if (r)
		return r;
	r = finish_rows(loader, &entry);
	if (r)
		return thinp_tm_poison(loader->tm, r);
	loader->is_finished = true;
	*root = entry.block;
	return 0;
}

int thinp_btree_loader_finish(struct thinp_btree_loader *loader, thinp_block_t *root)
{
	int r;

	tp_tm_enter(loader->tm);
	r = finish(loader, root);
	tp_tm_leave(loader->tm);
	return r;
}

/* --- giving up ------------------------------------------------------------------------------------------------------- */

/* Drops what the entries of a node in memory stand for. */
static int drop_node(struct thinp_btree_loader *loader, const uint8_t *node)
{
	uint32_t nr = tp_node_nr_entries(node);
	int r = 0;

	if (tp_node_is_leaf(node))
		return tp_btree_dec_values(&loader->type, tp_node_values(node), nr);
	for (uint32_t i = 0; !r && i < nr; i++)
		r = thinp_btree_del(loader->tm, &loader->type, tp_node_value64(node, i));
	return r;
}

static int drop_row(struct thinp_btree_loader *loader, struct row *row)
{
	int r = row->is_held ? drop_node(loader, held(row)) : 0;

	return r ? r : drop_node(loader, filling(row));
}

/* After an abort there is nothing left to be dropped; after a commit, the blocks are lost with it. */
static bool is_anything_left(const struct thinp_btree_loader *loader)
{
	return !loader->is_finished && loader->nr_rows && !loader->tm->poison &&
	       loader->transaction == loader->tm->number;
}

static void drop_tree(struct thinp_btree_loader *loader)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r = 0;

	thinp_error_last(&before);
	for (uint32_t i = 0; !r && i < loader->nr_rows; i++)
		r = drop_row(loader, loader->rows[i]);
	if (r)
		thinp_tm_poison(loader->tm, r);
	tp_error_restore(&before);
}

void thinp_btree_loader_destroy(struct thinp_btree_loader *loader)
{
	const struct thinp_allocator *allocator;

	if (!loader)
		return;
	tp_tm_enter(loader->tm);
	if (is_anything_left(loader))
		drop_tree(loader);
	tp_tm_leave(loader->tm);
	allocator = allocator_of(loader);
	for (uint32_t i = 0; i < loader->nr_rows; i++)
		tp_free(allocator, loader->rows[i], sizeof(*loader->rows[i]));
	tp_free(allocator, loader, sizeof(*loader));
}
