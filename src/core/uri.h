/*
 * uri.h
 *		Endpoints, bucket names, and the encoding of keys.
 *
 * src/core/uri.h
 *
 * All pure: nothing here allocates but through an ObBuf.
 */
#ifndef OB_URI_H
#define OB_URI_H

#include "buf.h"
#include "error.h"

/* How the bucket is named: in the path or as a virtual host. */
typedef enum ObAddressing
{
	OB_ADDRESSING_AUTO, /* virtual on AWS, path elsewhere */
	OB_ADDRESSING_PATH,
	OB_ADDRESSING_VIRTUAL
} ObAddressing;

#define OB_KEY_MAX 1024 /* bytes of UTF-8; S3's own limit */
#define OB_BUCKET_MAX 63

typedef struct ObEndpoint
{
	bool https;
	bool aws;       /* made by ob_endpoint_aws, or a host of Amazon's */
	char host[256]; /* without port; "[::1]" for IPv6 literals */
	int port;       /* 0: the scheme's default */
	char base[256]; /* encoded path before the bucket, "" or "/x/y" */
} ObEndpoint;

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
 * AWS's own endpoint of a region: s3.{region}.amazonaws.com, for cn-* regions
 * s3.{region}.amazonaws.com.cn; https.  OB_EINVAL if the region is not made of
 * lower-case letters, digits and "-" (it becomes part of a host name).
 */
extern ObCode ob_endpoint_aws(ObEndpoint *endpoint, const char *region,
							  ObError *error) OB_MUST_CHECK;

/*
 * S3's rules for bucket names: 3 to 63 of a-z 0-9 . -, beginning and ending
 * with a letter or digit, no "..", not an IPv4 address.  OB_EINVAL with a
 * cause; "s3://b" and "arn:..." get a cause of their own that says to give the
 * bare name.
 */
extern ObCode ob_bucket_check(const char *bucket,
							  ObError *error) OB_MUST_CHECK;

/*
 * Whether a comma-separated list of shell patterns (* ? and [...]; blanks
 * around a pattern are ignored) holds one that matches the bucket.
 */
extern bool ob_bucket_matches(const char *patterns, const char *bucket);

/*
 * Where a request for bucket and key goes.  host gets the value of the Host
 * header (with the port unless it is the scheme's default), path the encoded
 * path that is both signed and sent (it starts with "/").  key NULL or ""
 * addresses the bucket itself.  Automatic addressing is virtual-hosted on AWS
 * unless the bucket has a dot under https (a wildcard certificate covers one
 * label), and by path elsewhere.
 */
extern void ob_uri_target(const ObEndpoint *endpoint, ObAddressing addressing,
						  const char *bucket, const char *key, ObBuf *host,
						  ObBuf *path);

#endif
