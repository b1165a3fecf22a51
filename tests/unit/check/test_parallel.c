/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks on threads.
 */
#include <thinp/parallel.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define MAX_TASKS 200u

struct tally {
	_Atomic unsigned runs[MAX_TASKS];
	_Atomic unsigned nr_here; /* on the thread of the test */
	_Atomic unsigned nr_open; /* elsewhere, with signals not blocked */
	pthread_t caller;
};

static void count(void *ctx, size_t task)
{
	struct tally *tally = ctx;
	sigset_t mask;

	atomic_fetch_add(&tally->runs[task], 1);
	if (pthread_equal(pthread_self(), tally->caller)) {
		atomic_fetch_add(&tally->nr_here, 1);
		return;
	}
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	if (!sigismember(&mask, SIGINT))
		atomic_fetch_add(&tally->nr_open, 1);
}

static void every_task_runs_once(void **state)
{
	static const size_t numbers[] = {0, 1, 2, 7, 64, 65, MAX_TASKS};

	(void)state;
	for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
		struct tally tally = {.caller = pthread_self()};

		thinp_parallel_for_pthreads(NULL, numbers[n], count, &tally);
		for (size_t i = 0; i < MAX_TASKS; i++)
			assert_int_equal(tally.runs[i], i < numbers[n]);
		if (numbers[n])
			assert_true(tally.nr_here >= 1);
		assert_int_equal(tally.nr_open, 0);
	}
}

static void the_mask_of_signals_is_as_before(void **state)
{
	struct tally tally = {.caller = pthread_self()};
	sigset_t mask;

	(void)state;
	thinp_parallel_for_pthreads(NULL, 3, count, &tally);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGINT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_task_runs_once),
		cmocka_unit_test(the_mask_of_signals_is_as_before),
	};

	return cmocka_run_group_tests_name("check/parallel", tests, NULL, NULL);
}
