/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * model/op_queue.pml - queue, ledger and recording of a small space map, for spin. tests/model/run checks it.
 *
 * A map of NR_BLOCKS blocks keeps itself in NR_NODES of them: a bitmap, and two leaves of the overflow tree. Recording
 * shadows nodes, merges the leaves, and so changes the very counts that it writes down; some nodes become shared on the way.
 * All of this in every order, with every choice of free blocks, and with operations applied at every time.
 *
 *   -DPOLICY=...    fifo, sorted, coalescing: keep the contract
 *                   lifo: the last one first
 *                   broken_fifo: fifo in a ring that grows, and forgets where its front was
 *                   forgetful: fifo that loses an operation when it grows
 *                   adversary: whatever a policy could do: at each pop any operation, at any time the end
 *   -DNO_LEDGER     operations are applied without being compared with the ledger
 *   -DMAY_REFUSE    being refused is no fault: the transaction is aborted, the disk keeps the last commit
 *
 * What is asserted:
 *   1. The count of a block never falls below 0.
 *   2. At every instant, the page of counts plus what is pending is what has been issued.  (with the ledger)
 *   3. What is committed is what has been issued.
 *   4. Nothing is refused.  (without MAY_REFUSE)
 */
#define fifo        1
#define sorted      2
#define coalescing  3
#define lifo        4
#define broken_fifo 5
#define forgetful   6
#define adversary   7

#ifndef POLICY
#define POLICY fifo
#endif

#define NR_NODES   3 /* the bitmap, the left leaf, the right leaf */
#define LEFT       1
#define RIGHT      2
#define NR_BLOCKS  6 /* as many free ones as nodes */
#define NR_SHARED  1 /* how often a node becomes shared */
#define NR_OPS     16
#define DEC        0
#define INC        1

/* --- the map --- */
byte node[NR_NODES];   /* which block it is in */
bool fresh[NR_NODES];  /* it was shadowed in this transaction */
bool is_merged;        /* the right leaf is gone */
byte nr_shared;
byte counts[NR_BLOCKS]; /* the pages in memory */
byte issued[NR_BLOCKS]; /* what the counts will be */
bool refused;

/* --- the ledger: signs of each block, the oldest lowest --- */
byte length[NR_BLOCKS];
byte signs[NR_BLOCKS];

/* --- the policy: a list, or a ring --- */
byte kinds[NR_OPS];
byte blocks[NR_OPS];
byte nr;
byte front;
byte capacity = 2;
byte nr_popped;

/* for the loops below; hidden, or zeroed after use, so that they make no states */
hidden byte i, at, k, b;
hidden short sum;
hidden byte old_kinds[NR_OPS];
hidden byte old_blocks[NR_OPS];

inline grow()
{
	for (i : 0 .. capacity - 1) {
#if POLICY == broken_fifo
		old_kinds[i] = kinds[i];
		old_blocks[i] = blocks[i];
#else
		old_kinds[i] = kinds[(front + i) % capacity];
		old_blocks[i] = blocks[(front + i) % capacity];
#endif
	}
	for (i : 0 .. capacity - 1) {
		kinds[i] = old_kinds[i];
		blocks[i] = old_blocks[i];
	}
	front = 0;
	capacity = 2 * capacity;
#if POLICY == forgetful
	nr--;
#endif
}

inline remove_at(where)
{
	at = where;
	k = kinds[at];
	b = blocks[at];
	nr--;
	for (i : at .. NR_OPS - 2) {
		kinds[i] = kinds[i + 1];
		blocks[i] = blocks[i + 1];
	}
	kinds[NR_OPS - 1] = 0;
	blocks[NR_OPS - 1] = 0;
}

/* Where the last operation of a block is, or NR_OPS. */
inline find_last(block)
{
	at = NR_OPS;
	for (i : 0 .. NR_OPS - 1) {
		if
		:: i < nr && blocks[i] == block -> at = i
		:: else
		fi
	}
}

/* Where the first operation of the lowest block is. */
inline find_lowest()
{
	at = 0;
	for (i : 0 .. NR_OPS - 1) {
		if
		:: i < nr && blocks[i] < blocks[at] -> at = i
		:: else
		fi
	}
}

inline append_op(kind, block)
{
	kinds[nr] = kind;
	blocks[nr] = block;
	nr++;
}

inline policy_push(kind, block)
{
#if POLICY == fifo || POLICY == broken_fifo || POLICY == forgetful
	if
	:: nr == capacity -> grow()
	:: else
	fi;
	kinds[(front + nr) % capacity] = kind;
	blocks[(front + nr) % capacity] = block;
	nr++;
#elif POLICY == coalescing
	find_last(block);
	if
	:: kind == DEC && at < NR_OPS && kinds[at % NR_OPS] == INC -> remove_at(at)
	:: else -> append_op(kind, block)
	fi;
#elif POLICY == adversary
	skip;
#else
	append_op(kind, block);
#endif
}

/* What comes out is left in k and b. */
inline policy_pop()
{
#if POLICY == fifo || POLICY == broken_fifo || POLICY == forgetful
	k = kinds[front];
	b = blocks[front];
	kinds[front] = 0;
	blocks[front] = 0;
	front = (front + 1) % capacity;
	nr--;
#elif POLICY == lifo
	nr--;
	k = kinds[nr];
	b = blocks[nr];
	kinds[nr] = 0;
	blocks[nr] = 0;
#else /* sorted, coalescing */
	find_lowest();
	remove_at(at);
#endif
}

#if POLICY == adversary
#define MAY_POP (nr_popped < NR_OPS)
#define MAY_END true
#else
#define MAY_POP (nr > 0)
#define MAY_END (nr == 0)
#endif

/* --- the ledger --- */

/* The first sign of its kind with a balanced prefix goes, with the prefix; there is none: refused. */
inline ledger_take()
{
	sum = 0;
	at = 0;
	do
	:: at == length[b] -> refused = true; break
	:: at < length[b] && sum == 0 && ((signs[b] >> at) & 1) == k -> break
	:: else -> sum = sum + 2 * ((signs[b] >> at) & 1) - 1; at++
	od;
	if
	:: refused
	:: else ->
		length[b] = length[b] - (at + 1);
		signs[b] = signs[b] >> (at + 1)
	fi;
}

/* sum: INC less DEC. */
inline ledger_delta(block)
{
	sum = 0;
	for (i : 0 .. 7) {
		if
		:: i < length[block] -> sum = sum + 2 * ((signs[block] >> i) & 1) - 1
		:: else
		fi
	}
}

/* The policy says that it is empty. */
inline ledger_settle()
{
	for (b : 0 .. NR_BLOCKS - 1) {
		ledger_delta(b);
		if
		:: sum != 0 -> refused = true
		:: else
		fi
	}
	if
	:: refused
	:: else ->
		for (b : 0 .. NR_BLOCKS - 1) {
			length[b] = 0;
			signs[b] = 0
		}
	fi
}

/* --- recording --- */

inline issue(kind, block)
{
	issued[block] = issued[block] + 2 * kind - 1;
	policy_push(kind, block);
#ifndef NO_LEDGER
	signs[block] = signs[block] | (kind << length[block]);
	length[block]++
#endif
}

inline apply()
{
	if
	:: k == DEC -> assert(counts[b] > 0); counts[b]--
	:: else -> counts[b]++
	fi
}

inline check_instant()
{
#ifndef NO_LEDGER
	for (b : 0 .. NR_BLOCKS - 1) {
		ledger_delta(b);
		assert(refused || counts[b] + sum == issued[b])
	}
#endif
	sum = 0
}

inline pop_one()
{
	nr_popped = nr_popped + (POLICY == adversary);
#ifndef NO_LEDGER
	ledger_take();
#endif
	if
	:: refused
	:: else -> apply()
	fi;
	check_instant()
}

/* A block that is free in the last commit and now, with what is pending. Blocks below NR_NODES are those of the commit. */
#define IS_FREE(n) (issued[n] == 0 && !used[n])
bool used[NR_BLOCKS]; /* handed out, or in use by the last commit */

inline shadow(n, block)
{
	used[block] = true;
	issue(INC, block);
	issue(DEC, node[n]);
	node[n] = block;
	fresh[n] = true;
	check_instant()
}

byte n, free;

init {
	d_step {
		for (i : 0 .. NR_NODES - 1) {
			node[i] = i;
			used[i] = true;
			counts[i] = 1;
			issued[i] = 1
		}
	}
	do
	:: refused -> break
	:: else ->
		if
		:: atomic { /* shadow a node; several at once are several turns of the loop */
			select (n : 0 .. NR_NODES - 1);
			select (free : NR_NODES .. NR_BLOCKS - 1);
			if
			:: !fresh[n] && !(n == RIGHT && is_merged) && IS_FREE(free) ->
				d_step { shadow(n, free) }
			:: else
			fi;
			n = 0; free = 0
		}
		:: d_step { /* the leaves are few enough for one: the fresh right one is dropped */
			fresh[LEFT] && fresh[RIGHT] && !is_merged ->
			is_merged = true;
			issue(DEC, node[RIGHT]);
			check_instant()
		}
		:: atomic { /* somebody else points to a node of the last commit */
			nr_shared < NR_SHARED ->
			select (n : 0 .. NR_NODES - 1);
			if
			:: !fresh[n] -> d_step { nr_shared++; issue(INC, node[n]); check_instant() }
			:: else
			fi;
			n = 0
		}
#if POLICY == adversary
		:: atomic {
			MAY_POP ->
			select (free : 0 .. NR_BLOCKS - 1);
			if
			:: n = INC
			:: n = DEC
			fi;
			d_step { k = n; b = free; pop_one() };
			n = 0; free = 0
		}
#else
		:: d_step { MAY_POP -> policy_pop(); pop_one() }
#endif
		:: MAY_END -> break
		fi
	od;
	skip; /* for a break may not lead into a d_step */
	d_step {
#ifndef NO_LEDGER
		if
		:: refused
		:: else -> ledger_settle()
		fi;
#endif
#ifndef MAY_REFUSE
		assert(!refused);
#endif
		for (b : 0 .. NR_BLOCKS - 1) {
			assert(refused || counts[b] == issued[b])
		}
	}
}
