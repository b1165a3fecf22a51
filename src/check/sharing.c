/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/sharing.c - data blocks that are in use more than once.
 *
 * Two rules need a second look at the leaves, and only where there are such blocks. D8: who believes to be alone with a
 * block must be. The counts tell whether that is broken; the second look tells who it is. D9: no device has a block twice.
 * A snapshot has its blocks where its origin has them. So for each block the virtual block of the first mapping is put
 * down, and only blocks that turn up in another place are looked at closely. That is done for the last commit and for the
 * metadata snapshot, each by itself. Leaves that are known to be one run of data blocks, none of which is in use twice, are
 * not read again.
 */
#include "base/bytes.h"
#include "check/checker.h"
#include "format/node.h"

#include <inttypes.h>
#include <stdlib.h>

#define ALONE_BITS UINT64_C(0x8888888888888888)
#define MOVED      UINT32_MAX /* in a slot: found in more than one place */
#define MAX_SEEN   65536u     /* mappings of such blocks that are looked at closely, for each task */
#define MAX_PAIRS  16u        /* of these, that one is compared with */

#define GROUP     1024u /* data blocks */
#define NR_GROUPS (TP_COUNTS_CHUNK / GROUP)

/* A chunk of counts, and where the blocks are: slots for groups that have blocks in use twice. */
struct place_chunk {
	_Atomic uint32_t *groups[NR_GROUPS];
};

/* For each data block in use twice, where. */
struct tp_places {
	size_t nr_chunks;
	size_t nr_used;
	struct place_chunk **chunks; /* NULL: none of its blocks is in use twice */
	_Atomic size_t nr_moved;
	uint32_t view;          /* TP_REACHED_LIVE or TP_REACHED_HELD */
	struct tp_vector *seen; /* of each task */
};

/* A mapping of a block that was found in more than one place. */
struct seen {
	uint64_t data_block;
	uint64_t virtual_block;
	uint32_t leaf;
	uint32_t device; /* or TP_MANY */
};

/* Blocks of the word that live devices use twice or more, at bit 3 of each count. */
static uint64_t used_twice(uint64_t word)
{
	return (word << 1 | word << 2) & ALONE_BITS;
}

static bool any_in_chunk(const uint8_t *chunk, uint64_t mask)
{
	uint64_t found = 0;

	for (size_t w = 0; w < TP_COUNTS_WORDS; w++) {
		uint64_t word = tp_load_le64(chunk + 8 * w);

		found |= (word | mask) & used_twice(word);
	}
	return found;
}

/* Is there a block that is used twice and that, unless the mask says that it does not matter, somebody is alone with? */
static bool any_word(const struct tp_counts *counts, uint64_t mask)
{
	for (size_t i = 0; i < counts->nr_chunks; i++) {
		const uint8_t *chunk = tp_counts_chunk(counts, i);

		if (chunk && any_in_chunk(chunk, mask))
			return true;
	}
	return false;
}

/* Is it what the first look found? The device may have changed since. */
static bool is_as_before(const uint8_t *data, const struct tp_node_info *info)
{
	return data && tp_node_nr_entries(data) == info->nr_mappings &&
	       tp_node_capacity(data) <= tp_node_max_entries(8) && info->nr_mappings <= tp_node_capacity(data);
}

static uint32_t bits_of(const struct tp_checker *checker, uint64_t data_block)
{
	return (uint32_t)(tp_counts_word(&checker->workers[0].live, data_block / 16) >> data_block % 16 * 4) & 15;
}

static bool is_twice(const struct tp_checker *checker, uint64_t data_block)
{
	return data_block < checker->nr_counted && (bits_of(checker, data_block) & TP_COUNTS_LARGE) > 1;
}

/* Can a block be there twice in the view? Leaves that the snapshot shares with the last commit are counted there. */
static bool may_be_twice(const struct tp_checker *checker, uint64_t data_block)
{
	if (checker->places->view == TP_REACHED_LIVE)
		return is_twice(checker, data_block);
	return data_block < checker->nr_counted &&
	       tp_counts_get(&checker->workers[0].live, data_block) +
			       tp_counts_get(&checker->workers[0].held, data_block) >
		       1;
}

/* Sixteen counts each of two counters: does one block have two or more in both together? */
static bool has_two(uint64_t live, uint64_t held)
{
	uint64_t ones = UINT64_C(0x1111111111111111);
	uint64_t any_live = (live | live >> 1 | live >> 2) & ones;
	uint64_t any_held = (held | held >> 1 | held >> 2) & ones;

	return used_twice(live) || used_twice(held) || (any_live & any_held);
}

/* The part of a word of counts that begins at block `first` which is about blocks from begin to end. */
static uint64_t mask_of(uint64_t first, uint64_t begin, uint64_t end)
{
	uint64_t mask = UINT64_MAX;

	if (begin > first)
		mask <<= 4 * (begin - first);
	if (end < first + 16)
		mask &= ((uint64_t)1 << 4 * (end - first)) - 1;
	return mask;
}

/* Can one of these blocks be there twice in the view? */
static bool any_twice(const struct tp_checker *checker, uint32_t view, uint64_t begin, uint64_t end)
{
	const struct tp_worker *worker = &checker->workers[0];

	for (uint64_t w = begin / 16; 16 * w < end; w++) {
		uint64_t mask = mask_of(16 * w, begin, end);
		uint64_t held = view == TP_REACHED_HELD ? tp_counts_word(&worker->held, w) : 0;

		if (has_two(tp_counts_word(&worker->live, w) & mask, held & mask))
			return true;
	}
	return false;
}

/* Can a leaf have such a block? Of a run that is known without reading it again. */
static bool may_have_twice(const struct tp_checker *checker, const struct tp_node_info *info, uint32_t view)
{
	if (!(info->flags & view) || !info->nr_mappings)
		return false;
	return info->run_begin == TP_NO_RUN ||
	       any_twice(checker, view, info->run_begin, info->run_begin + info->nr_mappings);
}

static bool has_twice(const struct tp_worker *worker, const struct tp_node_info *info)
{
	return may_have_twice(worker->checker, info, worker->checker->places->view);
}

static struct tp_mapping mapping_of(const uint8_t *data, uint32_t i)
{
	return tp_mapping_unpack64(tp_node_value64(data, i));
}

static uint64_t id_of(const struct tp_checker *checker, uint32_t device)
{
	const struct tp_root_entry *roots = checker->roots.entries;

	return device < TP_MANY ? roots[device].at.key : THINP_CHECK_NONE;
}

static int run_all(struct tp_checker *checker, int (*fn)(struct tp_worker *worker))
{
	checker->next_slice = 0;
	return tp_checker_run_tasks(checker, fn);
}

/* --- D8 --- */

static void found_alone(struct tp_worker *worker, const uint8_t *data, uint32_t block, const struct tp_node_info *info,
			uint32_t i)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_D8, THINP_CHECK_FATAL, THINP_CHECK_MAPPINGS, block);
	struct tp_mapping mapping = mapping_of(data, i);

	finding.device = id_of(worker->checker, info->device);
	finding.begin = tp_node_key(data, i);
	finding.end = finding.begin + 1;
	finding.stored = mapping.time;
	tp_found(&worker->finder, &finding,
		 "virtual block %" PRIu64 ": data block %" PRIu64 " is in use elsewhere, but passes for its own",
		 finding.begin, mapping.data_block);
}

static bool may_be_alone(const struct tp_worker *worker, const struct tp_node_info *info)
{
	return info->device < TP_MANY && may_have_twice(worker->checker, info, TP_REACHED_LIVE);
}

static int name_alone(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info)
{
	if (!is_as_before(data, info))
		return 0;
	for (uint32_t i = 0; i < info->nr_mappings; i++) {
		struct tp_mapping mapping = mapping_of(data, i);

		if (mapping.time >= info->snap_time && is_twice(worker->checker, mapping.data_block))
			found_alone(worker, data, block, info, i);
	}
	return 0;
}

static int name_all_alone(struct tp_worker *worker)
{
	return tp_mappings_visit_leaves(worker, may_be_alone, name_alone);
}

/* --- D9: finding blocks in more than one place --- */

/* A virtual block as a number of 32 bits that is neither 0 nor MOVED. */
static uint32_t place_of(uint64_t virtual_block)
{
	return (uint32_t)(virtual_block % (MOVED - 1)) + 1;
}

static _Atomic uint32_t *slot_of(const struct tp_places *places, uint64_t data_block)
{
	const struct place_chunk *chunk = places->chunks[data_block / TP_COUNTS_CHUNK];

	return &chunk->groups[data_block % TP_COUNTS_CHUNK / GROUP][data_block % GROUP];
}

static int note_place(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info)
{
	struct tp_places *places = worker->checker->places;

	(void)block;
	if (!is_as_before(data, info))
		return 0;
	for (uint32_t i = 0; i < info->nr_mappings; i++) {
		uint64_t data_block = mapping_of(data, i).data_block;
		uint32_t place = place_of(tp_node_key(data, i));
		_Atomic uint32_t *slot;
		uint32_t before = 0;

		if (!may_be_twice(worker->checker, data_block))
			continue;
		slot = slot_of(places, data_block);
		if (atomic_compare_exchange_strong_explicit(slot, &before, place, memory_order_relaxed,
							    memory_order_relaxed) ||
		    before == place)
			continue;
		atomic_store_explicit(slot, MOVED, memory_order_relaxed);
		atomic_fetch_add_explicit(&places->nr_moved, 1, memory_order_relaxed);
	}
	return 0;
}

static int note_all_places(struct tp_worker *worker)
{
	return tp_mappings_visit_leaves(worker, has_twice, note_place);
}

static int see_leaf(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info)
{
	struct tp_checker *checker = worker->checker;
	struct tp_vector *seen = &checker->places->seen[worker - checker->workers];
	bool is_live = checker->places->view == TP_REACHED_LIVE;

	if (!is_as_before(data, info))
		return 0;
	for (uint32_t i = 0; i < info->nr_mappings && seen->nr < MAX_SEEN; i++) {
		uint64_t data_block = mapping_of(data, i).data_block;
		struct seen *entry;

		if (!may_be_twice(checker, data_block) || *slot_of(checker->places, data_block) != MOVED)
			continue;
		entry = tp_vector_add(checker, seen, sizeof(*entry));
		if (!entry)
			return THINP_ENOMEM;
		*entry = (struct seen){.data_block = data_block,
				       .virtual_block = tp_node_key(data, i),
				       .leaf = block,
				       .device = is_live ? info->device : TP_MANY};
	}
	return 0;
}

static int see_all(struct tp_worker *worker)
{
	return tp_mappings_visit_leaves(worker, has_twice, see_leaf);
}

/* --- D9: looking closely --- */

/* The leaf in which a device has a virtual block, if it had it; 0 when damage is in the way. */
static uint32_t leaf_for(struct tp_checker *checker, uint64_t root, uint64_t virtual_block)
{
	uint64_t address = root;

	for (uint32_t depth = 0; depth <= TP_MAX_HEIGHT; depth++) {
		const struct tp_node_info *info =
			address && address < checker->nr_blocks ? tp_node_look(checker, address) : NULL;
		const uint8_t *data;
		uint32_t i = 0;

		if (!info || info->part != THINP_CHECK_MAPPINGS || info->flags & TP_NODE_DAMAGED)
			return 0;
		if (!info->height)
			return (uint32_t)address;
		data = tp_window_read_one(&checker->ahead, (uint32_t)address);
		if (!data || tp_node_capacity(data) > tp_node_max_entries(8) ||
		    tp_node_nr_entries(data) > tp_node_capacity(data))
			return 0;
		while (i + 1 < tp_node_nr_entries(data) && tp_node_key(data, i + 1) <= virtual_block)
			i++;
		address = tp_node_value64(data, i);
	}
	return 0;
}

/* A device that has both; the number of devices: none has. */
static size_t device_with_both(struct tp_checker *checker, const struct seen *a, const struct seen *b)
{
	const struct tp_root_entry *roots = checker->roots.entries;

	if (a->device < TP_MANY && b->device < TP_MANY)
		return a->device == b->device ? a->device : checker->roots.nr;
	for (size_t i = 0; i < checker->roots.nr; i++)
		if (roots[i].at.flags & checker->places->view &&
		    leaf_for(checker, roots[i].root, a->virtual_block) == a->leaf &&
		    leaf_for(checker, roots[i].root, b->virtual_block) == b->leaf)
			return i;
	return checker->roots.nr;
}

/* A leaf that the last commit has as well was looked at with it. */
static bool is_told(const struct tp_checker *checker, const struct seen *seen)
{
	return tp_node_look(checker, seen->leaf)->flags & TP_REACHED_LIVE;
}

/* Nobody writes through the metadata snapshot, so that nobody there can be alone with a block. */
static void compare_places(struct tp_checker *checker, const struct seen *a, const struct seen *b)
{
	bool is_live = checker->places->view == TP_REACHED_LIVE;
	bool is_alone = is_live && bits_of(checker, a->data_block) & ~TP_COUNTS_LARGE;
	struct tp_finding finding = tp_finding(THINP_CHECK_D9, is_alone ? THINP_CHECK_FATAL : THINP_CHECK_WARNING,
					       THINP_CHECK_MAPPINGS, b->leaf);
	size_t device = device_with_both(checker, a, b);

	if (device == checker->roots.nr || (!is_live && is_told(checker, a) && is_told(checker, b)))
		return;
	finding.device = id_of(checker, (uint32_t)device);
	finding.begin = b->virtual_block;
	finding.end = b->virtual_block + 1;
	tp_found(&checker->workers[0].finder, &finding,
		 "virtual blocks %" PRIu64 " and %" PRIu64 " of one device%s are both data block %" PRIu64,
		 a->virtual_block, b->virtual_block, is_live ? "" : " in the metadata snapshot", a->data_block);
}

static int by_block(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->data_block != y->data_block)
		return x->data_block < y->data_block ? -1 : 1;
	if (x->virtual_block != y->virtual_block)
		return x->virtual_block < y->virtual_block ? -1 : 1;
	return (x->leaf > y->leaf) - (x->leaf < y->leaf);
}

static int look_closely(struct tp_checker *checker)
{
	struct tp_vector *all = &checker->places->seen[0];
	const struct seen *seen;

	for (size_t i = 1; i < checker->nr_workers; i++)
		for (size_t s = 0; s < checker->places->seen[i].nr; s++) {
			struct seen *entry = tp_vector_add(checker, all, sizeof(*entry));

			if (!entry)
				return THINP_ENOMEM;
			*entry = ((struct seen *)checker->places->seen[i].entries)[s];
		}
	if (all->nr)
		qsort(all->entries, all->nr, sizeof(*seen), by_block);
	seen = all->entries;
	for (size_t i = 1; i < all->nr; i++)
		for (size_t j = i; j-- > 0 && i - j <= MAX_PAIRS && seen[j].data_block == seen[i].data_block;)
			if (seen[j].virtual_block != seen[i].virtual_block)
				compare_places(checker, &seen[j], &seen[i]);
	return 0;
}

/* --- both --- */

static int init_group(struct tp_checker *checker, struct place_chunk **chunk, size_t group)
{
	if (!*chunk)
		*chunk = tp_memory_get(&checker->memory, 1, sizeof(**chunk));
	if (!*chunk)
		return THINP_ENOMEM;
	(*chunk)->groups[group] = tp_memory_get(&checker->memory, GROUP, sizeof(uint32_t));
	return (*chunk)->groups[group] ? 0 : THINP_ENOMEM;
}

/* Soon told for nearly all chunks, so that groups need not be asked. */
static bool may_be_used(const struct tp_checker *checker, size_t chunk, uint32_t view)
{
	const struct tp_worker *worker = &checker->workers[0];
	const uint8_t *live = tp_counts_chunk(&worker->live, chunk);

	if (view == TP_REACHED_HELD && tp_counts_chunk(&worker->held, chunk))
		return true;
	return live && any_in_chunk(live, ALONE_BITS);
}

static int init_chunk(struct tp_checker *checker, struct tp_places *places, size_t chunk)
{
	uint64_t first = chunk * (uint64_t)TP_COUNTS_CHUNK;

	for (size_t g = 0; g < NR_GROUPS; g++) {
		if (!any_twice(checker, places->view, first + g * GROUP, first + (g + 1) * GROUP))
			continue;
		if (init_group(checker, &places->chunks[chunk], g))
			return THINP_ENOMEM;
		places->nr_used++;
	}
	return 0;
}

static int init_places(struct tp_checker *checker, struct tp_places *places)
{
	int r = 0;

	places->nr_chunks = checker->workers[0].live.nr_chunks;
	places->chunks = tp_memory_get(&checker->memory, places->nr_chunks, sizeof(*places->chunks));
	places->seen = tp_memory_get(&checker->memory, checker->nr_workers, sizeof(*places->seen));
	if (!places->chunks || !places->seen)
		return THINP_ENOMEM;
	for (size_t c = 0; !r && c < places->nr_chunks; c++)
		if (may_be_used(checker, c, places->view))
			r = init_chunk(checker, places, c);
	return r;
}

static void put_chunk(struct tp_memory *memory, struct place_chunk *chunk)
{
	for (size_t g = 0; chunk && g < NR_GROUPS; g++)
		tp_memory_put(memory, (void *)(uintptr_t)chunk->groups[g], GROUP, sizeof(uint32_t));
	tp_memory_put(memory, chunk, 1, sizeof(*chunk));
}

static void exit_places(struct tp_checker *checker, struct tp_places *places)
{
	struct tp_memory *memory = &checker->memory;

	for (size_t c = 0; places->chunks && c < places->nr_chunks; c++)
		put_chunk(memory, places->chunks[c]);
	tp_memory_put(memory, places->chunks, places->nr_chunks, sizeof(*places->chunks));
	for (size_t i = 0; places->seen && i < checker->nr_workers; i++)
		tp_memory_put(memory, places->seen[i].entries, places->seen[i].room, sizeof(struct seen));
	tp_memory_put(memory, places->seen, checker->nr_workers, sizeof(*places->seen));
	checker->places = NULL;
}

static int check_places(struct tp_checker *checker, uint32_t view)
{
	struct tp_places places = {.view = view};
	int r = init_places(checker, &places);

	checker->places = &places;
	if (!r && places.nr_used)
		r = run_all(checker, note_all_places);
	if (!r && places.nr_moved)
		r = run_all(checker, see_all);
	if (!r && places.nr_moved)
		r = look_closely(checker);
	exit_places(checker, &places);
	return r;
}

static int check_live(struct tp_checker *checker)
{
	const struct tp_counts *counts = &checker->workers[0].live;
	int r = 0;

	if (!any_word(counts, ALONE_BITS))
		return 0;
	if (any_word(counts, 0))
		r = run_all(checker, name_all_alone);
	return r ? r : check_places(checker, TP_REACHED_LIVE);
}

int tp_sharing_check(struct tp_checker *checker)
{
	int r;

	if (!checker->workers[0].live.nr_chunks)
		return 0; /* no data block can be counted */
	r = check_live(checker);
	return r || !checker->has_held ? r : check_places(checker, TP_REACHED_HELD);
}
