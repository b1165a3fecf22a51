/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/save_image.c - a device becomes a file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/save_image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *create(const char *folder, const char *name, uint64_t number)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s-%" PRIu64 ".meta", folder, name, number);
	file = fopen(path, "wb");
	assert_non_null(file);
	return file;
}

static void write_blocks(struct thinp_io *io, FILE *file)
{
	uint8_t *block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	uint64_t nr;

	assert_non_null(block);
	assert_int_equal(thinp_io_size(io, &nr), 0);
	for (uint64_t i = 0; i < nr; i++) {
		assert_int_equal(thinp_io_read(io, i, 1, block), 0);
		/* zeros take no room, but the last block makes the file as long as the device */
		if (i + 1 < nr && !block[0] && !memcmp(block, block + 1, THINP_BLOCK_SIZE - 1))
			assert_int_equal(fseek(file, THINP_BLOCK_SIZE, SEEK_CUR), 0);
		else
			assert_int_equal(fwrite(block, THINP_BLOCK_SIZE, 1, file), 1);
	}
	free(block);
}

void save_image(struct thinp_io *io, const char *name, uint64_t number)
{
	const char *folder = getenv("THINP_RANDOM_IMAGES");
	FILE *file;

	if (!folder)
		return;
	file = create(folder, name, number);
	write_blocks(io, file);
	assert_int_equal(fclose(file), 0);
}
