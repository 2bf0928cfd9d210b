/*
 * uri.h
 *		Endpoints, bucket names, and the encoding of keys.
 *
 * src/core/text/uri.h
 *
 * All functions are pure except ob_aws_variant(), and allocate only through an
 * ObBuf.
 */
#ifndef OB_URI_H
#define OB_URI_H

#include "core/base/buf.h"
#include "core/base/error.h"

/* How the bucket is named: in the path or as a virtual host. */
typedef enum ObAddressing
{
	OB_ADDRESSING_AUTO, /* virtual on AWS, path elsewhere */
	OB_ADDRESSING_PATH,
	OB_ADDRESSING_VIRTUAL
} ObAddressing;

#define OB_KEY_MAX 1024 /* bytes of UTF-8; S3's own limit */
#define OB_BUCKET_MAX 63
#define OB_REGION_MAX 63 /* a region is one label of a host name */

typedef struct ObEndpoint
{
	bool https;
	bool aws; /* AWS's own: built from a region, or recognised by its host */
	char host[256]; /* without port; "[::1]" for IPv6 literals */
	int port;       /* 0: the scheme's default */
	char base[256]; /* encoded path before the bucket, "" or "/x/y" */
	/* The variant of AWS's hosts, where a host is built from a region: this
	 * endpoint's, or that of STS. */
	unsigned variant;
} ObEndpoint;

/* The bits of ObEndpoint.variant. */
#define OB_AWS_FIPS 1u
#define OB_AWS_DUALSTACK 2u

/* The variant that AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT
 * choose. */
extern unsigned ob_aws_variant(void);

/*
 * RFC 3986 percent-encoding, upper-case hexadecimal: each byte but
 * A-Z a-z 0-9 - _ . ~ is encoded ("/" is kept if keep_slash), once, and
 * nothing is normalised.
 */
extern void ob_uri_encode(ObBuf *out, const char *text, size_t len,
						  bool keep_slash);

/*
 * Reads "http[s]://host[:port][/base]".  OB_EINVAL with a cause that names the
 * fault: no scheme, another scheme, user information, a query string, a
 * fragment, an empty host, a bad port, a blank or control character.  A
 * trailing "/" of the base is dropped.  The cause never repeats the password
 * of an endpoint that has one.
 */
extern ObCode ob_endpoint_parse(ObEndpoint *endpoint, const char *url,
								ObError *error) OB_MUST_CHECK;

/*
 * AWS's own endpoint of a service ("s3", "sts", ...) in a region:
 * {service}.{region}.amazonaws.com, or as the region's partition and the
 * variant have it; https.  OB_EINVAL if the region is not made of lower-case
 * letters, digits and "-" (it becomes part of a host name), and if there is no
 * such endpoint.
 */
extern ObCode ob_endpoint_service(ObEndpoint *endpoint, const char *service,
								  const char *region, unsigned variant,
								  ObError *error) OB_MUST_CHECK;

/* S3's, as most have it. */
extern ObCode ob_endpoint_aws(ObEndpoint *endpoint, const char *region,
							  ObError *error) OB_MUST_CHECK;

/* Returns whether the host is one of the service's own, including
 * PrivateLink's names. */
extern bool ob_host_is_aws(const char *host, const char *service);

/* Requirements of other stores, recognised by their hosts: Cloudflare's R2
 * wants all parts of an upload except the last to have one size; Backblaze's
 * B2 wants Content-MD5 for locked objects. */
extern bool ob_endpoint_wants_equal_parts(const ObEndpoint *endpoint);
extern bool ob_endpoint_wants_md5(const ObEndpoint *endpoint);

/*
 * Whether a text can be a region: up to OB_REGION_MAX letters, digits, "-",
 * "_" and ".".  It goes into signatures and, on AWS, where
 * ob_endpoint_service() is stricter, into a host's name.
 */
extern bool ob_region_is_valid(const char *region);

/* The rule as a sentence, for hints. */
#define OB_BUCKET_RULE                                                \
	"A bucket name has 3 to 63 lower-case letters, digits, dots and " \
	"hyphens."

/*
 * S3's rules for bucket names: 3 to 63 of a-z 0-9 . -, beginning and ending
 * with a letter or digit, no "..", not an IPv4 address, nor one of the names
 * that AWS reserves for other kinds of requests.  OB_EINVAL with a cause;
 * "s3://b" and "arn:..." get a cause of their own that says to give the bare
 * name.
 */
extern ObCode ob_bucket_check(const char *bucket,
							  ObError *error) OB_MUST_CHECK;

/*
 * Whether a comma-separated list of shell patterns (* ? and [...]; blanks
 * around a pattern are ignored) holds one that matches the bucket.
 */
extern bool ob_bucket_matches(const char *patterns, const char *bucket);

/*
 * Builds the target of a request for bucket and key. host gets the value of
 * the Host header (with the port unless it is the scheme's default), path the
 * encoded path that is both signed and sent (it starts with "/"). key NULL or
 * "" addresses the bucket itself.  Automatic addressing is virtual-hosted on
 * AWS unless the bucket has a dot under https (a wildcard certificate covers
 * one label), and by path elsewhere.
 */
extern void ob_uri_target(const ObEndpoint *endpoint, ObAddressing addressing,
						  const char *bucket, const char *key, ObBuf *host,
						  ObBuf *path);

#endif
