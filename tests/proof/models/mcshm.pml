/*
 * mcshm.pml - the pool file under kill -9: one daemon after another writes,
 * makes new files and dies anywhere; threads of one client read.
 *
 * Stores of the daemon go through a buffer, from which those to different
 * places come out in any order (PSO): what keeps them in order are the release
 * fence and the release stores of the code, and nothing else.  A dead daemon's
 * buffer still empties; the next one begins when it has (it gets the lock by
 * way of the kernel).  Readers load in order, from memory: what their fences
 * are good for is rc11.py's business.
 *
 * protocol.pml is made from the C files by spin.py: publish(), exchange(),
 * retire(), sweep(), strict_read(), and numbers.  Those of a scene come by -D:
 *
 *	PUBLISHES EXCHANGES KILLS REMOVALS READS	how often, at most
 *	FILES READERS TRIES
 *	EMPTY		there is no file at first
 *	DAMAGED		power was lost: the active section is not whole
 *
 * Held by assertions: what is accepted is a published state, whole, with the
 * fixed parts of its file, under its number, and no older than what the same
 * thread accepted before; numbers are used once; a daemon finds the active
 * section whole; who meets RETIRED finds another file at the path; what a live
 * daemon replaced is RETIRED; and when all is quiet, one pick has the newest.
 * Held by the absence of deadlock: no reader waits for a daemon, dead or not.
 */
#define NONE FILES		/* no file: zeros, where a reader maps it */
#define KEEP 255
#define COUNT(g) ((g) & (RETIRED - 1))
#define FIRST 2			/* where the first file begins to count */
#define ANEW 20			/* where one without predecessor does, later */
#define HALF 63			/* no content of anything published */
#ifdef DAMAGED
#define LOST 3			/* the number under which it was lost */
#else
#define LOST RETIRED		/* none */
#endif

/* What publish n has in its words; neighbours share the second. */
#define CONTENT0(n) (n)
#define CONTENT1(n) (32 + ((n) >> 2))
#define AT(f, i) ((f) * 4 + (i))	/* word i & 1 of section i >> 1 */

#define STORED (pending == 0 && pending_gen == KEEP && pending_path == KEEP)
#define OWN_WORD(i) \
	(pending & (1 << (i)) -> pending_word[i] : word[AT(own, i)])
#define OWN_GEN(f) (pending_gen == (f) -> pending_gen_value : gen[f])
#define OWN_PATH (pending_path != KEEP -> pending_path : path)

#include "protocol.pml"

/* Memory, and names in the directory. */
byte gen[FILES + 1];
byte word[(FILES + 1) * 4];
byte path = NONE;
byte tmp = NONE;
byte files;			/* made so far */

/* The daemon's buffer: one place each. */
byte own = NONE;		/* its file */
byte pending;			/* words of it: a bit each */
byte pending_word[4];
byte pending_gen = KEEP;	/* of this file */
byte pending_gen_value;
byte pending_path = KEEP;

/* The truth, which nobody reads. */
byte published;			/* the last content */
byte content[RETIRED];		/* by count */
byte owner[RETIRED];
bool linked[FILES + 1];		/* was at the path */

bool alive, kill, quiet, removed, busy;
byte kills, publishes, exchanges;

/* The client. */
byte map = NONE;
byte guard;

/* The daemon --------------------------------------------------------------- */

/* This state of file f has number g, from now on and for ever. */
inline note(f, g, what)
{
	assert(content[COUNT(g)] == 0);
	content[COUNT(g)] = what;
	owner[COUNT(g)] = f
}

inline fence()
{
	STORED
}

inline put_gen(f, g)
{
	d_old = OWN_GEN(f);
	if
	:: !linked[f] -> skip
	:: linked[f] && ((g) & RETIRED) ->
		note(f, g, content[COUNT(d_old)])
	:: else -> note(f, g, published)
	fi;
	pending_gen_value = g;
	pending_gen = f;
	d_old = 0
}

inline store_gen(f, g)
{
	atomic { pending_gen == KEEP -> put_gen(f, g) }
}

inline store_gen_release(f, g)
{
	atomic { STORED -> put_gen(f, g) }
}

/* store_words(): what is there already is not stored. */
inline store_word(i, v)
{
	if
	:: OWN_WORD(i) != v ->
		atomic {
			!(pending & (1 << (i))) ->
			pending = pending | (1 << (i));
			pending_word[i] = v
		}
	:: else
	fi
}

/* A file that nobody can find yet. */
inline seed(g)
{
	atomic {
		published++;
		d_new = files;
		files++;
		gen[d_new] = g;
		word[AT(d_new, 0)] = CONTENT0(published);
		word[AT(d_new, 1)] = CONTENT1(published);
		tmp = d_new
	}
}

/* rename(2): all that came before it is there for who finds the file. */
inline link()
{
	atomic {
		STORED;
		linked[d_new] = true;
		note(d_new, gen[d_new], published);
		tmp = path;
		pending_path = d_new;
		removed = false
	}
}

inline unlink()
{
	tmp = NONE
}

/* Kill -9 leaves the active section whole; power loss need not. */
inline attach()
{
	d_i = (gen[own] & 1) * 2;
	if
	:: word[AT(own, d_i)] == HALF ->	/* sums tell it so */
		published = word[AT(own, 2 - d_i)];
		write_flip(own, gen[own])
	:: else ->
		assert(word[AT(own, d_i)] ==
		    CONTENT0(content[COUNT(gen[own])]));
		assert(word[AT(own, d_i + 1)] ==
		    CONTENT1(content[COUNT(gen[own])]))
	fi
}

/* The first file, or a first one again: a random number in truth. */
inline create()
{
	if
	:: files == 0 -> seed(FIRST)
	:: else -> seed(ANEW)
	fi;
	link();
	unlink();
	own = d_new
}

inline life()
{
	sweep();
	if
	:: path == NONE -> create()
	:: atomic { path != NONE -> own = path }; attach()
	fi;
	do
	:: publishes < PUBLISHES ->
		publishes++;
		publish()
	:: !removed && exchanges < EXCHANGES && files < FILES ->
		exchanges++;
		exchange()
	:: removed && files < FILES -> exchange()	/* remake() */
	:: !removed -> break
	od
}

proctype daemon()
{
	byte d_g, d_i, d_new, d_old;

	do
	:: atomic { STORED -> alive = true };
		{ life() } unless { kill };
		if
		:: kill ->
			atomic { kill = false; alive = false };
			if
			:: skip			/* another one comes */
			:: break		/* none, ever */
			fi
		:: else -> break
		fi
	od;
	atomic { STORED -> quiet = true }
}

proctype killer()
{
end:	do
	:: atomic { alive && !kill && !quiet && kills < KILLS ->
		kill = true; kills++ }
	od
}

/* A hand that removes the file. */
proctype hand()
{
	byte removals;

end:	do
	:: atomic {
		removals < REMOVALS && alive && path != NONE && path == own &&
		pending_path == KEEP && !quiet ->
		path = NONE;
		removed = true;
		removals++
	   }
	od
}

#define EMPTIES(i) \
	atomic { pending & (1 << i) -> \
		word[AT(own, i)] = pending_word[i]; \
		pending_word[i] = 0; \
		pending = pending & ~(1 << i) }

proctype memory()
{
end:	do
	:: EMPTIES(0)
	:: EMPTIES(1)
	:: EMPTIES(2)
	:: EMPTIES(3)
	:: atomic { pending_gen != KEEP ->
		gen[pending_gen] = pending_gen_value;
		pending_gen_value = 0;
		pending_gen = KEEP }
	:: atomic { pending_path != KEEP ->
		path = pending_path;
		pending_path = KEEP }
	od
}

/* The client --------------------------------------------------------------- */

inline load_gen(into)
{
	atomic {
		into = gen[map];
		assert(!(into & RETIRED) || path != map)
	}
}

inline load_fixed()
{
	r_fixed = (map == NONE -> 0 : map + 1)
}

/* At an offset that another file's fixed parts gave, there may be anything. */
inline load_word(i, into)
{
	if
	:: r_fixed == map + 1 || map == NONE -> into = word[AT(map, i)]
	:: r_fixed != map + 1 && map != NONE -> into = word[AT(map, i)]
	:: r_fixed != map + 1 && map != NONE -> into = 0
	fi
}

inline accept()
{
	atomic {
		if
		:: r_g == LOST		/* nobody can know yet */
		:: else ->
			assert(r_g != 0);
			assert(r_first == CONTENT0(content[COUNT(r_g)]));
			assert(r_second == CONTENT1(content[COUNT(r_g)]));
			assert(r_fixed == owner[COUNT(r_g)] + 1);
			assert(COUNT(r_g) >= r_last);
			r_last = COUNT(r_g);
			r_good = true
		fi
	}
}

/* follow(): nobody waits for the guard. */
inline follow()
{
	if
	:: atomic { guard == 0 -> guard = 1 };
		r_new = path;
		r_retired = gen[r_new] & RETIRED;
		if
		:: r_new != NONE && (r_retired == 0 || map == NONE) ->
			map = r_new
		:: else
		fi;
		atomic { guard = 0; r_new = 0; r_retired = 0 }
	:: else
	fi
}

inline pick()
{
	load_gen(r_g);
	if
	:: r_g == 0 || (r_g & RETIRED) -> follow()
	:: else
	fi;
	r_tries = 0;
	r_good = false;
	do
	:: r_tries < TRIES && !r_good ->
		r_tries++;
#ifdef WAITS
		!busy;			/* a mutant: waits for the daemon */
#endif
		strict_read()
	:: else -> break
	od;
	assert(r_tries <= TRIES_BOUND);
	atomic { r_g = 0; r_fixed = 0; r_first = 0; r_second = 0; r_ok = 0 }
}

/* What only time shows: the heartbeat of the mapped file has stopped. */
#define STALE (!(alive && own == map))

inline look()
{
	if
	:: STALE && path != map && path != NONE && LOOKS -> follow()
	:: else
	fi
}

proctype reader()
{
	byte r_g, r_fixed, r_first, r_second, r_ok, r_tries, r_last;
	byte r_new, r_retired, n;
	bool r_good;

	do
	:: n < READS -> n++; pick()
	:: else -> break
	od;
	/* Here the model waits, not the reader. */
	atomic { quiet && guard == 0 -> n = 0 };
	assert(!alive || REMOVALS > 0 || map == path || gen[map] == 0 ||
	    (gen[map] & RETIRED));
	look();
	pick();
	guard == 0;
	pick();
	assert(path == NONE || map == path);
	assert(path == NONE || r_good || gen[map] == LOST);
	assert(path == NONE || r_last == COUNT(gen[map]) || gen[map] == LOST)
}

init
{
	atomic {
#ifndef EMPTY
		files = 1;
		gen[0] = FIRST;
		word[AT(0, 0)] = CONTENT0(1);
		word[AT(0, 1)] = CONTENT1(1);
		published = 1;
		content[FIRST] = 1;
		owner[FIRST] = 0;
		linked[0] = true;
		path = 0;
		map = 0;
#endif
#ifdef DAMAGED
		gen[0] = LOST;
		word[AT(0, 2)] = HALF;
		word[AT(0, 3)] = HALF;
		content[LOST] = HALF;
#endif
		run daemon();
		run killer();
		run hand();
		run memory();
		run reader();
#if READERS > 1
		run reader();
#endif
	}
}
