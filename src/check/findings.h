/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/findings.h - findings on their way to the caller.
 *
 * Each thread has a finder of its own. At the end of a stage they are put together, sorted and told. Of one rule the
 * finder keeps the lowest ones up to a limit, so that memory is bounded and the same are told whatever the threads did.
 */
#ifndef TP_CHECK_FINDINGS_H
#define TP_CHECK_FINDINGS_H

#include "base/error.h"
#include "check/memory.h"

#include <thinp/check.h>

#define TP_CHECK_NR_RULES 700u /* more than the largest number of a rule */

struct tp_finding {
	int32_t rule;
	int32_t severity;
	int32_t part;
	uint64_t block;
	uint64_t device;
	uint64_t begin;
	uint64_t end;
	uint64_t stored;
	uint64_t expected;
	char text[120];
};

struct tp_finder {
	struct tp_memory *memory;
	uint32_t limit; /* of each rule */
	bool is_short;  /* of memory: findings were lost */
	struct tp_finding *kept;
	size_t nr_kept;
	size_t room;
	uint32_t nr_of_rule[TP_CHECK_NR_RULES];
	uint64_t nr_of_severity[THINP_CHECK_STATE + 1];
	uint64_t nr_underfull; /* nodes: N7, which kernels mend by themselves */
	uint32_t broken;       /* bit for each part in which damage may hide references */
};

/* A finding without numbers, to be filled in. */
struct tp_finding tp_finding(int rule, int severity, int part, uint64_t block);

/* Takes down a finding with its sentence. */
void tp_found(struct tp_finder *finder, const struct tp_finding *finding, const char *format, ...) TP_PRINTF(3, 4);

/* Moves all that `from` has to `to`. */
void tp_finder_join(struct tp_finder *to, struct tp_finder *from);

/* Sorts and tells what was kept, and forgets it; totals stay. Returns what the callback returned. */
int tp_finder_tell(struct tp_finder *finder, thinp_check_finding_fn fn, void *ctx);

void tp_finder_exit(struct tp_finder *finder);

#endif
