/*
 * sigv4.c
 *		AWS Signature Version 4, header form.
 *
 * src/core/aws/sigv4.c
 *
 * Queries have a handful of pairs and requests a few dozen headers at most. So
 * both are sorted by searching for the next one each time, which needs no
 * memory and cannot fail.
 *
 * Secrets: the signing key lives in the caller's cache; everything else that
 * is derived from the secret is on the stack, and wiped before the function
 * returns.
 */
#include "core/aws/sigv4.h"

#include <openssl/crypto.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/text/uri.h"

#define SECRET_MAX 1024
#define TEXT_MAX (256 * 1024) /* session tokens and metadata have limits */
#define TIMESTAMP_LEN 17      /* with its NUL */
#define DATE_LEN 8

/* ---- Queries ---- */

/* Ranks a byte by its percent-encoded form: "%" sorts before every unencoded
 * byte, and the end of the text before "%". */
static int
encoded_rank(char c)
{
	if (c == '\0')
		return 0;
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z') || strchr("-_.~", c) != NULL)
		return 256 + c;
	return (unsigned char) c;
}

static int
compare_encoded(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
	{
		a++;
		b++;
	}
	return encoded_rank(*a) - encoded_rank(*b);
}

static int
compare_pairs(const ObPair *a, const ObPair *b)
{
	int order = compare_encoded(a->name, b->name);

	if (order == 0)
		order = compare_encoded(a->value != NULL ? a->value : "",
								b->value != NULL ? b->value : "");
	if (order == 0)
		order = (a > b) - (a < b); /* equal pairs keep their order */
	return order;
}

/* The pair that follows last, or the first one if last is NULL. */
static const ObPair *
next_pair(const ObPair *pairs, int npairs, const ObPair *last)
{
	const ObPair *next = NULL;

	for (int i = 0; i < npairs; i++)
		if ((last == NULL || compare_pairs(&pairs[i], last) > 0) &&
			(next == NULL || compare_pairs(&pairs[i], next) < 0))
			next = &pairs[i];
	return next;
}

void
ob_sigv4_query(ObBuf *out, const ObPair *pairs, int npairs)
{
	const ObPair *pair = NULL;

	for (int i = 0; i < npairs; i++)
	{
		pair = next_pair(pairs, npairs, pair);
		if (i > 0)
			ob_buf_addc(out, '&');
		ob_uri_encode(out, pair->name, strlen(pair->name), false);
		ob_buf_addc(out, '=');
		if (pair->value != NULL)
			ob_uri_encode(out, pair->value, strlen(pair->value), false);
	}
}

/* ---- Headers ---- */

/* ASCII only: tolower() follows the locale, and a Turkish one has its own
 * idea of "I". */
static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static int
compare_names(const char *a, const char *b)
{
	while (*a != '\0' && lower(*a) == lower(*b))
	{
		a++;
		b++;
	}
	return (unsigned char) lower(*a) - (unsigned char) lower(*b);
}

/* Headers of one name keep their order. */
static int
compare_headers(const ObPair *a, const ObPair *b)
{
	int order = compare_names(a->name, b->name);

	return order != 0 ? order : (a > b) - (a < b);
}

static const ObPair *
next_header(const ObSignRequest *request, const ObPair *last)
{
	const ObPair *next = NULL;

	for (int i = 0; i < request->nheaders; i++)
	{
		const ObPair *header = &request->headers[i];

		if ((last == NULL || compare_headers(header, last) > 0) &&
			(next == NULL || compare_headers(header, next) < 0))
			next = header;
	}
	return next;
}

static void
add_lower(ObBuf *out, const char *name)
{
	for (; *name != '\0'; name++)
		ob_buf_addc(out, lower(*name));
}

/* Adds a value, trimmed, with each run of blanks reduced to one. */
static void
add_header_value(ObBuf *out, const char *value)
{
	value += strspn(value, " \t");
	while (*value != '\0')
	{
		size_t word = strcspn(value, " \t");

		ob_buf_add(out, value, word);
		value += word;
		value += strspn(value, " \t");
		if (*value != '\0')
			ob_buf_addc(out, ' ');
	}
}

/* A line per name, with the values of a repeated one joined by commas. */
static void
add_headers(ObBuf *out, const ObSignRequest *request)
{
	const ObPair *last = NULL;
	const ObPair *header;

	while ((header = next_header(request, last)) != NULL)
	{
		if (last != NULL && compare_names(header->name, last->name) == 0)
			ob_buf_addc(out, ',');
		else
		{
			if (last != NULL)
				ob_buf_addc(out, '\n');
			add_lower(out, header->name);
			ob_buf_addc(out, ':');
		}
		add_header_value(out, header->value);
		last = header;
	}
	ob_buf_addc(out, '\n');
}

static void
add_header_names(ObBuf *out, const ObSignRequest *request)
{
	const ObPair *last = NULL;
	const ObPair *header;

	while ((header = next_header(request, last)) != NULL)
	{
		if (last == NULL)
			add_lower(out, header->name);
		else if (compare_names(header->name, last->name) != 0)
		{
			ob_buf_addc(out, ';');
			add_lower(out, header->name);
		}
		last = header;
	}
}

/* ---- The signature ---- */

void
ob_sigv4_timestamp(time_t when, char *out)
{
	struct tm tm;
	int64_t seconds = when;

	/* A time outside of four-digit years would not fit; such a clock is wrong,
	 * and the server will refuse the request in any case. */
	if (seconds < 0 || seconds > INT64_C(253402300799))
		when = 0;
	gmtime_r(&when, &tm);
	strftime(out, TIMESTAMP_LEN, "%Y%m%dT%H%M%SZ", &tm);
}

/* The cached key is recognised by the secret's hash, so that the cache holds
 * no secret that works for another day. */
static ObCode
derive_key(ObSigningKey *cache, const char *secret, const char *scope,
		   const ObSignRequest *request, ObError *error)
{
	unsigned char key[4 + SECRET_MAX] = "AWS4";
	size_t len = strlen(secret);
	ObCode code;

	if (len > SECRET_MAX)
		return ob_error_set(error, OB_EINVAL,
							"the secret access key is longer than %d bytes",
							SECRET_MAX);
	memcpy(key + 4, secret, len);
	code = ob_hmac_sha256(key, len + 4, scope, DATE_LEN, cache->key, error);
	OPENSSL_cleanse(key, sizeof(key));
	if (code == OB_OK)
		code = ob_hmac_sha256(cache->key, OB_SHA256_LEN, request->region,
							  strlen(request->region), cache->key, error);
	if (code == OB_OK)
		code = ob_hmac_sha256(cache->key, OB_SHA256_LEN, request->service,
							  strlen(request->service), cache->key, error);
	if (code == OB_OK)
		code = ob_hmac_sha256(cache->key, OB_SHA256_LEN, "aws4_request",
							  strlen("aws4_request"), cache->key, error);
	return code;
}

/* Fills the cache with the key for this secret and this request, if it has
 * another. */
static ObCode
find_key(ObSigningKey *cache, const char *secret, const char *timestamp,
		 const ObSignRequest *request, ObError *error)
{
	char scope[sizeof(cache->scope)];
	unsigned char hash[OB_SHA256_LEN];
	int len;
	ObCode code;

	len = snprintf(scope, sizeof(scope), "%.*s/%s/%s", DATE_LEN, timestamp,
				   request->region, request->service);
	if (len < 0 || (size_t) len >= sizeof(scope))
		return ob_error_set(error, OB_EINVAL, "the region is too long");
	code = ob_sha256(secret, strlen(secret), hash, error);
	if (code == OB_OK &&
		!(cache->valid && strcmp(cache->scope, scope) == 0 &&
		  CRYPTO_memcmp(cache->secret_hash, hash, OB_SHA256_LEN) == 0))
	{
		ob_sigv4_forget(cache);
		code = derive_key(cache, secret, scope, request, error);
		if (code == OB_OK)
		{
			memcpy(cache->scope, scope, (size_t) len + 1);
			memcpy(cache->secret_hash, hash, OB_SHA256_LEN);
			cache->valid = true;
		}
		else
			ob_sigv4_forget(cache);
	}
	OPENSSL_cleanse(hash, sizeof(hash));
	return code;
}

static void
add_canonical_request(ObBuf *out, const ObSignRequest *request)
{
	ob_buf_addf(out, "%s\n", request->method);
	if (request->double_encode)
		ob_uri_encode(out, request->path, strlen(request->path), true);
	else
		ob_buf_adds(out, request->path);
	ob_buf_addf(out, "\n%s\n", request->query);
	add_headers(out, request);
	ob_buf_addc(out, '\n');
	add_header_names(out, request);
	ob_buf_addf(out, "\n%s", request->payload_hash);
}

/* The three texts, each made from the one before. */
static ObCode
sign(const ObSigningKey *cache, const char *access_key_id,
	 const char *timestamp, const ObSignRequest *request, ObBuf *canonical,
	 ObBuf *to_sign, ObBuf *authorization, ObError *error)
{
	unsigned char signature[OB_SHA256_LEN];
	char hex[OB_SHA256_HEX];
	ObCode code;

	add_canonical_request(canonical, request);
	code = ob_buf_check(canonical, error);
	if (code == OB_OK)
		code = ob_sha256_hex(canonical->data, canonical->len, hex, error);
	if (code != OB_OK)
		return code;

	ob_buf_addf(to_sign, "AWS4-HMAC-SHA256\n%s\n%s/aws4_request\n%s",
				timestamp, cache->scope, hex);
	code = ob_buf_check(to_sign, error);
	if (code == OB_OK)
		code = ob_hmac_sha256(cache->key, OB_SHA256_LEN, to_sign->data,
							  to_sign->len, signature, error);
	if (code != OB_OK)
		return code;

	ob_hex(signature, sizeof(signature), hex);
	ob_buf_addf(authorization,
				"AWS4-HMAC-SHA256 Credential=%s/%s/aws4_request, "
				"SignedHeaders=",
				access_key_id, cache->scope);
	add_header_names(authorization, request);
	ob_buf_addf(authorization, ", Signature=%s", hex);
	return ob_buf_check(authorization, error);
}

ObCode
ob_sigv4_sign(ObSigningKey *cache, const ObCredentials *credentials,
			  const ObSignRequest *request, ObBuf *canonical, ObBuf *to_sign,
			  ObBuf *authorization, ObError *error)
{
	char timestamp[TIMESTAMP_LEN];
	ObBuf texts[2];
	ObCode code;

	ob_sigv4_timestamp(request->when, timestamp);
	code = find_key(cache, credentials->secret_access_key, timestamp, request,
					error);
	if (code != OB_OK)
		return code;

	for (int i = 0; i < 2; i++)
		ob_buf_init(&texts[i], TEXT_MAX);
	code = sign(cache, credentials->access_key_id, timestamp, request,
				&texts[0], &texts[1], authorization, error);
	if (canonical != NULL)
		ob_buf_add(canonical, texts[0].data, texts[0].len);
	if (to_sign != NULL)
		ob_buf_add(to_sign, texts[1].data, texts[1].len);
	for (int i = 0; i < 2; i++)
		ob_buf_wipe(&texts[i]);
	return code;
}

void
ob_sigv4_forget(ObSigningKey *cache)
{
	OPENSSL_cleanse(cache, sizeof(*cache));
}
