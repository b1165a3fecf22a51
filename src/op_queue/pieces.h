/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/pieces.h - operations by block, cut where they overlap.
 *
 * Pushed:                          Kept: two pieces cover the same blocks, or none that both cover.
 *
 *    first   |------------|           |-------|----|
 *    second          |---------|              |----|----|
 *
 * Pieces of the same blocks are a stack, lowest the one that came first.
 */
#ifndef TP_OP_QUEUE_PIECES_H
#define TP_OP_QUEUE_PIECES_H

#include "op_queue/spares.h"

#include <thinp/op.h>

#include <bsd/sys/tree.h>

struct tp_piece {
	RB_ENTRY(tp_piece) link;
	uint64_t first;
	uint64_t last;
	uint64_t arrival; /* pieces of one operation have the same */
	uint64_t number;
	uint32_t kind;
	uint32_t cause;
};
RB_HEAD(tp_piece_tree, tp_piece); /* by first block, then by arrival */

struct tp_pieces {
	const struct thinp_allocator *allocator;
	struct tp_piece_tree tree;
	struct tp_spares spares;
	uint64_t nr_arrived;
};

int tp_pieces_create(void *ctx, const struct thinp_allocator *allocator, void **self) TP_MUST_USE;
void tp_pieces_destroy(void *self);
bool tp_pieces_is_empty(const void *self);

/* Puts an operation in, all of it or nothing. is_cancelling: where a DEC meets an INC on top, both are gone. */
int tp_pieces_push(struct tp_pieces *pieces, const struct thinp_op *op, bool is_cancelling) TP_MUST_USE;

/* The lowest of the stack of the lowest blocks; NULL: there is none. */
struct tp_piece *tp_pieces_front(struct tp_pieces *pieces);

/* The lowest of the stack that begins at a block; NULL: none begins there. */
struct tp_piece *tp_pieces_at(struct tp_pieces *pieces, uint64_t first);

void tp_pieces_remove(struct tp_pieces *pieces, struct tp_piece *piece);

#endif
