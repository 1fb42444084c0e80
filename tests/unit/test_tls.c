/*
 * test_tls.c - TLS beside a server of OpenSSL's, over a pair of sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tls.h"

#define DAY 86400

/* Certificates ------------------------------------------------------------- */

struct signer {
	EVP_PKEY *key;
	X509 *cert;
};

static void
add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
}

/* by NULL: its own; names NULL: an authority. */
static struct signer
signer_with(EVP_PKEY *key, const char *names, const struct signer *by,
    long ends)
{
	struct signer s = { key, X509_new() };
	X509_NAME *name = X509_get_subject_name(s.cert);

	X509_set_version(s.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(s.cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(s.cert), -DAY);
	X509_gmtime_adj(X509_getm_notAfter(s.cert), ends);
	X509_set_pubkey(s.cert, s.key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned
	    char *)(names != NULL ? "server" : "authority"), -1, -1, 0);
	X509_set_issuer_name(s.cert, X509_get_subject_name(by != NULL ?
	    by->cert : s.cert));
	if (names != NULL)
		add_extension(s.cert, NID_subject_alt_name, names);
	else
		add_extension(s.cert, NID_basic_constraints, "CA:TRUE");
	X509_sign(s.cert, by != NULL ? by->key : s.key, EVP_sha256());
	return s;
}

static struct signer
signer_new(const char *names, const struct signer *by, long ends)
{
	return signer_with(EVP_EC_gen("P-256"), names, by, ends);
}

static void
signer_free(struct signer *s)
{
	EVP_PKEY_free(s->key);
	X509_free(s->cert);
}

static void
free_signers(const struct signer *a, const struct signer *b)
{
	struct signer s = *a;

	signer_free(&s);
	s = *b;
	signer_free(&s);
}

/* A test and its files ----------------------------------------------------- */

struct test {
	char directory[64], ca[96], cert[96], key[96], other[96], none[96];
	char locked[96];		/* a key with a password */
	char torn[96], alien[96];	/* half a certificate; of another kind
					 * of key */
	struct signer authority, server, stranger, odd;
	long ends;
	SSL_CTX *ctx;			/* the server's */
	struct tls *tls;
	struct tls_peer *peer;
	struct tls_conn *conn;
	SSL *ssl;			/* the server's end */
	int fd[2];			/* ours, the server's */
};

static FILE *
file_open(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	return f;
}

static void
write_cert(const char *path, X509 *cert)
{
	FILE *f = file_open(path);

	assert_int_equal(PEM_write_X509(f, cert), 1);
	fclose(f);
}

static void
write_key(const char *path, EVP_PKEY *key, const char *password)
{
	FILE *f = file_open(path);

	assert_int_equal(PEM_write_PrivateKey(f, key, password != NULL ?
	    EVP_aes_128_cbc() : NULL, (const unsigned char *)password,
	    password != NULL ? (int)strlen(password) : 0, NULL, NULL), 1);
	fclose(f);
}

static int
setup(void **state)
{
	struct test *t = calloc(1, sizeof *t);
	const char *const names[] = { "ca", "cert", "key", "other", "none",
		"locked", "torn", "alien" };
	char *const path[] = { t->ca, t->cert, t->key, t->other, t->none,
		t->locked, t->torn, t->alien };

	signal(SIGPIPE, SIG_IGN);
	strcpy(t->directory, "/tmp/test_tls.XXXXXX");
	assert_non_null(mkdtemp(t->directory));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		snprintf(path[i], sizeof t->ca, "%s/%s", t->directory,
		    names[i]);
	t->ends = 30 * DAY;
	t->authority = signer_new(NULL, NULL, t->ends);
	t->stranger = signer_new(NULL, NULL, t->ends);
	t->server = signer_new("IP:127.0.0.1,IP:fe80::1,DNS:mc.test",
	    &t->authority, t->ends);
	t->odd = signer_with(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
	    "DNS:mc.test", &t->authority, t->ends);
	write_cert(t->ca, t->authority.cert);
	write_cert(t->alien, t->odd.cert);
	write_cert(t->torn, t->server.cert);
	assert_int_equal(truncate(t->torn, 300), 0);
	write_cert(t->cert, t->server.cert);
	write_key(t->key, t->server.key, NULL);
	write_key(t->locked, t->server.key, "password");
	write_cert(t->other, t->stranger.cert);
	t->ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(t->ctx, t->server.cert);
	SSL_CTX_use_PrivateKey(t->ctx, t->server.key);
	t->fd[0] = t->fd[1] = -1;
	*state = t;
	return 0;
}

static void
hang_up(struct test *t)
{
	tls_conn_free(t->conn);
	SSL_free(t->ssl);
	for (int i = 0; i < 2; i++)
		if (t->fd[i] >= 0)
			close(t->fd[i]);
	t->fd[0] = t->fd[1] = -1;
	t->conn = NULL;
	t->ssl = NULL;
}

static void
forget(struct test *t)
{
	hang_up(t);
	tls_peer_free(t->peer);
	tls_close(t->tls);
	t->peer = NULL;
	t->tls = NULL;
}

static int
teardown(void **state)
{
	struct test *t = *state;
	char *const path[] = { t->ca, t->cert, t->key, t->other, t->locked,
		t->torn, t->alien };

	forget(t);
	SSL_CTX_free(t->ctx);
	signer_free(&t->authority);
	signer_free(&t->server);
	signer_free(&t->stranger);
	signer_free(&t->odd);
	for (size_t i = 0; i < sizeof path / sizeof path[0]; i++)
		unlink(path[i]);
	rmdir(t->directory);
	free(t);
	return 0;
}

/* Ours, not waiting, and the server's end. */
static void
meet(struct test *t)
{
	hang_up(t);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    t->fd), 0);
	t->conn = tls_conn_new(t->peer, t->fd[0]);
	assert_non_null(t->conn);
	t->ssl = SSL_new(t->ctx);
	SSL_set_fd(t->ssl, t->fd[1]);
	SSL_set_accept_state(t->ssl);
}

static enum tls_state
shake(struct test *t)
{
	enum tls_state state = TLS_WANTS_WRITE;

	for (int i = 0; i < 20; i++) {
		state = tls_handshake(t->conn);
		SSL_do_handshake(t->ssl);
		if (state == TLS_READY || state == TLS_FAILED)
			break;
	}
	return state;
}

static void
open_peer(struct test *t, const char *ca, bool verify, const char *name)
{
	const struct tls_setup s = { .ca = ca, .verify = verify };
	char why[TLS_WHY];

	forget(t);
	assert_int_equal(tls_open(&t->tls, &s, why), 0);
	t->peer = tls_peer_new(t->tls, name);
	assert_non_null(t->peer);
}

/* One exchange, which also brings the session. */
static void
exchange(struct test *t)
{
	char bytes[64];
	size_t n;

	assert_int_equal(tls_send(t->conn, "version", 7), 7);
	assert_int_equal(SSL_read_ex(t->ssl, bytes, sizeof bytes, &n), 1);
	assert_int_equal(n, 7);
	assert_int_equal(SSL_write(t->ssl, "VERSION 1", 9), 9);
	assert_int_equal(tls_recv(t->conn, bytes, sizeof bytes), 9);
	assert_memory_equal(bytes, "VERSION 1", 9);
	assert_int_equal(tls_recv(t->conn, bytes, sizeof bytes), -1);
	assert_int_equal(errno, EAGAIN);
}

/* Tests -------------------------------------------------------------------- */

static void
test_files(void **state)
{
	struct test *t = *state;
	const struct {
		struct tls_setup s;
		const char *key, *path, *says;
	} cases[] = {
		{ { t->none, NULL, NULL, true, false }, "tls_ca", t->none,
		  "cannot be read: No such file or directory; name a PEM "
		  "file with certificates" },
		{ { t->directory, NULL, NULL, true, false }, "tls_ca", t->directory,
		  "cannot be read: not a regular file; name a PEM file with "
		  "certificates" },
		{ { t->key, NULL, NULL, true, false }, "tls_ca", t->key,
		  "has no certificate in it; name a PEM file with "
		  "certificates" },
		{ { t->ca, t->none, t->key, true, false }, "tls_cert", t->none,
		  "cannot be read: No such file or directory; name a PEM "
		  "file with a certificate" },
		{ { t->ca, t->key, t->key, true, false }, "tls_cert", t->key,
		  "has no certificate in it; name a PEM file with a "
		  "certificate" },
		{ { t->ca, t->torn, t->key, true, false }, "tls_cert", t->torn,
		  "is damaged: bad end line; name a PEM file with a "
		  "certificate" },
		{ { t->ca, t->cert, t->ca, true, false }, "tls_key", t->ca,
		  "has no key in it that can be read; name a PEM file with a "
		  "key, without a password" },
		{ { NULL, NULL, t->ca, true, false }, "tls_key", t->ca,
		  "has no key in it that can be read; name a PEM file with a "
		  "key, without a password" },
		{ { t->ca, t->other, t->key, true, false }, "tls_key", t->key,
		  "is not the key of tls_cert; name the one of that "
		  "certificate" },
		{ { t->ca, t->alien, t->key, true, false }, "tls_key", t->key,
		  "is not the key of tls_cert; name the one of that "
		  "certificate" },
		{ { t->ca, t->cert, t->locked, true, false }, "tls_key", t->locked,
		  "has a password, and nobody is there to type it; name a PEM "
		  "file with a key, without a password" },
	};
	const struct tls_setup good[] = { { t->ca, t->cert, t->key, true, false },
		/* Only to be looked at. */
		{ NULL, t->cert, NULL, true, false }, { NULL, NULL, t->key, true, false } };
	char why[TLS_WHY], want[TLS_WHY];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(tls_open(&t->tls, &cases[i].s, why), -1);
		assert_null(t->tls);
		snprintf(want, sizeof want, "%s = %s %s", cases[i].key,
		    cases[i].path, cases[i].says);
		assert_string_equal(why, want);
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(tls_open(&t->tls, &good[i], why), 0);
		tls_close(t->tls);
		t->tls = NULL;
	}
}

static bool
same(const struct tls_setup *a, const struct tls *b)
{
	char why[TLS_WHY];
	struct tls *one;
	bool is;

	assert_int_equal(tls_open(&one, a, why), 0);
	is = tls_same(one, b);
	tls_close(one);
	return is;
}

static void
test_same(void **state)
{
	struct test *t = *state;
	struct tls_setup s = { .ca = t->ca, .verify = true };
	char why[TLS_WHY];

	assert_true(tls_same(NULL, NULL));
	assert_int_equal(tls_open(&t->tls, &s, why), 0);
	assert_false(tls_same(NULL, t->tls));
	assert_true(same(&s, t->tls));
	s.verify = false;
	assert_false(same(&s, t->tls));
	s.verify = true;
	s.cert = t->cert;
	s.key = t->key;
	assert_false(same(&s, t->tls));
	s.cert = s.key = NULL;
	/* The same path, and another file. */
	write_cert(t->ca, t->stranger.cert);
	assert_false(same(&s, t->tls));
}

static void
test_trust(void **state)
{
	struct test *t = *state;
	const struct {
		const char *ca;
		bool verify;
		const char *name;
		bool trusted;
	} cases[] = {
		{ t->ca, true, "mc.test", true },
		{ t->ca, true, "127.0.0.1", true },
		{ t->ca, true, "fe80::1%2", true },
		{ t->ca, true, "mc.test.", true },
		{ t->ca, true, "mc.test..", false },
		{ t->ca, true, "", true },
		{ t->ca, true, "other.test", false },
		{ t->ca, true, "127.0.0.2", false },
		{ t->other, true, "mc.test", false },
		{ NULL, true, "mc.test", false },
		{ t->other, false, "other.test", true },
	};
	const int64_t ends = time(NULL) + t->ends;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		open_peer(t, cases[i].ca, cases[i].verify, cases[i].name);
		for (int again = 0; again < 2; again++) {
			meet(t);
			assert_int_equal(shake(t), TLS_READY);
			exchange(t);
			assert_int_equal(tls_trusted(t->conn),
			    cases[i].trusted);
			assert_int_equal(tls_alert(t->conn), TLS_NO_ALERT);
			assert_int_equal(tls_why(t->conn) == NULL,
			    cases[i].trusted);
			if (!cases[i].trusted)
				assert_non_null(strstr(tls_why(t->conn),
				    cases[i].ca == t->ca ? "mismatch" :
				    cases[i].ca == NULL ? "unable to get local "
				    "issuer" : "signature failure"));
			assert_true(llabs((int64_t)tls_expiry(t->conn) -
			    ends) < 3600);
		}
	}
}

/* Ours, by files, and the server's end wants one that it trusts. */
static void
open_picky(struct test *t, const char *cert, int most)
{
	const struct tls_setup s = { .ca = t->ca, .verify = true,
		.cert = cert, .key = cert != NULL ? t->key : NULL };
	char why[TLS_WHY];

	forget(t);
	SSL_CTX_set_max_proto_version(t->ctx, most);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(t->ctx), t->authority.cert);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER |
	    SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	assert_int_equal(tls_open(&t->tls, &s, why), 0);
	t->peer = tls_peer_new(t->tls, "mc.test");
	assert_non_null(t->peer);
	meet(t);
}

/* Whose fault is it that it refuses us?  With TLS 1.3 it says so when we believe
 * to be done. */
static void
expect_alert(struct test *t, enum tls_alert alert, const char *says)
{
	char byte;

	if (shake(t) == TLS_READY) {
		SSL_do_handshake(t->ssl);
		assert_int_equal(tls_recv(t->conn, &byte, 1), -1);
	}
	assert_int_equal(errno, EPROTO);
	assert_int_equal(tls_alert(t->conn), alert);
	assert_non_null(strstr(tls_why(t->conn), says));
}

static void
test_alerts(void **state)
{
	struct test *t = *state;
	const struct signer old = signer_with(EVP_PKEY_dup(t->server.key),
	    "DNS:client", &t->authority, -DAY / 2);
	const struct signer foreign = signer_with(EVP_PKEY_dup(t->server.key),
	    "DNS:client", NULL, DAY);

	for (int most = TLS1_2_VERSION; most <= TLS1_3_VERSION; most++) {
		open_picky(t, NULL, most);
		expect_alert(t, TLS_ALERT_OURS, most == TLS1_2_VERSION ?
		    "handshake failure" : "certificate required");
		write_cert(t->alien, old.cert);
		open_picky(t, t->alien, most);
		expect_alert(t, TLS_ALERT_OURS, "certificate expired");
		write_cert(t->alien, foreign.cert);
		open_picky(t, t->alien, most);
		expect_alert(t, TLS_ALERT_OURS, "unknown ca");
		open_picky(t, t->cert, most);
		assert_int_equal(shake(t), TLS_READY);
		assert_int_equal(tls_alert(t->conn), TLS_NO_ALERT);
	}
	/* No version that both know is nobody's certificate's fault. */
	open_picky(t, NULL, TLS1_1_VERSION);
	expect_alert(t, TLS_ALERT, "alert protocol version");
	/* Nor is that it has nothing that we know, in the same words. */
	forget(t);
	open_picky(t, NULL, TLS1_2_VERSION);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_NONE, NULL);
	SSL_set_cipher_list(t->ssl, "PSK");
	expect_alert(t, TLS_ALERT, "handshake failure");
	free_signers(&old, &foreign);
}

static void
test_span(void **state)
{
	struct test *t = *state;
	const struct tls_setup none = { .ca = t->ca }, ours = {
		.cert = t->cert, .key = t->key };
	const int64_t now = time(NULL);
	char why[TLS_WHY];

	assert_true(tls_span(NULL).until == UINT64_MAX);
	assert_int_equal(tls_open(&t->tls, &none, why), 0);
	assert_true(tls_span(t->tls).from == 0 &&
	    tls_span(t->tls).until == UINT64_MAX);
	tls_close(t->tls);
	assert_int_equal(tls_open(&t->tls, &ours, why), 0);
	assert_true(llabs((int64_t)tls_span(t->tls).from - (now - DAY)) < 3600);
	assert_true(llabs((int64_t)tls_span(t->tls).until -
	    (now + t->ends)) < 3600);
}

/* The server is told whom we want; not, where that is a number. */
static void
test_whom(void **state)
{
	struct test *t = *state;

	open_peer(t, t->ca, true, "mc.test");
	meet(t);
	assert_int_equal(shake(t), TLS_READY);
	assert_string_equal(SSL_get_servername(t->ssl,
	    TLSEXT_NAMETYPE_host_name), "mc.test");
	open_peer(t, t->ca, true, "mc.test.");
	meet(t);
	assert_int_equal(shake(t), TLS_READY);
	assert_string_equal(SSL_get_servername(t->ssl,
	    TLSEXT_NAMETYPE_host_name), "mc.test");
	open_peer(t, t->ca, true, "127.0.0.1");
	meet(t);
	assert_int_equal(shake(t), TLS_READY);
	assert_null(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name));
}

/* New sessions and no answer: it is not for long that we look at them. */
static void
test_sessions_without_end(void **state)
{
	struct test *t = *state;
	int big = 1 << 20, waiting = 0, sent = 0;
	char byte;

	open_peer(t, t->ca, true, "mc.test");
	meet(t);
	setsockopt(t->fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
	assert_int_equal(shake(t), TLS_READY);
	exchange(t);
	while (sent < 2000 && SSL_new_session_ticket(t->ssl) == 1 &&
	    SSL_do_handshake(t->ssl) == 1)
		sent++;
	assert_int_equal(ioctl(t->fd[0], FIONREAD, &waiting), 0);
	if (waiting < 300000)
		return;		/* a small socket, if we are not root */
	assert_int_equal(tls_recv(t->conn, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(ioctl(t->fd[0], FIONREAD, &waiting), 0);
	assert_true(waiting > 0);
	/* But they end, and there is an answer. */
	while (waiting > 0) {
		assert_int_equal(tls_recv(t->conn, &byte, 1), -1);
		assert_int_equal(errno, EAGAIN);
		ioctl(t->fd[0], FIONREAD, &waiting);
	}
	exchange(t);
}

/* Another connection, with an exchange; was a session resumed? */
static bool
resumes(struct test *t)
{
	meet(t);
	assert_int_equal(shake(t), TLS_READY);
	exchange(t);
	return SSL_session_reused(t->ssl);
}

/* The last version that there is, or TLS 1.2: a ticket is renewed, or not. */
static void
use_version(struct test *t, int i)
{
	SSL_CTX_set_max_proto_version(t->ctx, i == 0 ? 0 : TLS1_2_VERSION);
	open_peer(t, t->ca, true, "mc.test");
}

/* Resumed as often as it is, and then looked at again: for ever. */
static void
test_sessions(void **state)
{
	struct test *t = *state;

	for (int version = 0; version < 2; version++) {
		use_version(t, version);
		for (unsigned i = 0; i < 3 * (TLS_RESUMED_MAX + 1); i++)
			if (resumes(t) != (i % (TLS_RESUMED_MAX + 1) != 0))
				fail_msg("version %d, connection %u", version,
				    i);
	}
}

/* They do harm: none for some time. */
static void
test_sessions_harm(void **state)
{
	struct test *t = *state;

	open_peer(t, t->ca, true, "mc.test");
	assert_false(resumes(t));
	/* It is not to blame where there was none. */
	assert_false(tls_forget(t->conn));
	assert_true(resumes(t));
	assert_true(tls_forget(t->conn));
	assert_false(tls_forget(t->conn));
	for (unsigned i = 0; i < TLS_ALONE; i++)
		assert_false(resumes(t));
	/* And then they may do good again. */
	assert_false(resumes(t));
	assert_true(resumes(t));
}

/* Two of them, under way at once: each may go on without it. */
static void
test_sessions_at_once(void **state)
{
	struct test *t = *state;
	struct tls_conn *conn[2];
	int fd[2];

	open_peer(t, t->ca, true, "mc.test");
	assert_false(resumes(t));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    fd), 0);
	for (int i = 0; i < 2; i++) {
		conn[i] = tls_conn_new(t->peer, fd[i]);
		assert_non_null(conn[i]);
	}
	for (int i = 0; i < 2; i++)
		assert_true(tls_forget(conn[i]));
	for (int i = 0; i < 2; i++) {
		assert_false(tls_forget(conn[i]));
		tls_conn_free(conn[i]);
		close(fd[i]);
	}
}

/* The server's certificate is another one from now on; its tickets are as good
 * as ever. */
static void
change_certificate(struct test *t, const struct signer *by, long ends)
{
	struct signer s = signer_new("DNS:mc.test", by, ends);

	assert_int_equal(SSL_CTX_use_certificate(t->ctx, s.cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(t->ctx, s.key), 1);
	signer_free(&s);
}

static bool
ends_in(const struct test *t, long ends)
{
	return llabs((int64_t)tls_expiry(t->conn) - time(NULL) - ends) < 3600;
}

/* What a resumed session says of a certificate was so once. */
static void
test_renewed(void **state)
{
	struct test *t = *state;

	for (int version = 0; version < 2; version++) {
		unsigned seen = 0;

		change_certificate(t, &t->authority, 10 * DAY);
		use_version(t, version);
		assert_false(resumes(t));
		change_certificate(t, &t->authority, 90 * DAY);
		assert_true(resumes(t));
		assert_true(ends_in(t, 10 * DAY));
		while (!ends_in(t, 90 * DAY) && seen++ < TLS_RESUMED_MAX)
			resumes(t);
		assert_int_equal(seen, TLS_RESUMED_MAX);
		assert_true(ends_in(t, 90 * DAY));
		/* Or at once, where somebody wants to know. */
		assert_true(resumes(t));
		change_certificate(t, &t->authority, 50 * DAY);
		tls_peer_anew(t->peer);
		assert_false(resumes(t));
		assert_true(ends_in(t, 50 * DAY));
		assert_true(resumes(t));
	}
}

/* A foreign one is seen in time, and each time from then on; and so is the
 * right one, when it is back. */
static void
test_foreign(void **state)
{
	struct test *t = *state;

	for (int version = 0; version < 2; version++) {
		unsigned seen = 0;

		change_certificate(t, &t->authority, DAY);
		use_version(t, version);
		assert_false(resumes(t));
		change_certificate(t, &t->stranger, DAY);
		do
			resumes(t);
		while (tls_trusted(t->conn) && seen++ < TLS_RESUMED_MAX);
		assert_int_equal(seen, TLS_RESUMED_MAX);
		for (int i = 0; i < 3; i++) {
			assert_false(resumes(t));
			assert_false(tls_trusted(t->conn));
		}
		change_certificate(t, &t->authority, DAY);
		assert_false(resumes(t));
		assert_true(tls_trusted(t->conn));
		assert_true(resumes(t));
	}
}

/* A client's certificate, if the server wants one. */
static void
test_certificate(void **state)
{
	struct test *t = *state;
	const struct tls_setup s = { t->ca, t->cert, t->key, true, false };
	char why[TLS_WHY], byte;

	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER |
	    SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(t->ctx),
	    t->authority.cert);
	assert_int_equal(tls_open(&t->tls, &s, why), 0);
	t->peer = tls_peer_new(t->tls, "mc.test");
	meet(t);
	assert_int_equal(shake(t), TLS_READY);
	exchange(t);
	/* TLS 1.3 tells it behind the handshake. */
	open_peer(t, t->ca, true, "mc.test");
	meet(t);
	assert_int_equal(shake(t), TLS_READY);
	SSL_do_handshake(t->ssl);
	assert_int_equal(tls_recv(t->conn, &byte, 1), -1);
	assert_int_equal(errno, EPROTO);
}

static void
test_no_tls(void **state)
{
	struct test *t = *state;

	open_peer(t, t->ca, true, "mc.test");
	meet(t);
	assert_int_equal(tls_handshake(t->conn), TLS_WANTS_READ);
	assert_int_equal(send(t->fd[1], "ERROR\r\n", 7, 0), 7);
	assert_int_equal(tls_handshake(t->conn), TLS_FAILED);
	assert_int_equal(errno, EPROTO);
	/* It hangs up. */
	meet(t);
	assert_int_equal(tls_handshake(t->conn), TLS_WANTS_READ);
	shutdown(t->fd[1], SHUT_WR);
	assert_int_equal(tls_handshake(t->conn), TLS_FAILED);
	assert_int_equal(errno, 0);
}

static void
assert_plain_bytes(const struct test *t, const char *want, size_t len,
    bool goes_on)
{
	char bytes[64];
	bool more;
	const size_t n = tls_plain(t->conn, bytes, sizeof bytes, &more);

	assert_int_equal(n, len);
	assert_memory_equal(bytes, want, n);
	assert_int_equal(more, goes_on);
}

static void
assert_plain(const struct test *t, const char *want, bool goes_on)
{
	assert_plain_bytes(t, want, strlen(want), goes_on);
}

/* What it says that is no TLS is not lost: before we have begun, after that, or
 * in pieces. */
static void
test_plain(void **state)
{
	static const char full[] = "ERROR Too many open connections\r\n";
	const int len = (int)sizeof full - 1;
	struct test *t = *state;

	open_peer(t, t->ca, true, "mc.test");
	for (int cut = 0; cut <= len; cut++) {
		enum tls_state got;

		meet(t);
		if (cut > 0)
			send(t->fd[1], full, (size_t)cut, 0);
		got = tls_handshake(t->conn);
		assert_int_equal(got, cut < 5 ? TLS_WANTS_READ : TLS_FAILED);
		if (cut < len)
			send(t->fd[1], full + cut, (size_t)(len - cut), 0);
		if (got == TLS_WANTS_READ)
			assert_int_equal(tls_handshake(t->conn), TLS_FAILED);
		assert_plain(t, full, false);
	}
	/* TLS that fails is TLS. */
	meet(t);
	SSL_set_max_proto_version(t->ssl, TLS1_1_VERSION);
	assert_int_equal(shake(t), TLS_FAILED);
	assert_plain(t, "", false);
	/* It hangs up. */
	meet(t);
	shutdown(t->fd[1], SHUT_WR);
	assert_int_equal(tls_handshake(t->conn), TLS_FAILED);
	assert_plain(t, "", false);
}

static void
meet_plain(struct test *t, const char *bytes, size_t len)
{
	meet(t);
	assert_int_equal(send(t->fd[1], bytes, len, 0), len);
	assert_int_equal(tls_handshake(t->conn), TLS_FAILED);
}

/* The rest of a line is waited for, and of nothing else. */
static void
test_plain_goes_on(void **state)
{
	static const char full[] = "ERROR Too many open connections\r\n";
	struct test *t = *state;
	char long_line[65];

	open_peer(t, t->ca, true, "mc.test");
	meet_plain(t, full, 12);
	for (int i = 0; i < 2; i++)
		assert_plain(t, "ERROR Too ma", true);
	send(t->fd[1], full + 12, 20, 0);
	assert_plain(t, "ERROR Too many open connections\r", true);
	send(t->fd[1], "\n", 1, 0);
	assert_plain(t, full, false);
	/* It hangs up. */
	meet_plain(t, full, 12);
	assert_plain(t, "ERROR Too ma", true);
	shutdown(t->fd[1], SHUT_WR);
	assert_plain(t, "ERROR Too ma", false);
	/* No end to it. */
	memset(long_line, 'x', 64);
	long_line[64] = '\0';
	meet_plain(t, long_line, 60);
	assert_plain(t, long_line + 4, true);
	send(t->fd[1], long_line, 60, 0);
	assert_plain(t, long_line, false);
	/* No text. */
	meet_plain(t, "\x4a\0\0\0\x0a" "8.0.36", 11);
	assert_plain_bytes(t, "\x4a\0\0\0\x0a" "8.0.36", 11, false);
}

/* Only four numbers begin a record. */
static void
test_no_records(void **state)
{
	struct test *t = *state;

	open_peer(t, t->ca, true, "mc.test");
	for (int first = 0; first < 256; first++) {
		const char bytes[] = { (char)first, 'x', 'x', 'x', 'x', '\n' };
		const bool record = first >= 20 && first <= 23;

		meet_plain(t, bytes, sizeof bytes);
		assert_plain_bytes(t, bytes, record ? 0 : sizeof bytes, false);
	}
}

/* What the system trusts is read for servers, not to look at files. */
static void
test_looks(void **state)
{
	static const struct {
		bool verify, look, reads;
	} cases[] = { { true, false, true }, { true, true, false },
		{ false, false, false } };
	struct test *t = *state;

	setenv("SSL_CERT_FILE", t->ca, 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct tls_setup s = { .verify = cases[i].verify,
			.look = cases[i].look };
		char why[TLS_WHY];

		forget(t);
		assert_int_equal(tls_open(&t->tls, &s, why), 0);
		t->peer = tls_peer_new(t->tls, "mc.test");
		meet(t);
		assert_int_equal(shake(t), TLS_READY);
		assert_int_equal(tls_trusted(t->conn), cases[i].reads ||
		    !cases[i].verify);
	}
	unsetenv("SSL_CERT_FILE");
}

static void
test_ends(void **state)
{
	struct test *t = *state;
	char bytes[4];

	for (int goodbye = 0; goodbye < 2; goodbye++) {
		open_peer(t, t->ca, true, "mc.test");
		meet(t);
		assert_int_equal(shake(t), TLS_READY);
		exchange(t);
		if (goodbye)
			SSL_shutdown(t->ssl);
		close(t->fd[1]);
		t->fd[1] = -1;
		assert_int_equal(tls_recv(t->conn, bytes, sizeof bytes), 0);
	}
}

/* What one read of the socket brought is given out by and by. */
static void
test_more(void **state)
{
	struct test *t = *state;
	char bytes[64];

	open_peer(t, t->ca, true, "mc.test");
	meet(t);
	assert_int_equal(shake(t), TLS_READY);
	exchange(t);
	assert_false(tls_has_more(t->conn));
	assert_int_equal(SSL_write(t->ssl, "first", 5), 5);
	assert_int_equal(SSL_write(t->ssl, "second", 6), 6);
	assert_int_equal(tls_recv(t->conn, bytes, 3), 3);
	assert_true(tls_has_more(t->conn));
	assert_int_equal(tls_recv(t->conn, bytes, sizeof bytes), 2);
	assert_true(tls_has_more(t->conn));
	assert_int_equal(tls_recv(t->conn, bytes, sizeof bytes), 6);
	assert_false(tls_has_more(t->conn));
}

/* As much as the socket takes, and the rest from other memory. */
static void
test_large(void **state)
{
	static char out[200000], in[sizeof out];
	struct test *t = *state;
	size_t sent = 0, got = 0, n;

	for (size_t i = 0; i < sizeof out; i++)
		out[i] = (char)(i * 7 + i / 1000);
	open_peer(t, t->ca, true, "mc.test");
	meet(t);
	setsockopt(t->fd[0], SOL_SOCKET, SO_SNDBUF, &(int){ 4096 },
	    sizeof(int));
	assert_int_equal(shake(t), TLS_READY);
	while (sent < sizeof out || got < sizeof out) {
		char *piece = malloc(sizeof out - sent + 1);
		ssize_t s;

		memcpy(piece, out + sent, sizeof out - sent);
		s = sent < sizeof out ? tls_send(t->conn, piece,
		    sizeof out - sent) : 0;
		free(piece);
		assert_true(s >= 0 || errno == EAGAIN);
		sent += s > 0 ? (size_t)s : 0;
		if (SSL_read_ex(t->ssl, in + got, sizeof in - got, &n) == 1)
			got += n;
	}
	assert_memory_equal(in, out, sizeof out);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_files), TEST(test_same), TEST(test_trust),
		TEST(test_whom), TEST(test_sessions), TEST(test_sessions_harm),
		TEST(test_sessions_without_end),
		TEST(test_sessions_at_once), TEST(test_renewed),
		TEST(test_foreign), TEST(test_certificate),
		TEST(test_no_tls), TEST(test_plain), TEST(test_plain_goes_on),
		TEST(test_no_records), TEST(test_looks), TEST(test_ends),
		TEST(test_more), TEST(test_large),
		TEST(test_alerts), TEST(test_span),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
