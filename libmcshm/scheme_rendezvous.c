/*
 * scheme_rendezvous.c - pymemcache's RendezvousHash; pure.
 *
 * A server's score is murmur3_32("node-key"), seed 0, where node is its
 * identity and key is the key as Python's "%s" formats it.  The hash is of
 * characters, not of bytes: of each the low eight bits, and their number where
 * murmur3 takes the length.  The highest score wins; of equal ones the node
 * that is greater as a string.
 *
 * The file has the state of the hash after "node-" for each server, in two
 * records of the ring's place:
 *
 *	point	h, after all whole words of four characters
 *	slot	the 0 to 3 characters behind them, their number << 24
 *	point	characters so far
 *	slot	the node's rank, in the order of the strings
 *
 * Nothing here allocates, and keys may be of any length.
 */
#include <string.h>

#include "hash_inline.h"
#include "scheme_inline.h"
#include "scheme_rendezvous.h"

#define PIECE SCHEME_RENDEZVOUS_PIECE

/* Characters -------------------------------------------------------------- */

/* Bytes of the character at p, 1 for what is not UTF-8. */
static size_t
utf8_length(const unsigned char *p, size_t left)
{
	const unsigned char low = p[0] == 0xe0 ? 0xa0 :
	    p[0] == 0xf0 ? 0x90 : 0x80;
	const unsigned char high = p[0] == 0xed ? 0x9f :
	    p[0] == 0xf4 ? 0x8f : 0xbf;
	size_t n = 1;

	if (0xc2 <= p[0] && p[0] <= 0xf4)
		n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n > left || (n > 1 && (p[1] < low || p[1] > high)))
		return 1;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 1;
	return n;
}

/* The low eight bits of a character: of its last two bytes.  A byte that is no
 * character is itself, as with Python's surrogateescape. */
static unsigned char
next_character(struct scheme_rendezvous_text *t)
{
	const unsigned char *p = t->at;
	size_t n;

	if (p[0] < 0x80) {
		t->at++;
		return p[0];
	}
	n = utf8_length(p, (size_t)(t->end - p));
	t->at += n;
	if (n == 1)
		return p[0];
	return (unsigned char)(p[n - 2] << 6 | (p[n - 1] & 0x3f));
}

/* What Python prints for a byte, the first character low. */
static uint32_t
escaped(unsigned char byte, unsigned char quote)
{
	static const char hex[] = "0123456789abcdef";

	if (byte == quote || byte == '\\')
		return '\\' | (uint32_t)byte << 8;
	if (byte == '\t')
		return '\\' | (uint32_t)'t' << 8;
	if (byte == '\n')
		return '\\' | (uint32_t)'n' << 8;
	if (byte == '\r')
		return '\\' | (uint32_t)'r' << 8;
	if (byte < ' ' || byte >= 0x7f)
		return '\\' | (uint32_t)'x' << 8 |
		    (uint32_t)hex[byte >> 4] << 16 |
		    (uint32_t)hex[byte & 15] << 24;
	return byte;
}

/* The next character of bytes as they are printed; the text is not over. */
static unsigned char
next_printed(struct scheme_rendezvous_text *t)
{
	unsigned char c;

	if (t->pending == 0 && t->at < t->end) {
		t->pending = escaped(*t->at++, t->quote);
	} else if (t->pending == 0) {
		t->pending = t->quote;
		t->quote = 0;
	}
	c = (unsigned char)t->pending;
	t->pending >>= 8;
	return c;
}

static struct scheme_rendezvous_text
text_str(const void *p, size_t len)
{
	return (struct scheme_rendezvous_text){
		.at = p, .end = len > 0 ? (const unsigned char *)p + len : p };
}

/* Python prefers the single quote, unless that stands inside and no double one
 * does. */
static struct scheme_rendezvous_text
text_bytes(const void *p, size_t len)
{
	struct scheme_rendezvous_text t = text_str(p, len);

	t.quote = '\'';
	if (len > 0 && memchr(p, '\'', len) && !memchr(p, '"', len))
		t.quote = '"';
	t.pending = 'b' | (uint32_t)t.quote << 8;
	return t;
}

/* The next piece of a text and four zeros; its length, 0 at the end. */
static uint32_t
text_piece(struct scheme_rendezvous_text *t, unsigned char piece[PIECE + 4])
{
	uint32_t len = 0;

	if (t->quote == 0 && t->pending == 0)
		for (; len < PIECE && t->at < t->end; len++)
			piece[len] = next_character(t);
	else
		for (; len < PIECE && (t->quote | t->pending) != 0; len++)
			piece[len] = next_printed(t);
	memset(piece + len, 0, 4);
	return len;
}

/* The hash ---------------------------------------------------------------- */

struct state {
	uint32_t h;
	uint32_t few, fews;	/* characters of no whole word, and how many */
	uint32_t len;
};

/* Goes on with a piece, four zeros behind it. */
static inline void
state_add(struct state *s, const unsigned char *piece, uint32_t len)
{
	const uint32_t word = s->few | hash_load32(piece) << s->fews * 8;
	uint32_t at = 4 - s->fews, h = s->h;

	s->len += len;
	if (len < at) {
		s->few = word;
		s->fews += len;
		return;
	}
	h = hash_murmur3_step(h, word);
	for (; len - at >= 4; at += 4)
		h = hash_murmur3_step(h, hash_load32(piece + at));
	s->h = h;
	s->few = hash_load32(piece + at);
	s->fews = len - at;
}

static void
state_add_text(struct state *s, struct scheme_rendezvous_text t)
{
	unsigned char piece[PIECE + 4];
	uint32_t len;

	while ((len = text_piece(&t, piece)) > 0)
		state_add(s, piece, len);
}

/* The placement ----------------------------------------------------------- */

uint32_t
scheme_rendezvous_points(uint32_t n)
{
	return 2 * n;
}

static bool
server_before(const struct scheme_server *a, const struct scheme_server *b)
{
	const int cmp = memcmp(a->ident, b->ident,
	    a->len < b->len ? a->len : b->len);

	return cmp != 0 ? cmp < 0 : a->len < b->len;
}

/* Ranks, by Shell's sort of slots that wait in the first records. */
static void
rank(const struct scheme_plan *p, struct mcshm_point *ring)
{
	uint32_t gap = 1;

	for (uint32_t i = 0; i < p->n; i++)
		ring[2 * i].point = i;
	while (gap < p->n / 3)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3)
		for (uint32_t i = gap; i < p->n; i++) {
			const uint32_t slot = ring[2 * i].point;
			uint32_t j = i;

			for (; j >= gap && server_before(&p->server[slot],
			    &p->server[ring[2 * (j - gap)].point]); j -= gap)
				ring[2 * j].point = ring[2 * (j - gap)].point;
			ring[2 * j].point = slot;
		}
	for (uint32_t i = 0; i < p->n; i++)
		ring[2 * ring[2 * i].point + 1].slot = i;
}

void
scheme_rendezvous_build(const struct scheme_plan *p, struct mcshm_point *ring)
{
	rank(p, ring);
	for (uint32_t i = 0; i < p->n; i++) {
		const struct scheme_server *server = &p->server[i];
		struct state s = { 0 };

		state_add_text(&s, text_str(server->ident, server->len));
		state_add_text(&s, text_str("-", 1));
		ring[2 * i].point = s.h;
		ring[2 * i].slot = s.few | s.fews << 24;
		ring[2 * i + 1].point = s.len;
	}
}

/* The choice -------------------------------------------------------------- */

void
scheme_rendezvous_key(struct scheme_rendezvous_key *r, uint32_t scheme,
    const struct scheme_key *k)
{
	r->rest = scheme == MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES ?
	    text_bytes(k->p, k->len) : text_str(k->p, k->len);
	r->len = text_piece(&r->rest, r->piece);
}

uint64_t
scheme_rendezvous_score(const struct scheme_place *p,
    const struct scheme_rendezvous_key *r, uint32_t slot)
{
	const uint32_t i = 2 * slot, few = scheme_point_slot(p, i);
	struct state s = { scheme_point(p, i), few & 0xffffff, few >> 24 & 3,
		scheme_point(p, i + 1) };

	state_add(&s, r->piece, r->len);
	if (r->len == PIECE)
		state_add_text(&s, r->rest);
	s.h ^= hash_murmur3_word(s.few) ^ s.len;
	return (uint64_t)hash_murmur3_end(s.h) << 32 |
	    scheme_point_slot(p, i + 1);
}
