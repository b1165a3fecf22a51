/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/loop_device.h - real block devices for tests: loop devices. They need root.
 */
#ifndef TP_TEST_LOOP_DEVICE_H
#define TP_TEST_LOOP_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct loop_device {
	char path[32];
	int fd; /* the device lives as long as somebody has it open, so nothing is left of it when a test crashes */
};

/* Makes a loop device over an open file, with logical sectors of that many bytes (512 or 4096), past the page cache of
 * the file when that is wanted. Gives NULL, or a sentence that says why there is none. */
const char *loop_device_make(struct loop_device *loop, int file, uint32_t sector_bytes, bool is_direct);

/* Takes over the size that the file has now. 0, or -1 with errno. */
int loop_device_refresh(const struct loop_device *loop);

void loop_device_remove(struct loop_device *loop);

#endif
