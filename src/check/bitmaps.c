/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/bitmaps.c - counts as the bitmaps have them, against counts as they were found.
 *
 * What was found is first brought into the form of a bitmap. When the two are equal word by word, as they are in all
 * sound pools, only large counts are left to be compared one by one.
 */
#include "check/bitmaps.h"

#include "check/fixes.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

#define NR_WORDS    (TP_BITMAP_NR_ENTRIES / 32)
#define PAIRS       UINT64_C(0x5555555555555555)
#define NIBBLE_ONES UINT64_C(0x1111111111111111)
#define OVERFLOW    3u
#define AS_RESTORED " (restore 0.9)" /* what is told of its habits */

/* A bitmap as it stands and as it should be, in on-disk form. */
struct pair {
	uint64_t first; /* block of the map that entry 0 is about */
	uint32_t nr;    /* entries that are about a block */
	uint32_t block;
	uint64_t stored[NR_WORDS];
	uint64_t expected[NR_WORDS];
};

/* --- what was found --- */

/* Sixteen counts of four bits as sixteen of two bits in the order of a bitmap: 3 and more become 3; the upper bit of a
 * count is the lower one of its pair. */
static uint64_t pack_word(uint64_t counts)
{
	uint64_t high = (counts >> 2 | counts >> 1) & NIBBLE_ONES;
	uint64_t low = (counts >> 2 | counts) & NIBBLE_ONES;
	uint64_t pairs = high | low << 1;

	/* for a count of 2 or 3, bit 1 is set; of 4 and more, bit 2, which sets both */
	pairs = (pairs | pairs >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	pairs = (pairs | pairs >> 4) & UINT64_C(0x00ff00ff00ff00ff);
	pairs = (pairs | pairs >> 8) & UINT64_C(0x0000ffff0000ffff);
	return (pairs | pairs >> 16) & UINT64_C(0x00000000ffffffff);
}

/* Counts of both commits added, each no more than 3. */
static uint64_t add_words(uint64_t a, uint64_t b)
{
	uint64_t sum = 0;

	for (unsigned int shift = 0; shift < 64; shift += 4) {
		uint64_t count = (a >> shift & 7) + (b >> shift & 7);

		sum |= (count < 3 ? count : 3) << shift;
	}
	return sum;
}

static uint64_t found_count(const struct tp_checker *checker, const struct tp_map *map, uint64_t block)
{
	const struct tp_worker *worker = &checker->workers[0];
	const struct tp_node_info *info;

	if (map->bitmap_part == THINP_CHECK_DATA_BITMAP)
		return tp_counts_get(&worker->live, block) + tp_counts_get(&worker->held, block);
	if (block >= checker->nr_blocks)
		return 0;
	info = tp_node_look(checker, block);
	return (info ? info->nr_refs : 0) + (block == 0);
}

/* Counts in the form of a bitmap. */
static const uint8_t coded_counts[] = {0, 2, 1, 3};

/* References to blocks of one chunk, of which all that is known is at `infos`. */
static void expect_nodes(struct pair *pair, uint32_t begin, uint32_t end, const struct tp_node_info *infos)
{
	for (uint32_t i = begin; i < end; i++) {
		uint32_t count = infos[i - begin].nr_refs;

		pair->expected[i / 32] |= (uint64_t)coded_counts[count < OVERFLOW ? count : OVERFLOW] << i % 32 * 2;
	}
}

static void expect_metadata(const struct tp_checker *checker, struct pair *pair)
{
	uint64_t left = pair->first < checker->nr_blocks ? checker->nr_blocks - pair->first : 0;
	uint32_t nr = left < pair->nr ? (uint32_t)left : pair->nr;
	uint32_t end;

	memset(pair->expected, 0, sizeof(pair->expected));
	for (uint32_t i = 0; i < nr; i = end) {
		uint32_t to_next = TP_NODE_CHUNK - (uint32_t)((pair->first + i) % TP_NODE_CHUNK);
		const struct tp_node_info *infos = tp_node_look(checker, pair->first + i);

		end = to_next < nr - i ? i + to_next : nr;
		if (infos)
			expect_nodes(pair, i, end, infos);
	}
	if (!pair->first)
		pair->expected[0] |= coded_counts[1]; /* the superblock, which nobody points to */
}

static void expect_words(uint64_t *expected, size_t nr, const uint8_t *counts)
{
	for (size_t i = 0; i < nr; i++)
		expected[i] = pack_word(tp_load_le64(counts + 16 * i)) | pack_word(tp_load_le64(counts + 16 * i + 8))
										 << 32;
}

static void expect_sums(uint64_t *expected, size_t nr, const uint8_t *live, const uint8_t *held)
{
	for (size_t i = 0; i < nr; i++) {
		uint64_t low = add_words(tp_load_le64(live + 16 * i), tp_load_le64(held + 16 * i));
		uint64_t high = add_words(tp_load_le64(live + 16 * i + 8), tp_load_le64(held + 16 * i + 8));

		expected[i] = pack_word(low) | pack_word(high) << 32;
	}
}

/* A bitmap lies in one chunk of counts, or in two. */
static void expect_data(const struct tp_checker *checker, struct pair *pair)
{
	const struct tp_worker *worker = &checker->workers[0];
	size_t nr;

	for (size_t i = 0; i < NR_WORDS; i += nr) {
		uint64_t word = pair->first / 16 + 2 * i;
		size_t at = (size_t)(word % TP_COUNTS_WORDS);
		const uint8_t *live = tp_counts_chunk(&worker->live, word / TP_COUNTS_WORDS);
		const uint8_t *held = tp_counts_chunk(&worker->held, word / TP_COUNTS_WORDS);

		nr = (TP_COUNTS_WORDS - at) / 2 < NR_WORDS - i ? (TP_COUNTS_WORDS - at) / 2 : NR_WORDS - i;
		if (live && held)
			expect_sums(pair->expected + i, nr, live + 8 * at, held + 8 * at);
		else if (live || held)
			expect_words(pair->expected + i, nr, (live ? live : held) + 8 * at);
		else
			memset(pair->expected + i, 0, nr * sizeof(pair->expected[0]));
	}
}
static_assert(TP_COUNTS_WORDS % 2 == 0 && TP_BITMAP_NR_ENTRIES % 32 == 0, "no word of a bitmap lies in two chunks");

/* --- runs of wrong counts --- */

/* Too low is fatal, however little is known. Too high is a leak, if all references were found. */
static void end_run(struct tp_map *map)
{
	struct tp_wrong_run *run = &map->run;
	bool is_low = run->stored < run->expected;
	struct tp_finding finding = tp_finding(THINP_CHECK_SM11, is_low ? THINP_CHECK_FATAL : THINP_CHECK_LEAK,
					       map->bitmap_part, run->block);
	uint64_t nr = run->end - run->begin;

	if (!nr)
		return;
	finding.begin = run->begin;
	finding.end = run->end;
	finding.stored = run->stored;
	finding.expected = run->expected;
	*run = (struct tp_wrong_run){0};
	if (!is_low && !map->is_counted)
		return;
	*(is_low ? map->nr_too_low : map->nr_leaked) += nr;
	if (!is_low)
		tp_fixes_note_counts(map->fixes, map->space, &finding);
	if (nr == 1)
		tp_found(map->finder, &finding,
			 "%s block %" PRIu64 ": counted %" PRIu64 " times, found %" PRIu64 " times%s", map->name,
			 finding.begin, finding.stored, finding.expected, is_low ? "" : ": a leak");
	else
		tp_found(map->finder, &finding,
			 "%s blocks %" PRIu64 " to %" PRIu64 ": counted %" PRIu64 " times, found %" PRIu64 " times%s",
			 map->name, finding.begin, finding.end - 1, finding.stored, finding.expected,
			 is_low ? "" : ": a leak");
}

static void add_wrong(struct tp_map *map, uint64_t block, uint64_t stored, uint64_t expected, uint32_t bitmap)
{
	struct tp_wrong_run *run = &map->run;

	if (run->end == block && run->begin < run->end && run->stored == stored && run->expected == expected) {
		run->end++;
		return;
	}
	end_run(map);
	*run = (struct tp_wrong_run){
		.begin = block, .end = block + 1, .stored = stored, .expected = expected, .block = bitmap};
}

/* --- one bitmap --- */

static void fail_both(struct tp_map *map, uint64_t block, uint32_t bitmap, bool is_in_tree)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_SM8, THINP_CHECK_FATAL, map->bitmap_part, bitmap);

	finding.begin = block;
	finding.end = block + 1;
	tp_found(map->finder, &finding,
		 is_in_tree ? "%s block %" PRIu64 ": the overflow tree has its count, but the bitmap has another"
			    : "%s block %" PRIu64
			      ": the bitmap says that its count is large, but the overflow tree lacks it",
		 map->name, block);
}

static uint32_t decode(uint64_t word, uint32_t i)
{
	uint32_t coded = (uint32_t)(word >> i % 32 * 2) & 3;

	return (coded & 1) << 1 | coded >> 1;
}

/* One by one, for a bitmap that is not what it should be. */
static void compare_slowly(const struct tp_checker *checker, struct tp_map *map, const struct pair *pair)
{
	const struct tp_leaf_entry *overflow = map->overflow->entries;
	size_t at = tp_leaf_entries_find(map->overflow, sizeof(*overflow), pair->first);

	for (uint32_t i = 0; i < pair->nr; i++) {
		uint64_t block = pair->first + i;
		uint64_t expected = found_count(checker, map, block);
		uint64_t stored = decode(pair->stored[i / 32], i);
		bool is_in_tree = at < map->overflow->nr && overflow[at].key == block;

		if (is_in_tree != (stored == OVERFLOW) && (is_in_tree || map->has_overflow))
			fail_both(map, block, pair->block, is_in_tree);
		if (stored == OVERFLOW && is_in_tree)
			stored = overflow[at].count;
		else if (stored == OVERFLOW) /* who knows? 3 at least is what is meant */
			stored = expected > OVERFLOW ? expected : OVERFLOW;
		while (at < map->overflow->nr && overflow[at].key == block)
			at++;
		if (stored != expected)
			add_wrong(map, block, stored, expected, pair->block);
	}
}

static bool are_large_equal(const struct tp_checker *checker, const struct tp_map *map, const struct pair *pair,
			    uint64_t nr_large)
{
	const struct tp_leaf_entry *overflow = map->overflow->entries;
	uint64_t end = pair->first + pair->nr;
	uint64_t nr = 0;

	for (size_t at = tp_leaf_entries_find(map->overflow, sizeof(*overflow), pair->first);
	     at < map->overflow->nr && overflow[at].key < end; at++, nr++)
		if (overflow[at].count != found_count(checker, map, overflow[at].key) ||
		    decode(pair->stored[(overflow[at].key - pair->first) / 32],
			   (uint32_t)(overflow[at].key - pair->first)) != OVERFLOW)
			return false;
	return nr == nr_large;
}

/* Figures of a bitmap. */
struct figures {
	uint32_t nr_used; /* entries that are not 0, those behind the end, too */
	uint32_t nr_used_behind;
	uint32_t nr_large;
	uint32_t first_free; /* TP_BITMAP_NR_ENTRIES: none */
	uint32_t nr_passed;  /* entries that are 0, before the place where the search begins */
	bool is_equal;
};

static uint64_t mask_below(uint32_t nr_entries)
{
	return nr_entries >= 32 ? UINT64_MAX : ((uint64_t)1 << 2 * nr_entries) - 1;
}

static struct figures look(const struct pair *pair, uint32_t search_begin)
{
	struct figures f = {.first_free = TP_BITMAP_NR_ENTRIES, .is_equal = true};

	for (uint32_t i = 0; i < NR_WORDS; i++) {
		uint64_t word = pair->stored[i];
		uint64_t used = (word | word >> 1) & PAIRS;
		uint64_t below = mask_below(pair->nr > 32 * i ? pair->nr - 32 * i : 0);
		uint64_t passed = mask_below(search_begin > 32 * i ? search_begin - 32 * i : 0);
		uint64_t large = word & word >> 1 & PAIRS & below;

		/* most words are all in use or all free, and counts seldom large */
		f.nr_used += used == PAIRS ? 32 : used ? tp_count_bits(used) : 0;
		if (used & ~below)
			f.nr_used_behind += tp_count_bits(used & ~below);
		if (large)
			f.nr_large += tp_count_bits(large);
		f.nr_passed += tp_count_bits(~used & PAIRS & passed);
		if (f.first_free == TP_BITMAP_NR_ENTRIES && used != PAIRS)
			f.first_free = 32 * i + (uint32_t)__builtin_ctzll(~used & PAIRS) / 2;
		f.is_equal &= ((word ^ pair->expected[i]) & below) == 0;
	}
	return f;
}

/* --- hints ---
 *
 * Restore 0.9 has its own numbers, and they stay for as long as a kernel uses the pool: nr_free leaves out the tail of the
 * last bitmap, and in the metadata map one block was given back after it was counted, so that the root, nr_free of one
 * bitmap and its none_free_before know one free block less. Such a pool works, and is not to be called damaged; so exactly
 * these are warnings. */

static void found_hint(struct tp_map *map, const struct tp_bitmap_ref *ref, int rule, int severity, uint64_t stored,
		       uint64_t expected)
{
	struct tp_finding finding = tp_finding(rule, severity, map->index_part, ref->from);

	finding.begin = ref->number;
	finding.end = ref->number + 1;
	finding.stored = stored;
	finding.expected = expected;
	tp_fixes_note_bitmap(map->fixes, map->space, ref->number);
	tp_found(map->finder, &finding, "bitmap %" PRIu64 " of the %s map: %s: %" PRIu64 ", not %" PRIu64 "%s",
		 ref->number, map->name,
		 rule == THINP_CHECK_SM5 ? "free blocks" : "the search for free blocks begins behind the first one",
		 stored, expected, severity == THINP_CHECK_WARNING ? AS_RESTORED : "");
}

/* A search that begins behind one block is part of the habit, behind more it is not. */
static void tell_hints(struct tp_map *map, const struct tp_wrong_hints *wrong, int severity)
{
	const struct tp_index_entry *entry = &wrong->ref.entry;

	if (entry->nr_free != wrong->nr_free)
		found_hint(map, &wrong->ref, THINP_CHECK_SM5, severity, entry->nr_free, wrong->nr_free);
	if (entry->none_free_before > wrong->first_free)
		found_hint(map, &wrong->ref, THINP_CHECK_SM6, wrong->is_one_hidden ? severity : THINP_CHECK_META,
			   entry->none_free_before, wrong->first_free);
}

/* nr: entries that are about a block. */
static void check_hints(struct tp_map *map, const struct tp_bitmap_ref *ref, const struct figures *f, uint32_t nr)
{
	struct tp_wrong_hints wrong = {
		.ref = *ref, .nr_free = TP_BITMAP_NR_ENTRIES - f->nr_used, .first_free = f->first_free};
	uint32_t without_tail = nr - (f->nr_used - f->nr_used_behind);
	bool is_habit = ref->entry.nr_free == without_tail;

	wrong.is_one_hidden = f->nr_passed == 1;
	if (map->space == THINP_POOL_METADATA && !map->has_late && !is_habit &&
	    (ref->entry.nr_free + 1 == without_tail || ref->entry.nr_free + 1 == wrong.nr_free)) {
		map->late = wrong;
		map->has_late = true;
		return;
	}
	wrong.is_one_hidden = false;
	tell_hints(map, &wrong, is_habit ? THINP_CHECK_WARNING : THINP_CHECK_META);
}

static void check_figures(struct tp_map *map, const struct tp_bitmap_ref *ref, const struct figures *f, uint32_t nr)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_SM4, THINP_CHECK_META, map->bitmap_part, ref->entry.bitmap);

	map->nr_allocated += f->nr_used - f->nr_used_behind;
	check_hints(map, ref, f, nr);
	if (!f->nr_used_behind)
		return;
	finding.stored = f->nr_used_behind;
	finding.expected = 0;
	tp_fixes_note_bitmap(map->fixes, map->space, ref->number);
	tp_found(map->finder, &finding,
		 "bitmap %" PRIu64 " of the %s map counts %" PRIu32 " blocks behind the last one", ref->number,
		 map->name, f->nr_used_behind);
}

static void compare_bitmap(const struct tp_checker *checker, struct tp_map *map, const struct tp_bitmap_ref *ref,
			   const uint8_t *data)
{
	uint64_t left = map->root.nr_blocks - ref->number * TP_BITMAP_NR_ENTRIES;
	struct pair pair = {.first = ref->number * TP_BITMAP_NR_ENTRIES, .block = (uint32_t)ref->entry.bitmap};
	struct figures f;

	pair.nr = left < TP_BITMAP_NR_ENTRIES ? (uint32_t)left : TP_BITMAP_NR_ENTRIES;
	for (size_t i = 0; i < NR_WORDS; i++)
		pair.stored[i] = tp_load_le64(data + 16 + 8 * i);
	if (map->bitmap_part == THINP_CHECK_DATA_BITMAP)
		expect_data(checker, &pair);
	else
		expect_metadata(checker, &pair);
	f = look(&pair, ref->entry.none_free_before);
	check_figures(map, ref, &f, pair.nr);
	if (!f.is_equal || !are_large_equal(checker, map, &pair, f.nr_large))
		compare_slowly(checker, map, &pair);
}

/* --- all of them --- */

static int compare_window(struct tp_checker *checker, struct tp_map *map, const struct tp_bitmap_ref *refs)
{
	struct tp_worker *worker = &checker->workers[0];
	struct tp_window *window = &worker->window;

	tp_window_read(window);
	for (size_t i = 0; i < window->nr; i++) {
		if (tp_check_block(worker, window->data[i], window->blocks[i], map->bitmap_part))
			compare_bitmap(checker, map, &refs[i], window->data[i]);
		else
			map->is_whole = false;
	}
	return tp_checker_read(worker, window->nr);
}

/* The root counts the same block too many as the entry that was kept back. If a count were too low, the bitmap would be what
 * is wrong. */
static bool is_one_too_many(const struct tp_map *map)
{
	return map->has_late && map->is_whole && map->nr_allocated + 1 == map->root.nr_allocated && !*map->nr_too_low;
}

static void check_allocated(struct tp_map *map)
{
	int severity = is_one_too_many(map) ? THINP_CHECK_WARNING : THINP_CHECK_META;
	struct tp_finding finding = tp_finding(THINP_CHECK_SM7, severity, THINP_CHECK_SUPERBLOCK, 0);

	if (map->has_late)
		tell_hints(map, &map->late, severity);
	if (!map->is_whole || map->nr_allocated == map->root.nr_allocated)
		return;
	finding.stored = map->root.nr_allocated;
	finding.expected = map->nr_allocated;
	tp_fixes_note_used(map->fixes, map->space, map->nr_allocated);
	tp_found(map->finder, &finding, "%s blocks in use: %" PRIu64 ", not %" PRIu64 "%s", map->name, finding.stored,
		 finding.expected, severity == THINP_CHECK_WARNING ? AS_RESTORED : "");
}

int tp_bitmaps_check(struct tp_checker *checker, struct tp_map *map)
{
	const struct tp_bitmap_ref *refs = map->bitmaps.entries;
	struct tp_window *window = &checker->workers[0].window;
	int r = 0;

	for (size_t i = 0; !r && i < map->bitmaps.nr; i += window->nr) {
		size_t left = map->bitmaps.nr - i;

		window->nr = left < TP_WINDOW_BLOCKS ? left : TP_WINDOW_BLOCKS;
		for (size_t w = 0; w < window->nr; w++)
			window->blocks[w] = (uint32_t)refs[i + w].entry.bitmap;
		r = compare_window(checker, map, refs + i);
	}
	end_run(map);
	if (!r)
		check_allocated(map);
	return r;
}
