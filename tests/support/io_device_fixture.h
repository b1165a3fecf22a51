/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_device_fixture.h - what a test on a real block device starts from: a loop device over memory, a counting
 * allocator and scripted system calls; and at its end, that nothing has leaked.
 */
#ifndef TP_TEST_IO_DEVICE_FIXTURE_H
#define TP_TEST_IO_DEVICE_FIXTURE_H

#include "support/alloc_counting.h"
#include "support/io_sys_script.h"
#include "support/loop_device.h"

struct io_device_fixture {
	struct loop_device loop;
	int memory; /* the file in memory that is under the loop device */
	struct alloc_counting alloc;
	struct thinp_io_opts opts; /* the allocator is set */
	struct thinp_io *io;       /* closed at the end when it is not NULL */
};

/* Why no test of this kind can run here; NULL when they can. */
const char *io_device_obstacle(void);

/* Makes a device of nr_blocks blocks that read as zeros, with sectors of that many bytes. */
void io_device_make(struct io_device_fixture *f, uint64_t nr_blocks, uint32_t sector_bytes);

/* Closes f->io and removes the device. */
void io_device_remove(struct io_device_fixture *f);

/* Opens the device with the fixture's options over the scripted calls. */
int io_device_open(struct io_device_fixture *f, struct thinp_io **io);

/* From now on the device fails every write that begins at this block or behind it, and reads zeros there. (Of a write
 * that only reaches there the kernel says that it went well: its loop device makes nothing of short writes below.) */
void io_device_break_from(struct io_device_fixture *f, thinp_block_t block);

/* Changes the size of the device. */
void io_device_resize(struct io_device_fixture *f, uint64_t nr_blocks);

#endif
