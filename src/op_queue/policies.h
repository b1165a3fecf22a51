/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/policies.h - the policies that the library has.
 */
#ifndef TP_OP_QUEUE_POLICIES_H
#define TP_OP_QUEUE_POLICIES_H

#include <thinp/op_queue.h>

extern const struct thinp_opq_policy tp_opq_fifo;
extern const struct thinp_opq_policy tp_opq_lifo;
extern const struct thinp_opq_policy tp_opq_sorted;
extern const struct thinp_opq_policy tp_opq_coalescing;

#endif
