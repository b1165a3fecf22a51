/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/uring_script.c - io_uring with faults by script.
 *
 * Requests are changed between their being written into the queue and the system's looking at them; answers between
 * their arrival and the library's looking at them. Both are in memory that the ring shows to its user.
 */
#include "support/uring_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#ifdef THINP_WITH_URING
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MAX_CORRECTED = 1024, /* answers that are to be corrected at the same time */
	NO_FILE = 1,          /* no file is registered under this number, so who asks for it fails */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A number of events from one on, counted as they come by. */
struct range {
	unsigned int seen;
	unsigned int from, to; /* half-open; the first one is 1 */
};

/* Guarded by lock. */
static struct {
	unsigned int counts[URING_NR_CALLS + 1]; /* the last one counts all */
	enum uring_call fail_call;
	unsigned int fail_from, fail_to;
	int fail_errno;
	bool has_failed;
	unsigned int features;
	bool has_features;
	struct range cuts;
	unsigned int cut_to;
	thinp_block_t bad_block;
	int bad_errno;
	bool bad_heals;
	struct range flushes;
	int flush_errno;
	int held_by; /* a descriptor; 0: no flush is to be held */
	struct range forged;
	int forged_answer;
	size_t limit;
	bool interrupts;
	enum uring_call hook_call;
	unsigned int hook_at;
	void (*hook)(void *ctx);
	void *hook_ctx;
	struct {
		uint64_t user_data;
		int wrong, right;
	} corrected[MAX_CORRECTED];
	unsigned int nr_corrected;
	unsigned int opcodes[IORING_OP_LAST];
	unsigned int nr_links;
	unsigned int nr_cancelled;
	unsigned int nr_answers;
	unsigned int nr_in_flight;
	unsigned int most_in_flight;
	unsigned int nr_open;
	unsigned int nr_buffers;
	size_t largest_buffer;
} script;

static void set_range(struct range *range, unsigned int n, unsigned int times)
{
	range->from = range->seen + n;
	range->to = times > UINT_MAX - range->from ? UINT_MAX : range->from + times;
}

static bool is_hit(struct range *range)
{
	range->seen++;
	return range->seen >= range->from && range->seen < range->to;
}

/* --- setting it up --- */

void uring_script_reset(void)
{
	unsigned int nr_open;

	pthread_mutex_lock(&lock);
	nr_open = script.nr_open;
	memset(&script, 0, sizeof(script));
	script.nr_open = nr_open;
	pthread_mutex_unlock(&lock);
}

void uring_fail(enum uring_call call, unsigned int n, unsigned int times, int err)
{
	pthread_mutex_lock(&lock);
	script.fail_call = call;
	script.fail_from = script.counts[call] + n;
	script.fail_to = times > UINT_MAX - script.fail_from ? UINT_MAX : script.fail_from + times;
	script.fail_errno = err;
	script.has_failed = false;
	pthread_mutex_unlock(&lock);
}

void uring_pretend_features(unsigned int features)
{
	pthread_mutex_lock(&lock);
	script.features = features;
	script.has_features = true;
	pthread_mutex_unlock(&lock);
}

void uring_cut_submission(unsigned int n, unsigned int times, unsigned int nr)
{
	pthread_mutex_lock(&lock);
	set_range(&script.cuts, n, times);
	script.cut_to = nr;
	pthread_mutex_unlock(&lock);
}

void uring_spoil_block(thinp_block_t block, int err, bool heals)
{
	pthread_mutex_lock(&lock);
	script.bad_block = block;
	script.bad_errno = err;
	script.bad_heals = heals;
	pthread_mutex_unlock(&lock);
}

void uring_fail_flush(unsigned int n, unsigned int times, int err)
{
	pthread_mutex_lock(&lock);
	set_range(&script.flushes, n, times);
	script.flush_errno = err;
	pthread_mutex_unlock(&lock);
}

void uring_hold_flush(int fd)
{
	pthread_mutex_lock(&lock);
	script.held_by = fd;
	pthread_mutex_unlock(&lock);
}

void uring_forge_answer(unsigned int n, int answer)
{
	pthread_mutex_lock(&lock);
	set_range(&script.forged, n, 1);
	script.forged_answer = answer;
	pthread_mutex_unlock(&lock);
}

void uring_limit_transfers(size_t nbytes)
{
	pthread_mutex_lock(&lock);
	script.limit = nbytes;
	pthread_mutex_unlock(&lock);
}

void uring_interrupt_all(bool on)
{
	pthread_mutex_lock(&lock);
	script.interrupts = on;
	pthread_mutex_unlock(&lock);
}

void uring_before(enum uring_call call, unsigned int n, void (*hook)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&lock);
	script.hook_call = call;
	script.hook_at = script.counts[call] + n;
	script.hook = hook;
	script.hook_ctx = ctx;
	pthread_mutex_unlock(&lock);
}

/* --- asking it --- */

static unsigned int read_locked(const unsigned int *number)
{
	unsigned int value;

	pthread_mutex_lock(&lock);
	value = *number;
	pthread_mutex_unlock(&lock);
	return value;
}

bool uring_has_failed(void)
{
	bool has_failed;

	pthread_mutex_lock(&lock);
	has_failed = script.has_failed;
	pthread_mutex_unlock(&lock);
	return has_failed;
}

unsigned int uring_count(enum uring_call call)
{
	return read_locked(&script.counts[call]);
}

unsigned int uring_count_requests(int opcode)
{
	return read_locked(&script.opcodes[opcode]);
}

unsigned int uring_count_links(void)
{
	return read_locked(&script.nr_links);
}

unsigned int uring_count_cancelled(void)
{
	return read_locked(&script.nr_cancelled);
}

unsigned int uring_most_in_flight(void)
{
	return read_locked(&script.most_in_flight);
}

unsigned int uring_nr_open(void)
{
	return read_locked(&script.nr_open);
}

unsigned int uring_nr_buffers(void)
{
	return read_locked(&script.nr_buffers);
}

size_t uring_largest_buffer(void)
{
	size_t nbytes;

	pthread_mutex_lock(&lock);
	nbytes = script.largest_buffer;
	pthread_mutex_unlock(&lock);
	return nbytes;
}

/* --- the requests --- */

static bool is_transfer(const struct io_uring_sqe *sqe)
{
	return sqe->opcode != IORING_OP_FSYNC && sqe->opcode != IORING_OP_NOP;
}

static bool has_iov(const struct io_uring_sqe *sqe)
{
	return sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;
}

static size_t nr_bytes(const struct io_uring_sqe *sqe)
{
	const struct iovec *iov = (const struct iovec *)(uintptr_t)sqe->addr;
	size_t nbytes = 0;

	if (!has_iov(sqe))
		return sqe->len;
	for (unsigned int i = 0; i < sqe->len; i++)
		nbytes += iov[i].iov_len;
	return nbytes;
}

static void cut_transfer(struct io_uring_sqe *sqe, size_t nbytes)
{
	struct iovec *iov = (struct iovec *)(uintptr_t)sqe->addr;

	if (!has_iov(sqe)) {
		sqe->len = sqe->len < nbytes ? sqe->len : (unsigned int)nbytes;
		return;
	}
	for (unsigned int i = 0; i < sqe->len; i++) {
		if (iov[i].iov_len >= nbytes) {
			iov[i].iov_len = nbytes;
			sqe->len = i + 1;
			return;
		}
		nbytes -= iov[i].iov_len;
	}
}

/* The answer that the system gives is replaced: `wrong` by `right`. */
static void correct_answer(const struct io_uring_sqe *sqe, int wrong, int right)
{
	if (script.nr_corrected == MAX_CORRECTED)
		return;
	script.corrected[script.nr_corrected].user_data = sqe->user_data;
	script.corrected[script.nr_corrected].wrong = wrong;
	script.corrected[script.nr_corrected].right = right;
	script.nr_corrected++;
}

static void fail_request(struct io_uring_sqe *sqe, int err)
{
	correct_answer(sqe, -EBADF, -err);
	sqe->fd = NO_FILE;
}

static void hold_request(struct io_uring_sqe *sqe)
{
	uint64_t user_data = sqe->user_data;
	unsigned int flags = sqe->flags & ~(unsigned int)IOSQE_FIXED_FILE;

	correct_answer(sqe, POLLIN, 0);
	io_uring_prep_poll_add(sqe, script.held_by, POLLIN);
	sqe->user_data = user_data;
	sqe->flags = (uint8_t)flags;
	script.held_by = 0;
	script.opcodes[IORING_OP_POLL_ADD]++;
}

static bool touches_bad_block(const struct io_uring_sqe *sqe)
{
	uint64_t bad = script.bad_block * THINP_BLOCK_SIZE;

	return script.bad_errno && is_transfer(sqe) && sqe->off < bad + THINP_BLOCK_SIZE &&
	       sqe->off + nr_bytes(sqe) > bad;
}

static void change_request(struct io_uring_sqe *sqe)
{
	script.opcodes[sqe->opcode]++;
	script.nr_links += (sqe->flags & IOSQE_IO_LINK) != 0;
	if (touches_bad_block(sqe)) {
		fail_request(sqe, script.bad_errno);
		if (script.bad_heals && nr_bytes(sqe) == THINP_BLOCK_SIZE)
			script.bad_errno = 0;
	} else if (sqe->opcode == IORING_OP_FSYNC && script.held_by) {
		hold_request(sqe);
	} else if (sqe->opcode == IORING_OP_FSYNC && is_hit(&script.flushes)) {
		fail_request(sqe, script.flush_errno);
	} else if (is_transfer(sqe) && script.limit && !(sqe->flags & IOSQE_IO_LINK)) {
		cut_transfer(sqe, script.limit);
	}
}

/* Those that were not changed before: liburing has not yet shown them to the system. */
static void change_requests(struct io_uring *uring)
{
	for (unsigned int i = uring->sq.sqe_head; i != uring->sq.sqe_tail; i++)
		change_request(&uring->sq.sqes[i & *uring->sq.kring_mask]);
}

/* --- the answers --- */

static int true_answer(const struct io_uring_cqe *cqe)
{
	for (unsigned int i = 0; i < script.nr_corrected; i++) {
		if (script.corrected[i].user_data == cqe->user_data) {
			int wrong = script.corrected[i].wrong;
			int right = script.corrected[i].right;

			script.corrected[i] = script.corrected[--script.nr_corrected];
			return cqe->res == wrong ? right : cqe->res;
		}
	}
	return cqe->res;
}

static int change_answer(const struct io_uring_cqe *cqe)
{
	int answer = true_answer(cqe);

	script.nr_answers++;
	script.nr_in_flight--;
	script.nr_cancelled += answer == -ECANCELED;
	if (is_hit(&script.forged))
		return script.forged_answer;
	return script.interrupts && script.nr_answers % 2 && answer >= 0 ? -EINTR : answer;
}

/* --- the calls --- */

static int fault_locked(enum uring_call call)
{
	unsigned int count;

	script.counts[call]++;
	script.counts[URING_ANY]++;
	if (script.fail_call != call && script.fail_call != URING_ANY)
		return 0;
	count = script.counts[script.fail_call];
	if (!script.fail_errno || count < script.fail_from || count >= script.fail_to)
		return 0;
	script.has_failed = true;
	return -script.fail_errno;
}

/* Notes a call. Gives a negative errno when it shall fail. */
static int begin(enum uring_call call)
{
	void (*hook)(void *ctx) = NULL;
	void *hook_ctx;
	int r;

	pthread_mutex_lock(&lock);
	r = fault_locked(call);
	if (script.hook && script.hook_call == call && script.counts[call] == script.hook_at)
		hook = script.hook;
	hook_ctx = script.hook_ctx;
	pthread_mutex_unlock(&lock);
	if (hook)
		hook(hook_ctx);
	return r;
}

static int scripted_init(unsigned int nr_entries, struct io_uring *uring, struct io_uring_params *params)
{
	int r = begin(URING_INIT);

	if (!r)
		r = tp_uring_sys_liburing.init(nr_entries, uring, params);
	pthread_mutex_lock(&lock);
	script.nr_open += !r;
	if (script.has_features)
		params->features &= script.features;
	pthread_mutex_unlock(&lock);
	return r;
}

static void scripted_exit(struct io_uring *uring)
{
	tp_uring_sys_liburing.exit(uring);
	pthread_mutex_lock(&lock);
	script.nr_open--;
	pthread_mutex_unlock(&lock);
}

static int scripted_register_file(struct io_uring *uring, int fd)
{
	int r = begin(URING_REGISTER_FILE);

	return r ? r : tp_uring_sys_liburing.register_file(uring, fd);
}

static int scripted_unregister_file(struct io_uring *uring)
{
	int r = begin(URING_UNREGISTER_FILE);

	return r ? r : tp_uring_sys_liburing.unregister_file(uring);
}

static int scripted_register_buffers(struct io_uring *uring, const struct iovec *buffers, unsigned int nr_buffers)
{
	int r = begin(URING_REGISTER_BUFFERS);

	pthread_mutex_lock(&lock);
	script.nr_buffers = nr_buffers;
	script.largest_buffer = 0;
	for (unsigned int i = 0; i < nr_buffers; i++)
		if (buffers[i].iov_len > script.largest_buffer)
			script.largest_buffer = buffers[i].iov_len;
	pthread_mutex_unlock(&lock);
	return r ? r : tp_uring_sys_liburing.register_buffers(uring, buffers, nr_buffers);
}

static int scripted_unregister_buffers(struct io_uring *uring)
{
	int r = begin(URING_UNREGISTER_BUFFERS);

	return r ? r : tp_uring_sys_liburing.unregister_buffers(uring);
}

/* As the system does it when it runs out of memory on the way. */
static int submit_some(struct io_uring *uring, unsigned int nr)
{
	long r;

	__atomic_store_n(uring->sq.ktail, uring->sq.sqe_tail, __ATOMIC_RELEASE);
	uring->sq.sqe_head = uring->sq.sqe_tail;
	r = syscall(__NR_io_uring_enter, uring->ring_fd, nr, 0, 0, NULL, 0);
	return r < 0 ? -errno : (int)r;
}

/* Counted before they are under way, since their answers may be taken before the call comes back. */
static void note_in_flight(unsigned int nr)
{
	script.nr_in_flight += nr;
	if (script.nr_in_flight > script.most_in_flight)
		script.most_in_flight = script.nr_in_flight;
}

static int scripted_submit(struct io_uring *uring)
{
	unsigned int nr = io_uring_sq_ready(uring);
	unsigned int taken = nr;
	int r;

	pthread_mutex_lock(&lock);
	change_requests(uring);
	if (is_hit(&script.cuts) && script.cut_to < taken)
		taken = script.cut_to;
	pthread_mutex_unlock(&lock);
	r = begin(URING_SUBMIT);
	if (r)
		return r;
	pthread_mutex_lock(&lock);
	note_in_flight(taken);
	pthread_mutex_unlock(&lock);
	return taken < nr ? submit_some(uring, taken) : tp_uring_sys_liburing.submit(uring);
}

static int scripted_wait(struct io_uring *uring)
{
	int r = begin(URING_WAIT);

	return r ? r : tp_uring_sys_liburing.wait(uring);
}

static struct io_uring_cqe *scripted_peek(struct io_uring *uring)
{
	struct io_uring_cqe *cqe = tp_uring_sys_liburing.peek(uring);

	if (!cqe)
		return NULL;
	pthread_mutex_lock(&lock);
	cqe->res = change_answer(cqe);
	pthread_mutex_unlock(&lock);
	return cqe;
}

const struct tp_uring_sys uring_scripted = {
	.init = scripted_init,
	.exit = scripted_exit,
	.register_file = scripted_register_file,
	.unregister_file = scripted_unregister_file,
	.register_buffers = scripted_register_buffers,
	.unregister_buffers = scripted_unregister_buffers,
	.submit = scripted_submit,
	.wait = scripted_wait,
	.peek = scripted_peek,
};
const char *uring_obstacle(void)
{
	struct io_uring_params params = {.flags = 0};
	struct io_uring uring;
	int r = tp_uring_sys_liburing.init(1, &uring, &params);

	if (r)
		return strerror(-r);
	tp_uring_sys_liburing.exit(&uring);
	return NULL;
}

#else

const char *uring_obstacle(void)
{
	return "this build is without liburing";
}
#endif

int uring_run(int (*run_all)(void))
{
	const char *obstacle = uring_obstacle();

	if (!obstacle)
		return run_all();
	print_message("skipped: io_uring cannot be had here: %s\n", obstacle);
	return 77;
}
