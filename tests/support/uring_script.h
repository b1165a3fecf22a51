/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/uring_script.h - io_uring with faults by script: the calls, the requests in them, and the answers to those.
 *
 * As for support/io_sys_script.h there is one script for the process, which may be used from several threads.
 */
#ifndef TP_TEST_URING_SCRIPT_H
#define TP_TEST_URING_SCRIPT_H

/* Why no test of this kind can run here; NULL when they can. */
const char *uring_obstacle(void);

/* Runs the tests of a program, or says why they are skipped. Gives its exit status. */
int uring_run(int (*run_all)(void));

#ifdef THINP_WITH_URING
#include "io/uring_sys.h"

enum uring_call {
	URING_INIT,
	URING_REGISTER_FILE,
	URING_UNREGISTER_FILE,
	URING_REGISTER_BUFFERS,
	URING_UNREGISTER_BUFFERS,
	URING_SUBMIT,
	URING_WAIT,
	URING_NR_CALLS,
	URING_ANY = URING_NR_CALLS, /* in uring_fail(): whichever call is the n-th */
};

/* The table to open files with. */
extern const struct tp_uring_sys uring_scripted;

/* Forgets the script and the counts, but not which rings are open. */
void uring_script_reset(void);

/* The n-th call of this kind from now on (1: the next) fails with err, and the `times` - 1 calls of it after that one. */
void uring_fail(enum uring_call call, unsigned int n, unsigned int times, int err);
bool uring_has_failed(void);

/* The ring says that it has no more than these features (IORING_FEAT_...). */
void uring_pretend_features(unsigned int features);

/* Of the n-th submission from now on the system takes only `nr` requests, and of the `times` - 1 after that one. */
void uring_cut_submission(unsigned int n, unsigned int times, unsigned int nr);

/* Requests that touch this block fail with err, really: what is linked to them is cancelled. heals: only until one of that
 * block alone has failed. err 0: no block is bad. */
void uring_spoil_block(thinp_block_t block, int err, bool heals);

/* The n-th flush from now on fails with err, really, and the `times` - 1 flushes after that one. */
void uring_fail_flush(unsigned int n, unsigned int times, int err);

/* The next flush waits until something can be read from the descriptor, and does nothing then. */
void uring_hold_flush(int fd);

/* The answer to the n-th request from now on is said to be this one, although it was carried out. */
void uring_forge_answer(unsigned int n, int answer);

/* Transfers that are not linked move at most that many bytes; 0: as many as asked for. */
void uring_limit_transfers(size_t nbytes);

/* Every second answer that is no failure is said to be -EINTR. */
void uring_interrupt_all(bool on);

/* Hook that is called before the n-th call of the kind is done. */
void uring_before(enum uring_call call, unsigned int n, void (*hook)(void *ctx), void *ctx);

/* What came by since the reset. */
unsigned int uring_count(enum uring_call call);
unsigned int uring_count_requests(int opcode); /* IORING_OP_... */
unsigned int uring_count_links(void);          /* requests that the next one waits for */
unsigned int uring_count_cancelled(void);      /* answers that were -ECANCELED */
unsigned int uring_most_in_flight(void);       /* requests under way at once */
unsigned int uring_nr_open(void);              /* rings that are open now */
unsigned int uring_nr_buffers(void);           /* of the last call that was to register some */
size_t uring_largest_buffer(void);             /* the same */

#endif
#endif
