/*
 * server_tls.c
 *		A certificate for the test server, which is made for each server.
 *
 * test/core/server_tls.c
 *
 * It signs itself, and is good for loopback and for hosts of AWS's and others'
 * in a few regions, so that a proxy can stand for them.
 */
#include "testing.h"

#include "server_intern.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

static const char names[] = "IP:127.0.0.1,DNS:localhost"
							",DNS:s3.us-east-1.amazonaws.com"
							",DNS:*.s3.us-east-1.amazonaws.com"
							",DNS:s3.eu-west-3.amazonaws.com"
							",DNS:*.s3.eu-west-3.amazonaws.com"
							",DNS:*.s3.dualstack.us-east-1.amazonaws.com"
							",DNS:*.us-east-1.amazonaws.com"
							",DNS:*.us-east-1.api.aws"
							",DNS:*.eusc-de-east-1.amazonaws.eu"
							",DNS:s3.eu-central-003.backblazeb2.com";

static void
check(bool done)
{
	if (!done)
		abort();
}

static void
add_names(X509 *certificate)
{
	X509_EXTENSION *extension =
		X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

	check(extension && X509_add_ext(certificate, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

static X509 *
make_certificate(EVP_PKEY *key)
{
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
							   (const unsigned char *) "test", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	add_names(certificate);
	check(X509_sign(certificate, key, EVP_sha256()) > 0);
	return certificate;
}

static void
write_certificate(X509 *certificate, char *file, size_t size)
{
	FILE *out;
	int fd;

	snprintf(file, size, "/tmp/onboard-ca-XXXXXX");
	fd = mkstemp(file);
	check(fd >= 0);
	out = fdopen(fd, "w");
	check(out != NULL);
	check(PEM_write_X509(out, certificate) == 1);
	check(fclose(out) == 0);
}

SSL_CTX *
server_tls_new(char *file, size_t size)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate;

	check(context && key);
	certificate = make_certificate(key);
	check(SSL_CTX_use_certificate(context, certificate) == 1 &&
		  SSL_CTX_use_PrivateKey(context, key) == 1);
	/* a client that just closes the connection is no error */
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
	write_certificate(certificate, file, size);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return context;
}
