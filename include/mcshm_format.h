/*
 * mcshm_format.h - the pool file, byte by byte, and both halves of the
 * protocol by which one writer changes it under any number of readers.
 *
 * Private to this project; mcshm(5) says the same for writers of other
 * readers.  Version 1 is for ever: fields are never moved, spare ones may get
 * a meaning, readers ignore what they do not know.
 *
 *	+--------+-----------+-------+--------+-----------+-----------+
 *	| header |  roster   | table | (ring) | section 0 | section 1 |
 *	+--------+-----------+-------+--------+-----------+-----------+
 *	  page     fixed       fixed   fixed    page        page
 *
 * The roster (who the servers are) and the placement table (which key goes
 * where) are fixed for the life of an inode.  What changes, the verdicts, is
 * there twice: bit 0 of header.generation says which section is active, the
 * writer fills the other one and flips.  A change of roster is a new file,
 * exchanged for the old one, whose generation then gets MCSHM_RETIRED.
 *
 * Integers are native: a file never leaves its host.  The structs below say
 * where things are; nobody dereferences them in the mapping: every access to
 * it goes through mcshm_load() and mcshm_store(), because a reader and the
 * writer (or, for fixed parts, the exchange of one mapping for another) meet
 * there at any time.
 */
#ifndef MCSHM_FORMAT_H
#define MCSHM_FORMAT_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MCSHM_MAGIC_BYTES "MCSHM\x1a\r\n"
#define MCSHM_ENDIAN 0x01020304u
#define MCSHM_FORMAT_MAJOR 1u	/* another major: readers refuse */
#define MCSHM_FORMAT_MINOR 0u	/* another minor: readers go on */
#define MCSHM_FORMAT_VERSION (MCSHM_FORMAT_MAJOR << 16 | MCSHM_FORMAT_MINOR)

#define MCSHM_MAX_SERVERS 16384u
#define MCSHM_MAX_WORDS (MCSHM_MAX_SERVERS / 64)
#define MCSHM_MAX_BUCKETS (UINT32_C(1) << 24)
/* Also what a handle reserves of its address space; a power of two. */
#define MCSHM_MAX_FILE (UINT64_C(64) << 20)

#define MCSHM_DEFAULT_DIR "/run/mc-checkerd"
#define MCSHM_SUFFIX ".mcshm"	/* DIR/NAME.mcshm */
#define MCSHM_POOL_MAX 40	/* bytes of a pool's name */
/* The writer holds an OFD write lock (fcntl(2)) on this one byte of the file:
 * readers ask with F_OFD_GETLK whether it lives. */
#define MCSHM_LOCK_BYTE 0

/* Header ------------------------------------------------------------------ */

struct mcshm_header {
	/* Identity.  Magic and generation stand here in every version. */
	char magic[8];
	uint32_t endian;		/*   8 */
	uint32_t version;		/*  12 major << 16 | minor */
	uint64_t incompat;		/*  16 a bit a reader does not know: refuse */
	uint64_t compat;		/*  24 a bit it does not know: go on */
	uint64_t file_id[2];		/*  32 random */
	uint64_t file_size;		/*  48 */
	uint32_t header_size;		/*  56 bytes, whole pages */
	uint32_t page_size;		/*  60 the creator's */

	/* All that a pick needs, in one cache line. */
	uint32_t scheme;		/*  64 enum mcshm_scheme */
	uint32_t hash;			/*  68 enum mcshm_hash, of the key */
	uint32_t servers;		/*  72 */
	uint32_t words;			/*  76 of a bitmap: servers / 64, up */
	uint32_t buckets;		/*  80 */
	uint32_t bitmap_off;		/*  84 in a section */
	uint64_t buckets_off;		/*  88 uint16_t each: the bucket's slot */
	uint64_t section_off[2];	/*  96 */
	uint64_t roster_id;		/* 112 random, low 24 bits 0, never 0 */
	uint64_t header_sum;		/* 120 mcshm_header_sum() */

	/* Its own 128 bytes: bit 0 active section, bit 63 RETIRED. */
	uint64_t generation;		/* 128 */
	uint64_t generation_pad[15];

	/* The publisher's own words; not covered by the sum. */
	uint64_t heartbeat;		/* 256 BOOTTIME of the checker's loop */
	uint64_t boot_id[2];		/* 264 mcshm_boot_id() */
	uint64_t pid;			/* 280 */
	uint64_t pid_start;		/* 288 BOOTTIME */
	uint64_t epoch;			/* 296 daemons that had this file */
	uint64_t beats;			/* 304 */
	uint64_t publishes;		/* 312 */
	uint64_t sync_errors;		/* 320 */
	uint64_t sync_worst;		/* 328 ns of the longest msync */
	uint64_t local_errors;		/* 336 probes that failed by our fault */
	uint64_t tilts;			/* 344 */
	uint64_t clean_exit;		/* 352 1: the checker ended by itself */
	uint64_t config_loaded;		/* 360 REALTIME, when the ini was read */
	uint64_t publisher_pad[2];

	/* Fixed again: geometry and policy that a pick seldom needs. */
	uint64_t stale_after;		/* 384 ns */
	uint32_t dead;			/* 392 enum mcshm_dead */
	uint32_t failover_ttl;		/* 396 seconds, 0: no cap */
	uint32_t points_hash;		/* 400 enum mcshm_hash, of ring points */
	uint32_t hash_flags;		/* 404 MCSHM_HASH_... bits */
	uint32_t hash_tag;		/* 408 two bytes, the first one low; 0:
					 * none */
	uint32_t roster_stride;		/* 412 */
	uint64_t roster_off;		/* 416 */
	uint64_t section_size;		/* 424 whole pages */
	uint32_t spare_off;		/* 432 in a section: 64 spare words */
	uint32_t entries_off;		/* 436 in a section */
	uint32_t entry_stride;		/* 440 */
	uint32_t ring_points;		/* 444 0: the scheme has no ring */
	uint64_t ring_off;		/* 448 struct mcshm_point */
	uint64_t ring_index_off;	/* 456 uint32_t, 2^bits + 1 of them */
	uint32_t ring_index_bits;	/* 464 0: no index */
	uint32_t fixed_pad;		/* 468 */
	uint64_t roster_sum;		/* 472 of all roster records */
	uint64_t table_sum;		/* 480 of the buckets, then of the ring */
	uint64_t created;		/* 488 REALTIME */
	char pool[64];			/* 496 */
	uint64_t fixed_spare[68];	/* 560 */

	/* For people; the publisher may rewrite it when it attaches. */
	char daemon_version[32];	/* 1104 */
	char host[64];			/* 1136 */
	char config[256];		/* 1200 path of the ini */
	char report[112];		/* 1456 path of the checker's socket for
					 * reports; "": it takes none */
	uint64_t text_spare[50];	/* 1568, or for more publisher's words */
};					/* 1968; the rest of the page is 0 */

static_assert(offsetof(struct mcshm_header, magic) == 0, "for ever");
static_assert(offsetof(struct mcshm_header, version) == 12, "for ever");
static_assert(offsetof(struct mcshm_header, file_size) == 48, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, scheme) == 64, "a line of its own");
static_assert(offsetof(struct mcshm_header, buckets_off) == 88, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, header_sum) == 120, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, generation) == 128, "for ever");
static_assert(offsetof(struct mcshm_header, heartbeat) == 256, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, config_loaded) == 360, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, stale_after) == 384, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, roster_off) == 416, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, ring_off) == 448, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, roster_sum) == 472, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, pool) == 496, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, daemon_version) == 1104, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, config) == 1200, "mcshm(5)");
static_assert(offsetof(struct mcshm_header, report) == 1456, "mcshm(5)");
static_assert(sizeof(struct mcshm_header) == 1968, "hidden padding");

/* What header_sum covers: the words that never change, but itself. */
#define MCSHM_SUM_A_OFF 0u
#define MCSHM_SUM_A_LEN 120u
#define MCSHM_SUM_B_OFF 384u
#define MCSHM_SUM_B_LEN (1104u - 384u)

#define MCSHM_RETIRED (UINT64_C(1) << 63)
#define MCSHM_ROSTER_EPOCH UINT64_C(0xffffff)	/* of a roster id: addresses */

/* Stored numbers; append only. */
enum mcshm_scheme {
	MCSHM_SCHEME_MAGLEV = 1,
	MCSHM_SCHEME_LIBMEMCACHED_MODULA = 2,
	MCSHM_SCHEME_LIBMEMCACHED_KETAMA = 3,
	MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED = 4,
	MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET = 5,
	MCSHM_SCHEME_TWEMPROXY_KETAMA = 6,
	MCSHM_SCHEME_TWEMPROXY_MODULA = 7,
	MCSHM_SCHEME_CACHE_MEMCACHED = 8,
	MCSHM_SCHEME_PYTHON_MEMCACHED = 9,
	MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS = 10,
	MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES = 11,
	MCSHM_SCHEME_PHP_MEMCACHE_STANDARD = 12,
	MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT = 13,
	MCSHM_SCHEME_DALLI = 14,
	MCSHM_SCHEMES
};
enum mcshm_hash {
	MCSHM_HASH_XXH3 = 1,
	MCSHM_HASH_ONE_AT_A_TIME = 2,
	MCSHM_HASH_MD5 = 3,		/* first word, little-endian */
	MCSHM_HASH_CRC = 4,		/* 15 bits of CRC32 */
	MCSHM_HASH_FNV1_64 = 5,
	MCSHM_HASH_FNV1A_64 = 6,
	MCSHM_HASH_FNV1_32 = 7,
	MCSHM_HASH_FNV1A_32 = 8,
	MCSHM_HASH_HSIEH = 9,
	MCSHM_HASH_MURMUR = 10,		/* 2, seeded as libmemcached does */
	MCSHM_HASH_MURMUR3 = 11,	/* 32 bits, likewise */
	MCSHM_HASH_JENKINS = 12,	/* lookup3 */
	MCSHM_HASH_CRC16 = 13,
	MCSHM_HASH_CRC32A = 14,		/* all 32 bits */
	MCSHM_HASH_MURMUR3_ZERO = 15,	/* murmur3, seed 0 */
	MCSHM_HASH_SHA1 = 16,		/* of points only */
	MCSHM_HASHES
};
/* Of hash_flags: bytes from 0x80 on are taken as unsigned numbers by hashes
 * whose makers took plain chars; else as signed ones, as on x86. */
#define MCSHM_HASH_UNSIGNED 1u
enum mcshm_dead {
	MCSHM_DEAD_REHASH = 0,
	MCSHM_DEAD_MISS = 1,
	MCSHM_DEAD_ERROR = 2
};

/*
 * The ring of a scheme that has one: points in ascending order, each with the
 * server that it belongs to.  Cell i of the index is the first point whose
 * leading ring_index_bits are i or more; the last cell is ring_points.
 * Schemes may keep other records of eight bytes here (scheme_rendezvous.c).
 */
struct mcshm_point {
	uint32_t point, slot;
};
#define MCSHM_MAX_POINTS (UINT32_C(1) << 22)
#define MCSHM_MAX_INDEX_BITS 22u

/* Bytes of an index of so many bits, 1 to MCSHM_MAX_INDEX_BITS. */
static inline uint64_t
mcshm_index_size(uint32_t bits)
{
	return 4 * ((UINT64_C(1) << bits) + 1);
}

/* Roster ------------------------------------------------------------------ */

enum mcshm_kind { MCSHM_KIND_NONE = 0, MCSHM_KIND_UNIX = 1, MCSHM_KIND_NAME = 2,
	MCSHM_KIND_IPV4 = 4, MCSHM_KIND_IPV6 = 6 };

struct mcshm_roster {		/* one a slot */
	uint64_t ident_hash;	/*   0 XXH3-64 of ident, without its NUL */
	uint32_t weight;	/*   8 1 or more */
	uint32_t port;		/*  12 0 with KIND_UNIX */
	uint32_t kind;		/*  16 of host: NAME, IPV4, IPV6, UNIX */
	uint32_t pad[3];
	char name[64];		/*  32 "": none was given */
	char host[256];		/*  96 as written; IPv6 without brackets */
	char ident[272];	/* 352 the text that the scheme hashes */
	uint64_t spare[18];	/* 624 */
};
static_assert(offsetof(struct mcshm_roster, name) == 32, "mcshm(5)");
static_assert(offsetof(struct mcshm_roster, host) == 96, "mcshm(5)");
static_assert(offsetof(struct mcshm_roster, ident) == 352, "mcshm(5)");
static_assert(sizeof(struct mcshm_roster) == 768, "hidden padding");

/* Section ----------------------------------------------------------------- */

struct mcshm_section {		/* head of a section; the bitmaps follow it */
	uint32_t usable;	/*   0 servers in the usable bitmap */
	uint32_t held;		/*   4 */
	uint64_t address_epoch;	/*   8 grows when an address in use changes */
	uint64_t flags;		/*  16 MCSHM_SECTION_... */
	uint64_t generation;	/*  24 that published it, 0: being written */
	uint32_t ready;		/*  32 */
	uint32_t down;		/*  36 verdict DOWN, whatever the admin state */
	uint64_t published;	/*  40 BOOTTIME */
	uint64_t published_real;	/*  48 REALTIME, for people */
	uint64_t sum;		/*  56 mcshm_section_sum() */
};
static_assert(sizeof(struct mcshm_section) == 64, "one cache line");
#define MCSHM_SECTION_SPARE 64u		/* words, behind the bitmaps */
enum {				/* those that have a meaning */
	MCSHM_SPARE_AWARENESS,	/* servers are moved off after 1 + so many times
				 * rehash_after: many are silent at once */
	MCSHM_SPARE_FAIL_OPEN,	/* BOOTTIME since when it fails open, 0: not */
	MCSHM_SPARE_UNSEEN,	/* ns: who is unseen_since longer than that is
				 * believed for want of better; 0: not known */
	MCSHM_SPARE_VAIN	/* BOOTTIME since when a file for a newer roster
				 * can not be made; 0: nothing waits in vain */
};

enum {				/* order of the bitmaps at bitmap_off */
	MCSHM_BITMAP_USABLE,	/* picks may go there */
	MCSHM_BITMAP_HELD,	/* keys stay, nobody waits: MCSHM_EHELD */
	MCSHM_BITMAP_READY,	/* admin READY: all there is when nobody vouches
				 * for the other two */
	MCSHM_BITMAPS
};

#define MCSHM_SECTION_FAIL_OPEN UINT64_C(1)	/* who is silent is usable, on
						 * purpose: too many are */
#define MCSHM_SECTION_TILT UINT64_C(2)		/* the checker doubts itself */
#define MCSHM_SECTION_INHERITED UINT64_C(4)	/* verdicts of the last daemon */
#define MCSHM_SECTION_SWEPT UINT64_C(8)		/* all had a first result */

struct mcshm_address {
	uint16_t kind;		/* IPV4 or IPV6; UNIX: the path is the roster's
				 * host; NONE: not resolved yet */
	uint16_t port;		/* host byte order */
	uint32_t scope;		/* of a link-local IPv6 address */
	uint8_t ip[16];		/* network byte order, IPv4 in the first 4 */
};
static_assert(sizeof(struct mcshm_address) == 24, "hidden padding");
#define MCSHM_ADDRESSES 4

struct mcshm_entry {			/* one a slot */
	uint32_t verdict;		/*   0 enum mcshm_verdict */
	uint32_t admin;			/*   4 enum mcshm_admin */
	uint32_t reason;		/*   8 of the last failure, 0: none since
					 *     it is UP */
	uint32_t result;		/*  12 of the last probe */
	uint64_t degraded;		/*  16 enum mcshm_degraded, bits */
	uint64_t history;		/*  24 1 good, newest in bit 0 */
	uint64_t seen;			/*  32 1 counts, since the verdict changed */
	uint64_t proof;			/*  40 1 failed by proof */
	uint64_t wrong;			/*  48 1 a wrong answer */
	uint64_t since;			/*  56 BOOTTIME, of the verdict */
	uint64_t down_since;		/*  64 when it last went DOWN */
	uint64_t back_since;		/*  72 when it last came back */
	uint64_t silent_since;		/*  80 first unanswered probe, 0: none */
	uint64_t checked;		/*  88 end of the last probe */
	uint64_t began;			/*  96 start of the last finished probe */
	uint64_t good_began;		/* 104 start of the last good probe */
	uint32_t rtt_us;		/* 112 of the last answer */
	uint32_t rtt_avg_us;		/* 116 moving, 1/8 */
	uint32_t rtt_max_us;		/* 120 since the checker started */
	uint32_t share;			/* 124 of its keys, 255 = all */
	uint64_t probes;		/* 128 finished */
	uint64_t failures;		/* 136 of them, not local ones */
	uint64_t local_errors;		/* 144 never stepped the verdict */
	uint64_t transitions;		/* 152 of the verdict */
	uint64_t server_pid;		/* 160 0: not known */
	uint64_t server_start;		/* 168 seconds, by the server's clock */
	uint64_t cmd_flush;		/* 176 last good value */
	uint64_t curr_items;		/* 184 */
	uint64_t identified;		/* 192 when these four were read */
	uint64_t tls_expiry;		/* 200 REALTIME seconds */
	uint32_t threads;		/* 208 */
	uint32_t workers_stuck;		/* 212 */
	uint32_t connections;		/* 216 */
	uint32_t max_connections;	/* 220 */
	char server_version[32];	/* 224 what VERSION said */
	uint64_t admin_since;		/* 256 REALTIME seconds */
	uint64_t admin_until;		/* 264 REALTIME seconds, 0: open end */
	char admin_who[32];		/* 272 */
	char admin_why[64];		/* 304 */
	uint32_t addresses;		/* 368 how many of the next are set */
	uint32_t address_pad;
	struct mcshm_address address[MCSHM_ADDRESSES];	/* 376 */
	uint64_t returned;		/* 472 how it last came back: enum
					 *     mcshm_returned, bits */
	uint64_t outage_since;		/* 480 start of the first failed probe of
					 *     its last outage, 0 never */
	uint64_t flushed;		/* 488 when we flushed it, 0 never */
	uint64_t flapped;		/* 496 when flaps last changed */
	uint32_t flaps;			/* 504 outages that are not forgotten */
	uint32_t rtt_usual_us;		/* 508 slow moving average */
	uint64_t hold_until;		/* 512 stays DOWN until then, 0 */
	uint64_t server_clock;		/* 520 seconds, at `identified` */
	uint64_t failed_began;		/* 528 start of the last failed probe */
	uint64_t gone_began;		/* 536 start of the last good probe before
					 *     its last outage, or failure
					 *     in use */
	uint64_t unseen_since;		/* 544 when it could not be looked at for
					 *     the first time since it last
					 *     could; 0: it can */
	uint64_t judged;		/* 552 MCSHM_JUDGED_..., bits */
	struct mcshm_address came_from;	/* 560 in use before address[0] is, */
	uint64_t at_since;		/* 584 which is since then, 0: was ever */
	uint64_t spare[6];		/* 592 */
};
#define MCSHM_JUDGED_PROVEN UINT64_C(1)	/* failed by proof, in this outage */
#define MCSHM_JUDGED_NEWCOMER UINT64_C(2)	/* the verdict is of who had the
						 * place before: it moved, and
						 * did not answer yet */

static_assert(offsetof(struct mcshm_entry, history) == 24, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, since) == 56, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, rtt_us) == 112, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, server_pid) == 160, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, server_version) == 224, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, admin_why) == 304, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, addresses) == 368, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, returned) == 472, "mcshm(5)");
static_assert(offsetof(struct mcshm_entry, spare) == 592, "mcshm(5)");
static_assert(sizeof(struct mcshm_entry) == 640, "hidden padding");

/*
 * What a probe can result in.  Stored: append only.
 *   X(number, ENUM, name, class, text)
 * class: GOOD steps the verdict up; PROOF came from the server's side; SILENCE
 * may be anybody's fault; LOCAL is ours and steps nothing.
 */
#define MCSHM_REASONS(X)						\
X(0, OK, "ok", GOOD, "answers")						\
X(1, REFUSED, "refused", PROOF,						\
  "connection refused: not running")					\
X(2, RESET, "reset", PROOF, "connection reset by the server")		\
X(3, CLOSED, "closed", PROOF, "closed the connection instead of answering") \
X(4, TIMEOUT, "timeout", SILENCE, "connects, no answer: hung or stopped") \
X(5, CONNECT_TIMEOUT, "connect-timeout", SILENCE,			\
  "no answer to connect: host or network gone, or backlog full")	\
X(6, UNREACHABLE, "unreachable", SILENCE, "network reports it unreachable") \
X(7, GARBAGE, "garbage", PROOF, "answered, but not as a memcached does") \
X(8, UNAUTHENTICATED, "unauthenticated", GOOD,				\
  "answers, but wants a login")						\
X(9, MAXCONNS, "maxconns", GOOD,					\
  "answers, but has too many open connections")				\
X(10, ERROR_REPLY, "error-reply", PROOF, "answered with an error")	\
X(11, LOCAL, "local", LOCAL,						\
  "could not be probed: fault of this host")				\
X(12, UNRESOLVED, "unresolved", LOCAL, "its name does not resolve")	\
X(13, NO_SOCKET, "no-socket", PROOF, "its unix socket does not exist")	\
X(14, WRONG_VERSION, "wrong-version", PROOF,				\
  "another version than expected: another server?")			\
X(15, WRONG_VALUE, "wrong-value", PROOF,				\
  "gave back another value than it was given")				\
X(16, TLS_FAILED, "tls-failed", PROOF, "no TLS handshake with it")	\
X(17, TLS_UNTRUSTED, "tls-untrusted", GOOD,				\
  "answers, but its certificate is not trusted")			\
X(18, LOGIN_REFUSED, "login-refused", GOOD, "answers, but refuses our login") \
X(19, WORKER_STUCK, "worker-stuck", GOOD, "some of its threads do not answer") \
X(20, LISTENER_STUCK, "listener-stuck", GOOD,				\
  "answers, but new connections to it fail")				\
X(21, CLOCK_STUCK, "clock-stuck", GOOD,					\
  "answers, but its clock stands still: nothing expires")		\
X(22, NO_MEMORY, "no-memory", GOOD, "answers, but has no memory to store") \
X(23, SLOW, "slow", GOOD, "answers, but slowly")			\
X(24, TILT, "tilt", LOCAL,						\
  "silent, while this host could not be trusted")

enum mcshm_reason {
#define X(number, id, name, class, text) MCSHM_R_##id = number,
	MCSHM_REASONS(X)
#undef X
	MCSHM_R_COUNT
};

/*
 * What is wrong with a server that answers.  Stored: append only.
 *   X(bit, ENUM, name, text)
 */
#define MCSHM_DEGRADED_BITS(X)						\
X(0, WORKER_STUCK, "worker-stuck", "some of its threads do not answer")	\
X(1, LISTENER_STUCK, "listener-stuck", "new connections to it fail")	\
X(2, CLOCK_STUCK, "clock-stuck", "its clock stands still: nothing expires") \
X(3, MAXCONNS, "maxconns", "too many open connections")			\
X(4, NO_MEMORY, "no-memory", "no memory to store")			\
X(5, SLOW, "slow", "slower than it was, and than slow_threshold")	\
X(6, UNAUTHENTICATED, "unauthenticated", "wants a login, or refuses ours") \
X(7, TLS, "tls",							\
  "its certificate is not trusted or ends within a week, or TLS fails")	\
X(8, STALE_RISK, "stale-risk",						\
  "came back with what it had: old values may be among it")		\
X(9, FLAPPING, "flapping", "goes down again and again")			\
X(10, ADDRESS, "address", "its name leads elsewhere, and is not followed")

enum mcshm_degraded {
#define X(bit, id, name, text) MCSHM_DEGRADED_##id = 1 << bit,
	MCSHM_DEGRADED_BITS(X)
#undef X
	MCSHM_DEGRADED_ALL = (1 << 11) - 1
};

/*
 * How a server last came back from DOWN.  Stored: append only.
 *   X(bit, ENUM, name, text)
 */
#define MCSHM_RETURNED_BITS(X)						\
X(0, RESTARTED, "restarted", "a new process, that began empty")		\
X(1, SAME, "same", "what it had, it still has")				\
X(2, FLUSHED, "flushed", "by the daemon, or by somebody since")		\
X(3, OUR_FAULT, "our-fault", "other hosts used it meanwhile")		\
X(4, REFUSED, "refused", "it can not be flushed")			\
X(5, UNKNOWN, "unknown", "not the process that it was, or not known")	\
X(6, WAITS_RATE, "waits-rate",						\
  "its flush waits: so many of the pool were flushed just now")		\
X(7, WAITS_CALM, "waits-calm",						\
  "its flush waits: TILT, or the pool fails open")			\
X(8, WAITS_HOST, "waits-host",						\
  "its flush waits: another host is not ready for it")			\
X(9, WAITS_LOCK, "waits-lock", "its flush waits: another host has the lock") \
X(10, WAITS_SERVER, "waits-server",					\
  "its flush waits: it tells nothing, or its clock stands still")	\
X(11, SHARED, "shared", "not flushed: another pool, or name, has it, too") \
X(12, WAITS_KEY, "waits-key",						\
  "its flush waits: it would erase the maintenance key in it")

enum mcshm_returned {
#define X(bit, id, name, text) MCSHM_RETURNED_##id = 1 << bit,
	MCSHM_RETURNED_BITS(X)
#undef X
	MCSHM_RETURNED_ALL = (1 << 13) - 1,
	/* Only while it is RECOVERING. */
	MCSHM_RETURNED_WAITS = 31 << 6 | 1 << 12
};

/* Reports ----------------------------------------------------------------- */

/*
 * A client's datagram to header.report: this server failed in my hands.  Asks
 * for one probe soon, no more, and needs no trust.  The server by its identity:
 * rosters may have changed on the way.
 */
#define MCSHM_REPORT_MAGIC 0x4d435250u
struct mcshm_report {
	uint32_t magic;
	uint32_t version;		/* 1; a longer datagram is fine */
	uint64_t ident_hash;		/* of the roster's record */
	char pool[64];
};
static_assert(sizeof(struct mcshm_report) == 80, "hidden padding");

/* The protocol ------------------------------------------------------------ */
/*
 * Strict generation.  Writer (one thread of one process, by lock):
 *
 *	g = mcshm_write_begin(gen)	relaxed load; release fence	[F]
 *	mcshm_store(...) ...		relaxed, into section (g + 1) & 1
 *	msync(section)			for power loss only
 *	mcshm_write_flip(gen, g)	release store of g + 1		[S]
 *	futex wake; msync(header)
 *
 * Reader:
 *
 *	g = mcshm_read_begin(gen)	acquire load			[L]
 *	mcshm_load(...) ...		relaxed, from section g & 1 and from the
 *					fixed parts
 *	mcshm_read_ok(gen, g)		acquire fence; relaxed load	[C]
 *
 * A read counts only if [C] gives exactly g and g is not 0.
 *
 *  - A word older than publish g can not be read: [S] of g comes after its
 *    stores, [L] pairs with it.
 *  - A word newer than publish g can not be read unnoticed: it was stored
 *    behind an [F] that followed the flip to g + 1; the reader's acquire fence
 *    in [C] pairs with that [F], so [C] sees g + 1 or more.  [F] is needed: the
 *    release store of the last flip does not order *later* stores.
 *  - "At most one flip ahead" is not enough: after one flip the writer already
 *    fills the section that is being read.
 *  - A reader whose file is exchanged sees other fixed parts and another
 *    generation: counts never repeat for a path, 0 is never valid (a page that
 *    nobody wrote).
 *
 * Nobody ever waits: a writer that is killed or stopped anywhere leaves the
 * active section whole; a reader tries MCSHM_TRIES_READ times.
 */
#define MCSHM_TRIES_READ 8

/* Accesses to the mapping.  On purpose not memcpy: they race by design. */
static inline uint64_t
mcshm_load(const void *p)
{
	return atomic_load_explicit((const _Atomic uint64_t *)p,
	    memory_order_relaxed);
}

static inline uint32_t
mcshm_load32(const void *p)
{
	return atomic_load_explicit((const _Atomic uint32_t *)p,
	    memory_order_relaxed);
}

static inline uint16_t
mcshm_load16(const void *p)
{
	return atomic_load_explicit((const _Atomic uint16_t *)p,
	    memory_order_relaxed);
}

static inline void
mcshm_store(void *p, uint64_t v)
{
	atomic_store_explicit((_Atomic uint64_t *)p, v, memory_order_relaxed);
}

static inline uint64_t
mcshm_write_begin(void *generation)
{
	const uint64_t g = mcshm_load(generation);

	atomic_thread_fence(memory_order_release);	/* [F], pairs with [C] */
	return g;
}

static inline void
mcshm_write_flip(void *generation, uint64_t g)
{
	/* [S], pairs with [L]. */
	atomic_store_explicit((_Atomic uint64_t *)generation, g + 1,
	    memory_order_release);
}

/*
 * The last store into a file that another one has replaced.  The count grows
 * by two, so that the low half changes for those who sleep on it (futex), and
 * the active section stays.  Release: who sees it finds the successor.
 *
 * Once only: who sweeps up behind a killed daemon retires what may be retired
 * already, and a count that grew again would be its successor's.  Acquire: the
 * store hands the dead daemon's section on to readers, so it must have it.
 */
static inline void
mcshm_write_retire(void *generation)
{
	const uint64_t g = atomic_load_explicit(
	    (const _Atomic uint64_t *)generation, memory_order_acquire);

	if (g & MCSHM_RETIRED)
		return;
	atomic_store_explicit((_Atomic uint64_t *)generation,
	    (g + 2) | MCSHM_RETIRED, memory_order_release);
}

/* Where the file that replaces one at generation g goes on, retired or not. */
static inline uint64_t
mcshm_generation_after(uint64_t g)
{
	return ((g & ~MCSHM_RETIRED) + 4) & ~UINT64_C(1);
}

static inline uint64_t
mcshm_read_begin(const void *generation)
{
	/* [L], pairs with [S]. */
	return atomic_load_explicit((const _Atomic uint64_t *)generation,
	    memory_order_acquire);
}

static inline bool
mcshm_read_ok(const void *generation, uint64_t g)
{
	atomic_thread_fence(memory_order_acquire);	/* [C], pairs with [F] */
	return mcshm_load(generation) == g;
}

/* The half of the generation that changes each time, for futex(2). */
static inline void *
mcshm_generation_low(void *generation)
{
	return (char *)generation +
	    (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
}

static_assert(ATOMIC_LLONG_LOCK_FREE == 2,
    "words shared between processes must be lock-free");

/* Sums (libmcshm/sums.c) -------------------------------------------------- */

/* Over a private copy of a header; of len bytes of roster, table, ring. */
uint64_t mcshm_header_sum(const struct mcshm_header *h);
uint64_t mcshm_sum(const void *p, size_t len, uint64_t seed);
/* What table_sum has to be, of a file's content: over the buckets, and on over
 * ring and index where there are. */
uint64_t mcshm_table_sum(const void *file, const struct mcshm_header *h);
/*
 * Over a private copy of a whole section, with the geometry of h and its own
 * sum taken as 0; seeded with the file's id, so that a section of another file
 * fails.  front: the bytes before the entries; the sum of a section is the
 * front's plus those of all entries, modulo 2^64.  What is behind the last
 * entry is not covered.
 */
uint64_t mcshm_section_sum(const void *section, const struct mcshm_header *h,
    const uint64_t file_id[2]);
uint64_t mcshm_front_sum(const void *section, uint64_t size,
    const uint64_t file_id[2]);
uint64_t mcshm_entry_sum(const void *entry, uint64_t stride, uint32_t slot);

/* The 32 hex digits of /proc/sys/kernel/random/boot_id, the first 16 of them
 * as a number in id[0]; 0, 0 where it can not be read (libmcshm/bootid.c). */
void mcshm_boot_id(uint64_t id[2]);

#endif
