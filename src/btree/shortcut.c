/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/shortcut.c - making the shortcut of a root.
 *
 * The nodes above the leaves are gone through twice: to count, and, once there is memory, to fill it. Only what the cache has
 * is looked at. Where something is missing or unsound, there is no shortcut, and look-ups find out by themselves.
 */
#include "btree/shortcut.h"

/* A wish stands for so many nodes looked at (tp_read_is_sample()). Where there are more leaves than nodes were looked at, a
 * shortcut costs more than it saves. */
#define LEAVES_FOR_A_WISH 64u

/* Trying in vain costs next to nothing when it is done after twice as many wishes each time, or after so many. */
#define MANY_WISHES 4096u

struct frame {
	const void *node;
	uint32_t next; /* entry */
};

struct tour {
	struct thinp_read_section *section;
	uint32_t depth; /* of the leaves */
	size_t most;
	size_t nr;
	uint64_t last_first;
	uint64_t nr_blocks; /* no address so far is as high */
	uint64_t *firsts;   /* NULL: only to count */
	struct tp_shortcut_leaf *leaves;
	struct frame frames[THINP_BTREE_MAX_DEPTH];
};

/* False: too many, or not behind the one before. */
static bool add(struct tour *tour, uint64_t first, thinp_block_t block)
{
	if (tour->nr == tour->most || (tour->nr && first <= tour->last_first))
		return false;
	if (tour->firsts) {
		tour->firsts[tour->nr] = first;
		tour->leaves[tour->nr].block = block;
		atomic_init(&tour->leaves[tour->nr].buffer, NULL);
	}
	tour->nr++;
	tour->last_first = first;
	if (block >= tour->nr_blocks)
		tour->nr_blocks = block + 1;
	return true;
}

/* A node above the leaves. What its parent promises is what tp_btree_read_node() checks. */
static bool go_into(struct tour *tour, uint32_t depth, thinp_block_t block, uint64_t first)
{
	const void *node = thinp_read_peek(tour->section, block, thinp_block_type_node());

	if (!node || tp_node_is_leaf(node) || tp_node_key(node, 0) < first)
		return false;
	tour->frames[depth] = (struct frame){.node = node};
	return !depth || tp_node_key(node, 0) == first || add(tour, first, 0);
}

static bool take_entry(struct tour *tour, uint32_t *depth)
{
	struct frame *frame = &tour->frames[*depth];
	uint32_t index = frame->next++;
	thinp_block_t block = tp_node_value64(frame->node, index);
	uint64_t first = tp_node_key(frame->node, index);

	if (!block || block >= thinp_reader_nr_blocks(tour->section->reader))
		return false;
	if (*depth + 1 == tour->depth)
		return add(tour, first, block);
	++*depth;
	return go_into(tour, *depth, block, first);
}

static bool go_round(struct tour *tour, thinp_block_t root)
{
	uint32_t depth = 0;
	bool is_sound = go_into(tour, 0, root, 0);

	while (is_sound) {
		if (tour->frames[depth].next < tp_node_nr_entries(tour->frames[depth].node))
			is_sound = take_entry(tour, &depth);
		else if (depth--)
			continue;
		else
			break;
	}
	return is_sound;
}

static size_t filled_up(size_t nr)
{
	return (nr + TP_OUTLINE_PIVOTS - 1) / TP_OUTLINE_PIVOTS * TP_OUTLINE_PIVOTS;
}

/* Lengths of the rows, from the bottom. */
static uint32_t measure_rows(size_t nr_leaves, size_t *lengths)
{
	uint32_t nr_rows = 0;
	size_t nr = nr_leaves;

	do {
		lengths[nr_rows++] = nr;
		nr = filled_up(nr) / TP_OUTLINE_PIVOTS;
	} while (lengths[nr_rows - 1] > TP_OUTLINE_PIVOTS);
	return nr_rows;
}

#define HEAD_BYTES ((sizeof(struct tp_shortcut) + 63) / 64 * 64)

static size_t bytes_for(size_t nr_leaves)
{
	size_t lengths[TP_SHORTCUT_MAX_ROWS], nbytes = HEAD_BYTES + nr_leaves * sizeof(struct tp_shortcut_leaf);
	uint32_t nr_rows = measure_rows(nr_leaves, lengths);

	for (uint32_t i = 0; i < nr_rows; i++)
		nbytes += filled_up(lengths[i]) * sizeof(uint64_t);
	return nbytes;
}

/* The rows lie behind the head, the leaves behind them. */
static void lay_out(struct tp_shortcut *shortcut, const struct tour *counted)
{
	uint64_t *row = (uint64_t *)((uint8_t *)shortcut + HEAD_BYTES);
	size_t lengths[TP_SHORTCUT_MAX_ROWS];

	shortcut->nr_blocks = counted->nr_blocks;
	shortcut->depth = counted->depth;
	shortcut->nr_rows = measure_rows(counted->nr, lengths);
	for (uint32_t i = 0; i < shortcut->nr_rows; i++) {
		shortcut->rows[shortcut->nr_rows - 1 - i] = row;
		row += filled_up(lengths[i]);
	}
	shortcut->firsts = shortcut->rows[shortcut->nr_rows - 1];
	shortcut->leaves = (struct tp_shortcut_leaf *)row;
}

static void fill_up(uint64_t *row, size_t length)
{
	for (size_t i = length; i < filled_up(length); i++)
		row[i] = UINT64_MAX;
}

/* The rows above the bottom one, which is there but for its end: every so manieth key of the one below. */
static void fill_rows(struct tp_shortcut *shortcut, size_t nr_leaves)
{
	size_t lengths[TP_SHORTCUT_MAX_ROWS];
	uint32_t nr_rows = measure_rows(nr_leaves, lengths);
	uint64_t *below = shortcut->firsts;

	fill_up(below, nr_leaves);
	for (uint32_t i = 1; i < nr_rows; i++) {
		uint64_t *row = shortcut->rows[nr_rows - 1 - i];

		for (size_t k = 0; k < lengths[i]; k++)
			row[k] = below[k * TP_OUTLINE_PIVOTS];
		fill_up(row, lengths[i]);
		below = row;
	}
}

/* Nothing may have changed since it was counted, but what is not in the cache any more makes an end. */
static bool fill(struct tp_shortcut *shortcut, struct thinp_read_section *section, const struct tour *counted,
		 thinp_block_t root)
{
	struct thinp_buffer *buffer = tp_read_peek_buffer(section, root, thinp_block_type_node());
	struct tour tour = {.section = section,
			    .depth = counted->depth,
			    .most = counted->nr,
			    .firsts = shortcut->firsts,
			    .leaves = shortcut->leaves};

	if (!buffer || !go_round(&tour, root) || tour.nr != counted->nr || tour.nr_blocks != counted->nr_blocks)
		return false;
	fill_rows(shortcut, tour.nr);
	return tp_attachment_attach(&section->reader->bm->cache, &shortcut->attachment, buffer);
}

static void make(struct thinp_reader *reader, const struct tour *counted, thinp_block_t root)
{
	struct tp_cache *cache = &reader->bm->cache;
	struct tp_attachment *attachment = tp_attachment_alloc(cache, bytes_for(counted->nr));
	struct tp_shortcut *shortcut = (struct tp_shortcut *)attachment;
	struct thinp_read_section section;
	bool is_made;

	if (!attachment)
		return;
	lay_out(shortcut, counted);
	thinp_read_begin(reader, &section);
	is_made = fill(shortcut, &section, counted, root);
	thinp_read_end(&section);
	if (!is_made)
		tp_attachment_free(cache, attachment);
}

/* Are there too many leaves, going by the nodes in the middle? That is known sooner than their number. */
static bool are_too_many(const struct tour *tour, thinp_block_t root)
{
	thinp_block_t block = root;
	size_t nr = 1;

	for (uint32_t depth = 0; depth < tour->depth && nr <= tour->most; depth++) {
		const void *node = thinp_read_peek(tour->section, block, thinp_block_type_node());

		if (!node || tp_node_is_leaf(node))
			return true;
		nr *= tp_node_nr_entries(node);
		block = tp_node_value64(node, tp_node_nr_entries(node) / 2);
	}
	return nr > tour->most;
}

static bool count(struct thinp_reader *reader, struct tour *tour, thinp_block_t root)
{
	struct thinp_read_section section;
	bool is_sound;

	thinp_read_begin(reader, &section);
	tour->section = &section;
	is_sound = !are_too_many(tour, root) && go_round(tour, root);
	thinp_read_end(&section);
	return is_sound;
}

/* The roots of an open transaction are seldom looked at often enough, and those that it made could not have one. */
void tp_shortcut_wish(struct thinp_reader *reader, thinp_block_t root, uint32_t depth)
{
	struct tour tour = {.depth = depth};
	uint32_t wishes;

	if (reader->generation)
		return;
	wishes = tp_attachment_wish(&reader->bm->cache.attachments, root);
	if (!wishes || (wishes & (wishes - 1) && wishes % MANY_WISHES))
		return;
	tour.most = wishes < TP_SHORTCUT_MAX_LEAVES / LEAVES_FOR_A_WISH ? (size_t)wishes * LEAVES_FOR_A_WISH
									: TP_SHORTCUT_MAX_LEAVES;
	if (count(reader, &tour, root))
		make(reader, &tour, root);
}
