/*
 * http.c
 *		Asynchronous HTTP requests over libcurl, behind one file descriptor.
 *
 * src/core/http/http.c
 *
 * The only file that includes curl.h.  A multi handle reports through its
 * socket and timer callbacks what it waits for; we keep its sockets in one
 * epoll set and its timer as a deadline.  A transfer is our side of a request.
 * It first waits for its start time, then owns an easy handle.  Easy handles
 * are reused, and so are connections.
 *
 * Callbacks that libcurl calls only copy bytes and set flags.
 */
#include "core/http/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define URL_MAX (16 * 1024)
#define HEADERS_MAX ((size_t) 64 * 1024)
/* The limit for all heads of a response together, since any number of 100
 * Continue responses may come.  Some releases of libcurl have a limit of 300
 * KiB, and then report a failed receive. */
#define HEADS_MAX ((size_t) 256 * 1024)
/* A gap between two drives counts at most this much towards a time-out. */
#define PUMP_GAP_MS 250
#define UPLOAD_BUFFER (512L * 1024)
/* The buffer of a response: libcurl's own default, and for one that may be
 * long. */
#define RESPONSE_BUFFER (16L * 1024)
#define STREAM_BUFFER (256L * 1024)
#define EVENTS 64
#define LINK_LOCAL                                                       \
	"the address is link-local, or another one where metadata services " \
	"are and no store is"

/*
 * CURLMOPT_QUICK_EXIT appeared in libcurl 8.20, where the multi handle owns
 * the resolver's threads, and waits for them without this option.  The library
 * at run time may be newer than the header.
 * https://curl.se/libcurl/c/CURLMOPT_QUICK_EXIT.html
 */
#define MULTI_QUICK_EXIT ((CURLMoption) (CURLOPTTYPE_LONG + 21))

typedef struct ObTransfer Transfer;

/* Our side of a request, from ob_http_start() until its end. */
struct ObTransfer
{
	Transfer *next;
	ObHttp *http;
	ObHttpRequest *request;
	CURL *easy; /* NULL until started */
	struct curl_slist *headers;
	int64_t start_ms;           /* when to start */
	int64_t begun_at;           /* on the pump clock */
	int64_t progress_at;        /* on the pump clock, when a byte last moved */
	long connect_ms;            /* libcurl's time-out */
	size_t sent;                /* bytes of the body given to libcurl */
	int64_t uploaded;           /* bytes of the body given to the network */
	uint64_t received;          /* bytes given to request->receive */
	bool overflowed;            /* the response exceeds the limit ... */
	uint64_t limit;             /* ... of this many bytes */
	size_t head_bytes;          /* in all heads of the response */
	bool headed;                /* the head is complete */
	bool refused;               /* an address was refused as link-local */
	char text[CURL_ERROR_SIZE]; /* libcurl's error message */
};

struct ObHttp
{
	CURLM *multi;
	int epoll;
	int64_t timer_at; /* libcurl's deadline, -1: none */
	int64_t driven_at;
	int64_t pumped_ms; /* the pump clock: time in which the host drove */
	Transfer *transfers;
	CURL **idle; /* easy handles to reuse */
	int nidle;
	int max_connections;
	int connect_timeout_ms;
	int stall_timeout_ms;
	char *user_agent;
	char *ca_file;
	char *proxy;
};

/* ---- clocks ---- */

int64_t
ob_http_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
ob_http_clock_ms(const ObHttp *http)
{
	return http->pumped_ms;
}

/* ---- addresses of metadata services ---- */

/*
 * At these addresses, clouds have services that give secrets to any process
 * that can make this host send a request, or that configure the host; no store
 * is there.  Most of the addresses are link-local, but not all: each cloud
 * documents its own.
 */
static bool
is_metadata_v4(uint32_t number)
{
	switch (number)
	{
		case 0x646464C8: /* 100.100.100.200: Alibaba */
		case 0xA83F8110: /* 168.63.129.16: Azure */
		case 0xC00000C0: /* 192.0.0.192: Oracle */
			return true;
		default:
			return number >> 16 == 0xA9FE; /* 169.254 */
	}
}

static uint32_t
read_v4(const unsigned char *byte)
{
	return (uint32_t) byte[0] << 24 | (uint32_t) byte[1] << 16 |
		   (uint32_t) byte[2] << 8 | byte[3];
}

/* Extracts the IPv4 address that an IPv6 address reaches, through the host
 * itself or a gateway: IPv4-mapped, IPv4-compatible, NAT64, 6to4. */
static bool
embeds_v4(const unsigned char *byte, uint32_t *number)
{
	static const unsigned char zeros[12] = {0};
	static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};
	static const unsigned char nat64[12] = {0x00, 0x64, 0xFF, 0x9B};

	*number = read_v4(byte + 12);
	if (memcmp(byte, zeros, 12) == 0 || memcmp(byte, mapped, 12) == 0 ||
		memcmp(byte, nat64, 12) == 0)
		return true;
	*number = read_v4(byte + 2);
	return byte[0] == 0x20 && byte[1] == 0x02;
}

static bool
is_metadata_v6(const struct in6_addr *address)
{
	static const struct
	{
		unsigned char byte[16];
		size_t len; /* bytes that are compared */
	} places[] = {
		{{0xFD, 0x00, 0x0E, 0xC2}, 4}, /* AWS's whole range */
		/* fd20:ce::254: Google */
		{{0xFD, 0x20, 0x00, 0xCE, [14] = 0x02, [15] = 0x54}, 16},
		/* fd00:c1::a9fe:a9fe: Oracle */
		{{0xFD, 0x00, 0x00, 0xC1, [12] = 0xA9, 0xFE, 0xA9, 0xFE}, 16},
		/* fd00:100::100:200: Alibaba */
		{{0xFD, 0x00, 0x01, 0x00, [12] = 0x01, 0x00, 0x02, 0x00}, 16},
		/* fd00:a9fe:a9fe::1: Linode */
		{{0xFD, 0x00, 0xA9, 0xFE, 0xA9, 0xFE, [15] = 0x01}, 16},
		/* fd00:42::42: Scaleway */
		{{0xFD, 0x00, 0x00, 0x42, [15] = 0x42}, 16},
	};
	uint32_t number;

	if (embeds_v4(address->s6_addr, &number) && is_metadata_v4(number))
		return true;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (memcmp(address->s6_addr, places[i].byte, places[i].len) == 0)
			return true;
	return IN6_IS_ADDR_LINKLOCAL(address);
}

static bool
is_link_local(const struct sockaddr *address)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (address->sa_family == AF_INET)
	{
		memcpy(&v4, address, sizeof(v4));
		return is_metadata_v4(ntohl(v4.sin_addr.s_addr));
	}
	if (address->sa_family != AF_INET6)
		return false;
	memcpy(&v6, address, sizeof(v6));
	return is_metadata_v6(&v6.sin6_addr);
}

/* Copies the host of a URL as resolvers want it; returns false if it is too
 * long. */
static bool
copy_host(const char *url, char *host, size_t size)
{
	const char *begin = strstr(url, "://");
	size_t len;

	begin = begin ? begin + 3 : url;
	len = strcspn(begin, "/?#");
	if (*begin == '[')
	{
		begin++;
		/* without its zone */
		len = strcspn(begin, "]%");
	}
	else if (memchr(begin, ':', len))
		len = strcspn(begin, ":");
	while (len > 0 && begin[len - 1] == '.')
		len--;
	if (len >= size)
		return false;
	memcpy(host, begin, len);
	host[len] = '\0';
	return true;
}

/*
 * With a proxy, it is the proxy that resolves names and connects.  We can
 * still check numeric addresses, in all their notations, and the few names
 * that mean the same everywhere.
 */
bool
ob_url_is_link_local(const char *url)
{
	static const char *const names[] = {
		"metadata.google.internal", "metadata.goog",
		"instance-data.ec2.internal", "metadata.tencentyun.com"};
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST,
							 .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[300];
	bool result = false;

	if (!copy_host(url, host, sizeof(host)))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(host, names[i]) == 0)
			return true;
	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false;
	result = is_link_local(found->ai_addr);
	freeaddrinfo(found);
	return result;
}

/* ---- callbacks of libcurl ---- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	ObHttp *http = arg;
	struct epoll_event event;

	(void) easy;
	memset(&event, 0, sizeof(event));
	event.data.fd = fd;
	if (what == CURL_POLL_REMOVE)
	{
		epoll_ctl(http->epoll, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(http->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
				  &event) != 0)
	{
		/* a descriptor may have been closed and reused without our notice */
		int op = errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

		if ((errno != ENOENT && errno != EEXIST) ||
			epoll_ctl(http->epoll, op, fd, &event) != 0)
			return -1;
	}
	curl_multi_assign(http->multi, fd, http);
	return 0;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	ObHttp *http = arg;

	(void) multi;
	http->timer_at = timeout_ms < 0 ? -1 : ob_http_now_ms() + timeout_ms;
	return 0;
}

/* Sets close-on-exec, so that child processes do not inherit the socket. */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	Transfer *transfer = arg;

	(void) purpose;
	if (!transfer->request->link_local && is_link_local(&address->addr))
	{
		transfer->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC,
				  address->protocol);
}

/* libcurl rewinds the body if a reused connection turns out to be dead. */
static int
on_seek(void *arg, curl_off_t offset, int origin)
{
	Transfer *transfer = arg;

	if (origin != SEEK_SET || offset < 0 ||
		(size_t) offset > transfer->request->body_len)
		return CURL_SEEKFUNC_FAIL;
	transfer->sent = (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

static size_t
on_read(char *to, size_t size, size_t n, void *arg)
{
	Transfer *transfer = arg;
	const ObHttpRequest *request = transfer->request;
	size_t left = request->body_len - transfer->sent;
	size_t take = size * n < left ? size * n : left;

	if (take > 0)
		memcpy(to, request->body + transfer->sent, take);
	transfer->sent += take;
	return take;
}

static void
overflow(Transfer *transfer, uint64_t limit)
{
	transfer->overflowed = true;
	transfer->limit = limit;
}

/* Passes on bytes that are not kept; returns false if there are too many. */
static bool
pass_on(Transfer *transfer, const char *data, size_t len)
{
	ObHttpRequest *request = transfer->request;

	if (len > request->receive_max - transfer->received)
	{
		overflow(transfer, request->receive_max);
		return false;
	}
	transfer->received += len;
	request->receive(request, data, len);
	return true;
}

static bool
is_success(const Transfer *transfer)
{
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

static size_t
on_write(char *data, size_t size, size_t n, void *arg)
{
	Transfer *transfer = arg;
	ObHttpRequest *request = transfer->request;

	transfer->progress_at = transfer->http->pumped_ms;
	if (request->receive && is_success(transfer))
		return pass_on(transfer, data, size * n) ? size * n : 0;
	ob_buf_add(&request->response, data, size * n);
	if (!request->response.failed)
		return size * n;
	if (request->response.full)
		overflow(transfer, request->response_max);
	return 0;
}

static size_t
on_header(char *line, size_t size, size_t n, void *arg)
{
	Transfer *transfer = arg;
	ObBuf *headers = &transfer->request->headers;
	size_t len = size * n;

	transfer->progress_at = transfer->http->pumped_ms;
	/* a status line begins the next response, for example after 100
	 * Continue */
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
	{
		ob_buf_reset(headers);
		transfer->headed = false;
	}
	transfer->head_bytes += len;
	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
		len--;
	ob_buf_add(headers, line, len);
	if (len == 0)
		transfer->headed = true;
	ob_buf_addc(headers, '\n');
	if (headers->full)
		overflow(transfer, HEADERS_MAX);
	else if (transfer->head_bytes > HEADS_MAX)
		overflow(transfer, HEADS_MAX);
	else if (!headers->failed)
		return size * n;
	return 0;
}

/* ---- easy handles ---- */

static int
connect_timeout(const Transfer *transfer)
{
	int own = transfer->request->connect_timeout_ms;

	return own > 0 ? own : transfer->http->connect_timeout_ms;
}

/* Sets the options that are the same for every request. */
static bool
set_common(const ObHttp *http, CURL *easy)
{
	CURLcode bad = CURLE_OK;

#define SET(option, value) \
	(bad = bad != CURLE_OK ? bad : curl_easy_setopt(easy, option, value))
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROGRESS, 1L);
	/* a cancel never waits for a name server */
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_USERAGENT, http->user_agent);
	/* S3 closes connections that were idle for five seconds */
	SET(CURLOPT_MAXAGE_CONN, 4L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, 30L);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
	SET(CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_WRITEFUNCTION, on_write);
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_SEEKFUNCTION, on_seek);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	return bad == CURLE_OK;
}

/* Sets the method, and how the body is sent. */
static bool
set_method(CURL *easy, const ObHttpRequest *request)
{
	CURLcode bad = CURLE_OK;

	if (strcmp(request->method, "PUT") == 0)
	{
		SET(CURLOPT_UPLOAD, 1L);
		SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t) request->body_len);
	}
	else if (strcmp(request->method, "POST") == 0)
	{
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_len);
		SET(CURLOPT_POSTFIELDS, request->body ? request->body : "");
	}
	else if (strcmp(request->method, "HEAD") == 0)
		SET(CURLOPT_NOBODY, 1L);
	else if (strcmp(request->method, "GET") == 0)
		SET(CURLOPT_HTTPGET, 1L);
	else
		SET(CURLOPT_CUSTOMREQUEST, request->method);
	return bad == CURLE_OK;
}

/* Sets how the server is reached. */
static bool
set_route(Transfer *transfer)
{
	const ObHttp *http = transfer->http;
	const ObHttpRequest *request = transfer->request;
	bool proxied = http->proxy && !request->direct;
	CURL *easy = transfer->easy;
	CURLcode bad = CURLE_OK;

	/* http_proxy and no_proxy are ignored: they belong to the host's
	 * environment */
	SET(CURLOPT_PROXY, proxied ? http->proxy : "");
	SET(CURLOPT_NOPROXY, proxied ? "" : "*");
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);
	/* otherwise a request that must not connect there could reuse the
	 * connection */
	SET(CURLOPT_FORBID_REUSE, request->link_local ? 1L : 0L);
	if (http->ca_file && !request->system_ca)
	{
		SET(CURLOPT_CAINFO, http->ca_file);
		SET(CURLOPT_CAPATH, NULL);
		/* libcurl would cache the file for a day, although it may be replaced;
		 * reading it for each handshake takes less than a millisecond per
		 * certificate */
		SET(CURLOPT_CA_CACHE_TIMEOUT, 0L);
	}
	transfer->connect_ms = connect_timeout(transfer);
	SET(CURLOPT_CONNECTTIMEOUT_MS, transfer->connect_ms);
	return bad == CURLE_OK;
}

static bool
set_request(Transfer *transfer)
{
	CURL *easy = transfer->easy;
	CURLcode bad = CURLE_OK;

	SET(CURLOPT_URL, transfer->request->url.data);
	SET(CURLOPT_HTTPHEADER, transfer->headers);
	SET(CURLOPT_PRIVATE, transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->text);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_WRITEDATA, transfer);
	SET(CURLOPT_READDATA, transfer);
	SET(CURLOPT_SEEKDATA, transfer);
	SET(CURLOPT_OPENSOCKETDATA, transfer);
	/* refused by libcurl 7 if the handle still has a buffer, as after a name
	 * that was not resolved; any size will do */
	(void) curl_easy_setopt(easy, CURLOPT_BUFFERSIZE,
							transfer->request->receive ? STREAM_BUFFER
													   : RESPONSE_BUFFER);
	return bad == CURLE_OK && set_method(easy, transfer->request) &&
		   set_route(transfer);
#undef SET
}

/* ---- transfers ---- */

static bool
is_connected(const Transfer *transfer)
{
	curl_off_t connected = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
	return connected > 0;
}

/* Notes progress of an upload. libcurl fetches a body in big pieces, or at
 * once, so only the bytes that have gone out count. */
static void
note_upload(Transfer *transfer)
{
	curl_off_t uploaded = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	if (uploaded == transfer->uploaded)
		return;
	transfer->uploaded = uploaded;
	transfer->progress_at = transfer->http->pumped_ms;
}

/* Wipes the headers, which hold session tokens and signatures. */
static void
free_headers(struct curl_slist *headers)
{
	for (struct curl_slist *line = headers; line; line = line->next)
		OPENSSL_cleanse(line->data, strlen(line->data));
	curl_slist_free_all(headers);
}

ObCode
ob_http_header(ObHttpRequest *request, const char *name, const char *value,
			   ObError *error)
{
	struct curl_slist *list;
	ObBuf line;

	if (strpbrk(name, "\r\n") || (value && strpbrk(value, "\r\n")))
		return ob_error_set(error, OB_EINVAL,
							"a header would have a line break");
	ob_buf_init(&line, HEADERS_MAX);
	/* "Name:" would remove the header, "Name;" sends it with an empty value;
	 * libcurl ignores blanks around a value */
	if (value && value[strspn(value, " \t")] == '\0')
		ob_buf_addf(&line, "%s;", name);
	else
		ob_buf_addf(&line, "%s: %s", name, value ? value : "");
	if (ob_buf_check(&line, error) != OB_OK)
	{
		ob_buf_free(&line);
		return error->code;
	}
	list = curl_slist_append(request->transfer->headers, line.data);
	ob_buf_wipe(&line);
	if (!list)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	request->transfer->headers = list;
	return OB_OK;
}

static void
unlink_transfer(ObHttp *http, const Transfer *transfer)
{
	Transfer **link = &http->transfers;

	while (*link && *link != transfer)
		link = &(*link)->next;
	if (*link)
		*link = transfer->next;
}

static void
end_transfer(Transfer *transfer)
{
	ObHttp *http = transfer->http;
	CURL *easy = transfer->easy;

	unlink_transfer(http, transfer);
	transfer->request->transfer = NULL;
	if (easy)
	{
		curl_multi_remove_handle(http->multi, easy);
		/* also drops every pointer into the transfer and its request */
		curl_easy_reset(easy);
		if (http->nidle < http->max_connections)
			http->idle[http->nidle++] = easy;
		else
			curl_easy_cleanup(easy);
	}
	free_headers(transfer->headers);
	free(transfer);
}

static void
finish(Transfer *transfer)
{
	ObHttpRequest *request = transfer->request;

	end_transfer(transfer);
	request->done(request);
}

static void
fail(Transfer *transfer, ObCode code, const char *cause)
{
	ObHttpRequest *request = transfer->request;

	ob_error_set(&request->error, code, "%s", cause);
	request->final = code == OB_ENOMEM || code == OB_EINVAL;
	finish(transfer);
}

static void
begin(Transfer *transfer)
{
	ObHttp *http = transfer->http;
	ObHttpRequest *request = transfer->request;

	ob_buf_reset(&request->url);
	ob_buf_reset(&request->response);
	ob_buf_reset(&request->headers);
	request->response.max = request->response_max;
	if (request->prepare(request, &request->error) != OB_OK ||
		ob_buf_check(&request->url, &request->error) != OB_OK)
	{
		request->final = true;
		finish(transfer);
		return;
	}
	if (http->proxy && !request->direct && !request->link_local &&
		ob_url_is_link_local(request->url.data))
	{
		fail(transfer, OB_EINVAL, LINK_LOCAL);
		return;
	}
	if (http->nidle > 0)
		transfer->easy = http->idle[--http->nidle];
	else
		transfer->easy = curl_easy_init();
	if (!transfer->easy || !set_common(http, transfer->easy) ||
		!set_request(transfer))
	{
		fail(transfer, OB_ENOMEM, "libcurl could not set up a request");
		return;
	}
	transfer->begun_at = transfer->progress_at = http->pumped_ms;
	if (curl_multi_add_handle(http->multi, transfer->easy) != CURLM_OK)
		fail(transfer, OB_ENOMEM, "libcurl could not start a request");
}

static ObCode
curl_code(CURLcode result, long status, bool *final)
{
	*final = false;
	switch (result)
	{
		case CURLE_OPERATION_TIMEDOUT:
			return OB_ETIMEOUT;
		case CURLE_SSL_CONNECT_ERROR:
			return OB_ETLS;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_COULDNT_CONNECT:
		case CURLE_PARTIAL_FILE:
		case CURLE_GOT_NOTHING:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_SEND_FAIL_REWIND:
			return OB_ECONNECT;
		/* not HTTP: surplus bytes after a response were taken for the next
		 * response, so a new connection may succeed */
		case CURLE_UNSUPPORTED_PROTOCOL:
			return OB_EPROTO;
		case CURLE_WEIRD_SERVER_REPLY:
			/* libcurl 8 sometimes reports the same with this code */
			if (status == 0)
				return OB_EPROTO;
			break;
		default:
			break;
	}
	*final = true;
	switch (result)
	{
		case CURLE_OUT_OF_MEMORY:
			return OB_ENOMEM;
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_ENGINE_INITFAILED:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CRL_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		case CURLE_SSL_INVALIDCERTSTATUS:
			return OB_ETLS;
		case CURLE_URL_MALFORMAT:
			return OB_EINVAL;
		default:
			return OB_EPROTO;
	}
}

static bool
is_unresolved(CURL *easy, CURLcode result)
{
	curl_off_t resolved = 0; /* when it was */

	if (result == CURLE_COULDNT_RESOLVE_HOST ||
		result == CURLE_COULDNT_RESOLVE_PROXY)
		return true;
	if (result != CURLE_OPERATION_TIMEDOUT)
		return false;
	curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
	return resolved == 0;
}

/* Sets the error of a failure that we caused, or can name better than
 * libcurl. */
static bool
is_own_failure(Transfer *transfer, CURLcode result)
{
	ObHttpRequest *request = transfer->request;

	if (transfer->overflowed)
		ob_error_set(&request->error, OB_EPROTO,
					 "the response is longer than %llu bytes",
					 (unsigned long long) transfer->limit);
	else if (result == CURLE_WRITE_ERROR)
		ob_error_set(&request->error, OB_ENOMEM, "out of memory");
	else if (result == CURLE_OUT_OF_MEMORY && request->sent &&
			 !transfer->headed)
		/* libcurl uses this code for a line above 100 KiB */
		ob_error_set(&request->error, OB_EPROTO,
					 "a header of the response is too long");
	else if (result == CURLE_COULDNT_CONNECT && transfer->refused)
		ob_error_set(&request->error, OB_EINVAL, "%s", LINK_LOCAL);
	else
		return false;
	request->final = true;
	return true;
}

/* Returns whether the connection ended within the head of the response, which
 * libcurl takes for a whole one. */
static bool
is_beheaded(const Transfer *transfer, CURLcode result)
{
	return result == CURLE_OK && !transfer->headed;
}

/*
 * Returns whether the status counts even though the transfer failed.  If a
 * server responds early with 4xx or 5xx and closes the connection, our sends
 * fail; and a refusal may be truncated.
 */
static bool
is_refused(const Transfer *transfer, CURLcode result, long status)
{
	return status >= 400 &&
		   (result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR ||
			result == CURLE_PARTIAL_FILE || is_beheaded(transfer, result));
}

/* Handles the end of a transfer in libcurl. */
static void
complete_transfer(Transfer *transfer, CURLcode result)
{
	ObHttpRequest *request = transfer->request;
	long status = 0;
	long size = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &size);
	request->status = (int) status;
	request->sent = size > 0;
	request->unresolved = is_unresolved(transfer->easy, result);
	request->truncated = is_refused(transfer, result, status);
	if (is_beheaded(transfer, result) && !request->truncated)
		ob_error_set(&request->error, OB_ECONNECT,
					 "the connection ended within the response's head");
	else if (result != CURLE_OK && !is_own_failure(transfer, result) &&
			 !request->truncated)
	{
		ObCode code = curl_code(result, status, &request->final);

		ob_error_set(&request->error, code, "%s",
					 transfer->text[0] ? transfer->text
									   : curl_easy_strerror(result));
	}
	finish(transfer);
}

/* ---- driving ---- */

static void
start_due(ObHttp *http, int64_t now)
{
	bool again = true;

	/* a callback may change the list: start over after each one */
	while (again)
	{
		again = false;
		for (Transfer *t = http->transfers; t; t = t->next)
		{
			if (!t->easy && t->start_ms <= now)
			{
				begin(t);
				again = true;
				break;
			}
		}
	}
}

/* Returns whether a transfer has taken too long, and sets its error.  libcurl
 * checks for slow connects, too, but not again once we have extended its
 * time-out. */
static bool
is_overdue(const ObHttp *http, Transfer *transfer)
{
	ObHttpRequest *request = transfer->request;
	int64_t age = http->pumped_ms - transfer->begun_at;
	int stall = request->stall_timeout_ms > 0 ? request->stall_timeout_ms
											  : http->stall_timeout_ms;
	int total = request->timeout_ms;
	const char *what;
	int limit;

	if (!transfer->easy)
		return false;
	note_upload(transfer);
	request->sent = true; /* or must be assumed to have been sent */
	if (age > (limit = connect_timeout(transfer)) && !is_connected(transfer))
	{
		what = "no connection was made within";
		request->sent = false;
	}
	else if (total > 0 && age > (limit = total))
		what = "no complete response was received within";
	else if (http->pumped_ms - transfer->progress_at > (limit = stall))
		what = "no data was transferred for";
	else
		return false;
	ob_error_set(&request->error, OB_ETIMEOUT, "%s %g s", what,
				 limit / 1000.0);
	return true;
}

static void
fail_overdue(ObHttp *http)
{
	bool again = true;

	/* a callback may change the list: start over after each one */
	while (again)
	{
		again = false;
		for (Transfer *t = http->transfers; t; t = t->next)
		{
			if (is_overdue(http, t))
			{
				finish(t);
				again = true;
				break;
			}
		}
	}
}

static void
complete_transfers(ObHttp *http)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		CURLcode result = message->data.result;
		char *transfer = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		complete_transfer((Transfer *) (void *) transfer, result);
	}
}

static ObCode
pump(ObHttp *http, ObError *error)
{
	struct epoll_event events[EVENTS];
	int running;
	int n = epoll_wait(http->epoll, events, EVENTS, 0);

	if (n < 0 && errno != EINTR)
		return ob_error_set(error, OB_EIO, "epoll_wait: %s", strerror(errno));
	for (int i = 0; i < n; i++)
	{
		int what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(http->multi, events[i].data.fd, what,
								 &running);
	}
	if (http->timer_at >= 0 && http->timer_at <= ob_http_now_ms())
	{
		http->timer_at = -1;
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0,
								 &running);
	}
	return OB_OK;
}

/* libcurl's connect time-out runs on wall-clock time: a handshake of two round
 * trips would fail if the host let ten seconds pass between them. */
static void
extend_connects(const ObHttp *http, int64_t lost_ms)
{
	for (Transfer *t = http->transfers; t; t = t->next)
	{
		if (!t->easy)
			continue;
		t->connect_ms += (long) lost_ms;
		curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, t->connect_ms);
	}
}

static void
advance_clock(ObHttp *http)
{
	int64_t now = ob_http_now_ms();
	int64_t gap = now - http->driven_at;
	int64_t lost = gap > PUMP_GAP_MS ? gap - PUMP_GAP_MS : 0;

	if (lost > 0)
		extend_connects(http, lost);
	http->pumped_ms += gap - lost;
	http->driven_at = now;
}

ObCode
ob_http_drive(ObHttp *http, ObError *error)
{
	sigset_t all;
	sigset_t before;
	ObCode code;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	advance_clock(http);
	start_due(http, http->driven_at);
	code = pump(http, error);
	complete_transfers(http);
	fail_overdue(http);
	/* requests that the callbacks started may begin at once */
	start_due(http, http->driven_at);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}

int
ob_http_timeout_ms(const ObHttp *http)
{
	int64_t now = ob_http_now_ms();
	int64_t at = http->timer_at;

	for (const Transfer *t = http->transfers; t; t = t->next)
	{
		/* the time-outs of a running transfer are checked now and then */
		int64_t look = t->easy ? now + PUMP_GAP_MS : t->start_ms;

		if (at < 0 || look < at)
			at = look;
	}
	if (at < 0)
		return -1;
	return at <= now ? 0 : (int) (at - now);
}

/* ---- the client ---- */

int
ob_http_fd(const ObHttp *http)
{
	return http->epoll;
}

static bool
set_up_multi(ObHttp *http)
{
	errno = 0;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return false;
	http->multi = curl_multi_init();
	if (!http->multi)
		return false;
	/* an older libcurl does not know the option, and does not need it */
	(void) curl_multi_setopt(http->multi, MULTI_QUICK_EXIT, 1L);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_PIPELINING,
					  (long) CURLPIPE_NOTHING);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS,
					  (long) http->max_connections);
	return true;
}

/* Lack of memory is not the only cause: later versions of libcurl open
 * descriptors, and do not report when none are left. */
static void
report_setup_failure(ObError *error)
{
	if (errno == EMFILE || errno == ENFILE)
		ob_error_set(error, OB_EIO, "libcurl could not be set up: %s",
					 strerror(errno));
	else
		ob_error_set(error, OB_ENOMEM, "libcurl could not be set up");
}

ObHttp *
ob_http_new(const ObHttpOptions *options, ObError *error)
{
	ObHttp *http = calloc(1, sizeof(ObHttp));

	if (!http)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	http->epoll = -1;
	http->timer_at = -1;
	http->driven_at = ob_http_now_ms();
	http->max_connections = options->max_connections;
	http->connect_timeout_ms = options->connect_timeout_ms;
	http->stall_timeout_ms = options->stall_timeout_ms;
	http->idle = calloc((size_t) options->max_connections, sizeof(CURL *));
	http->user_agent = strdup(options->user_agent);
	if (options->ca_file)
		http->ca_file = strdup(options->ca_file);
	if (options->proxy)
		http->proxy = strdup(options->proxy);
	if (!http->idle || !http->user_agent ||
		(options->ca_file && !http->ca_file) ||
		(options->proxy && !http->proxy) || !set_up_multi(http))
		report_setup_failure(error);
	else if ((http->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		ob_error_set(error, OB_EIO, "epoll_create1: %s", strerror(errno));
	else
		return http;
	ob_http_free(http);
	return NULL;
}

void
ob_http_free(ObHttp *http)
{
	if (!http)
		return;
	while (http->transfers)
		end_transfer(http->transfers);
	for (int i = 0; i < http->nidle; i++)
		curl_easy_cleanup(http->idle[i]);
	if (http->multi)
		curl_multi_cleanup(http->multi);
	if (http->epoll >= 0)
		close(http->epoll);
	free(http->idle);
	free(http->user_agent);
	free(http->ca_file);
	free(http->proxy);
	free(http);
}

/* ---- requests ---- */

void
ob_http_request_init(ObHttpRequest *request,
					 ObCode (*prepare)(ObHttpRequest *request, ObError *error),
					 void (*done)(ObHttpRequest *request), void *arg)
{
	memset(request, 0, sizeof(*request));
	request->prepare = prepare;
	request->done = done;
	request->arg = arg;
	request->response_max = HEADERS_MAX;
	ob_buf_init(&request->url, URL_MAX);
	ob_buf_init(&request->response, HEADERS_MAX);
	ob_buf_init(&request->headers, HEADERS_MAX);
}

void
ob_http_request_free(ObHttpRequest *request)
{
	if (request->transfer)
		end_transfer(request->transfer);
	ob_buf_free(&request->url);
	ob_buf_free(&request->response);
	ob_buf_free(&request->headers);
}

void
ob_http_start(ObHttp *http, ObHttpRequest *request, int64_t delay_ms)
{
	Transfer *transfer = calloc(1, sizeof(Transfer));
	Transfer **link = &http->transfers;

	ob_error_clear(&request->error);
	request->final = false;
	request->status = 0;
	request->sent = request->truncated = false;
	request->unresolved = false;
	if (!transfer)
	{
		ob_error_set(&request->error, OB_ENOMEM, "out of memory");
		request->final = true;
		request->done(request);
		return;
	}
	transfer->http = http;
	transfer->request = request;
	transfer->start_ms = ob_http_now_ms() + delay_ms;
	request->transfer = transfer;
	while (*link)
		link = &(*link)->next;
	*link = transfer;
}

void
ob_http_cancel(ObHttp *http, ObHttpRequest *request)
{
	if (request->transfer)
		end_transfer(request->transfer);
}

bool
ob_http_running(const ObHttpRequest *request)
{
	return request->transfer != NULL;
}

bool
ob_http_sent(const ObHttpRequest *request)
{
	return ob_http_running(request) && request->transfer->easy &&
		   is_connected(request->transfer);
}

/* libcurl has the whole body of a POST from the beginning. */
bool
ob_http_sent_whole(const ObHttpRequest *request)
{
	return ob_http_sent(request) &&
		   (strcmp(request->method, "PUT") != 0 ||
			request->transfer->sent >= request->body_len);
}

bool
ob_http_response_header(const ObHttpRequest *request, const char *name,
						char *value, size_t size)
{
	size_t len = strlen(name);
	const char *line = request->headers.data;

	while (line && *line)
	{
		const char *end = strchr(line, '\n');

		if (strncasecmp(line, name, len) == 0 && line[len] == ':')
		{
			const char *from = line + len + 1;

			while (*from == ' ' || *from == '\t')
				from++;
			ob_error_copy(value, size, from,
						  end ? (size_t) (end - from) : strlen(from));
			return true;
		}
		line = end ? end + 1 : NULL;
	}
	return false;
}
