/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/fault_script.c - rules: which are there, and which of them acts on an operation.
 *
 * A rule is copied out when it acts, so that no pointer to it is used without the lock.
 */
#include "io/fault.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "io/backend.h"

#define ON_ANY (THINP_FAULT_ON_READ | THINP_FAULT_ON_WRITE | THINP_FAULT_ON_DISCARD | THINP_FAULT_ON_FLUSH)

/* What each action can be done to. */
static const uint32_t kinds_of[] = {
	[THINP_FAULT_PASS] = ON_ANY,
	[THINP_FAULT_FAIL] = ON_ANY,
	[THINP_FAULT_DROP] = ON_ANY,
	[THINP_FAULT_ANSWER] = ON_ANY,
	[THINP_FAULT_TEAR] = THINP_FAULT_ON_WRITE,
	[THINP_FAULT_MISDIRECT] = ON_ANY & ~THINP_FAULT_ON_FLUSH,
	[THINP_FAULT_STALE] = THINP_FAULT_ON_READ,
	[THINP_FAULT_SHORT] = THINP_FAULT_ON_READ,
	[THINP_FAULT_FLIP] = THINP_FAULT_ON_READ,
};

static int refuse(int code, const char *why)
{
	return tp_fail(code, THINP_NO_BLOCK, "fault: %s", why);
}

/* Refuses what this version does not know. */
static int check_known(const struct thinp_fault_rule *rule)
{
	if (rule->action >= sizeof(kinds_of) / sizeof(kinds_of[0]))
		return refuse(THINP_ENOTSUP, "a rule with an unknown action");
	if (rule->kinds & ~ON_ANY)
		return refuse(THINP_ENOTSUP, "a rule for an unknown kind of operation");
	if (rule->flags & ~THINP_FAULT_GARBAGE)
		return refuse(THINP_ENOTSUP, "a rule with an unknown flag");
	return 0;
}

static int check_sense(const struct thinp_fault_rule *rule)
{
	if (rule->kinds & ~kinds_of[rule->action])
		return refuse(THINP_EINVAL, "a rule whose action cannot be done to this kind of operation");
	if (rule->end && rule->end <= rule->begin)
		return refuse(THINP_EINVAL, "a rule for a range without blocks");
	if (rule->code > 0)
		return refuse(THINP_EINVAL, "a rule with a positive code");
	if (rule->offset_bytes >= THINP_BLOCK_SIZE || rule->flip_mask > UINT8_MAX)
		return refuse(THINP_EINVAL, "a rule that flips bits beyond a block or a byte");
	return 0;
}

/* Zero means default, from here on no more. */
static void set_defaults(struct thinp_fault_rule *rule)
{
	if (!rule->kinds)
		rule->kinds = kinds_of[rule->action];
	if (rule->begin || rule->end)
		rule->kinds &= ~THINP_FAULT_ON_FLUSH;
	if (!rule->end)
		rule->end = UINT64_MAX;
	if (!rule->nth)
		rule->nth = 1;
	if (!rule->times)
		rule->times = 1;
	if (!rule->flip_mask)
		rule->flip_mask = UINT8_MAX;
}

static int take_rule(struct thinp_fault_rule *dst, const struct thinp_fault_rule *src)
{
	int r = tp_opts_take(dst, sizeof(*dst), src);

	if (!r)
		r = check_known(dst);
	if (!r)
		r = check_sense(dst);
	if (!r)
		set_defaults(dst);
	return r;
}

static void append(struct thinp_fault *fault, struct tp_fault_rule *added)
{
	struct tp_fault_rule **end = &fault->rules;

	while (*end)
		end = &(*end)->next;
	*end = added;
	added->id = ++fault->nr_added;
}

int thinp_fault_add(struct thinp_fault *fault, const struct thinp_fault_rule *rule, uint64_t *id)
{
	struct thinp_fault_rule taken;
	struct tp_fault_rule *added;
	uint64_t number;
	int r;

	r = take_rule(&taken, rule);
	if (r)
		return r;
	added = tp_alloc_zeroed(&fault->allocator, 1, sizeof(*added));
	if (!added)
		return THINP_ENOMEM;
	added->rule = taken;
	pthread_mutex_lock(&fault->lock);
	append(fault, added);
	number = added->id; /* once the lock is free, the rule may be taken away */
	pthread_mutex_unlock(&fault->lock);
	if (id)
		*id = number;
	return 0;
}

int thinp_fault_fail_nth(struct thinp_fault *fault, uint32_t kind, uint64_t nth, int32_t code, uint64_t *id)
{
	struct thinp_fault_rule rule = {.size = sizeof(rule), .action = THINP_FAULT_FAIL, .nth = nth, .code = code};

	if (kind < THINP_IO_READ || kind > THINP_IO_FLUSH)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "fault: %u is no kind of operation", (unsigned int)kind);
	rule.kinds = 1u << kind;
	return thinp_fault_add(fault, &rule, id);
}

static const struct tp_fault_rule *find(const struct thinp_fault *fault, uint64_t id)
{
	const struct tp_fault_rule *at = fault->rules;

	while (at && at->id != id)
		at = at->next;
	return at;
}

int thinp_fault_get_counts(struct thinp_fault *fault, uint64_t id, uint64_t *matched, uint64_t *fired)
{
	const struct tp_fault_rule *found;

	pthread_mutex_lock(&fault->lock);
	found = find(fault, id);
	if (found && matched)
		*matched = found->matched;
	if (found && fired)
		*fired = found->fired;
	pthread_mutex_unlock(&fault->lock);
	return found ? 0 : refuse(THINP_ENODATA, "no rule has this number");
}

/* One block, so that the lock is not held while memory is given back. */
static thinp_block_t forget_old(struct thinp_fault *fault, thinp_block_t from)
{
	thinp_block_t block;
	uint8_t *data;

	pthread_mutex_lock(&fault->lock);
	block = tp_sparse_skip(&fault->old, from);
	data = block < TP_IO_MAX_BLOCKS ? tp_sparse_put(&fault->old, block, NULL) : NULL;
	pthread_mutex_unlock(&fault->lock);
	tp_free(&fault->allocator, data, THINP_BLOCK_SIZE);
	return block + 1;
}

void thinp_fault_clear(struct thinp_fault *fault)
{
	struct tp_fault_rule *at, *next;

	for (thinp_block_t block = 0; block < TP_IO_MAX_BLOCKS;)
		block = forget_old(fault, block);
	pthread_mutex_lock(&fault->lock);
	at = fault->rules;
	fault->rules = NULL;
	pthread_mutex_unlock(&fault->lock);
	for (; at; at = next) {
		next = at->next;
		tp_free(&fault->allocator, at, sizeof(*at));
	}
}

bool tp_fault_in_range(const struct thinp_fault_rule *rule, thinp_block_t block)
{
	return block >= rule->begin && block < rule->end;
}

static bool matches(const struct thinp_fault_rule *rule, const struct thinp_io_op *op)
{
	if (!(rule->kinds >> op->kind & 1))
		return false;
	return op->kind == THINP_IO_FLUSH || (op->block < rule->end && op->block + op->nr_blocks > rule->begin);
}

/* Is it the rule's turn, after so many operations that it matched? */
static bool is_due(const struct tp_fault_rule *at)
{
	return at->matched >= at->rule.nth && at->matched - at->rule.nth < at->rule.times;
}

/* Every rule that matches counts the operation; the first that is due is returned. */
static struct tp_fault_rule *count(struct tp_fault_rule *rules, const struct thinp_io_op *op)
{
	struct tp_fault_rule *acting = NULL;

	for (struct tp_fault_rule *at = rules; at; at = at->next) {
		if (!matches(&at->rule, op))
			continue;
		at->matched++;
		if (!acting && is_due(at))
			acting = at;
	}
	return acting;
}

bool tp_fault_match(struct thinp_fault *fault, const struct thinp_io_op *op, struct thinp_fault_rule *acting)
{
	struct tp_fault_rule *found;

	pthread_mutex_lock(&fault->lock);
	fault->nr_seen[op->kind]++;
	found = count(fault->rules, op);
	if (found) {
		*acting = found->rule;
		found->fired++;
		fault->nr_fired++;
	}
	pthread_mutex_unlock(&fault->lock);
	return found;
}

bool tp_fault_wants_old(const struct thinp_fault *fault, thinp_block_t block)
{
	for (const struct tp_fault_rule *at = fault->rules; at; at = at->next)
		if (at->rule.action == THINP_FAULT_STALE && tp_fault_in_range(&at->rule, block))
			return true;
	return false;
}
