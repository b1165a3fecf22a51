/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/crash_device.c - a device that keeps a log, and can go wrong on both sides of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/crash_device.h"

void crash_device_begin(struct crash_device *d, uint64_t nr_blocks)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = nr_blocks};

	assert_int_equal(thinp_io_open_memory(&opts, &d->memory), 0);
	assert_int_equal(thinp_fault_create(d->memory, NULL, &d->below), 0);
	assert_int_equal(thinp_fault_open(d->below, NULL, &d->below_io), 0);
	assert_int_equal(thinp_record_create(d->below_io, NULL, &d->record), 0);
	assert_int_equal(thinp_record_open(d->record, NULL, &d->record_io), 0);
	assert_int_equal(thinp_fault_create(d->record_io, NULL, &d->above), 0);
	assert_int_equal(thinp_fault_open(d->above, NULL, &d->io), 0);
}

void crash_device_end(struct crash_device *d)
{
	thinp_io_close(d->io);
	thinp_fault_destroy(d->above);
	thinp_io_close(d->record_io);
	thinp_record_destroy(d->record);
	thinp_io_close(d->below_io);
	thinp_fault_destroy(d->below);
	thinp_io_close(d->memory);
}
