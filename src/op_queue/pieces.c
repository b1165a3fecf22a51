/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/pieces.c - operations by block, cut where they overlap.
 *
 * What a push needs is counted and got first; then nothing can fail any more.
 */
#include "op_queue/pieces.h"

#include "base/alloc.h"

static int compare(const struct tp_piece *a, const struct tp_piece *b)
{
	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	return a->arrival < b->arrival ? -1 : a->arrival > b->arrival;
}

RB_GENERATE_INTERNAL(tp_piece_tree, tp_piece, link, compare, __attribute__((unused)) static)

int tp_pieces_create(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	struct tp_pieces *pieces = tp_alloc_zeroed(allocator, 1, sizeof(*pieces));

	(void)ctx;
	if (!pieces)
		return THINP_ENOMEM;
	pieces->allocator = allocator;
	RB_INIT(&pieces->tree);
	tp_spares_init(&pieces->spares, allocator, sizeof(struct tp_piece));
	*self = pieces;
	return 0;
}

void tp_pieces_destroy(void *self)
{
	struct tp_pieces *pieces = self;

	while (RB_ROOT(&pieces->tree))
		tp_pieces_remove(pieces, RB_ROOT(&pieces->tree));
	tp_spares_trim(&pieces->spares, 0);
	tp_free(pieces->allocator, pieces, sizeof(*pieces));
}

bool tp_pieces_is_empty(const void *self)
{
	const struct tp_pieces *pieces = self;

	return RB_EMPTY(&pieces->tree);
}

void tp_pieces_remove(struct tp_pieces *pieces, struct tp_piece *piece)
{
	RB_REMOVE(tp_piece_tree, &pieces->tree, piece);
	tp_spares_give(&pieces->spares, piece);
}

struct tp_piece *tp_pieces_front(struct tp_pieces *pieces)
{
	return RB_MIN(tp_piece_tree, &pieces->tree);
}

/* The lowest of the first stack that begins at the block or behind, or NULL. */
static struct tp_piece *ceiling_of(struct tp_pieces *pieces, uint64_t block)
{
	struct tp_piece key = {.first = block};

	return RB_NFIND(tp_piece_tree, &pieces->tree, &key);
}

struct tp_piece *tp_pieces_at(struct tp_pieces *pieces, uint64_t first)
{
	struct tp_piece *piece = ceiling_of(pieces, first);

	return piece && piece->first == first ? piece : NULL;
}

/* The lowest of the stack that covers the block and the one before it, or NULL. */
static struct tp_piece *straddling(struct tp_pieces *pieces, uint64_t block)
{
	struct tp_piece *behind = ceiling_of(pieces, block);
	struct tp_piece *top =
		behind ? RB_PREV(tp_piece_tree, &pieces->tree, behind) : RB_MAX(tp_piece_tree, &pieces->tree);

	return top && top->last >= block ? ceiling_of(pieces, top->first) : NULL;
}

/* Goes up a stack. height: how many there are; may be NULL. */
static struct tp_piece *top_of(struct tp_piece *piece, size_t *height)
{
	size_t nr = 1;

	for (;; nr++) {
		struct tp_piece *next = RB_NEXT(tp_piece_tree, NULL, piece);

		if (!next || next->first != piece->first)
			break;
		piece = next;
	}
	if (height)
		*height = nr;
	return piece;
}

/* How many pieces will come new: what is cut off, one on each stack, one in each gap. */
static size_t count_new(struct tp_pieces *pieces, uint64_t first, uint64_t last)
{
	struct tp_piece *stack = straddling(pieces, first);
	uint64_t begin = first; /* of what is not looked at yet */
	size_t nr = 0, height;

	for (stack = stack ? stack : ceiling_of(pieces, first); stack && stack->first <= last;) {
		struct tp_piece *top = top_of(stack, &height);

		nr += (stack->first < first) * height + (top->last > last) * height;
		nr += (size_t)1 + (stack->first > begin);
		if (top->last >= last)
			return nr;
		begin = top->last + 1;
		stack = RB_NEXT(tp_piece_tree, NULL, top);
	}
	return nr + 1;
}

static void insert(struct tp_pieces *pieces, const struct tp_piece *from, uint64_t first, uint64_t last)
{
	struct tp_piece *piece = tp_spares_take(&pieces->spares);

	*piece = *from;
	piece->first = first;
	piece->last = last;
	RB_INSERT(tp_piece_tree, &pieces->tree, piece);
}

/* Makes a stack begin at the block, if one covers it and begins before. */
static void cut(struct tp_pieces *pieces, uint64_t at)
{
	struct tp_piece *piece = straddling(pieces, at);

	while (piece && piece->first < at) {
		insert(pieces, piece, at, piece->last);
		piece->last = at - 1;
		piece = RB_NEXT(tp_piece_tree, NULL, piece);
	}
}

/* Puts the piece on every stack of its range, and into the gaps between them. */
static void lay(struct tp_pieces *pieces, const struct tp_piece *from, bool is_cancelling)
{
	struct tp_piece *stack = ceiling_of(pieces, from->first);
	uint64_t begin = from->first;

	while (stack && stack->first <= from->last) {
		struct tp_piece *top = top_of(stack, NULL);
		struct tp_piece *next = RB_NEXT(tp_piece_tree, NULL, top);
		uint64_t first = top->first, last = top->last;

		if (first > begin)
			insert(pieces, from, begin, first - 1);
		if (is_cancelling && top->kind == THINP_OP_INC && from->kind == THINP_OP_DEC)
			tp_pieces_remove(pieces, top);
		else
			insert(pieces, from, first, last);
		if (last == from->last)
			return;
		begin = last + 1;
		stack = next;
	}
	insert(pieces, from, begin, from->last);
}

int tp_pieces_push(struct tp_pieces *pieces, const struct thinp_op *op, bool is_cancelling)
{
	struct tp_piece from = {
		.first = op->first,
		.last = op->first + (op->nr_blocks - 1),
		.arrival = pieces->nr_arrived + 1,
		.number = op->number,
		.kind = op->kind,
		.cause = op->cause,
	};
	int r = tp_spares_reserve(&pieces->spares, count_new(pieces, from.first, from.last));

	if (r)
		return r;
	pieces->nr_arrived++;
	cut(pieces, from.first);
	if (from.last != UINT64_MAX)
		cut(pieces, from.last + 1);
	lay(pieces, &from, is_cancelling);
	return 0;
}
