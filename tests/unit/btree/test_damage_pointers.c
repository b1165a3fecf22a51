/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damage in what nodes point to, in whole blocks, and in blocks that change while they are read.
 */
#include "base/bytes.h"
#include "format/kind.h"
#include "support/image_expect.h"
#include "support/tree_damaged.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

/* With one block nothing is fetched ahead; the other cache holds everything. */
static const uint32_t caches[] = {1, 100};

/* --- addresses ------------------------------------------------------------------------------------------------------- */

static void BM_14_an_address_beyond_the_end_is_told_with_the_node_that_has_it(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		const thinp_block_t beyond[] = {d.tree.image.nr_blocks, d.tree.image.nr_blocks + 1, UINT64_C(1) << 40,
						UINT64_C(1) << 63, UINT64_MAX};

		for (size_t i = 0; i < NR_OF(beyond); i++) {
			tree_set_child(&d.tree.image, d.mid[1], 1, beyond[i]);
			damaged_reopen(&d, caches[c]);
			damaged_expect_everything_damaged(&d, 130, d.mid[1], "a child cannot be at block");
		}
		tree_set_child(&d.tree.image, d.mid[1], 1, d.leaf[4]);
		for (size_t i = 0; i < NR_OF(beyond); i++) {
			tree_set_child(&d.tree.image, d.root, 1, beyond[i]);
			damaged_reopen(&d, caches[c]);
			damaged_expect_everything_damaged(&d, 130, d.root, "a child cannot be at block");
		}
		tree_close(&d.tree);
	}
}

/* Block 0 is the superblock's, so nothing may point there, whatever it holds. */
static void BM_14_an_address_of_0_is_told_with_the_node_that_has_it(void **state)
{
	struct image_block content;
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++)
		for (int holds_a_node = 0; holds_a_node <= 1; holds_a_node++) {
			damaged_open(&d, caches[c]);
			if (holds_a_node) {
				image_read(&d.tree.image, d.leaf[4], &content);
				image_put(&d.tree.image, 0, &content, thinp_block_type_node());
			}
			tree_set_child(&d.tree.image, d.mid[1], 1, 0);
			damaged_expect_everything_damaged(&d, 130, d.mid[1], "block 0");
			tree_close(&d.tree);
		}
}

/* A reader may let fewer blocks through than the device has: a pool that has not grown into it yet. Parents are written
 * behind their children, so that mid[1] is looked up as a tree. */
static void BM_14_the_limit_of_the_reader_counts_and_not_that_of_the_device(void **state)
{
	struct thinp_reader *reader;
	struct damaged d;
	uint64_t key = 130;

	(void)state;
	damaged_open(&d, 100);
	assert_true(d.leaf[4] < d.mid[1]);
	tree_set_child(&d.tree.image, d.mid[1], 1, image_take(&d.tree.image));
	for (uint64_t nr_blocks = d.mid[1] + 1; nr_blocks < d.tree.image.next; nr_blocks++) {
		assert_int_equal(thinp_reader_create(d.tree.reader.bm, nr_blocks, &reader), 0);
		expect_corrupt(thinp_btree_lookup(reader, &d.tree.model.type, d.mid[1], &key, NULL), d.mid[1],
			       "a child cannot be at block");
		thinp_reader_destroy(reader);
	}
	tree_close(&d.tree);
}

/* --- whole blocks ---------------------------------------------------------------------------------------------------- */

static void BM_04_a_good_node_of_another_place_is_found(void **state)
{
	struct image_block content;
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		image_read(&d.tree.image, d.leaf[3], &content);
		image_write(&d.tree.image, d.leaf[4], &content);
		damaged_expect_everything_damaged(&d, 130, d.leaf[4], "misplaced");
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		image_read(&d.tree.image, d.root, &content);
		image_write(&d.tree.image, d.mid[1], &content);
		damaged_expect_everything_damaged(&d, 130, d.mid[1], "misplaced");
		tree_close(&d.tree);
	}
}

struct other_kind {
	const struct thinp_block_type *(*type)(void);
	const char *words;
};

static void a_block_of_another_kind_is_named(void **state)
{
	static const struct other_kind kinds[] = {
		{thinp_block_type_bitmap, "holds a valid bitmap, expected a btree node"},
		{thinp_block_type_index, "holds a valid metadata index, expected a btree node"},
		{thinp_block_type_array, "holds a valid array block, expected a btree node"},
		{thinp_block_type_thin_superblock, "holds a valid thin superblock, expected a btree node"},
	};
	struct damaged d;

	(void)state;
	for (size_t i = 0; i < NR_OF(kinds); i++)
		for (size_t c = 0; c < NR_OF(caches); c++) {
			struct image_block content = {{0}};

			damaged_open(&d, caches[c]);
			image_put(&d.tree.image, d.leaf[4], &content, kinds[i].type());
			damaged_expect_everything_damaged(&d, 130, d.leaf[4], kinds[i].words);
			tree_close(&d.tree);
		}
}

/* What the cache has checked as one kind must not be given out as another. */
static void a_block_of_another_kind_is_named_also_when_the_cache_has_it(void **state)
{
	struct image_block content = {{0}};
	struct thinp_read_section section;
	struct damaged d;
	const void *data;

	(void)state;
	damaged_open(&d, 100);
	image_put(&d.tree.image, d.leaf[4], &content, thinp_block_type_bitmap());
	thinp_read_begin(d.tree.reader.reader, &section);
	assert_int_equal(thinp_read_block(&section, d.leaf[4], thinp_block_type_bitmap(), &data), 0);
	thinp_read_end(&section);
	damaged_expect_everything_damaged(&d, 130, d.leaf[4], "holds a valid bitmap, expected a btree node");
	tree_close(&d.tree);
}

static void a_block_of_zeros_is_named(void **state)
{
	const struct image_block zeros = {{0}};
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		image_write(&d.tree.image, d.leaf[4], &zeros);
		damaged_expect_everything_damaged(&d, 130, d.leaf[4], "nothing but zeros, expected a btree node");
		tree_close(&d.tree);
	}
}

/* Every node in turn, a bit somewhere in it. */
static void a_flipped_bit_is_found_in_every_node(void **state)
{
	struct damaged d;

	(void)state;
	for (thinp_block_t node = 1; node <= 13; node++)
		for (size_t bit = node; bit < 8 * (size_t)THINP_BLOCK_SIZE; bit += 4099) {
			damaged_open(&d, 1);
			image_flip(&d.tree.image, node, bit);
			damaged_expect_walks_damaged(&d, node, "checksum");
			tree_close(&d.tree);
		}
}

/* --- values of another tree ------------------------------------------------------------------------------------------ */

static void BT_10_a_leaf_of_another_tree_is_refused(void **state)
{
	static const uint32_t sizes[] = {4, 16, 24};
	const struct tree_shape shape = {0};
	const uint64_t keys[] = {130, 140};
	const uint8_t values[2 * 24] = {0};
	struct damaged d;

	(void)state;
	for (size_t i = 0; i < NR_OF(sizes); i++)
		for (size_t c = 0; c < NR_OF(caches); c++) {
			thinp_block_t leaf;

			damaged_open(&d, caches[c]);
			leaf = tree_build(&d.tree.image, &shape, sizes[i], keys, values, 2);
			tree_set_child(&d.tree.image, d.mid[1], 1, leaf);
			damaged_expect_everything_damaged(&d, 130, leaf, "in a tree with values of 8 bytes");
			tree_close(&d.tree);
		}
}

/* --- blocks that change ---------------------------------------------------------------------------------------------- */

/* Metadata in use by a kernel changes while it is read, and nobody can keep a caller from trying. A block that reads in
 * one way and in another by turns, each way with a good checksum. The cache of one block reads it again and again. */
static struct image_block ways[2];
static thinp_block_t changing;
static size_t nr_reads_of_changing;

static void change(struct image *image, thinp_block_t block)
{
	if (block == changing)
		image_write(image, block, &ways[nr_reads_of_changing++ % 2]);
}

static void expect_sane_answer(struct damaged *d, int r)
{
	assert_true(r == 0 || r == THINP_ENODATA || r == THINP_ECORRUPT);
	nr_reads_of_changing = 0;
	damaged_reopen(d, 1);
}

static void expect_no_harm_from_change(struct damaged *d, thinp_block_t block)
{
	image_read(&d->tree.image, block, &ways[0]);
	tp_block_seal(ways[1].data, block, thinp_block_type_node());
	changing = block;
	d->tree.image.before_read = change;
	expect_sane_answer(d, damaged_walk(d));
	expect_sane_answer(d, damaged_forwards(d));
	expect_sane_answer(d, damaged_backwards(d));
	for (uint64_t key = 0; key <= DAMAGED_STEP * (DAMAGED_NR_KEYS + 1); key += DAMAGED_STEP / 2) {
		expect_sane_answer(d, damaged_lookup(d, key));
		expect_sane_answer(d, damaged_lookup_ge(d, key));
		expect_sane_answer(d, damaged_lookup_many(d, key));
		expect_sane_answer(d, damaged_walk_from(d, key));
	}
}

/* Its children are empty leaves, so that any way on from them leads through the root. As a leaf it has its own address
 * for values. */
static void a_root_that_becomes_a_leaf_while_it_is_read_does_no_harm(void **state)
{
	const struct tree_shape shape = {.min_depth = 2}, empty = {0};
	const uint64_t keys[] = {10, 20, 30};
	uint8_t children[3 * 8];
	struct damaged d;

	(void)state;
	tree_open(&d.tree, &shape, 8, 1, DAMAGED_STEP, 1);
	d.root = d.tree.model.root;
	for (size_t i = 0; i < NR_OF(keys); i++)
		tp_store_le64(children + 8 * i, tree_build(&d.tree.image, &empty, 8, NULL, NULL, 0));
	image_read(&d.tree.image, d.root, &ways[1]);
	tp_store_le32(ways[1].data + TREE_NR_ENTRIES, NR_OF(keys));
	for (size_t i = 0; i < NR_OF(keys); i++)
		tp_store_le64(ways[1].data + TREE_KEYS + 8 * i, keys[i]);
	memcpy(ways[1].data + TREE_KEYS + 8 * (size_t)252, children, sizeof(children));
	image_put(&d.tree.image, d.root, &ways[1], thinp_block_type_node());

	tp_store_le32(ways[1].data + TREE_FLAGS, 2);
	for (size_t i = 0; i < NR_OF(keys); i++)
		tp_store_le64(ways[1].data + TREE_KEYS + 8 * (252 + i), d.root);
	expect_no_harm_from_change(&d, d.root);
	tree_close(&d.tree);
}

static void a_root_that_loses_entries_while_it_is_read_does_no_harm(void **state)
{
	struct damaged d;

	(void)state;
	damaged_open(&d, 1);
	image_read(&d.tree.image, d.root, &ways[1]);
	memcpy(ways[1].data + TREE_KEYS + 8, ways[1].data + TREE_KEYS + 8 * (size_t)252, 8);
	tp_store_le32(ways[1].data + TREE_NR_ENTRIES, 1);
	tp_store_le32(ways[1].data + TREE_MAX_ENTRIES, 1);
	expect_no_harm_from_change(&d, d.root);
	tree_close(&d.tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BM_14_an_address_beyond_the_end_is_told_with_the_node_that_has_it),
		cmocka_unit_test(BM_14_an_address_of_0_is_told_with_the_node_that_has_it),
		cmocka_unit_test(BM_14_the_limit_of_the_reader_counts_and_not_that_of_the_device),
		cmocka_unit_test(BM_04_a_good_node_of_another_place_is_found),
		cmocka_unit_test(a_block_of_another_kind_is_named),
		cmocka_unit_test(a_block_of_another_kind_is_named_also_when_the_cache_has_it),
		cmocka_unit_test(a_block_of_zeros_is_named),
		cmocka_unit_test(a_flipped_bit_is_found_in_every_node),
		cmocka_unit_test(BT_10_a_leaf_of_another_tree_is_refused),
		cmocka_unit_test(a_root_that_becomes_a_leaf_while_it_is_read_does_no_harm),
		cmocka_unit_test(a_root_that_loses_entries_while_it_is_read_does_no_harm),
	};

	return cmocka_run_group_tests_name("btree/damage_pointers", tests, NULL, NULL);
}
