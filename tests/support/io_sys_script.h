/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_sys_script.h - the system calls on files and block devices with faults by script.
 *
 * The calls go to the system; the script lets chosen ones fail, cuts transfers short, and watches what is asked. The
 * script is one for the process, because system calls have no place for a context. It may be used from several threads.
 */
#ifndef TP_TEST_IO_SYS_SCRIPT_H
#define TP_TEST_IO_SYS_SCRIPT_H

#include "io/file_sys.h"

enum io_sys_call {
	IO_SYS_OPEN,
	IO_SYS_CLOSE,
	IO_SYS_UNLINK,
	IO_SYS_FSTAT,
	IO_SYS_STAT,
	IO_SYS_LSEEK,
	IO_SYS_LOCK,
	IO_SYS_SET_FLAGS,
	IO_SYS_PREADV,
	IO_SYS_PWRITEV,
	IO_SYS_FDATASYNC,
	IO_SYS_FSYNC,
	IO_SYS_FALLOCATE,
	IO_SYS_FTRUNCATE,
	IO_SYS_IOCTL,
	IO_SYS_NR_CALLS,
	IO_SYS_ANY = IO_SYS_NR_CALLS, /* in io_sys_fail(): whichever call is the n-th */
};

/* The table to open files with. */
extern const struct tp_file_sys io_sys_scripted;

/* Forgets the script and the counts, but not which descriptors are open. */
void io_sys_reset(void);

/* The n-th call of this kind from now on (1: the next) fails with err, and the `times` - 1 calls of it after that one.
 * A later call of this function replaces an earlier one. The call itself is not done, but a failing close still closes,
 * as on Linux. Calls that io_sys_interrupt_all() interrupts do not count. */
void io_sys_fail(enum io_sys_call call, unsigned int n, unsigned int times, int err);

/* Did it come to that? */
bool io_sys_has_failed(void);

/* Transfers stop before the block, and fail with err when they begin there; err 0: no block is bad. heals: only until
 * one of that block alone has failed. */
void io_sys_spoil_block(thinp_block_t block, int err, bool heals);

/* Makes the next operation of this kind fail, for support/io_conformance.h. Gives its code; ctx is not used. */
int io_sys_arm(void *ctx, uint32_t kind, thinp_block_t block);

/* Transfers move at most that many bytes; 0: as many as asked for. Past the page cache whole blocks are moved, and the
 * rest is only said to be: it is what the caller has to do once more. */
void io_sys_limit_transfers(size_t nbytes);

/* The n-th transfer from now on moves only that many bytes, once. */
void io_sys_cut_transfer(unsigned int n, size_t nbytes);

/* Every call that can be interrupted fails with EINTR the first time. */
void io_sys_interrupt_all(bool on);

/* fstat and stat claim that the file is of this kind, for example S_IFBLK; 0: they tell the truth. What is claimed to be
 * a block device answers to ioctl as one, with sectors of 512 bytes. */
void io_sys_pretend_kind(mode_t kind);

/* Block devices claim to have sectors of that many bytes; 0: the truth. */
void io_sys_pretend_sectors(int nbytes);

/* getpid gives another number. */
void io_sys_pretend_child(bool on);

/* Hook that is called before the n-th call of the kind is done. */
void io_sys_before(enum io_sys_call call, unsigned int n, void (*hook)(void *ctx), void *ctx);

/* What was asked since the reset. */
unsigned int io_sys_count(enum io_sys_call call);
unsigned int io_sys_nr_open(void);      /* descriptors that are open now */
unsigned int io_sys_nr_unaligned(void); /* transfers of which address, length or offset is no multiple of 4096 */
size_t io_sys_most_pieces(void);        /* of one transfer */
size_t io_sys_most_bytes(void);         /* of one transfer */
int io_sys_last_fd(void);               /* that open gave last for anything but a directory */
int io_sys_last_flags(void);            /* that open was given last */

/* Did the calls come in this order, whatever else between them? */
bool io_sys_had_order(const enum io_sys_call *calls, size_t nr);

#endif
