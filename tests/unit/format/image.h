/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/format/image.h - metadata written by a kernel, from tests/fixtures.
 */
#ifndef UNIT_FORMAT_IMAGE_H
#define UNIT_FORMAT_IMAGE_H

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <thinp/types.h>

#define IMAGE_MAX_BYTES ((size_t)64 << 20)

struct image {
	uint8_t *data;
	uint64_t nr_blocks;
};

/* THINP_FIXTURES holds the images unpacked by the build, or packed as they are in the source tree. */
static inline size_t image_read(const char *name, uint8_t *data)
{
	char command[1024];
	size_t nbytes;
	FILE *file;

	snprintf(command, sizeof(command), "%s/%s.meta", THINP_FIXTURES, name);
	file = fopen(command, "rb");
	if (file) {
		nbytes = fread(data, 1, IMAGE_MAX_BYTES, file);
		assert_int_equal(fclose(file), 0);
		return nbytes;
	}
	snprintf(command, sizeof(command), "xz -dc '%s/%s.meta.xz'", THINP_FIXTURES, name);
	file = popen(command, "r");
	assert_non_null(file);
	nbytes = fread(data, 1, IMAGE_MAX_BYTES, file);
	assert_int_equal(pclose(file), 0);
	return nbytes;
}

/* To be unloaded by the caller. An image that is missing or no whole number of blocks is a failed assertion. */
static inline struct image image_load(const char *name)
{
	uint8_t *data = malloc(IMAGE_MAX_BYTES);
	size_t nbytes;

	assert_non_null(data);
	nbytes = image_read(name, data);
	assert_true(nbytes > 0 && nbytes % THINP_BLOCK_SIZE == 0);
	return (struct image){.data = data, .nr_blocks = nbytes / THINP_BLOCK_SIZE};
}

static inline void image_unload(struct image *image)
{
	free(image->data);
}

static inline const uint8_t *image_block(const struct image *image, thinp_block_t block)
{
	assert_true(block < image->nr_blocks);
	return image->data + block * THINP_BLOCK_SIZE;
}

#endif
