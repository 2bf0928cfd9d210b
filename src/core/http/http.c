/*
 * http.c
 *		Asynchronous HTTP requests over libcurl, behind one file descriptor.
 *
 * src/core/http/http.c
 *
 * The only file that includes curl.h; http_intern.h tells what stands in the
 * others.  A multi handle tells us through its socket and timer callbacks what
 * it waits for; we keep its sockets in one epoll set and its timer as a
 * deadline.  A transfer first waits for its start time, then owns an easy
 * handle.  Easy handles are reused, and so are connections.
 *
 * Callbacks that libcurl calls only copy bytes and set flags.
 */
#include "core/http/http_intern.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define UPLOAD_BUFFER (512L * 1024)
#define EVENTS 64
#define LINK_LOCAL                                                       \
	"the address is link-local, or another one where metadata services " \
	"are and no store is"

/*
 * CURLMOPT_QUICK_EXIT, which came with libcurl 8.20: from then on it is the
 * multi handle that has the threads of the resolver, and without this waits
 * for them.  The library that runs may be newer than the header here.
 * https://curl.se/libcurl/c/CURLMOPT_QUICK_EXIT.html
 */
#define MULTI_QUICK_EXIT ((CURLMoption) (CURLOPTTYPE_LONG + 21))

_Static_assert(OB_HTTP_TEXT_SIZE >= CURL_ERROR_SIZE, "libcurl writes so much");

/* ---- what libcurl calls ---- */

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
		/* a descriptor closed and reused behind our back, either way */
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

/* Not for the programs either that a host may start. */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	ObTransfer *transfer = arg;

	(void) purpose;
	if (!transfer->request->link_local &&
		ob_address_is_link_local(&address->addr))
	{
		transfer->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC,
				  address->protocol);
}

/* libcurl rewinds when a reused connection turned out to be dead. */
static int
on_seek(void *arg, curl_off_t offset, int origin)
{
	ObTransfer *transfer = arg;

	if (origin != SEEK_SET || offset < 0 ||
		(size_t) offset > transfer->request->body_len)
		return CURL_SEEKFUNC_FAIL;
	transfer->sent = (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- easy handles ---- */

/* Options that are the same for every request. */
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
	SET(CURLOPT_HEADERFUNCTION, ob_transfer_header);
	SET(CURLOPT_WRITEFUNCTION, ob_transfer_write);
	SET(CURLOPT_READFUNCTION, ob_transfer_read);
	SET(CURLOPT_SEEKFUNCTION, on_seek);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	return bad == CURLE_OK;
}

/* The method, and how the body travels. */
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

bool
ob_transfer_is_connected(const ObTransfer *transfer)
{
	curl_off_t connected = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
	return connected > 0;
}

/* The way to the server. */
static bool
set_route(ObTransfer *transfer)
{
	const ObHttp *http = transfer->http;
	const ObHttpRequest *request = transfer->request;
	bool proxied = http->proxy && !request->direct;
	CURL *easy = transfer->easy;
	CURLcode bad = CURLE_OK;

	/* never what http_proxy and no_proxy say: that is the host's environment
	 */
	SET(CURLOPT_PROXY, proxied ? http->proxy : "");
	SET(CURLOPT_NOPROXY, proxied ? "" : "*");
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);
	/* or a request that may not connect there would find it connected */
	SET(CURLOPT_FORBID_REUSE, request->link_local ? 1L : 0L);
	if (http->ca_file && !request->system_ca)
	{
		SET(CURLOPT_CAINFO, http->ca_file);
		SET(CURLOPT_CAPATH, NULL);
	}
	transfer->connect_ms = ob_transfer_connect_timeout(transfer);
	SET(CURLOPT_CONNECTTIMEOUT_MS, transfer->connect_ms);
	return bad == CURLE_OK;
}

static bool
set_request(ObTransfer *transfer)
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
	return bad == CURLE_OK && set_method(easy, transfer->request) &&
		   set_route(transfer);
#undef SET
}

/* ---- transfers ---- */

/* They hold session tokens and signatures. */
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
	ob_buf_init(&line, OB_HTTP_HEADERS_MAX);
	/* "Name:" would remove the header, "Name;" sends it empty; blanks at the
	 * ends of a value do not count */
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
unlink_transfer(ObHttp *http, const ObTransfer *transfer)
{
	ObTransfer **link = &http->transfers;

	while (*link && *link != transfer)
		link = &(*link)->next;
	if (*link)
		*link = transfer->next;
}

void
ob_transfer_end(ObTransfer *transfer)
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

void
ob_transfer_finish(ObTransfer *transfer)
{
	ObHttpRequest *request = transfer->request;

	ob_transfer_end(transfer);
	request->done(request);
}

static void
fail(ObTransfer *transfer, ObCode code, const char *cause)
{
	ObHttpRequest *request = transfer->request;

	ob_error_set(&request->error, code, "%s", cause);
	request->final = code == OB_ENOMEM || code == OB_EINVAL;
	ob_transfer_finish(transfer);
}

void
ob_transfer_begin(ObTransfer *transfer)
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
		ob_transfer_finish(transfer);
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
		/* no HTTP: what a server has sent too much after an answer is taken
		 * for the next one; a new connection begins clean */
		case CURLE_UNSUPPORTED_PROTOCOL:
			return OB_EPROTO;
		case CURLE_WEIRD_SERVER_REPLY:
			/* so libcurl 8 calls the same, at times */
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

/* Whether the failure is one that we have made, or know better; sets it. */
static bool
is_own_failure(ObTransfer *transfer, CURLcode result)
{
	ObHttpRequest *request = transfer->request;

	if (transfer->overflow > 0)
		ob_error_set(&request->error, OB_EPROTO,
					 "the answer is longer than %zu bytes",
					 transfer->overflow);
	else if (result == CURLE_WRITE_ERROR)
		ob_error_set(&request->error, OB_ENOMEM, "out of memory");
	else if (result == CURLE_OUT_OF_MEMORY && request->sent &&
			 !transfer->headed)
		/* so libcurl calls a line above 100 KiB */
		ob_error_set(&request->error, OB_EPROTO,
					 "a header of the answer is too long");
	else if (result == CURLE_COULDNT_CONNECT && transfer->refused)
		ob_error_set(&request->error, OB_EINVAL, "%s", LINK_LOCAL);
	else
		return false;
	request->final = true;
	return true;
}

/* libcurl is through with a transfer. */
static void
conclude(ObTransfer *transfer, CURLcode result)
{
	ObHttpRequest *request = transfer->request;
	long status = 0;
	long size = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &size);
	request->status = (int) status;
	request->sent = size > 0;
	request->unresolved = is_unresolved(transfer->easy, result);
	if (result != CURLE_OK && !is_own_failure(transfer, result) &&
		!((result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR) &&
		  status >= 400))
	{
		/*
		 * (A server that answers 4xx or 5xx early and closes makes our sends
		 * fail: then its status is what counts.)
		 */
		ObCode code = curl_code(result, status, &request->final);

		ob_error_set(&request->error, code, "%s",
					 transfer->text[0] ? transfer->text
									   : curl_easy_strerror(result));
	}
	ob_transfer_finish(transfer);
}

/* ---- the machinery ---- */

static void
conclude_all(ObHttp *http)
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
		conclude((ObTransfer *) (void *) transfer, result);
	}
}

/* libcurl fetches a body in big pieces, or at once: what counts is how much of
 * it has gone out. */
void
ob_transfer_note_upload(ObTransfer *transfer)
{
	curl_off_t uploaded = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	if (uploaded == transfer->uploaded)
		return;
	transfer->uploaded = uploaded;
	transfer->progress_at = transfer->http->pumped_ms;
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

/* libcurl's time-out of connects goes by the wall: a handshake of two round
 * trips would be late when the host lets ten seconds pass between them. */
static void
extend_connects(const ObHttp *http, int64_t lost_ms)
{
	for (ObTransfer *t = http->transfers; t; t = t->next)
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
	int64_t lost = gap > OB_HTTP_PUMP_GAP_MS ? gap - OB_HTTP_PUMP_GAP_MS : 0;

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
	ob_http_start_due(http, http->driven_at);
	code = pump(http, error);
	conclude_all(http);
	ob_http_fail_overdue(http);
	/* what the callbacks started may begin at once */
	ob_http_start_due(http, http->driven_at);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}

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
	/* an older one does not know it, and has no need of it */
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

/* Memory is not all that libcurl may lack: later versions take descriptors,
 * and do not say so. */
static void
say_no_libcurl(ObError *error)
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
		say_no_libcurl(error);
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
		ob_transfer_end(http->transfers);
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
