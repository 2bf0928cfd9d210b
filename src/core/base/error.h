/*
 * error.h
 *		Errors, in a form that any host can report.
 *
 * src/core/base/error.h
 *
 * Core functions return an ObCode and fill an ObError; nothing in core
 * throws, logs or exits.  An ObError is plain memory of fixed size: it owns
 * nothing, may be copied by assignment, and can be filled when malloc fails.
 *
 * "what" names the action and its object ("could not upload part 7 of
 * \"s3://b/k\""); "cause" is why it failed, as a sentence without a full stop.
 * The first error wins: callers never overwrite one that is set.
 */
#ifndef OB_ERROR_H
#define OB_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#define OB_MUST_CHECK __attribute__((warn_unused_result))
#define OB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* One per way in which a host must react; see docs/reference.md, "Errors". */
typedef enum ObCode
{
	OB_OK = 0,
	OB_EINVAL,    /* a bad value, before anything was sent */
	OB_ENOMEM,    /* malloc failed, or a cap on memory was hit */
	OB_ECREDS,    /* none found, expired or refused */
	OB_EDENIED,   /* valid credentials without the right */
	OB_EMISSING,  /* no such bucket, key or upload */
	OB_EEXISTS,   /* a conditional write found an object */
	OB_EREGION,   /* the bucket is in another region */
	OB_ESKEW,     /* our clock and the server's differ too much */
	OB_ECONNECT,  /* DNS, TCP or a broken connection */
	OB_ETLS,      /* certificate or handshake */
	OB_ETIMEOUT,  /* no progress for too long */
	OB_ETHROTTLE, /* SlowDown and its kin */
	OB_ESERVER,   /* 5xx, or an error inside a 200 */
	OB_EREQUEST,  /* any other refusal (4xx) */
	OB_ELIMIT,    /* part count or object size */
	OB_EPROTO,    /* not a response that S3 would give */
	OB_EUNKNOWN,  /* whether the object was written is not known */
	OB_EIO        /* a local file */
} ObCode;

typedef struct ObError
{
	ObCode code;
	int http_status; /* 0: no HTTP response */
	int attempts;    /* how many requests were tried, 0: none */
	bool read_only;  /* the request read an object's state; it wrote nothing */
	char what[1400]; /* a key may have 1,024 bytes */
	char cause[512];
	char s3_code[64];     /* "" or S3's <Code> */
	char request_id[128]; /* "" or x-amz-request-id */
	char region[64]; /* "" or the bucket's region, as the server named it */
} ObError;

/* Resets to OB_OK with empty texts. */
extern void ob_error_clear(ObError *error);

/*
 * Sets code and cause, unless an error is already set; returns the code that
 * is set then, so that a caller can write "return ob_error_set(...)".  Control
 * characters in the formatted text and bytes that are not UTF-8 become "?" (a
 * server's text may hold anything).
 */
extern ObCode ob_error_set(ObError *error, ObCode code, const char *format,
						   ...) OB_PRINTF(3, 4);

/* Sets "what", unless it is already set. */
extern void ob_error_what(ObError *error, const char *format, ...)
	OB_PRINTF(2, 3);

/* Copies a text into a field as ob_error_set() does: cut between two UTF-8
 * characters, with control characters masked. */
extern void ob_error_text(char *field, size_t size, const char *text);

/* Copies a server's text into a field, cut to its size; bytes other than
 * printable ASCII become "?". */
extern void ob_error_copy(char *field, size_t size, const char *text,
						  size_t len);

/* Returns a stable lower-case name, such as "throttled"; static. */
extern const char *ob_code_name(ObCode code);

#endif
