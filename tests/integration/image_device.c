/* SPDX-License-Identifier: BSD-3-Clause */
#include "integration/image_device.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int get_size(void *ctx, uint64_t *nr_blocks)
{
	const struct image_device *device = ctx;

	*nr_blocks = device->nr_blocks;
	return 0;
}

static int batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct image_device *device = ctx;

	for (size_t i = 0; i < nr_ops; i++) {
		assert_int_equal(ops[i].kind, THINP_IO_READ);
		memcpy(ops[i].buffer, device->data + ops[i].block * THINP_BLOCK_SIZE,
		       ops[i].nr_blocks * THINP_BLOCK_SIZE);
		for (uint64_t b = 0; b < ops[i].nr_blocks; b++)
			device->was_read[ops[i].block + b] = true;
		device->nr_reads += ops[i].nr_blocks;
		ops[i].result = 0;
	}
	return 0;
}

static void load(struct image_device *device, const char *fixture)
{
	char path[4096];
	FILE *file;
	long size;

	snprintf(path, sizeof(path), "%s/%s", THINP_FIXTURES, fixture);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	assert_true(size > 0);
	rewind(file);
	device->data = malloc((size_t)size);
	assert_non_null(device->data);
	assert_int_equal(fread(device->data, 1, (size_t)size, file), size);
	fclose(file);
	device->nr_blocks = (uint64_t)size / THINP_BLOCK_SIZE;
}

void image_device_open(struct image_device *device, const char *fixture)
{
	const struct thinp_io_backend backend = {
		.size = sizeof(backend), .name = "image", .get_size = get_size, .batch = batch};
	const struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY};

	memset(device, 0, sizeof(*device));
	load(device, fixture);
	device->was_read = calloc(device->nr_blocks, sizeof(*device->was_read));
	assert_non_null(device->was_read);
	assert_int_equal(thinp_io_create(&backend, device, &opts, &device->io), 0);
}

void image_device_close(struct image_device *device)
{
	thinp_io_close(device->io);
	free(device->was_read);
	free(device->data);
}

size_t image_device_blocks_read(const struct image_device *device, thinp_block_t **blocks)
{
	size_t nr = 0;

	*blocks = malloc(device->nr_blocks * sizeof(**blocks));
	assert_non_null(*blocks);
	for (uint64_t b = 0; b < device->nr_blocks; b++)
		if (device->was_read[b])
			(*blocks)[nr++] = b;
	return nr;
}
