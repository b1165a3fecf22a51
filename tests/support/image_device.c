/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_device.c - a device in memory, and a second handle on it that counts and fails.
 */
#include "support/image_device.h"

#include "base/bytes.h"
#include "format/kind.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* --- the handle for the library -------------------------------------------------------------------------------------- */

static int counted_size(void *ctx, uint64_t *nr_blocks)
{
	struct image *image = ctx;

	return thinp_io_size(image->memory, nr_blocks);
}

static int counted_read(struct image *image, struct thinp_io_op *op)
{
	uint64_t number = atomic_fetch_add(&image->nr_reads, 1) + 1;

	if (image->before_read)
		image->before_read(image, op->block);
	if (number >= atomic_load(&image->fail_from) && number <= atomic_load(&image->fail_until))
		return -EIO;
	return thinp_io_read(image->memory, op->block, op->nr_blocks, op->buffer);
}

/* Writing is refused: nothing that is tested with it writes. */
static int counted_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	int first = 0;

	for (size_t i = 0; i < nr_ops; i++) {
		ops[i].result = ops[i].kind == THINP_IO_READ ? counted_read(ctx, &ops[i]) : -EROFS;
		if (ops[i].result && !first)
			first = ops[i].result;
	}
	return first;
}

static const struct thinp_io_backend counted = {
	.size = sizeof(counted), .name = "counted", .get_size = counted_size, .batch = counted_batch};

void image_open(struct image *image, uint64_t nr_blocks)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = nr_blocks};

	memset(image, 0, sizeof(*image));
	image->nr_blocks = nr_blocks;
	image->next = 1;
	assert_int_equal(thinp_io_open_memory(&opts, &image->memory), 0);
	assert_int_equal(thinp_io_create(&counted, image, NULL, &image->io), 0);
}

void image_close(struct image *image)
{
	thinp_io_close(image->io);
	thinp_io_close(image->memory);
}

thinp_block_t image_take(struct image *image)
{
	assert_true(image->next < image->nr_blocks);
	return image->next++;
}

/* --- blocks ---------------------------------------------------------------------------------------------------------- */

void image_read(struct image *image, thinp_block_t block, struct image_block *content)
{
	assert_int_equal(thinp_io_read(image->memory, block, 1, content->data), 0);
}

void image_write(struct image *image, thinp_block_t block, const struct image_block *content)
{
	assert_int_equal(thinp_io_write(image->memory, block, 1, content->data), 0);
}

void image_put(struct image *image, thinp_block_t block, struct image_block *content,
	       const struct thinp_block_type *type)
{
	tp_block_seal(content->data, block, type);
	image_write(image, block, content);
}

uint32_t image_get32(struct image *image, thinp_block_t block, size_t offset)
{
	struct image_block content;

	image_read(image, block, &content);
	return tp_load_le32(content.data + offset);
}

uint64_t image_get64(struct image *image, thinp_block_t block, size_t offset)
{
	struct image_block content;

	image_read(image, block, &content);
	return tp_load_le64(content.data + offset);
}

static void set_bytes(struct image *image, thinp_block_t block, size_t offset, const void *bytes, size_t nbytes)
{
	struct image_block content;
	uint32_t kind;

	image_read(image, block, &content);
	kind = tp_load_le32(content.data + TP_CSUM_OFFSET) ^ tp_block_crc(content.data);
	memcpy(content.data + offset, bytes, nbytes);
	tp_store_le32(content.data + TP_CSUM_OFFSET, tp_block_crc(content.data) ^ kind);
	image_write(image, block, &content);
}

void image_set32(struct image *image, thinp_block_t block, size_t offset, uint32_t value)
{
	uint8_t bytes[4];

	tp_store_le32(bytes, value);
	set_bytes(image, block, offset, bytes, sizeof(bytes));
}

void image_set64(struct image *image, thinp_block_t block, size_t offset, uint64_t value)
{
	uint8_t bytes[8];

	tp_store_le64(bytes, value);
	set_bytes(image, block, offset, bytes, sizeof(bytes));
}

void image_flip(struct image *image, thinp_block_t block, size_t bit)
{
	struct image_block content;

	image_read(image, block, &content);
	content.data[bit / 8] = (uint8_t)(content.data[bit / 8] ^ 1u << bit % 8);
	image_write(image, block, &content);
}

void image_fail_reads(struct image *image, uint64_t first, uint64_t last)
{
	uint64_t so_far = atomic_load(&image->nr_reads);

	atomic_store(&image->fail_from, so_far + first);
	atomic_store(&image->fail_until, last < UINT64_MAX - so_far ? so_far + last : UINT64_MAX);
}

void image_fail_no_reads(struct image *image)
{
	atomic_store(&image->fail_from, 0);
	atomic_store(&image->fail_until, 0);
}

/* --- readers --------------------------------------------------------------------------------------------------------- */

int image_reader_open(struct image_reader *reader, struct image *image, uint32_t cache_blocks)
{
	alloc_counting_init(&reader->alloc);
	return image_reader_reopen(reader, image, cache_blocks);
}

int image_reader_reopen(struct image_reader *reader, struct image *image, uint32_t cache_blocks)
{
	struct thinp_bm_opts opts = {
		.size = sizeof(opts), .cache_blocks = cache_blocks, .allocator = &reader->alloc.table};
	int r = thinp_bm_create(image->io, &opts, &reader->bm);

	if (r)
		return r;
	r = thinp_reader_create(reader->bm, 0, &reader->reader);
	if (r)
		thinp_bm_destroy(reader->bm);
	return r;
}

void image_reader_close(struct image_reader *reader)
{
	thinp_reader_destroy(reader->reader);
	thinp_bm_destroy(reader->bm);
	alloc_counting_check(&reader->alloc);
}
