/*
 * fuzz_address.c - a server's address from the fuzzer.
 *
 * What is taken, is written such that it is taken again as the same; a literal
 * one survives the way to a socket address and back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_address: %s\n", what);
	abort();
}

static void
check_parts(const struct address *a)
{
	must(memchr(a->host, 0, sizeof a->host) != NULL, "a host without end");
	must(a->host[0] != 0, "no host");
	switch (a->kind) {
	case MCSHM_KIND_UNIX:
		must(a->port == 0 && a->host[0] == '/' &&
		    strlen(a->host) <= 107, "no path of a socket");
		break;
	case MCSHM_KIND_NAME:
	case MCSHM_KIND_IPV4:
	case MCSHM_KIND_IPV6:
		must(1 <= a->port && a->port <= 65535, "no port");
		break;
	default:
		must(false, "no kind");
	}
}

static void
check_text(const struct address *a, const char *given)
{
	char text[ADDRESS_TEXT], whole[ADDRESS_TEXT + 5];
	struct address b;

	address_format(text, a);
	must(memchr(text, 0, sizeof text) != NULL, "a text without end");
	snprintf(whole, sizeof whole, "%s%s",
	    a->kind == MCSHM_KIND_UNIX ? "unix:" : "", text);
	must(strcmp(whole, given) == 0, "not as it was written");
	must(address_parse(&b, whole) == NULL, "its own text is refused");
	must(address_equal(a, &b), "its own text is another address");
	for (const char *c = text; *c != 0; c++)
		must((unsigned char)*c > ' ' && *c != 0x7f,
		    "a text that would garble logs");
}

static void
check_socket(const struct address *a)
{
	struct mcshm_address m = { 0 }, back = { 0 };
	struct sockaddr_storage ss;
	const bool literal = address_literal(a, &m);
	socklen_t len;

	must(literal == (a->kind != MCSHM_KIND_NAME), "a name is a literal");
	if (!literal)
		return;
	len = address_sockaddr(&ss, &m, a->host);
	must(0 < len && len <= sizeof ss, "no socket address");
	if (a->kind == MCSHM_KIND_UNIX)
		return;
	must(address_from_sockaddr(&back, (struct sockaddr *)&ss, a->port),
	    "no way back");
	must(memcmp(&m, &back, sizeof m) == 0, "another address");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct address a;
	const char *wrong;

	must(text != NULL, "memory");
	memcpy(text, data, size);
	text[size] = 0;
	wrong = address_parse(&a, text);
	must(wrong == NULL || wrong[0] != 0, "refused without a reason");
	if (wrong == NULL) {
		check_parts(&a);
		check_text(&a, text);
		check_socket(&a);
	}
	free(text);
	return 0;
}
