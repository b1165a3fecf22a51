/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/ledger.c - what is pending for each block, in the order of arrival.
 *
 * A tree of spans, ranges of blocks that have the same pending. The signs of a span are one word:
 *
 *    63                    6 5      0
 *   | ... third second first | length |       1: INC, 0: DEC
 *
 * Invariants
 *   1. Spans do not overlap, and none is without signs.
 *   2. Where an operation that is pending begins or ends, a span begins or ends. Spans are cut, never joined. So whoever
 *      takes out what was put in, whole or cut at such places, finds the cuts made.
 *   3. There are at most about twice as many spans as operations that have not come out.
 */
#include "op_queue/ledger.h"

#include <thinp/op.h>

#define LENGTH_BITS 6
#define LENGTH_MASK ((UINT64_C(1) << LENGTH_BITS) - 1)
#define MOST_SIGNS  (64 - LENGTH_BITS)

struct tp_ledger_span {
	RB_ENTRY(tp_ledger_span) link;
	uint64_t first;
	uint64_t last;
	uint64_t signs;
};

/* --- the word --- */

static unsigned length_of(uint64_t signs)
{
	return (unsigned)(signs & LENGTH_MASK);
}

static bool is_inc(uint64_t signs, unsigned at)
{
	return signs >> (LENGTH_BITS + at) & 1;
}

static uint64_t append(uint64_t signs, uint32_t kind)
{
	uint64_t bit = kind == THINP_OP_INC;

	return (signs | bit << (LENGTH_BITS + length_of(signs))) + 1;
}

static int sum_of(uint64_t signs)
{
	return 2 * __builtin_popcountll(signs >> LENGTH_BITS) - (int)length_of(signs);
}

/* How many signs go when an operation of the kind comes out; 0: it must not come now. */
static unsigned match(uint64_t signs, uint32_t kind)
{
	int sum = 0;

	for (unsigned at = 0; at < length_of(signs); at++) {
		if (sum == 0 && is_inc(signs, at) == (kind == THINP_OP_INC))
			return at + 1;
		sum += is_inc(signs, at) ? 1 : -1;
	}
	return 0;
}

static uint64_t drop(uint64_t signs, unsigned nr)
{
	unsigned left = length_of(signs) - nr;

	return left ? signs >> LENGTH_BITS >> nr << LENGTH_BITS | left : 0;
}

static bool has_kind(uint64_t signs, uint32_t kind)
{
	unsigned nr_inc = (unsigned)__builtin_popcountll(signs >> LENGTH_BITS);

	return kind == THINP_OP_INC ? nr_inc != 0 : nr_inc != length_of(signs);
}

/* --- the tree --- */

static int compare(const struct tp_ledger_span *a, const struct tp_ledger_span *b)
{
	return a->first < b->first ? -1 : a->first > b->first;
}

RB_GENERATE_INTERNAL(tp_ledger_tree, tp_ledger_span, link, compare, __attribute__((unused)) static)

static struct tp_ledger_span *next_of(struct tp_ledger_span *span)
{
	return RB_NEXT(tp_ledger_tree, NULL, span);
}

/* The last span that begins at the block or before, or NULL. */
static struct tp_ledger_span *floor_of(const struct tp_ledger *ledger, uint64_t block)
{
	struct tp_ledger_span *found = NULL;

	for (struct tp_ledger_span *span = RB_ROOT(&ledger->tree); span;) {
		if (span->first <= block) {
			found = span;
			span = RB_RIGHT(span, link);
		} else {
			span = RB_LEFT(span, link);
		}
	}
	return found;
}

/* The first span that ends at the block or behind, or NULL. */
static struct tp_ledger_span *first_from(struct tp_ledger *ledger, uint64_t block)
{
	struct tp_ledger_span *span = floor_of(ledger, block);

	if (!span)
		return RB_MIN(tp_ledger_tree, &ledger->tree);
	return span->last >= block ? span : next_of(span);
}

static struct tp_ledger_span *insert(struct tp_ledger *ledger, uint64_t first, uint64_t last, uint64_t signs)
{
	struct tp_ledger_span *span = tp_spares_take(&ledger->spares);

	*span = (struct tp_ledger_span){.first = first, .last = last, .signs = signs};
	RB_INSERT(tp_ledger_tree, &ledger->tree, span);
	return span;
}

static void remove_span(struct tp_ledger *ledger, struct tp_ledger_span *span)
{
	RB_REMOVE(tp_ledger_tree, &ledger->tree, span);
	tp_spares_give(&ledger->spares, span);
}

/* Makes a span begin at the block, if one covers it and begins before. */
static void cut(struct tp_ledger *ledger, uint64_t at)
{
	struct tp_ledger_span *span = floor_of(ledger, at);

	if (span && span->first < at && span->last >= at) {
		insert(ledger, at, span->last, span->signs);
		span->last = at - 1;
	}
}

static void cut_around(struct tp_ledger *ledger, uint64_t first, uint64_t last)
{
	cut(ledger, first);
	if (last != UINT64_MAX)
		cut(ledger, last + 1);
}

/* --- */

void tp_ledger_init(struct tp_ledger *ledger, const struct thinp_allocator *allocator)
{
	RB_INIT(&ledger->tree);
	tp_spares_init(&ledger->spares, allocator, sizeof(struct tp_ledger_span));
}

void tp_ledger_clear(struct tp_ledger *ledger)
{
	while (RB_ROOT(&ledger->tree))
		remove_span(ledger, RB_ROOT(&ledger->tree));
	tp_spares_trim(&ledger->spares, 0);
}

int tp_ledger_prepare(struct tp_ledger *ledger, uint64_t first, uint64_t last)
{
	struct tp_ledger_span *span = first_from(ledger, first);
	uint64_t begin = first; /* of what is not looked at yet */
	size_t nr = 0;          /* spans that come new: pieces cut off at the ends, gaps */
	bool is_covered = false;

	for (; span && span->first <= last; span = next_of(span)) {
		if (length_of(span->signs) == MOST_SIGNS)
			return tp_fail(THINP_ENOMEM, span->first > first ? span->first : first,
				       "%d operations are pending for one block: no room for more", MOST_SIGNS);
		nr += span->first != begin; /* one is cut off, or a gap lies before */
		nr += span->last > last;
		is_covered = span->last >= last;
		if (is_covered)
			break;
		begin = span->last + 1;
	}
	return tp_spares_reserve(&ledger->spares, nr + !is_covered);
}

void tp_ledger_add(struct tp_ledger *ledger, uint64_t first, uint64_t last, uint32_t kind)
{
	struct tp_ledger_span *span;
	uint64_t begin = first;

	cut_around(ledger, first, last);
	for (span = first_from(ledger, first); span && span->first <= last; span = next_of(span)) {
		if (span->first > begin)
			insert(ledger, begin, span->first - 1, append(0, kind));
		span->signs = append(span->signs, kind);
		if (span->last == last)
			return;
		begin = span->last + 1;
	}
	insert(ledger, begin, last, append(0, kind));
}

static int disagree(struct tp_ledger_doubt *doubt, uint64_t block, uint64_t signs, uint32_t kind)
{
	*doubt = (struct tp_ledger_doubt){.block = block, .sum = sum_of(signs), .has_overtook = has_kind(signs, kind)};
	return THINP_EREFCOUNT;
}

/* Compares; nr: how many cuts are to be made. */
static int check(struct tp_ledger *ledger, uint64_t first, uint64_t last, uint32_t kind, size_t *nr,
		 struct tp_ledger_doubt *doubt)
{
	struct tp_ledger_span *span = first_from(ledger, first);
	uint64_t begin = first;

	for (*nr = 0;; span = next_of(span)) {
		if (!span || span->first > begin)
			return disagree(doubt, begin, 0, kind);
		if (!match(span->signs, kind))
			return disagree(doubt, begin, span->signs, kind);
		*nr += span->first < begin;
		*nr += span->last > last;
		if (span->last >= last)
			return 0;
		begin = span->last + 1;
	}
}

static void consume(struct tp_ledger *ledger, uint64_t first, uint64_t last, uint32_t kind)
{
	struct tp_ledger_span *span = floor_of(ledger, first);

	for (;;) {
		struct tp_ledger_span *next = next_of(span);
		bool is_last = span->last == last;

		span->signs = drop(span->signs, match(span->signs, kind));
		if (!span->signs)
			remove_span(ledger, span);
		if (is_last)
			return;
		span = next;
	}
}

int tp_ledger_take(struct tp_ledger *ledger, uint64_t first, uint64_t last, uint32_t kind,
		   struct tp_ledger_doubt *doubt)
{
	size_t nr_cuts;
	int r = check(ledger, first, last, kind, &nr_cuts, doubt);

	if (r)
		return r;
	if (nr_cuts) {
		r = tp_spares_reserve(&ledger->spares, nr_cuts);
		if (r)
			return r;
		cut_around(ledger, first, last);
	}
	consume(ledger, first, last, kind);
	return 0;
}

int64_t tp_ledger_delta(const struct tp_ledger *ledger, uint64_t block)
{
	const struct tp_ledger_span *span = floor_of(ledger, block);

	return span && span->last >= block ? sum_of(span->signs) : 0;
}

bool tp_ledger_is_empty(const struct tp_ledger *ledger)
{
	return RB_EMPTY(&ledger->tree);
}

bool tp_ledger_is_balanced(const struct tp_ledger *ledger, struct tp_ledger_doubt *doubt)
{
	struct tp_ledger_tree tree = ledger->tree; /* the macros want one that is not const */
	struct tp_ledger_span *span;

	RB_FOREACH(span, tp_ledger_tree, &tree)
	if (sum_of(span->signs)) {
		if (doubt)
			*doubt = (struct tp_ledger_doubt){.block = span->first, .sum = sum_of(span->signs)};
		return false;
	}
	return true;
}
