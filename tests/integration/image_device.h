/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/image_device.h - a metadata image in memory as a device of our own, which can be changed under the
 * library and remembers what was read.
 */
#ifndef TP_TEST_IMAGE_DEVICE_H
#define TP_TEST_IMAGE_DEVICE_H

#include <thinp/io.h>

struct image_device {
	uint8_t *data;
	uint64_t nr_blocks;
	bool *was_read;    /* for each block */
	uint64_t nr_reads; /* blocks read in all */
	struct thinp_io *io;
};

/* Loads a fixture by name, for example "kernel-snaps.meta". Fails the test when it cannot. */
void image_device_open(struct image_device *device, const char *fixture);
void image_device_close(struct image_device *device);

/* Blocks that were read, ascending; returns how many. The array is the caller's to free. */
size_t image_device_blocks_read(const struct image_device *device, thinp_block_t **blocks);

#endif
