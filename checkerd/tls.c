/*
 * tls.c - TLS on a socket that is there already, by OpenSSL.
 *
 * A certificate is always looked at and never ends a handshake: whether it is
 * trusted is a thing to be known of a server that lives (tls_trusted()).
 */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls {
	SSL_CTX *ctx;
	bool verify;
	unsigned char sum[EVP_MAX_MD_SIZE];	/* of all its files */
};

struct tls_peer {
	SSL_CTX *ctx;
	bool verify;
	bool is_ip;
	char *name;			/* "": any */
	SSL_SESSION *session;		/* the newest, NULL: none */
	unsigned resumed;		/* since its first handshake: it, or
					 * those that it came from */
	unsigned alone;			/* connections to make without */
};

#define TLS_FIRST 64		/* bytes that are kept of what came first */
#define TLS_RECORD 4096		/* bytes, of ours */
#define TLS_READS 8		/* of the socket, for one of the caller's */

/* Its SSL's app data. */
struct tls_conn {
	SSL *ssl;
	struct tls_peer *peer;
	bool offers;			/* a session */
	bool alone;			/* and keeps none */
	bool wanted;			/* a certificate of ours, and there is
					 * none */
	unsigned resumed;		/* as the peer's, with this one */
	unsigned long error;		/* OpenSSL's, that ended it; 0 */
	unsigned reads;			/* of the socket, since it was asked */
	size_t came;			/* of it is kept, until the handshake's
					 * end: */
	char first[TLS_FIRST];
};

/* Files ------------------------------------------------------------------- */

static const struct file_kind {
	const char *key, *none, *cure;
} ca_kind = { "tls_ca", "has no certificate in it",
	"name a PEM file with certificates" },
    cert_kind = { "tls_cert", "has no certificate in it",
	"name a PEM file with a certificate" },
    key_kind = { "tls_key", "has no key in it that can be read",
	"name a PEM file with a key, without a password" };

/* "tls_ca = /etc/ca.pem cannot be read: Is a directory; name another" */
static int
wrong(char why[TLS_WHY], const struct file_kind *k, const char *path,
    const char *what, const char *more)
{
	snprintf(why, TLS_WHY, "%s = %s %s%s; %s", k->key, path, what, more,
	    k->cure);
	return -1;
}

static int
wrong_pair(char why[TLS_WHY], const struct tls_setup *s)
{
	snprintf(why, TLS_WHY, "tls_key = %s is not the key of tls_cert; name "
	    "the one of that certificate", s->key);
	return -1;
}

#define ERRORS 16

static bool
complains(const unsigned long error[ERRORS], int lib, int reason)
{
	for (int i = 0; i < ERRORS && error[i] != 0; i++)
		if (ERR_GET_LIB(error[i]) == lib &&
		    ERR_GET_REASON(error[i]) == reason)
			return true;
	return false;
}

/* What OpenSSL complains of, in the words of whoever wrote the ini; of a key it
 * does not say more than that there is none. */
static int
wrong_in(char why[TLS_WHY], const struct file_kind *k, const char *path)
{
	unsigned long error[ERRORS] = { 0 };
	const char *text;
	int n = 0;

	while (n < ERRORS && (error[n] = ERR_get_error()) != 0)
		n++;
	if (complains(error, ERR_LIB_PEM, PEM_R_BAD_PASSWORD_READ))
		return wrong(why, k, path, "has a password, and nobody is "
		    "there to type it", "");
	if (k == &key_kind || n == 0 ||
	    complains(error, ERR_LIB_PEM, PEM_R_NO_START_LINE) ||
	    complains(error, ERR_LIB_X509, X509_R_NO_CERTIFICATE_OR_CRL_FOUND))
		return wrong(why, k, path, k->none, "");
	text = ERR_reason_error_string(error[0]);
	return wrong(why, k, path, "is damaged: ", text != NULL ? text :
	    "not in a way that has a name");
}

/* A regular file: others may never end, or never begin. */
static FILE *
file_open(const struct file_kind *k, const char *path, char why[TLS_WHY])
{
	struct stat st;
	FILE *f;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		wrong(why, k, path, "cannot be read: not a regular file", "");
		return NULL;
	}
	f = fopen(path, "re");
	if (f == NULL)
		wrong(why, k, path, "cannot be read: ", strerror(errno));
	return f;
}

/* Its bytes into the sum, so that another content is seen. */
static int
sum_file(EVP_MD_CTX *md, const struct file_kind *k, const char *path,
    char why[TLS_WHY])
{
	char bytes[4096];
	size_t n;
	int err = 0;
	FILE *f;

	EVP_DigestUpdate(md, k->key, strlen(k->key) + 1);
	if (path == NULL)
		return 0;
	f = file_open(k, path, why);
	if (f == NULL)
		return -1;
	while ((n = fread(bytes, 1, sizeof bytes, f)) > 0)
		EVP_DigestUpdate(md, bytes, n);
	if (ferror(f))
		err = errno;
	fclose(f);
	EVP_DigestUpdate(md, path, strlen(path) + 1);
	return err == 0 ? 0 :
	    wrong(why, k, path, "cannot be read: ", strerror(err));
}

static int
sum_files(struct tls *t, const struct tls_setup *s, char why[TLS_WHY])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int err;

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(md);
		snprintf(why, TLS_WHY, "tls = yes: no memory, or no SHA-256");
		return -1;
	}
	err = sum_file(md, &ca_kind, s->ca, why) != 0 ||
	    sum_file(md, &cert_kind, s->cert, why) != 0 ||
	    sum_file(md, &key_kind, s->key, why) != 0;
	EVP_DigestFinal_ex(md, t->sum, NULL);
	EVP_MD_CTX_free(md);
	return err ? -1 : 0;
}

/* OpenSSL looks at once whether it is that of the certificate, where both are
 * of one kind; else when it is asked. */
static int
load_key(SSL_CTX *ctx, const struct tls_setup *s, char why[TLS_WHY])
{
	if (SSL_CTX_use_PrivateKey_file(ctx, s->key, SSL_FILETYPE_PEM) != 1) {
		const unsigned long last = ERR_peek_last_error();

		if (ERR_GET_LIB(last) == ERR_LIB_X509 &&
		    ERR_GET_REASON(last) == X509_R_KEY_VALUES_MISMATCH)
			return wrong_pair(why, s);
		return wrong_in(why, &key_kind, s->key);
	}
	if (s->cert != NULL && SSL_CTX_check_private_key(ctx) != 1)
		return wrong_pair(why, s);
	return 0;
}

static int
load_files(SSL_CTX *ctx, const struct tls_setup *s, char why[TLS_WHY])
{
	ERR_clear_error();
	if (s->ca == NULL && s->verify && !s->look)
		SSL_CTX_set_default_verify_paths(ctx);
	if (s->ca != NULL &&
	    SSL_CTX_load_verify_locations(ctx, s->ca, NULL) != 1)
		return wrong_in(why, &ca_kind, s->ca);
	if (s->cert != NULL &&
	    SSL_CTX_use_certificate_chain_file(ctx, s->cert) != 1)
		return wrong_in(why, &cert_kind, s->cert);
	return s->key != NULL ? load_key(ctx, s, why) : 0;
}

/* Context ----------------------------------------------------------------- */

/* A session that can be resumed, of TLS 1.3 some time after the handshake. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	const struct tls_conn *c = SSL_get_app_data(ssl);
	struct tls_peer *p = c->peer;

	if (c->alone || p->alone > 0 || !tls_trusted(c))
		return 0;
	SSL_SESSION_free(p->session);
	p->session = session;
	p->resumed = SSL_session_reused(ssl) ? c->resumed : 0;
	return 1;			/* it is ours now */
}

/* The server wants a certificate, and there is none. */
static int
on_wanted(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
	struct tls_conn *c = SSL_get_app_data(ssl);

	(void)cert;
	(void)key;
	c->wanted = true;
	return 0;
}

/* A key with a password: nobody is there to type it. */
static int
on_password(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static SSL_CTX *
context_new(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	/* OpenSSL keeps room for one with each connection that got a session,
	 * until it sends again; requests are short. */
	SSL_CTX_set_max_send_fragment(ctx, TLS_RECORD);
	SSL_CTX_set_default_passwd_cb(ctx, on_password);
	SSL_CTX_set_client_cert_cb(ctx, on_wanted);
	/* A record is one read, not two. */
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT |
	    SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	return ctx;
}

int
tls_open(struct tls **out, const struct tls_setup *s, char why[TLS_WHY])
{
	struct tls *t = calloc(1, sizeof *t);

	*out = NULL;
	if (t != NULL)
		t->ctx = context_new();
	if (t == NULL || t->ctx == NULL) {
		tls_close(t);
		snprintf(why, TLS_WHY, "tls = yes: no memory");
		return -1;
	}
	t->verify = s->verify;
	if (sum_files(t, s, why) != 0 || load_files(t->ctx, s, why) != 0) {
		tls_close(t);
		return -1;
	}
	*out = t;
	return 0;
}

void
tls_close(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

/* REALTIME s; 0: none that can be told. */
static uint64_t
seconds_of(const ASN1_TIME *when)
{
	struct tm tm;
	time_t s = 0;

	if (ASN1_TIME_to_tm(when, &tm) == 1)
		s = timegm(&tm);
	return s > 0 ? (uint64_t)s : 0;
}

struct tls_span
tls_span(const struct tls *t)
{
	const X509 *cert = t != NULL ? SSL_CTX_get0_certificate(t->ctx) : NULL;

	if (cert == NULL)
		return (struct tls_span){ 0, UINT64_MAX };
	return (struct tls_span){ seconds_of(X509_get0_notBefore(cert)),
		seconds_of(X509_get0_notAfter(cert)) };
}

bool
tls_same(const struct tls *a, const struct tls *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return a->verify == b->verify &&
	    memcmp(a->sum, b->sum, sizeof a->sum) == 0;
}

/* Server ------------------------------------------------------------------ */

static bool
is_ip(const char *name)
{
	unsigned char ip[16];

	return inet_pton(AF_INET, name, ip) == 1 ||
	    inet_pton(AF_INET6, name, ip) == 1;
}

/* A link-local address has a scope, a name may end in the dot of the root; a
 * certificate knows neither, and no more does SNI. */
static void
name_cut(char *name)
{
	size_t len;

	name[strcspn(name, "%")] = '\0';
	len = strlen(name);
	if (len > 1 && name[len - 1] == '.')
		name[len - 1] = '\0';
}

struct tls_peer *
tls_peer_new(struct tls *t, const char *name)
{
	struct tls_peer *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->name = strdup(name);
	if (p->name == NULL) {
		free(p);
		return NULL;
	}
	name_cut(p->name);
	p->is_ip = is_ip(p->name);
	p->verify = t->verify;
	p->ctx = t->ctx;
	SSL_CTX_up_ref(p->ctx);
	return p;
}

void
tls_peer_anew(struct tls_peer *p)
{
	SSL_SESSION_free(p->session);
	p->session = NULL;
}

void
tls_peer_free(struct tls_peer *p)
{
	if (p == NULL)
		return;
	tls_peer_anew(p);
	SSL_CTX_free(p->ctx);
	free(p->name);
	free(p);
}

/* Connection -------------------------------------------------------------- */

/* What the certificate must say, and whom we ask for. */
static bool
conn_name(SSL *ssl, const struct tls_peer *p)
{
	if (p->name[0] == '\0')
		return true;
	if (p->is_ip)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl),
		    p->name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, p->name) == 1 &&
	    SSL_set_tlsext_host_name(ssl, p->name) == 1;
}

/* The session to resume, if it is good for it still. */
static void
conn_session(struct tls_conn *c)
{
	struct tls_peer *p = c->peer;

	c->alone = p->alone > 0;
	if (c->alone)
		p->alone--;
	if (p->session == NULL || p->resumed >= TLS_RESUMED_MAX ||
	    SSL_set_session(c->ssl, p->session) != 1)
		return;
	c->offers = true;
	c->resumed = ++p->resumed;
}

/* What came, as OpenSSL gets it: it keeps to itself what it can not read. */
static long
on_bytes(BIO *bio, int what, const char *bytes, size_t len, int argi,
    long argl, int ret, size_t *read)
{
	struct tls_conn *c = (struct tls_conn *)BIO_get_callback_arg(bio);
	size_t n;

	(void)len;
	(void)argi;
	(void)argl;
	if (what != (BIO_CB_READ | BIO_CB_RETURN) || ret <= 0)
		return ret;
	n = *read < TLS_FIRST - c->came ? *read : TLS_FIRST - c->came;
	memcpy(c->first + c->came, bytes, n);
	c->came += n;
	return ret;
}

/* OpenSSL reads until something came that is the caller's; and a server may send
 * new sessions without end. */
static long
on_read(BIO *bio, int what, const char *bytes, size_t len, int argi,
    long argl, int ret, size_t *read)
{
	struct tls_conn *c = (struct tls_conn *)BIO_get_callback_arg(bio);

	(void)bytes;
	(void)len;
	(void)argi;
	(void)argl;
	(void)read;
	if (what != BIO_CB_READ || c->reads++ < TLS_READS)
		return ret;
	BIO_set_retry_read(bio);
	return -1;
}

static void
conn_watch(struct tls_conn *c)
{
	BIO *bio = SSL_get_rbio(c->ssl);

	BIO_set_callback_arg(bio, (char *)c);
	BIO_set_callback_ex(bio, on_bytes);
}

struct tls_conn *
tls_conn_new(struct tls_peer *p, int fd)
{
	struct tls_conn *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	ERR_clear_error();
	c->peer = p;
	c->ssl = SSL_new(p->ctx);
	if (c->ssl == NULL || SSL_set_app_data(c->ssl, c) != 1 ||
	    !conn_name(c->ssl, p) || SSL_set_fd(c->ssl, fd) != 1) {
		tls_conn_free(c);
		return NULL;
	}
	conn_watch(c);
	conn_session(c);
	return c;
}

void
tls_conn_free(struct tls_conn *c)
{
	if (c == NULL)
		return;
	/* Its session is good, though nobody said goodbye. */
	if (c->ssl != NULL)
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN |
		    SSL_RECEIVED_SHUTDOWN);
	SSL_free(c->ssl);
	free(c);
}

/* Of the alerts that a server may send, those for which our certificate is to
 * blame.  A server with TLS 1.2 that wanted one and got none has no alert for
 * that: the handshake has failed, it says. */
static bool
is_about_ours(const struct tls_conn *c, int alert)
{
	switch (alert) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_CERTIFICATE_REQUIRED:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
		return true;
	case SSL_AD_HANDSHAKE_FAILURE:
		return c->wanted;
	}
	return false;
}

enum tls_alert
tls_alert(const struct tls_conn *c)
{
	const int reason = ERR_GET_REASON(c->error);

	if (ERR_GET_LIB(c->error) != ERR_LIB_SSL ||
	    reason < SSL_AD_REASON_OFFSET)
		return TLS_NO_ALERT;
	return is_about_ours(c, reason - SSL_AD_REASON_OFFSET) ?
	    TLS_ALERT_OURS : TLS_ALERT;
}

/* The errno of what an SSL function returned: EAGAIN, 0 for an end of file,
 * EPROTO for what is no TLS. */
static int
error_of(struct tls_conn *c, int returned)
{
	const int err = errno;

	switch (SSL_get_error(c->ssl, returned)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return err;
	}
	/* OpenSSL 3 tells an end of file without goodbye as an error. */
	if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL &&
	    ERR_GET_REASON(ERR_peek_error()) ==
	    SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return 0;
	c->error = ERR_peek_error();
	return EPROTO;
}

enum tls_state
tls_handshake(struct tls_conn *c)
{
	int n;

	ERR_clear_error();
	errno = 0;
	n = SSL_connect(c->ssl);
	if (n == 1) {
		BIO_set_callback_ex(SSL_get_rbio(c->ssl), on_read);
		if (!tls_trusted(c))
			tls_peer_anew(c->peer);
		return TLS_READY;
	}
	errno = error_of(c, n);
	if (errno == EAGAIN)
		return SSL_want_write(c->ssl) ? TLS_WANTS_WRITE :
		    TLS_WANTS_READ;
	return TLS_FAILED;
}

/* A record of TLS begins with one of four numbers. */
static bool
is_record(char first)
{
	const unsigned char type = (unsigned char)first;

	return type >= SSL3_RT_CHANGE_CIPHER_SPEC &&
	    type <= SSL3_RT_APPLICATION_DATA;
}

/* The beginning of a line? */
static bool
is_text(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((bytes[i] < ' ' || bytes[i] > '~') && bytes[i] != '\r')
			return false;
	return len > 0;
}

/* OpenSSL has read what had come by then, and has no use for the rest. */
size_t
tls_plain(struct tls_conn *c, char *bytes, size_t size, bool *more)
{
	ssize_t n = 0;

	if (c->came == 0 || !is_record(c->first[0]))
		n = recv(SSL_get_fd(c->ssl), c->first + c->came,
		    TLS_FIRST - c->came, MSG_DONTWAIT);
	*more = n < 0 && c->came < TLS_FIRST &&
	    (errno == EAGAIN || errno == EINTR);
	if (n > 0) {
		c->came += (size_t)n;
		*more = c->came < TLS_FIRST;
	}
	*more = *more && is_text(c->first, c->came);
	if (c->came == 0 || is_record(c->first[0]))
		return 0;
	if (size > c->came)
		size = c->came;
	memcpy(bytes, c->first, size);
	return size;
}

/* A server that wants certificates may refuse whoever comes back with a session
 * (OpenSSL: "session id context uninitialized"; memcached 1.6). */
bool
tls_forget(struct tls_conn *c)
{
	if (!c->offers)
		return false;
	c->offers = false;
	tls_peer_anew(c->peer);
	c->peer->alone = TLS_ALONE;
	return true;
}

ssize_t
tls_send(struct tls_conn *c, const char *bytes, size_t len)
{
	size_t n;
	int got;

	ERR_clear_error();
	errno = 0;
	got = SSL_write_ex(c->ssl, bytes, len, &n);
	if (got == 1)
		return (ssize_t)n;
	errno = error_of(c, got);
	if (errno == 0)
		errno = EPIPE;
	return -1;
}

ssize_t
tls_recv(struct tls_conn *c, char *bytes, size_t len)
{
	size_t n;
	int got;

	ERR_clear_error();
	errno = 0;
	c->reads = 0;
	got = SSL_read_ex(c->ssl, bytes, len, &n);
	if (got == 1)
		return (ssize_t)n;
	errno = error_of(c, got);
	return errno == 0 ? 0 : -1;
}

bool
tls_has_more(const struct tls_conn *c)
{
	return SSL_has_pending(c->ssl) == 1;
}

bool
tls_trusted(const struct tls_conn *c)
{
	return !c->peer->verify || SSL_get_verify_result(c->ssl) == X509_V_OK;
}

uint64_t
tls_expiry(const struct tls_conn *c)
{
	X509 *cert = SSL_get_peer_certificate(c->ssl);
	uint64_t ends;

	if (cert == NULL)
		return 0;
	ends = seconds_of(X509_get0_notAfter(cert));
	X509_free(cert);
	return ends;
}

const char *
tls_why(const struct tls_conn *c)
{
	if (c->error != 0)
		return ERR_reason_error_string(c->error);
	return tls_trusted(c) ? NULL :
	    X509_verify_cert_error_string(SSL_get_verify_result(c->ssl));
}
