/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_device_fixture.c - what a test on a real block device starts from.
 */
#include "support/io_device_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int make_memory(uint64_t nr_blocks)
{
	int fd = memfd_create("thinp-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, (off_t)(nr_blocks * THINP_BLOCK_SIZE))) {
		close(fd);
		return -1;
	}
	return fd;
}

const char *io_device_obstacle(void)
{
	struct loop_device loop;
	int memory = make_memory(1);
	const char *obstacle;

	if (memory < 0)
		return "no file in memory can be made";
	obstacle = loop_device_make(&loop, memory, 512, false);
	if (!obstacle)
		loop_device_remove(&loop);
	close(memory);
	return obstacle;
}

void io_device_make(struct io_device_fixture *f, uint64_t nr_blocks, uint32_t sector_bytes)
{
	*f = (struct io_device_fixture){.memory = make_memory(nr_blocks)};
	assert_true(f->memory >= 0);
	assert_null(loop_device_make(&f->loop, f->memory, sector_bytes, false));
	alloc_counting_init(&f->alloc);
	f->opts = (struct thinp_io_opts){.size = sizeof(f->opts), .allocator = &f->alloc.table};
	io_sys_reset();
}

void io_device_remove(struct io_device_fixture *f)
{
	thinp_io_close(f->io);
	f->io = NULL;
	assert_int_equal(io_sys_nr_open(), 0);
	alloc_counting_check(&f->alloc);
	io_sys_reset();
	loop_device_remove(&f->loop);
	close(f->memory);
}

int io_device_open(struct io_device_fixture *f, struct thinp_io **io)
{
	return tp_io_open_device_with(f->loop.path, &f->opts, &io_sys_scripted, io);
}

/* The file is cut off and may not grow again, which is what a write behind its end would make it do. */
void io_device_break_from(struct io_device_fixture *f, thinp_block_t block)
{
	assert_int_equal(ftruncate(f->memory, (off_t)(block * THINP_BLOCK_SIZE)), 0);
	assert_int_equal(fcntl(f->memory, F_ADD_SEALS, F_SEAL_GROW), 0);
}

void io_device_resize(struct io_device_fixture *f, uint64_t nr_blocks)
{
	assert_int_equal(ftruncate(f->memory, (off_t)(nr_blocks * THINP_BLOCK_SIZE)), 0);
	assert_int_equal(loop_device_refresh(&f->loop), 0);
}
