/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/counts.c - how often each data block was found.
 *
 * Invariant: the table of large counts has exactly the blocks whose count stands as 7.
 */
#include "check/counts.h"

#include "base/bytes.h"
#include "base/error.h"

#include <string.h>

#define COUNT_BITS   UINT64_C(0x7777777777777777)
#define ALONE_BITS   UINT64_C(0x8888888888888888)
#define ONES         UINT64_C(0x1111111111111111)
#define LOW_NIBBLES  UINT64_C(0x0f0f0f0f0f0f0f0f)
#define ALONE        8u
#define JOINED       64u  /* words at once */
#define MOST_AT_ONCE 256u /* blocks of a run, so that a word that must be looked at closely costs only so many others */
#define MANY_WAITING 512u /* for one chunk: twice as many as it has cache lines */

/* A byte has two counts, and there are four ways to add to it. */
static void make_table(struct tp_counts *counts)
{
	for (uint32_t i = 0; i < sizeof(counts->more); i++) {
		uint32_t byte = i / 4;
		uint32_t shift = i & 2 ? 4 : 0;
		bool is_small = (byte >> shift & TP_COUNTS_LARGE) < TP_COUNTS_LARGE - 1;
		uint32_t more = (byte + (1u << shift)) | (i & 1 ? ALONE << shift : 0);

		counts->more[i] = (uint8_t)(is_small ? more : byte);
	}
}

static int init_once(struct tp_counts *counts)
{
	for (size_t i = 0; i < 2; i++) {
		counts->once[i] = tp_memory_get(counts->memory, counts->nr_chunks, sizeof(*counts->once[i]));
		if (!counts->once[i])
			return THINP_ENOMEM;
	}
	return 0;
}

int tp_counts_init(struct tp_counts *counts, struct tp_memory *memory, uint64_t nr_blocks)
{
	*counts = (struct tp_counts){.memory = memory, .nr_blocks = nr_blocks};
	make_table(counts);
	counts->nr_chunks = (size_t)((nr_blocks + TP_COUNTS_CHUNK - 1) / TP_COUNTS_CHUNK);
	if (!counts->nr_chunks)
		return 0;
	counts->chunks = tp_memory_get(memory, counts->nr_chunks, sizeof(*counts->chunks));
	counts->waiting = tp_memory_get(memory, counts->nr_chunks, sizeof(*counts->waiting));
	counts->room = tp_memory_get(memory, counts->nr_chunks, sizeof(*counts->room));
	if (!counts->chunks || !counts->waiting || !counts->room)
		return THINP_ENOMEM;
	return nr_blocks > TP_COUNTS_FEW ? 0 : init_once(counts);
}

/* An array of pointers to objects of `size` bytes, one or none for each chunk. */
static void put_all(const struct tp_counts *counts, void *array, size_t size)
{
	for (size_t i = 0; array && i < counts->nr_chunks; i++) {
		void *object;

		memcpy(&object, (const uint8_t *)array + i * sizeof(object), sizeof(object));
		tp_memory_put(counts->memory, object, 1, size);
	}
	tp_memory_put(counts->memory, array, counts->nr_chunks, sizeof(void *));
}

void tp_counts_exit(struct tp_counts *counts)
{
	if (!counts->memory)
		return;
	put_all(counts, counts->chunks, sizeof(*counts->chunks[0]));
	put_all(counts, counts->once[0], sizeof(*counts->once[0][0]));
	put_all(counts, counts->once[1], sizeof(*counts->once[1][0]));
	put_all(counts, counts->waiting, sizeof(*counts->waiting[0]));
	tp_memory_put(counts->memory, counts->room, counts->nr_chunks, sizeof(*counts->room));
	tp_count_table_exit(&counts->large, counts->memory);
	*counts = (struct tp_counts){.memory = NULL};
}

static struct tp_count_chunk *chunk_of(struct tp_counts *counts, size_t i)
{
	if (!counts->chunks[i])
		counts->chunks[i] = tp_memory_get(counts->memory, 1, sizeof(*counts->chunks[i]));
	return counts->chunks[i];
}

uint64_t tp_counts_get(const struct tp_counts *counts, uint64_t block)
{
	uint64_t count = tp_counts_word(counts, block / 16) >> block % 16 * 4 & TP_COUNTS_LARGE;

	return count < TP_COUNTS_LARGE ? count : tp_count_table_get(&counts->large, block);
}

/* The rare way: the count becomes large, or is. */
static int count_large(struct tp_counts *counts, uint64_t *word, uint64_t block, bool alone)
{
	unsigned int shift = (unsigned int)(block % 16) * 4;
	uint64_t stands = *word >> shift & TP_COUNTS_LARGE;

	*word |= (uint64_t)(alone ? ALONE : 0) << shift;
	if (stands < TP_COUNTS_LARGE - 1) {
		*word += (uint64_t)1 << shift;
		return 0;
	}
	*word |= (uint64_t)TP_COUNTS_LARGE << shift;
	return tp_count_table_add(&counts->large, counts->memory, block,
				  stands < TP_COUNTS_LARGE ? TP_COUNTS_LARGE : 1);
}

static __attribute__((noinline)) int count_large_place(struct tp_counts *counts, size_t chunk, uint32_t place)
{
	uint8_t *at = counts->chunks[chunk]->bytes + place / 32 * 8;
	uint64_t word = tp_load_le64(at);
	int r = count_large(counts, &word, (uint64_t)chunk * TP_COUNTS_CHUNK + place / 2, place % 2);

	tp_store_le64(at, word);
	return r;
}

/* Nearly all lines of the chunk will be needed, in no order that the processor could foresee. */
static void fetch_ahead(const uint8_t *bytes)
{
	for (size_t i = 0; i < TP_COUNTS_BYTES; i += 64)
		__builtin_prefetch(bytes + i, 1);
}

static int flush_chunk(struct tp_counts *counts, size_t i)
{
	uint8_t *bytes = counts->chunks[i]->bytes;
	const uint16_t *places = counts->waiting[i]->places;
	const uint8_t *more = counts->more;

	if (TP_COUNTS_WAITING - counts->room[i] >= MANY_WAITING)
		fetch_ahead(bytes);
	for (size_t at = counts->room[i]; at < TP_COUNTS_WAITING; at++) {
		uint32_t place = places[at];
		uint8_t before = bytes[place / 4];
		uint8_t after = more[4 * before + place % 4];

		bytes[place / 4] = after;
		if (after == before && count_large_place(counts, i, place))
			return THINP_ENOMEM;
	}
	counts->room[i] = TP_COUNTS_WAITING;
	return 0;
}

static __attribute__((noinline)) int make_room(struct tp_counts *counts, size_t i)
{
	if (counts->waiting[i])
		return flush_chunk(counts, i);
	if (!chunk_of(counts, i))
		return THINP_ENOMEM;
	counts->waiting[i] = tp_memory_get(counts->memory, 1, sizeof(*counts->waiting[i]));
	if (!counts->waiting[i])
		return THINP_ENOMEM;
	counts->room[i] = TP_COUNTS_WAITING;
	return 0;
}

/* The lower bits of what is given are the place, the lowest tells of believing to be alone. */
static inline int wait_for(struct tp_counts *counts, size_t chunk, uint64_t place)
{
	uint32_t at = counts->room[chunk];

	if (!at) {
		if (make_room(counts, chunk))
			return THINP_ENOMEM;
		at = TP_COUNTS_WAITING;
	}
	counts->room[chunk] = (uint16_t)--at;
	counts->waiting[chunk]->places[at] = (uint16_t)place;
	return 0;
}
static_assert(TP_COUNTS_CHUNK == 1u << 15, "a place in a chunk and one bit more fit 16 bits");

/* Expanded where it is called, so that a constant alone_from costs nothing in the loop. */
static inline __attribute__((always_inline)) int add_many(struct tp_counts *counts, const uint8_t *values_le, size_t nr,
							  uint32_t alone_from)
{
	for (size_t i = 0; i < nr; i++) {
		uint64_t value = tp_load_le64(values_le + 8 * i);
		uint64_t alone = (value & 0xffffff) >= alone_from;

		if (wait_for(counts, (size_t)(value >> 24 >> 15), value >> 24 << 1 | alone))
			return THINP_ENOMEM;
	}
	return 0;
}

static __attribute__((noinline)) struct tp_count_bits *make_once(struct tp_counts *counts, bool alone, size_t chunk)
{
	struct tp_count_bits **once = &counts->once[alone][chunk];

	*once = tp_memory_get(counts->memory, 1, sizeof(**once));
	return *once;
}

static __attribute__((noinline)) int found_again(struct tp_counts *counts, size_t chunk, uint64_t place)
{
	return wait_for(counts, chunk, place);
}

/* The same where each block has its bit. */
static inline __attribute__((always_inline)) int add_few(struct tp_counts *counts, const uint8_t *values_le, size_t nr,
							 uint32_t alone_from)
{
	for (size_t i = 0; i < nr; i++) {
		uint64_t value = tp_load_le64(values_le + 8 * i);
		uint64_t block = value >> 24;
		bool alone = (value & 0xffffff) >= alone_from;
		struct tp_count_bits *once = counts->once[alone][block / TP_COUNTS_CHUNK];
		uint64_t *word;

		if (!once)
			once = make_once(counts, alone, (size_t)(block / TP_COUNTS_CHUNK));
		if (!once)
			return THINP_ENOMEM;
		word = &once->words[block % TP_COUNTS_CHUNK / 64];
		if (*word >> block % 64 & 1) {
			if (found_again(counts, (size_t)(block / TP_COUNTS_CHUNK), block << 1 | alone))
				return THINP_ENOMEM;
			continue;
		}
		*word |= (uint64_t)1 << block % 64;
	}
	return 0;
}

int tp_counts_add(struct tp_counts *counts, const uint8_t *values_le, size_t nr, uint32_t alone_from)
{
	bool is_few = counts->once[0];

	if (alone_from > 0xffffff)
		return is_few ? add_few(counts, values_le, nr, UINT32_MAX)
			      : add_many(counts, values_le, nr, UINT32_MAX);
	if (!alone_from)
		return is_few ? add_few(counts, values_le, nr, 0) : add_many(counts, values_le, nr, 0);
	return is_few ? add_few(counts, values_le, nr, alone_from) : add_many(counts, values_le, nr, alone_from);
}

/* One more for the blocks of a word that `ones` has. */
static int add_ones(struct tp_counts *counts, uint64_t *word, uint64_t first_block, uint64_t ones, bool alone)
{
	int r = 0;

	if (!(((*word & COUNT_BITS) + 2 * ones) & ALONE_BITS)) {
		*word = (*word + ones) | (alone ? ones << 3 : 0);
		return 0;
	}
	for (unsigned int i = 0; !r && i < 16; i++)
		if (ones >> 4 * i & 1)
			r = count_large(counts, word, first_block + i, alone);
	return r;
}

/* Bits 0 to 15 as the lowest bits of sixteen counts. */
static uint64_t spread(uint64_t bits)
{
	bits = (bits | bits << 24) & UINT64_C(0x000000ff000000ff);
	bits = (bits | bits << 12) & UINT64_C(0x000f000f000f000f);
	bits = (bits | bits << 6) & UINT64_C(0x0303030303030303);
	return (bits | bits << 3) & ONES;
}

static uint64_t ones_of(const struct tp_count_bits *bits, size_t word)
{
	return spread(bits->words[word / 4] >> word % 4 * 16 & 0xffff);
}

/* Some words at once; false, and nothing done, where a count may become large. */
static bool add_bits(uint8_t *words, const struct tp_count_bits *bits, size_t begin, bool alone)
{
	uint64_t sums[JOINED];
	uint64_t large = 0;

	for (size_t i = 0; i < JOINED; i++) {
		uint64_t word = tp_load_le64(words + 8 * (begin + i));
		uint64_t ones = ones_of(bits, begin + i);

		large |= (word & COUNT_BITS) + 2 * ones;
		sums[i] = (word + ones) | (alone ? ones << 3 : 0);
	}
	for (size_t i = 0; i < JOINED && !(large & ALONE_BITS); i++)
		tp_store_le64(words + 8 * (begin + i), sums[i]);
	return !(large & ALONE_BITS);
}

static int count_bits(struct tp_counts *counts, size_t chunk, const struct tp_count_bits *bits, bool alone)
{
	uint64_t first = chunk * (uint64_t)TP_COUNTS_CHUNK;
	int r = chunk_of(counts, chunk) ? 0 : THINP_ENOMEM;

	for (size_t w = 0; !r && w < TP_COUNTS_WORDS; w += JOINED) {
		uint8_t *words = counts->chunks[chunk]->bytes;

		if (add_bits(words, bits, w, alone))
			continue;
		for (size_t i = w; !r && i < w + JOINED; i++) {
			uint64_t word = tp_load_le64(words + 8 * i);

			r = add_ones(counts, &word, first + 16 * i, ones_of(bits, i), alone);
			tp_store_le64(words + 8 * i, word);
		}
	}
	return r;
}

/* Those found once: their bits are gone then. */
static int flush_once(struct tp_counts *counts, size_t i)
{
	int r = 0;

	for (size_t alone = 0; !r && counts->once[0] && alone < 2; alone++) {
		struct tp_count_bits **once = &counts->once[alone][i];

		if (!*once)
			continue;
		r = count_bits(counts, i, *once, alone);
		tp_memory_put(counts->memory, *once, 1, sizeof(**once));
		*once = NULL;
	}
	return r;
}

int tp_counts_flush(struct tp_counts *counts)
{
	int r = 0;

	for (size_t i = 0; !r && i < counts->nr_chunks; i++) {
		if (counts->waiting[i])
			r = flush_chunk(counts, i);
		if (!r)
			r = flush_once(counts, i);
	}
	return r;
}

/* Blocks in a row within one word. */
static int add_to_word(struct tp_counts *counts, uint64_t *word, uint64_t block, unsigned int nr, bool alone)
{
	uint64_t mask = nr < 16 ? ((uint64_t)1 << 4 * nr) - 1 : UINT64_MAX;

	return add_ones(counts, word, block - block % 16, (ONES & mask) << block % 16 * 4, alone);
}

/* One more for all blocks of some words; false, and nothing done, where a count may become large. */
static bool add_to_words(uint8_t *words, size_t nr, bool alone)
{
	uint64_t sums = 0;

	for (size_t i = 0; i < nr; i++)
		sums |= (tp_load_le64(words + 8 * i) & COUNT_BITS) + 2 * ONES;
	if (sums & ALONE_BITS)
		return false;
	for (size_t i = 0; i < nr; i++)
		tp_store_le64(words + 8 * i, (tp_load_le64(words + 8 * i) + ONES) | (alone ? ALONE_BITS : 0));
	return true;
}

/* Blocks in a row within one chunk, the beginning and the end of which need not be those of words. */
static int add_in_chunk(struct tp_counts *counts, uint8_t *bytes, uint64_t begin, uint64_t end, bool alone)
{
	int r = 0;

	while (!r && begin < end) {
		uint8_t *at = bytes + begin % TP_COUNTS_CHUNK / 16 * 8;
		unsigned int nr = 16 - (unsigned int)(begin % 16);
		uint64_t whole = end - begin < MOST_AT_ONCE ? (end - begin) / 16 * 16 : MOST_AT_ONCE;
		uint64_t word;

		if (nr == 16 && whole && add_to_words(at, whole / 16, alone)) {
			begin += whole;
			continue;
		}
		if (nr > end - begin)
			nr = (unsigned int)(end - begin);
		word = tp_load_le64(at);
		r = add_to_word(counts, &word, begin, nr, alone);
		tp_store_le64(at, word);
		begin += nr;
	}
	return r;
}

int tp_counts_add_run(struct tp_counts *counts, uint64_t begin, uint64_t end, bool alone)
{
	int r = 0;

	while (!r && begin < end) {
		struct tp_count_chunk *chunk = chunk_of(counts, (size_t)(begin / TP_COUNTS_CHUNK));
		uint64_t next = (begin / TP_COUNTS_CHUNK + 1) * TP_COUNTS_CHUNK;

		if (next > end)
			next = end;
		r = chunk ? add_in_chunk(counts, chunk->bytes, begin, next, alone) : THINP_ENOMEM;
		begin = next;
	}
	return r;
}

/* Sixteen counts at once, where no sum becomes large: then none of them carries into bit 3 even with one added. */
static uint64_t sum_of(uint64_t a, uint64_t b)
{
	return (a & COUNT_BITS) + (b & COUNT_BITS);
}

static uint64_t is_large(uint64_t sum)
{
	return (sum | (sum + ONES)) & ALONE_BITS;
}

/* Some words at once; false, and nothing done, where a sum becomes large. */
static bool join_words(uint8_t *to, const uint8_t *from, size_t nr)
{
	uint64_t large = 0;

	for (size_t i = 0; i < nr; i++)
		large |= is_large(sum_of(tp_load_le64(to + 8 * i), tp_load_le64(from + 8 * i)));
	if (large)
		return false;
	for (size_t i = 0; i < nr; i++) {
		uint64_t mine = tp_load_le64(to + 8 * i), theirs = tp_load_le64(from + 8 * i);

		tp_store_le64(to + 8 * i, sum_of(mine, theirs) | ((mine | theirs) & ALONE_BITS));
	}
	return true;
}

static int join_one(struct tp_counts *counts, const struct tp_counts *from, uint64_t *to, uint64_t word,
		    unsigned int shift, uint64_t block)
{
	uint64_t mine = *to >> shift & TP_COUNTS_LARGE;
	uint64_t theirs = word >> shift & TP_COUNTS_LARGE;
	uint64_t exact = theirs < TP_COUNTS_LARGE ? theirs : tp_counts_get(from, block);

	*to |= word & (uint64_t)ALONE << shift;
	if (mine + exact < TP_COUNTS_LARGE) {
		*to += exact << shift;
		return 0;
	}
	*to |= (uint64_t)TP_COUNTS_LARGE << shift;
	return tp_count_table_add(&counts->large, counts->memory, block, mine < TP_COUNTS_LARGE ? mine + exact : exact);
}

static int join_word(struct tp_counts *counts, const struct tp_counts *from, uint64_t *to, uint64_t word,
		     uint64_t first_block)
{
	int r = 0;

	for (unsigned int i = 0; !r && i < 16; i++)
		if (word >> 4 * i & 15)
			r = join_one(counts, from, to, word, 4 * i, first_block + i);
	return r;
}

/* Words of which one at least has a large sum. */
static int join_closely(struct tp_counts *counts, const struct tp_counts *from, size_t chunk, size_t begin)
{
	uint8_t *to = counts->chunks[chunk]->bytes;
	const uint8_t *theirs = from->chunks[chunk]->bytes;
	int r = 0;

	for (size_t w = begin; !r && w < begin + JOINED; w++) {
		uint64_t word = tp_load_le64(to + 8 * w);

		if (join_words(to + 8 * w, theirs + 8 * w, 1))
			continue;
		r = join_word(counts, from, &word, tp_load_le64(theirs + 8 * w),
			      ((uint64_t)chunk * TP_COUNTS_WORDS + w) * 16);
		tp_store_le64(to + 8 * w, word);
	}
	return r;
}

static int join_chunk(struct tp_counts *counts, const struct tp_counts *from, size_t i)
{
	int r = chunk_of(counts, i) ? 0 : THINP_ENOMEM;

	for (size_t w = 0; !r && w < TP_COUNTS_WORDS; w += JOINED)
		if (!join_words(counts->chunks[i]->bytes + 8 * w, from->chunks[i]->bytes + 8 * w, JOINED))
			r = join_closely(counts, from, i, w);
	return r;
}
static_assert(TP_COUNTS_WORDS % JOINED == 0, "a chunk has no words left over");

static bool has_large(const uint8_t *chunk)
{
	uint64_t found = 0;

	for (size_t w = 0; w < TP_COUNTS_WORDS; w++) {
		uint64_t word = tp_load_le64(chunk + 8 * w);

		found |= word & word >> 1 & word >> 2 & ONES;
	}
	return found;
}

/* A chunk that only `from` has changes hands, when there is nothing about it in the table of large counts. */
static bool take_chunk(struct tp_counts *counts, struct tp_counts *from, size_t i)
{
	if (counts->chunks[i] || has_large(from->chunks[i]->bytes))
		return false;
	counts->chunks[i] = from->chunks[i];
	from->chunks[i] = NULL;
	return true;
}

int tp_counts_join(struct tp_counts *counts, struct tp_counts *from)
{
	int r = 0;

	for (size_t i = 0; !r && i < from->nr_chunks; i++)
		if (from->chunks[i] && !take_chunk(counts, from, i))
			r = join_chunk(counts, from, i);
	tp_counts_exit(from);
	return r;
}

/* Eight words at a time: their sum has a number of 0 to 8 for every sixteenth block. Words by themselves would be multiplied
 * each, which vector code cannot do everywhere. */
static uint32_t nr_found_in_chunk(const uint8_t *a, const uint8_t *b)
{
	uint32_t nr = 0;

	for (size_t w = 0; w < TP_COUNTS_WORDS; w += 8) {
		uint64_t sum = 0;

		for (size_t i = w; i < w + 8; i++) {
			uint64_t counts = tp_load_le64(a + 8 * i) | tp_load_le64(b + 8 * i);

			sum += (counts | counts >> 1 | counts >> 2) & ONES;
		}
		sum = (sum & LOW_NIBBLES) + (sum >> 4 & LOW_NIBBLES);
		nr += (uint32_t)(sum * UINT64_C(0x0101010101010101) >> 56);
	}
	return nr;
}
static_assert(TP_COUNTS_WORDS % 8 == 0, "a chunk has no words left over");

uint64_t tp_counts_nr_found(const struct tp_counts *a, const struct tp_counts *b)
{
	size_t nr_chunks = a->nr_chunks > b->nr_chunks ? a->nr_chunks : b->nr_chunks;
	uint64_t nr = 0;

	for (size_t i = 0; i < nr_chunks; i++) {
		const uint8_t *in_a = tp_counts_chunk(a, i);
		const uint8_t *in_b = tp_counts_chunk(b, i);

		if (in_a || in_b)
			nr += nr_found_in_chunk(in_a ? in_a : in_b, in_b ? in_b : in_a);
	}
	return nr;
}
