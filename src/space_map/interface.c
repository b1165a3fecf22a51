/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/interface.c - how others take and count blocks: the public functions, and the table for transactions.
 */
#include "space_map/sm.h"

#include "base/opts.h"

#include <inttypes.h>

int tp_sm_check_not_recording(const struct thinp_sm *sm)
{
	if (!sm->metadata->is_recording || sm->failure)
		return 0;
	return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "counts are being recorded: no changes before the commit");
}

int thinp_sm_take(struct thinp_sm *sm, uint64_t nr_blocks, uint64_t *first, uint64_t *nr_taken)
{
	/* blocks that are kept for changes that free space are for those who reserve */
	uint64_t spare = sm->kind == TP_SM_METADATA ? tp_sm_release_cost(sm) : 0;
	int r = tp_sm_check_not_recording(sm);

	return r ? r : tp_sm_take_cause(sm, nr_blocks, spare, THINP_CAUSE_USER, first, nr_taken);
}

int thinp_sm_inc(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks)
{
	int r = tp_sm_check_not_recording(sm);

	return r ? r : tp_sm_issue(sm, THINP_OP_INC, first, nr_blocks, THINP_CAUSE_USER);
}

int thinp_sm_dec(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks)
{
	int r = tp_sm_check_not_recording(sm);

	return r ? r : tp_sm_issue(sm, THINP_OP_DEC, first, nr_blocks, THINP_CAUSE_USER);
}

int thinp_sm_count(struct thinp_sm *sm, uint64_t block, uint32_t *count)
{
	return tp_sm_get_count(sm, block, count);
}

static int alloc_take(void *ctx, uint32_t cause, thinp_block_t *block)
{
	return tp_sm_take_cause(ctx, 1, 0, cause, block, NULL);
}

static int alloc_inc(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	return tp_sm_issue(ctx, THINP_OP_INC, first, nr_blocks, cause);
}

static int alloc_dec(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	return tp_sm_issue(ctx, THINP_OP_DEC, first, nr_blocks, cause);
}

static int alloc_count(void *ctx, thinp_block_t block, uint32_t *count)
{
	return tp_sm_get_count(ctx, block, count);
}

static int alloc_reserve(void *ctx, uint64_t nr_blocks, uint32_t flags)
{
	struct thinp_sm *sm = ctx;
	bool is_release = flags & THINP_RESERVE_RELEASE;
	uint64_t kept = is_release ? tp_sm_lowering_cost(sm->metadata) : tp_sm_release_cost(sm->metadata);
	uint64_t wanted = nr_blocks <= UINT64_MAX - kept ? nr_blocks + kept : UINT64_MAX;

	if (sm->kind == TP_SM_METADATA)
		return tp_sm_check_cost(sm, &sm->work, wanted);
	if (nr_blocks > sm->now.nr_available)
		return tp_fail(THINP_ENOSPC, THINP_NO_BLOCK,
			       "%" PRIu64 " data blocks are wanted, %" PRIu64 " can be taken", nr_blocks,
			       sm->now.nr_available);
	return tp_sm_check_cost(sm, &sm->work, kept);
}

static uint64_t alloc_cost(void *ctx, uint64_t nr_blocks)
{
	return tp_sm_cost(ctx, nr_blocks);
}

void thinp_sm_get_alloc(struct thinp_sm *sm, struct thinp_alloc *alloc)
{
	const struct thinp_alloc table = {.size = sizeof(table),
					  .ctx = sm,
					  .take = alloc_take,
					  .inc = alloc_inc,
					  .dec = alloc_dec,
					  .count = alloc_count,
					  .reserve = alloc_reserve,
					  .cost = alloc_cost};

	tp_result_give(alloc, &table, sizeof(table));
}
