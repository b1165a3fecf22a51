/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/op_queue/model.h - a plain model of what is pending: for each of a few blocks its signs, in the order of arrival.
 */
#ifndef UNIT_OP_QUEUE_MODEL_H
#define UNIT_OP_QUEUE_MODEL_H

#include <thinp/op_queue.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MODEL_BLOCKS 64
#define MODEL_SIGNS  64

struct model {
	uint64_t base;      /* the first block */
	bool is_cancelling; /* a DEC that meets an INC is gone with it */
	unsigned length[MODEL_BLOCKS];
	uint32_t kinds[MODEL_BLOCKS][MODEL_SIGNS];
};

static inline struct thinp_op op_of(uint32_t kind, uint64_t first, uint64_t nr_blocks, uint64_t number)
{
	return (struct thinp_op){
		.kind = kind, .first = first, .nr_blocks = nr_blocks, .number = number, .cause = THINP_CAUSE_USER};
}

static inline void model_push_one(struct model *m, uint64_t i, uint32_t kind)
{
	if (m->is_cancelling && kind == THINP_OP_DEC && m->length[i] && m->kinds[i][m->length[i] - 1] == THINP_OP_INC) {
		m->length[i]--;
		return;
	}
	assert_true(m->length[i] < MODEL_SIGNS);
	m->kinds[i][m->length[i]++] = kind;
}

static inline void model_push(struct model *m, const struct thinp_op *op)
{
	for (uint64_t n = 0; n < op->nr_blocks; n++)
		model_push_one(m, op->first - m->base + n, op->kind);
}

/* What came out must be the oldest of each of its blocks. */
static inline void model_pop(struct model *m, const struct thinp_op *op)
{
	assert_true(op->nr_blocks > 0);
	for (uint64_t n = 0; n < op->nr_blocks; n++) {
		uint64_t i = op->first - m->base + n;

		assert_true(i < MODEL_BLOCKS);
		assert_true(m->length[i] > 0);
		assert_int_equal(m->kinds[i][0], op->kind);
		memmove(&m->kinds[i][0], &m->kinds[i][1], sizeof(m->kinds[i]) - sizeof(m->kinds[i][0]));
		m->length[i]--;
	}
}

static inline int64_t model_delta(const struct model *m, uint64_t i)
{
	int64_t sum = 0;

	for (unsigned n = 0; n < m->length[i]; n++)
		sum += m->kinds[i][n] == THINP_OP_INC ? 1 : -1;
	return sum;
}

static inline bool model_is_empty(const struct model *m)
{
	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		if (m->length[i])
			return false;
	return true;
}

static inline unsigned model_longest(const struct model *m)
{
	unsigned longest = 0;

	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		if (m->length[i] > longest)
			longest = m->length[i];
	return longest;
}

#endif
