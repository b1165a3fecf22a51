/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/slots.c - the places where superblocks are.
 *
 * They are read and cleared past the block cache, which never holds one.
 */
#include "store/store.h"

#include "base/bytes.h"
#include "format/kind.h"

#include <stdio.h>
#include <string.h>

struct slots {
	uint8_t *data; /* of all slots */
	uint32_t nr;
	bool is_zero;
	bool is_sound[TP_STORE_MAX_SLOTS];
	struct tp_store_maps maps[TP_STORE_MAX_SLOTS];
};

static size_t nbytes_of(const struct thinp_store *store)
{
	return (size_t)store->format->nr_slots * THINP_BLOCK_SIZE;
}

static uint8_t *slot_data(const struct slots *slots, uint32_t slot)
{
	return slots->data + (size_t)slot * THINP_BLOCK_SIZE;
}

static int check_size(struct thinp_store *store)
{
	uint64_t nr_blocks;
	int r = thinp_io_size(store->io, &nr_blocks);

	if (!r && nr_blocks < store->format->nr_slots)
		r = tp_fail(THINP_EUNFORMATTED, 0, "the device is too small to hold a %s", store->format->type()->name);
	return r;
}

/* Is it a sound record? maps is filled in. */
static int try_slot(struct thinp_store *store, const struct slots *slots, uint32_t slot, struct tp_store_maps *maps)
{
	int r = tp_block_verify(slot_data(slots, slot), slot, store->format->type());

	return r ? r : store->format->unpack(store->format_ctx, slot_data(slots, slot), maps);
}

/* What becomes of the slots: the best one, and the worst that is wrong with the others. */
struct choice {
	bool found;
	uint32_t slot;
	uint64_t commit;
	int failure; /* of one that is not all zero; 0: none */
	struct thinp_error_info why;
};

/* A slot that cannot be read now may hold the last commit, one that we do not understand surely holds a commit; neither may
 * be written over as if it was damaged. */
static unsigned int weight_of(int failure)
{
	return !failure ? 0 : failure == THINP_ENOTSUP ? 3 : failure == THINP_EIO ? 2 : 1;
}

static void note_failure(struct choice *choice, int r)
{
	if (weight_of(r) <= weight_of(choice->failure))
		return;
	choice->failure = r;
	choice->why.size = sizeof(choice->why);
	thinp_error_last(&choice->why);
}

static void choose(struct slots *slots, struct choice *choice, uint32_t slot)
{
	slots->is_sound[slot] = true;
	if (choice->found && slots->maps[slot].commit < choice->commit)
		return;
	choice->found = true;
	choice->slot = slot;
	choice->commit = slots->maps[slot].commit;
}

/* A failure of the device with one of several slots is no reason to give up. */
static int read_slot(struct thinp_store *store, struct slots *slots, struct choice *choice, uint32_t slot)
{
	int r = thinp_io_read(store->io, slot, 1, slot_data(slots, slot));

	if (r == THINP_EIO) {
		note_failure(choice, r);
		slots->is_zero = false;
		return 0;
	}
	if (r)
		return r;
	if (tp_is_zero(slot_data(slots, slot), THINP_BLOCK_SIZE))
		return 0;
	slots->is_zero = false;
	r = try_slot(store, slots, slot, &slots->maps[slot]);
	if (r)
		note_failure(choice, r);
	else
		choose(slots, choice, slot);
	return 0;
}

static int read_slots(struct thinp_store *store, struct slots *slots, struct choice *choice)
{
	int r = check_size(store);

	slots->nr = store->format->nr_slots;
	slots->data = store->slots;
	slots->is_zero = true;
	for (uint32_t slot = 0; !r && slot < slots->nr; slot++)
		r = read_slot(store, slots, choice, slot);
	return r;
}

/* A slot is empty only until its first commit. */
static void note_lost(const struct slots *slots, struct choice *choice)
{
	for (uint32_t slot = 0; slot < slots->nr; slot++) {
		if (slots->is_sound[slot] || choice->failure || choice->commit < slots->nr)
			continue;
		choice->failure = tp_fail(THINP_ECORRUPT, slot, "nothing but zeros where a commit was");
		choice->why.size = sizeof(choice->why);
		thinp_error_last(&choice->why);
	}
}

/* What else is there: the commit before, or one that is not kept whole any more. */
static void note_others(struct thinp_store *store, const struct slots *slots, const struct choice *choice)
{
	for (uint32_t slot = 0; slot < slots->nr; slot++) {
		if (!slots->is_sound[slot] || slot == choice->slot)
			continue;
		store->has_previous = slots->maps[slot].commit + 1 == choice->commit;
		store->has_broken = !store->has_previous;
		store->previous = slots->maps[slot];
	}
}

void tp_store_warn(const struct thinp_store *store, const char *what, const struct thinp_error_info *why)
{
	char text[sizeof(why->message) + 64];
	struct thinp_log_record rec = {.size = sizeof(rec),
				       .level = THINP_LOG_WARNING,
				       .room = "store",
				       .code = why->code,
				       .block = why->block,
				       .text = text};

	if (!store->opts.log)
		return;
	snprintf(text, sizeof(text), "%s: %s", what, why->message);
	store->opts.log(store->opts.log_ctx, &rec);
}

/* Whoever writes would write over the last commit, should it be the one that cannot be read now. */
static bool is_refused(const struct thinp_store *store, const struct choice *choice)
{
	bool is_read_only = store->opts.flags & THINP_STORE_READ_ONLY;

	return !choice->found || choice->failure == THINP_ENOTSUP || (choice->failure == THINP_EIO && !is_read_only);
}

static int use_choice(struct thinp_store *store, const struct slots *slots, const struct choice *choice,
		      struct tp_commit *commit)
{
	int r;

	if (!choice->found && slots->is_zero)
		return tp_fail(THINP_EUNFORMATTED, 0, "nothing but zeros where a %s should be",
			       store->format->type()->name);
	if (is_refused(store, choice)) {
		tp_error_restore(&choice->why);
		return choice->failure;
	}
	/* it has passed its check; the format's context is to be that of this slot */
	r = store->format->unpack(store->format_ctx, slot_data(slots, choice->slot), &commit->maps);
	if (r)
		return r;
	memcpy(commit->record, slot_data(slots, choice->slot), THINP_BLOCK_SIZE);
	note_others(store, slots, choice);
	store->fell_back = choice->failure;
	if (choice->failure)
		tp_store_warn(store, "a commit cannot be read", &choice->why);
	return 0;
}

int tp_store_read_slots(struct thinp_store *store, struct tp_commit *commit)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct slots slots = {.data = NULL};
	struct choice choice = {.found = false};
	int r;

	thinp_error_last(&before);
	r = read_slots(store, &slots, &choice);
	if (!r) {
		if (choice.found)
			note_lost(&slots, &choice);
		r = use_choice(store, &slots, &choice, commit);
	}
	if (!r)
		tp_error_restore(&before); /* a slot that failed its check has become nobody's failure */
	return r;
}

int tp_store_clear_slots(struct thinp_store *store)
{
	int r = check_size(store);

	if (r == THINP_EUNFORMATTED)
		r = tp_fail(THINP_ENOSPC, 0, "the device is too small for a %s", store->format->type()->name);
	if (r)
		return r;
	memset(store->slots, 0, nbytes_of(store));
	r = thinp_io_write(store->io, 0, store->format->nr_slots, store->slots);
	return r ? r : thinp_io_flush(store->io);
}

int tp_store_check_slots(struct thinp_store *store)
{
	size_t nbytes = nbytes_of(store);
	uint8_t *now = store->slots + nbytes;
	int r = thinp_io_read(store->io, 0, store->format->nr_slots, now);

	if (!r && memcmp(now, store->slots, nbytes))
		r = tp_fail(THINP_ESTALE, THINP_NO_BLOCK, "somebody else has written a %s since",
			    store->format->type()->name);
	return r;
}

static uint8_t *slot_of(struct thinp_store *store, const struct tp_commit *commit)
{
	return store->slots + commit->maps.commit % store->format->nr_slots * THINP_BLOCK_SIZE;
}

int tp_store_write_slot(struct thinp_store *store)
{
	const struct tp_commit *last = store->last;
	int r = thinp_io_write(store->io, last->maps.commit % store->format->nr_slots, 1, slot_of(store, last));

	return r ? r : thinp_io_flush(store->io);
}

/* What may have been there before is forgotten only when it can no longer be there. */
int tp_store_clear_other_slots(struct thinp_store *store)
{
	uint32_t last = (uint32_t)(store->last->maps.commit % store->format->nr_slots);
	int r = 0;

	for (uint32_t slot = 0; !r && slot < store->format->nr_slots; slot++) {
		uint8_t *data = store->slots + (size_t)slot * THINP_BLOCK_SIZE;
		uint8_t *zeros = data + nbytes_of(store);

		if (slot == last)
			continue;
		memset(zeros, 0, THINP_BLOCK_SIZE);
		r = thinp_io_write(store->io, slot, 1, zeros);
		if (!r)
			memset(data, 0, THINP_BLOCK_SIZE);
	}
	return r ? r : thinp_io_flush(store->io);
}

void tp_store_note_slot(struct thinp_store *store, const struct tp_commit *commit)
{
	memcpy(slot_of(store, commit), commit->record, THINP_BLOCK_SIZE);
}
