/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/failures.h - ERRLOOP and OOMLOOP of the defect history over every public function, as one list.
 *
 * A scenario uses a few functions the way a program would. It is run with the first, second, third ... read, write, flush
 * and allocation failing, that one alone or all from there on, each time in a new world, until none is left that could fail.
 *
 * To add a function: name it in the table of its file with the scenario that calls it, or in cannot_fail.c with the reason. A new
 * file of scenarios brings a table of its own, which is named at the end of this header and in main.c. Functions that change
 * something in a transaction go into a play: play.h.
 */
#ifndef TP_TEST_FAILURES_H
#define TP_TEST_FAILURES_H

#include "support/alloc_counting.h"

#include <thinp/error.h>
#include <thinp/fault.h>
#include <thinp/io.h>

enum { WORLD_BLOCKS = 256 }; /* without a fixture */

/* What a scenario finds. Setup and close are never made to fail. */
struct world {
	struct alloc_counting alloc; /* hand out &alloc.table: this is what runs dry */
	struct thinp_io *io;         /* zeros, or the fixture: this is the device that fails */
	void *own;                   /* the scenario's */
	bool fails_on;               /* what fails goes on failing until the attempt ends */

	struct thinp_io *memory;
	struct thinp_fault *fault;
};

struct scenario {
	const char *name;
	const char *fixture;            /* what the device holds, for example "kernel-snaps.meta"; NULL: zeros */
	void (*setup)(struct world *w); /* NULL: nothing */
	/* 0, or the code of what failed; content is asserted. After a failure it is called once more, on the same
	 * handles and with nothing failing, and must succeed: so it begins with what a program would do to go on, for
	 * example with an abort. Only after THINP_EUNKNOWN it is not. */
	int (*attempt)(struct world *w);
	void (*close)(struct world *w); /* releases all that is left; NULL: nothing */
	size_t large;                   /* the largest allocation, where it is more than 64 KiB (BM-12) */
};

/* A public function, and the scenario that makes it fail. A table ends with a name that is NULL. */
struct covered {
	const char *symbol;
	const struct scenario *scenario;
};

/* A public function that needs none, and why. */
struct cannot_fail {
	const char *symbol;
	const char *reason;
};

/* Memory that is aligned for transfers; from malloc. */
void *world_blocks(size_t nr_blocks);

extern const struct cannot_fail failures_none[];

extern const struct covered failures_of_io[];
extern const struct covered failures_of_kit[];
extern const struct covered failures_of_block[];
extern const struct covered failures_of_trees[];
extern const struct covered failures_of_pool[];
extern const struct covered failures_of_op_queue[];
extern const struct covered failures_of_alloc[];
extern const struct covered failures_of_transaction[];
extern const struct covered failures_of_changing_trees[];
extern const struct covered failures_of_changing_arrays[];
extern const struct covered failures_of_space_map[];
extern const struct covered failures_of_store[];
extern const struct covered failures_of_changing_pools[];

#endif
