/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/crash_device.h - a device that keeps a log, and can go wrong on both sides of it.
 */
#ifndef TP_TEST_CRASH_DEVICE_H
#define TP_TEST_CRASH_DEVICE_H

#include <thinp/fault.h>
#include <thinp/record.h>

/* From bottom to top. */
struct crash_device {
	struct thinp_io *memory;
	struct thinp_fault *below; /* what goes wrong here the log knows of */
	struct thinp_io *below_io;
	struct thinp_record *record;
	struct thinp_io *record_io;
	struct thinp_fault *above; /* what goes wrong here it does not */
	struct thinp_io *io;
};

void crash_device_begin(struct crash_device *d, uint64_t nr_blocks);
void crash_device_end(struct crash_device *d);

#endif
