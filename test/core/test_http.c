/*
 * test_http.c
 *		HTTP on the wire, against a scripted server.
 *
 * test/core/test_http.c
 */
#include "testing.h"

#include "core/http/http.h"
#include "core/aws/sigv4.h"
#include "server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB ((size_t) 1024 * 1024)
#define STALL_MS 20000
#define CONNECT_MS 5000
#define CONNECTIONS 4

typedef struct Fixture
{
	Server *server;
	ObHttp *http;
	int descriptors;
} Fixture;

/* A request, and the actions of its callbacks. */
typedef struct Client Client;
struct Client
{
	ObHttpRequest request;
	Fixture *fixture;
	int port;           /* 0: that of the server */
	const char *origin; /* replaces http://127.0.0.1:port */
	const char *path;
	const ObPair *headers;
	int nheaders;
	bool refuse; /* "prepare" fails */
	int prepared;
	int done;
	void (*then)(Client *client);
	Client *other; /* for "then" */
};

/* ---- clients ---- */

static ObCode
prepare(ObHttpRequest *request, ObError *error)
{
	Client *client = request->arg;

	client->prepared++;
	assert_int_equal(request->url.len, 0);
	if (client->refuse)
		return ob_error_set(error, OB_ECREDS, "prepare says no");
	if (client->origin)
		ob_buf_adds(&request->url, client->origin);
	else
		ob_buf_addf(&request->url, "http://127.0.0.1:%d",
					client->port > 0 ? client->port
									 : server_port(client->fixture->server));
	ob_buf_adds(&request->url, client->path);
	for (int i = 0; i < client->nheaders; i++)
		if (ob_http_header(request, client->headers[i].name,
						   client->headers[i].value, error) != OB_OK)
			return error->code;
	return OB_OK;
}

static void
on_done(ObHttpRequest *request)
{
	Client *client = request->arg;

	assert_false(ob_http_running(request));
	client->done++;
	if (client->then)
		client->then(client);
}

static void
client_init(Client *client, Fixture *fixture, const char *method,
			const char *path)
{
	memset(client, 0, sizeof(*client));
	ob_http_request_init(&client->request, prepare, on_done, client);
	client->fixture = fixture;
	client->path = path;
	client->request.method = method;
}

static void
client_free(Client *client)
{
	ob_http_request_free(&client->request);
}

static void
start(Client *client)
{
	ob_http_start(client->fixture->http, &client->request, 0);
}

static bool
is_done(void *arg)
{
	return !ob_http_running(&((Client *) arg)->request);
}

/* Starts the request and waits for its end. */
static void
run(Client *client)
{
	int before = client->done;

	start(client);
	host_drive(client->fixture->http, is_done, client);
	assert_int_equal(client->done, before + 1);
}

#define assert_status(client, status_)                          \
	do                                                          \
	{                                                           \
		assert_string_equal((client)->request.error.cause, ""); \
		assert_int_equal((client)->request.error.code, OB_OK);  \
		assert_int_equal((client)->request.status, status_);    \
	} while (0)

#define assert_response(client, text) \
	assert_string_equal((client)->request.response.data, text)

static char *
make_body(size_t len)
{
	char *body = test_malloc(len + 1);
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < len; i++)
	{
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		body[i] = (char) x;
	}
	body[len] = '\0';
	return body;
}

/* ---- fixtures ---- */

static const ObHttpOptions usual_options = {
	.user_agent = "onboard-test/1",
	.connect_timeout_ms = CONNECT_MS,
	.stall_timeout_ms = STALL_MS,
	.max_connections = CONNECTIONS,
};

static ObHttp *
new_http(const ObHttpOptions *options)
{
	ObError error;
	ObHttp *http;

	ob_error_clear(&error);
	http = ob_http_new(options, &error);
	assert_non_null(http);
	return http;
}

/* Replaces the fixture's client. */
static void
use_http(Fixture *fixture, const ObHttpOptions *options)
{
	ob_http_free(fixture->http);
	fixture->http = new_http(options);
}

static int
setup(void **state)
{
	Fixture *fixture = test_calloc(1, sizeof(Fixture));

	alarm(60);
	fixture->descriptors = host_descriptors();
	fixture->server = server_new();
	fixture->http = new_http(&usual_options);
	*state = fixture;
	return 0;
}

static int
teardown(void **state)
{
	Fixture *fixture = *state;
	int left;

	ob_http_free(fixture->http);
	server_free(fixture->server);
	left = host_descriptors();
	if (left != fixture->descriptors)
		print_error("%d descriptors instead of %d\n", left,
					fixture->descriptors);
	left -= fixture->descriptors;
	test_free(fixture);
	return left;
}

/* ---- requests ---- */

/* The whole head of each request: libcurl adds nothing that we have not
 * set. */
static void
verbs_and_their_heads(void **state)
{
	static const ObPair plain[] = {{"X-One", "1"}, {"x-two", "b  c"}};
	static const ObPair quiet[] = {
		{"X-Empty", ""}, {"Expect", NULL}, {"Content-Type", NULL}};
	static const ObPair typed[] = {{"Content-Type", "text/csv"},
								   {"Expect", NULL}};
	static const ObPair blank[] = {{"X-Blank", " \t "}};
	static const struct
	{
		const char *method;
		const ObPair *headers;
		int nheaders;
		const char *body;
		const char *head;
	} rows[] = {
		{"GET", plain, 2, NULL, "X-One: 1\r\nx-two: b  c\r\n"},
		{"PUT", quiet, 3, "seven b", "X-Empty:\r\nContent-Length: 7\r\n"},
		{"POST", quiet, 3, "12345", "X-Empty:\r\nContent-Length: 5\r\n"},
		{"HEAD", plain, 1, NULL, "X-One: 1\r\n"},
		{"DELETE", plain, 1, NULL, "X-One: 1\r\n"},
		{"POST", quiet, 3, NULL, "X-Empty:\r\nContent-Length: 0\r\n"},
		{"PUT", typed, 2, "a,b",
		 "Content-Type: text/csv\r\n"
		 "Content-Length: 3\r\n"},
		{"PUT", quiet, 3, NULL, "X-Empty:\r\nContent-Length: 0\r\n"},
		{"POST", typed, 2, "a,b",
		 "Content-Type: text/csv\r\n"
		 "Content-Length: 3\r\n"},
		{"GET", NULL, 0, NULL, ""},
		/* the empty header is signed, and must not get lost */
		{"GET", blank, 1, NULL, "X-Blank:\r\n"},
	};
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.status = 200, .body = "the answer"});
	for (size_t i = 0; i < 2 * COUNT_OF(rows); i++)
	{
		size_t row = i % COUNT_OF(rows);
		const char *body = rows[row].body;
		const ServerRequest *request;
		char head[500];
		Client client;

		client_init(&client, fixture, rows[row].method, "/a/b%20c?q=1&r");
		client.headers = rows[row].headers;
		client.nheaders = rows[row].nheaders;
		client.request.body = body;
		client.request.body_len = body ? strlen(body) : 0;
		run(&client);
		assert_status(&client, 200);
		assert_response(&client, strcmp(rows[row].method, "HEAD") == 0
									 ? ""
									 : "the answer");

		request = server_request(fixture->server, NULL, NULL, (int) i);
		assert_non_null(request);
		assert_string_equal(request->method, rows[row].method);
		assert_string_equal(request->target, "/a/b%20c?q=1&r");
		assert_string_equal(request->body, body ? body : "");
		snprintf(head, sizeof(head),
				 "Host: 127.0.0.1:%d\r\nUser-Agent: onboard-test/1\r\n"
				 "Accept: */*\r\n%s",
				 server_port(fixture->server), rows[row].head);
		assert_string_equal(request->head, head);
		client_free(&client);
	}
}

/* A path is not normalised: it was signed as it is. */
static void
path_as_it_is(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server, (ServerRule){.status = 204});
	client_init(&client, fixture, "GET", "/b/../c/./d//e%2Ff?x=%2F..%2F");
	run(&client);
	assert_status(&client, 204);
	assert_string_equal(server_request(fixture->server, NULL, NULL, 0)->target,
						"/b/../c/./d//e%2Ff?x=%2F..%2F");
	client_free(&client);
}

static void
big_bodies_arrive_whole(void **state)
{
	static const ObPair quiet[] = {{"Expect", NULL}};
	static const char *const methods[] = {"PUT", "POST"};
	Fixture *fixture = *state;
	size_t len = 6 * MIB + 12345;
	char *body = make_body(len);

	server_rule(fixture->server, (ServerRule){.status = 200});
	for (int i = 0; i < 2; i++)
	{
		const ServerRequest *request;
		Client client;

		client_init(&client, fixture, methods[i], "/big");
		client.headers = quiet;
		client.nheaders = 1;
		client.request.body = body;
		client.request.body_len = len;
		run(&client);
		assert_status(&client, 200);
		request = server_request(fixture->server, methods[i], "/big", 0);
		assert_int_equal(request->body_len, len);
		assert_memory_equal(request->body, body, len);
		client_free(&client);
	}
	test_free(body);
}

static void
proxy_settings_are_ignored(void **state)
{
	Fixture *fixture = *state;
	Client client;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	server_rule(fixture->server, (ServerRule){.status = 200});
	client_init(&client, fixture, "GET", "/");
	run(&client);
	unsetenv("http_proxy");
	unsetenv("HTTP_PROXY");
	unsetenv("ALL_PROXY");
	assert_status(&client, 200);
	assert_string_equal(server_request(fixture->server, NULL, NULL, 0)->target,
						"/");
	client_free(&client);
}

/* ---- proxies and certificates ---- */

static void
use_proxy(Fixture *fixture)
{
	ObHttpOptions options = usual_options;
	char proxy[64];

	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d",
			 server_port(fixture->server));
	options.proxy = proxy;
	use_http(fixture, &options);
}

static void
proxy_that_was_set(void **state)
{
	Fixture *fixture = *state;
	Client client;

	use_proxy(fixture);
	setenv("no_proxy", "*", 1);
	server_rule(fixture->server, (ServerRule){.status = 200, .body = "ok"});
	client_init(&client, fixture, "GET", "/a?b");
	client.origin = "http://store.invalid:8080";
	run(&client);
	unsetenv("no_proxy");
	assert_status(&client, 200);
	assert_response(&client, "ok");
	assert_string_equal(server_request(fixture->server, NULL, NULL, 0)->target,
						"http://store.invalid:8080/a?b");
	client_free(&client);
}

static void
around_the_proxy(void **state)
{
	Fixture *fixture = *state;
	Client client;

	use_proxy(fixture);
	server_rule(fixture->server, (ServerRule){.status = 200});
	client_init(&client, fixture, "GET", "/a");
	client.request.direct = true;
	run(&client);
	assert_status(&client, 200);
	assert_string_equal(server_request(fixture->server, NULL, NULL, 0)->target,
						"/a");
	client_free(&client);
}

/* The proxy's response is not the store's, and the proxy gets none of the
 * headers for the store. */
static void
proxy_refuses_a_tunnel(void **state)
{
	static const ObPair secret[] = {{"Authorization", "canary"}};
	Fixture *fixture = *state;
	char value[32];
	Client client;

	use_proxy(fixture);
	server_rule(
		fixture->server,
		(ServerRule){.status = 407, .headers = "X-Amz-Request-Id: proxy\r\n"});
	client_init(&client, fixture, "GET", "/a");
	client.origin = "https://store.invalid";
	client.headers = secret;
	client.nheaders = 1;
	run(&client);
	assert_error(&client.request.error, OB_ECONNECT, "407");
	assert_int_equal(client.request.status, 0);
	assert_false(ob_http_response_header(&client.request, "x-amz-request-id",
										 value, sizeof(value)));
	assert_int_equal(
		server_count(fixture->server, "CONNECT", "store.invalid:443"), 1);
	assert_int_equal(
		server_header(server_request(fixture->server, NULL, NULL, 0),
					  "Authorization", value, sizeof(value)),
		0);
	client_free(&client);
}

/* A file that cannot be read fails the requests that use it. */
static void
certificates_of_requests(void **state)
{
	Fixture *fixture = *state;
	ObHttpOptions options = usual_options;
	char origin[64];
	Client client;

	options.ca_file = "/nonexistent/ca.pem";
	use_http(fixture, &options);
	snprintf(origin, sizeof(origin), "https://127.0.0.1:%d",
			 server_port(fixture->server));
	server_rule(fixture->server,
				(ServerRule){.act = SERVER_RAW, .body = "no TLS here\r\n"});
	client_init(&client, fixture, "GET", "/");
	client.origin = origin;
	run(&client);
	assert_error(&client.request.error, OB_ETLS, "/nonexistent/ca.pem");
	assert_true(client.request.final);
	client.request.system_ca = true;
	client.request.timeout_ms = 1000;
	run(&client);
	assert_true(client.request.error.code != OB_OK);
	assert_false(client.request.final);
	assert_null(strstr(client.request.error.cause, "ca.pem"));
	client_free(&client);
}

static void
copy_file(const char *from, const char *to)
{
	char data[8192];
	FILE *in = fopen(from, "r");
	FILE *out = fopen(to, "w");
	size_t len;

	assert_non_null(in);
	assert_non_null(out);
	len = fread(data, 1, sizeof(data), in);
	assert_int_equal(fwrite(data, 1, len, out), len);
	fclose(in);
	fclose(out);
}

/* An authority, and with it the file, is renewed while the client is kept. */
static void
certificates_are_read_again(void **state)
{
	Fixture *fixture = *state;
	ObHttpOptions options = usual_options;
	char file[] = "/tmp/onboard-ca-XXXXXX";
	int fd = mkstemp(file);

	assert_true(fd >= 0);
	close(fd);
	options.ca_file = file;
	use_http(fixture, &options);
	for (int i = 0; i < 2; i++)
	{
		Server *server = server_new();
		char origin[64];
		Client client;

		server_tls(server);
		copy_file(server_ca(server), file);
		server_rule(server, (ServerRule){.status = 200, .close = true});
		snprintf(origin, sizeof(origin), "https://127.0.0.1:%d",
				 server_port(server));
		client_init(&client, fixture, "GET", "/");
		client.origin = origin;
		run(&client);
		assert_status(&client, 200);
		client_free(&client);
		server_free(server);
	}
	unlink(file);
}

/* ---- responses ---- */

static void
response_headers(void **state)
{
	Fixture *fixture = *state;
	Client client;
	char value[64];
	char narrow[4];

	server_rule(fixture->server, (ServerRule){
									 .status = 404,
									 .headers = "ETag: \"abc\"\r\n"
												"X-Tabbed:\t  a b \r\n"
												"X-Empty:\r\n"
												"x-twice: first\r\n"
												"X-Twice: second\r\n"
												"X-Bytes: \xC3\xA9\x01\r\n",
								 });
	client_init(&client, fixture, "GET", "/");
	run(&client);
	assert_status(&client, 404);
#define assert_header(name, text)                                         \
	do                                                                    \
	{                                                                     \
		assert_true(ob_http_response_header(&client.request, name, value, \
											sizeof(value)));              \
		assert_string_equal(value, text);                                 \
	} while (0)
	assert_header("etag", "\"abc\"");
	assert_header("ETAG", "\"abc\"");
	assert_header("x-empty", "");
	assert_header("x-twice", "first");
	assert_header("x-bytes", "???");
	assert_header("content-length", "0");
	assert_true(ob_http_response_header(&client.request, "x-tabbed", value,
										sizeof(value)));
	assert_memory_equal(value, "a b", 3);
	assert_true(ob_http_response_header(&client.request, "ETag", narrow,
										sizeof(narrow)));
	assert_string_equal(narrow, "\"ab");
	assert_false(ob_http_response_header(&client.request, "etagx", value,
										 sizeof(value)));
	assert_false(
		ob_http_response_header(&client.request, "tag", value, sizeof(value)));
	assert_false(ob_http_response_header(&client.request, "HTTP/1.1 404",
										 value, sizeof(value)));
	client_free(&client);
}

/* Raw responses: each row is a whole one. */
static void
responses_as_they_come(void **state)
{
#define RAW(text) text, sizeof(text) - 1
	static const struct
	{
		const char *name;
		const char *raw;
		size_t len;
		ObCode code;
		bool final;
		int status;
		const char *response;
		size_t response_len;
	} rows[] = {
		{"continue",
		 RAW("HTTP/1.1 100 Continue\r\nX-A: old\r\nX-B: old\r\n\r\n"
			 "HTTP/1.1 200 OK\r\nX-A: new\r\nContent-Length: 2\r\n\r\nok"),
		 OB_OK, false, 200, RAW("ok")},
		{"chunked",
		 RAW("HTTP/1.1 200 OK\r\nX-A: new\r\nTransfer-Encoding: chunked\r\n"
			 "\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
		 OB_OK, false, 200, RAW("abcde")},
		{"until closed", RAW("HTTP/1.0 200 OK\r\nX-A: new\r\n\r\nall of it"),
		 OB_OK, false, 200, RAW("all of it")},
		{"NUL in the body",
		 RAW("HTTP/1.1 200 OK\r\nX-A: new\r\nContent-Length: 3\r\n\r\na\0b"),
		 OB_OK, false, 200, RAW("a\0b")},
		{"bytes after the body",
		 RAW("HTTP/1.1 200 OK\r\nX-A: new\r\nContent-Length: 1\r\n\r\nab"),
		 OB_OK, false, 200, RAW("a")},
		{"NUL in a header",
		 RAW("HTTP/1.1 200 OK\r\nX-\0: new\r\nContent-Length: 1\r\n\r\na"),
		 OB_EPROTO, true, 200, RAW("")},
		{"cut body", RAW("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
		 OB_ECONNECT, false, 200, RAW("abc")},
		{"cut chunk",
		 RAW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"),
		 OB_ECONNECT, false, 200, RAW("abc")},
		{"another protocol", RAW("220 mail.example.com ESMTP ready\r\n"),
		 OB_EPROTO, false, 0, RAW("")},
		{"silly length",
		 RAW("HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n"),
		 OB_EPROTO, true, 200, RAW("")},
		{"bad chunk",
		 RAW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
		 OB_ECONNECT, false, 200, RAW("")},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Client client;
		char value[16];

		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.act = SERVER_RAW,
												  .body = rows[i].raw,
												  .body_len = rows[i].len});
		client_init(&client, fixture, "GET", "/");
		run(&client);
		if (client.request.error.code != rows[i].code)
			print_error("%s: %s\n", ob_code_name(client.request.error.code),
						client.request.error.cause);
		assert_row(rows[i].name, client.request.error.code == rows[i].code);
		assert_row(rows[i].name, client.request.final == rows[i].final);
		assert_row(rows[i].name, client.request.status == rows[i].status);
		assert_row(rows[i].name,
				   client.request.response.len == rows[i].response_len);
		assert_memory_equal(client.request.response.data, rows[i].response,
							rows[i].response_len);
		if (rows[i].code == OB_OK)
		{
			assert_true(ob_http_response_header(&client.request, "x-a", value,
												sizeof(value)));
			assert_string_equal(value, "new");
			assert_false(ob_http_response_header(&client.request, "x-b", value,
												 sizeof(value)));
		}
		client_free(&client);
	}
}

/* A head without its end is no response, but the status of a refusal counts.
 */
static void
connection_that_ends_within_the_head(void **state)
{
	static const struct
	{
		const char *raw;
		int status; /* 0: an error */
	} rows[] = {
		{"HTTP/1.1 200 OK\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Le", 0},
		{"HTTP/1.1 200 OK\r\nETag: \"x\"\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200},
		{"HTTP/1.1 403 Forbidden\r\nX-Amz-Request-Id: 1\r\n", 403},
	};
	static const char *const methods[] = {"HEAD", "GET"};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows) * COUNT_OF(methods); i++)
	{
		const char *raw = rows[i / 2].raw;
		int status = rows[i / 2].status;
		Client client;

		server_reset(fixture->server);
		server_rule(fixture->server,
					(ServerRule){.act = SERVER_RAW, .body = raw});
		client_init(&client, fixture, methods[i % 2], "/");
		run(&client);
		if (status > 0)
			assert_status(&client, status);
		else
			assert_error(&client.request.error, OB_ECONNECT, "");
		assert_false(client.request.final);
		assert_int_equal(client.request.truncated, status == 403);
		client_free(&client);
	}
}

static void
response_longer_than_allowed(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server,
				(ServerRule){.status = 200, .body = "0123456789"});
	client_init(&client, fixture, "GET", "/");
	client.request.response_max = 10;
	run(&client);
	assert_status(&client, 200);
	assert_response(&client, "0123456789");

	client.request.response_max = 9;
	run(&client);
	assert_error(&client.request.error, OB_EPROTO, "longer than 9 bytes");
	assert_true(client.request.final);
	client_free(&client);
}

/* Since version 8.6, libcurl has limits of its own, some of which are lower
 * than ours. */
static void
assert_too_long(const ObError *error, const char *cause)
{
	if (strstr(error->cause, "larger than allowed") ||
		strstr(error->cause, "Too many response headers"))
		cause = "";
	assert_error(error, OB_EPROTO, cause);
}

/* Memory stays bounded, for one long line or many. */
static void
huge_headers(void **state)
{
	static const char begin[] = "HTTP/1.1 200 OK\r\nX-Long: ";
	Fixture *fixture = *state;
	size_t len = 10 * MIB;

	for (int i = 0; i < 2; i++)
	{
		char *raw = test_malloc(len);
		Client client;

		memset(raw, 'a', len);
		memcpy(raw, begin, strlen(begin));
		if (i == 1)
			for (size_t at = 100; at + 6 < len; at += 100)
				memcpy(raw + at, "\r\nX: b", 6);
		memcpy(raw + len - 4, "\r\n\r\n", 4);
		server_reset(fixture->server);
		server_rule(
			fixture->server,
			(ServerRule){.act = SERVER_RAW, .body = raw, .body_len = len});
		client_init(&client, fixture, "GET", "/");
		run(&client);
		assert_too_long(&client.request.error,
						i == 0 ? "a header of the response is too long"
							   : "longer than 65536 bytes");
		assert_true(client.request.final);
		assert_true(client.request.headers.len <= 64 * 1024);
		client_free(&client);
		test_free(raw);
	}
}

/* Each head is small, but there is an endless series of them. */
static void
endless_heads(void **state)
{
	static const char head[] = "HTTP/1.1 100 Continue\r\nX: y\r\n\r\n";
	Fixture *fixture = *state;
	size_t len = 2 * MIB;
	char *raw = test_malloc(len);
	Client client;

	for (size_t i = 0; i < len; i++)
		raw[i] = head[i % strlen(head)];
	server_rule(fixture->server,
				(ServerRule){.act = SERVER_RAW, .body = raw, .body_len = len});
	client_init(&client, fixture, "GET", "/");
	run(&client);
	assert_too_long(&client.request.error, "longer than 262144 bytes");
	assert_true(client.request.final);
	client_free(&client);
	test_free(raw);
}

/* All spellings are detected, and no name is resolved. */
static void
link_local_addresses(void **state)
{
	static const char *const origins[] = {
		"http://169.254.169.254",
		"http://169.254.0.1:9000",
		"http://0xA9FEA9FE",
		"http://2852039166",
		"http://169.254.43518",
		"http://[::ffff:169.254.169.254]",
		"http://[::ffff:a9fe:1]",
		"http://[fe80::1]",
		"http://[fd00:ec2::254]",
		/* AWS's for containers, Alibaba, Azure, Google, Oracle and others */
		"http://[fd00:ec2::23]",
		"http://100.100.100.200",
		"http://1684301000",
		"http://[fd00:100::100:200]",
		"http://168.63.129.16:32526",
		"http://0xA83F8110",
		"http://192.0.0.192",
		"http://0300.0.0.0300",
		"http://[fd20:ce::254]",
		"http://[fd00:c1::a9fe:a9fe]",
		"http://[fd00:42::42]",
		"http://[fd00:a9fe:a9fe::1]",
		/* IPv4 within IPv6: compatible, NAT64, 6to4 */
		"http://[::169.254.169.254]",
		"http://[64:ff9b::100.100.100.200]",
		"http://[2002:a9fe:a9fe::1]",
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(origins); i++)
	{
		Client client;

		client_init(&client, fixture, "GET", "/");
		client.origin = origins[i];
		run(&client);
		if (client.request.error.code != OB_EINVAL)
			print_error("%s: %s\n", origins[i], client.request.error.cause);
		assert_error(&client.request.error, OB_EINVAL, "link-local");
		assert_true(client.request.final);
		assert_false(client.request.sent);
		client_free(&client);
	}
}

/* Neighbouring addresses may be those of stores. */
static void
addresses_that_are_not_link_local(void **state)
{
	static const char *const hosts[] = {
		"169.253.255.255",
		"169.255.0.0",
		"100.100.100.201",
		"168.63.129.17",
		"192.0.0.193",
		"127.0.0.1",
		"[::1]",
		"[fd20:ce::253]",
		"[fd00:c1::a9fe:a9ff]",
		"[fd00:ec3::254]",
		"[fd00:42::43]",
		"[::ffff:127.0.0.1]",
		"[64:ff9b::1]",
		"[2002:7f00:1::]",
		"s3.example.com",
		"metadata",
		"",
	};
	char url[100];

	for (size_t i = 0; i < COUNT_OF(hosts); i++)
	{
		snprintf(url, sizeof(url), "http://%s:9000/b/k", hosts[i]);
		if (ob_url_is_link_local(url))
			fail_msg("%s is refused", url);
	}
}

/* A proxy would connect, so it gets no request. */
static void
link_local_addresses_through_a_proxy(void **state)
{
	static const char *const origins[] = {
		"http://169.254.169.254",
		"http://169.254.169.254.:80",
		"http://0xA9FEA9FE",
		"http://2852039166",
		"https://100.100.100.200",
		"http://[fe80::1%25eth0]",
		"http://[::ffff:a9fe:a9fe]",
		"http://[fd20:ce::254]:80",
		"http://metadata.google.internal",
		"http://METADATA.google.internal.",
	};
	Fixture *fixture = *state;

	use_proxy(fixture);
	for (size_t i = 0; i < COUNT_OF(origins); i++)
	{
		Client client;

		client_init(&client, fixture, "GET", "/");
		client.origin = origins[i];
		run(&client);
		if (client.request.error.code != OB_EINVAL)
			print_error("%s: %s\n", origins[i], client.request.error.cause);
		assert_error(&client.request.error, OB_EINVAL, "link-local");
		assert_true(client.request.final);
		client_free(&client);
	}
	assert_int_equal(server_accepted(fixture->server), 0);
}

/* Otherwise a request that may not connect to it could reuse the
 * connection. */
static void
link_local_connections_are_not_kept(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server, (ServerRule){.status = 200});
	client_init(&client, fixture, "GET", "/");
	client.request.link_local = true;
	for (int i = 0; i < 2; i++)
	{
		run(&client);
		assert_status(&client, 200);
		assert_int_equal(server_accepted(fixture->server), i + 1);
	}
	client_free(&client);
}

/* A program that the host starts must not inherit them. */
static void
sockets_are_closed_on_exec(void **state)
{
	Fixture *fixture = *state;
	Client client;
	int sockets = 0;

	server_rule(fixture->server, (ServerRule){.status = 200});
	client_init(&client, fixture, "GET", "/");
	run(&client);
	for (int fd = 0; fd < 1024; fd++)
	{
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);

		if (getpeername(fd, (struct sockaddr *) &peer, &len) != 0 ||
			peer.sin_family != AF_INET ||
			ntohs(peer.sin_port) != server_port(fixture->server))
			continue;
		sockets++;
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	assert_int_equal(sockets, 1);
	client_free(&client);
}

static void
redirects_are_responses(void **state)
{
	Fixture *fixture = *state;
	Client client;
	char value[64];

	server_rule(fixture->server, (ServerRule){.target = "/from",
											  .status = 307,
											  .headers = "Location: /to\r\n"});
	client_init(&client, fixture, "GET", "/from");
	run(&client);
	assert_status(&client, 307);
	assert_true(ob_http_response_header(&client.request, "location", value,
										sizeof(value)));
	assert_string_equal(value, "/to");
	assert_int_equal(server_count(fixture->server, NULL, NULL), 1);
	client_free(&client);
}

/* The server responds and stops reading: its status counts, not our failure to
 * send the rest. */
static void
early_refusal_of_a_big_body(void **state)
{
	static const ObPair quiet[] = {{"Expect", NULL}};
	Fixture *fixture = *state;
	size_t len = 16 * MIB;
	char *body = make_body(len);
	int answered = 0;

	server_rule(fixture->server, (ServerRule){.target = "/polite",
											  .read = 100000,
											  .status = 403,
											  .body = "denied"});
	server_rule(fixture->server, (ServerRule){.target = "/rude",
											  .read = 100000,
											  .rude = true,
											  .status = 403,
											  .body = "denied"});
	for (int i = 0; i < 20; i++)
	{
		Client client;

		client_init(&client, fixture, "PUT", i % 2 ? "/polite" : "/rude");
		client.headers = quiet;
		client.nheaders = 1;
		client.request.body = body;
		client.request.body_len = len;
		run(&client);
		if (i % 2 || client.request.error.code == OB_OK)
		{
			assert_status(&client, 403);
			answered++;
		}
		else
		{
			/* the connection was reset before we read the response: a retry is
			 * right */
			assert_int_equal(client.request.error.code, OB_ECONNECT);
			assert_false(client.request.final);
		}
		if (i % 2)
			assert_response(&client, "denied");
		client_free(&client);
	}
	assert_true(answered >= 10);
	test_free(body);
}

/* In addition, the connection breaks before the whole response has arrived. */
static void
early_refusal_that_is_cut(void **state)
{
	static const ObPair quiet[] = {{"Expect", NULL}};
	Fixture *fixture = *state;
	size_t len = 16 * MIB;
	char *body = make_body(len);
	Client client;

	server_rule(fixture->server, (ServerRule){.act = SERVER_CUT,
											  .read = 100000,
											  .status = 403,
											  .body = "denied",
											  .cut = 3});
	client_init(&client, fixture, "PUT", "/");
	client.headers = quiet;
	client.nheaders = 1;
	client.request.body = body;
	client.request.body_len = len;
	run(&client);
	assert_status(&client, 403);
	assert_response(&client, "den");
	client_free(&client);
	test_free(body);
}

/* The connection breaks within the response to a request that was sent
 * completely: the status of a refusal counts, that of a success does not. */
static void
responses_that_are_cut(void **state)
{
	static const int statuses[] = {200, 301, 400, 403, 503};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(statuses); i++)
	{
		Client client;

		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.act = SERVER_CUT,
												  .status = statuses[i],
												  .body = "denied",
												  .cut = 3});
		client_init(&client, fixture, "PUT", "/");
		run(&client);
		assert_int_equal(client.request.status, statuses[i]);
		assert_int_equal(client.request.truncated, statuses[i] >= 400);
		assert_int_equal(client.request.error.code,
						 statuses[i] >= 400 ? OB_OK : OB_ECONNECT);
		assert_response(&client, "den");
		client_free(&client);
	}
}

/* ---- failures of the transport ---- */

/* A listening socket that accepts no connection: further connects hang. */
typedef struct FullSocket
{
	int fds[3];
	int port;
} FullSocket;

static void
full_socket_open(FullSocket *full)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 3; i++)
		full->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(
		bind(full->fds[0], (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(listen(full->fds[0], 0), 0);
	assert_int_equal(
		getsockname(full->fds[0], (struct sockaddr *) &address, &len), 0);
	full->port = ntohs(address.sin_port);
	for (int i = 1; i < 3; i++)
		connect(full->fds[i], (struct sockaddr *) &address, len);
}

static void
full_socket_close(FullSocket *full)
{
	for (int i = 0; i < 3; i++)
		close(full->fds[i]);
}

static void
connection_refused(void **state)
{
	Fixture *fixture = *state;
	FullSocket gone;
	Client client;

	full_socket_open(&gone);
	full_socket_close(&gone);
	client_init(&client, fixture, "GET", "/");
	client.port = gone.port;
	run(&client);
	assert_error(&client.request.error, OB_ECONNECT, "");
	assert_true(client.request.error.cause[0] != '\0');
	assert_false(client.request.final);
	assert_int_equal(client.request.status, 0);
	client_free(&client);
}

static void
connecting_takes_too_long(void **state)
{
	Fixture *fixture = *state;
	ObHttpOptions options = usual_options;
	int64_t begin = ob_http_now_ms();
	FullSocket full;
	Client client;

	options.connect_timeout_ms = 200;
	use_http(fixture, &options);
	full_socket_open(&full);
	client_init(&client, fixture, "GET", "/");
	client.port = full.port;
	run(&client);
	assert_int_equal(client.request.error.code, OB_ETIMEOUT);
	assert_false(client.request.final);
	assert_in_range(ob_http_now_ms() - begin, 200, 1500);
	client_free(&client);
	full_socket_close(&full);
}

static void
connecting_within_the_requests_own_time(void **state)
{
	Fixture *fixture = *state;
	int64_t begin = ob_http_now_ms();
	FullSocket full;
	Client client;

	full_socket_open(&full);
	client_init(&client, fixture, "GET", "/");
	client.port = full.port;
	client.request.connect_timeout_ms = 200;
	run(&client);
	assert_int_equal(client.request.error.code, OB_ETIMEOUT);
	assert_false(client.request.final);
	assert_in_range(ob_http_now_ms() - begin, 200, CONNECT_MS - 500);
	client_free(&client);
	full_socket_close(&full);
}

/*
 * A host that was away for longer than a connect may take has not waited for
 * it.  The connection was made in the meantime (the first SYN is dropped, the
 * kernel sends the next one after a second), the handshake is still to come.
 */
static void
absence_of_the_host_is_no_slow_connect(void **state)
{
	Fixture *fixture = *state;
	FullSocket full;
	char origin[64];
	Client client;
	int accepted[3];

	full_socket_open(&full);
	client_init(&client, fixture, "GET", "/");
	snprintf(origin, sizeof(origin), "https://127.0.0.1:%d", full.port);
	client.origin = origin;
	client.request.connect_timeout_ms = 700;
	start(&client);
	host_drive_for(fixture->http, 50);
	assert_int_equal(listen(full.fds[0], 8), 0);
	for (int i = 0; i < 3; i++)
	{
		struct pollfd fd = {full.fds[0], POLLIN, 0};

		assert_int_equal(poll(&fd, 1, 10000), 1);
		accepted[i] = accept(full.fds[0], NULL, NULL);
		assert_true(accepted[i] >= 0);
	}
	host_drive_for(fixture->http, 20);
	assert_string_equal(client.request.error.cause, "");
	assert_int_equal(client.done, 0);
	host_drive(fixture->http, is_done, &client);
	assert_int_equal(client.request.error.code, OB_ETIMEOUT);
	client_free(&client);
	for (int i = 0; i < 3; i++)
		close(accepted[i]);
	full_socket_close(&full);
}

static void
closed_without_an_response(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server, (ServerRule){.act = SERVER_DROP});
	client_init(&client, fixture, "GET", "/");
	run(&client);
	assert_int_equal(client.request.error.code, OB_ECONNECT);
	assert_false(client.request.final);
	assert_int_equal(client.request.status, 0);
	assert_int_equal(server_count(fixture->server, NULL, NULL), 1);
	client_free(&client);
}

static void
closed_within_the_body(void **state)
{
	Fixture *fixture = *state;
	size_t len = 8 * MIB;
	char *body = make_body(len);
	Client client;

	server_rule(fixture->server,
				(ServerRule){.act = SERVER_DROP, .read = 1000});
	client_init(&client, fixture, "PUT", "/");
	client.request.body = body;
	client.request.body_len = len;
	run(&client);
	assert_int_equal(client.request.error.code, OB_ECONNECT);
	assert_false(client.request.final);
	client_free(&client);
	test_free(body);
}

static void
silence_is_a_stall(void **state)
{
	Fixture *fixture = *state;
	int64_t begin = ob_http_now_ms();
	Client client;

	server_rule(fixture->server, (ServerRule){.act = SERVER_HOLD});
	client_init(&client, fixture, "GET", "/");
	client.request.stall_timeout_ms = 500;
	run(&client);
	assert_error(&client.request.error, OB_ETIMEOUT,
				 "no data was transferred for 0.5 s");
	assert_false(client.request.final);
	/* the client checks for it from time to time */
	assert_in_range(ob_http_now_ms() - begin, 500, 2500);
	client_free(&client);
}

/* Bytes keep moving, but the total time is limited. */
static void
response_that_takes_too_long(void **state)
{
	Fixture *fixture = *state;
	int64_t begin = ob_http_now_ms();
	Client client;

	server_rule(fixture->server, (ServerRule){.act = SERVER_HALF,
											  .status = 200,
											  .body = "half of it",
											  .cut = 4});
	client_init(&client, fixture, "GET", "/");
	client.request.timeout_ms = 500;
	run(&client);
	assert_error(&client.request.error, OB_ETIMEOUT,
				 "no complete response was received within 0.5 s");
	assert_false(client.request.final);
	assert_in_range(ob_http_now_ms() - begin, 500, STALL_MS / 2);
	client_free(&client);
}

static bool
is_received(void *arg)
{
	Client *client = arg;

	return server_count(client->fixture->server, NULL, client->path) > 0;
}

/* A host sleeps while it waits. */
static void
waiting_is_no_work(void **state)
{
	Fixture *fixture = *state;
	int64_t begin;
	int wakeups = 0;
	Client client;

	server_rule(fixture->server,
				(ServerRule){.act = SERVER_HOLD, .status = 200});
	client_init(&client, fixture, "GET", "/");
	start(&client);
	host_watch(fixture->http, is_received, &client);
	host_drive_for(fixture->http, 20);
	for (begin = ob_http_now_ms(); ob_http_now_ms() - begin < 200; wakeups++)
	{
		struct pollfd fd = {ob_http_fd(fixture->http), POLLIN, 0};
		int timeout = ob_http_timeout_ms(fixture->http);
		ObError error;

		assert_true(timeout >= 0);
		poll(&fd, 1, timeout < 200 ? timeout : 200);
		ob_error_clear(&error);
		assert_int_equal(ob_http_drive(fixture->http, &error), OB_OK);
	}
	assert_in_range(wakeups, 1, 5);
	server_release(fixture->server);
	host_drive(fixture->http, is_done, &client);
	assert_status(&client, 200);
	client_free(&client);
}

/* The clock for stalls stops while the host does other work. */
static void
absence_of_the_host_is_no_stall(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server,
				(ServerRule){.act = SERVER_HOLD, .status = 200});
	client_init(&client, fixture, "GET", "/");
	client.request.stall_timeout_ms = 1200;
	client.request.timeout_ms = 1200;
	start(&client);
	host_watch(fixture->http, is_received, &client);
	usleep(1500 * 1000);
	host_drive_for(fixture->http, 1);
	assert_int_equal(client.done, 0);
	server_release(fixture->server);
	host_drive(fixture->http, is_done, &client);
	assert_status(&client, 200);
	client_free(&client);
}

/* The connection transfers less than libcurl's buffer within the stall
 * time. */
static void
slow_upload_is_no_stall(void **state)
{
	Fixture *fixture = *state;
	size_t len = 3 * MIB;
	char *body = make_body(len);
	Client client;
	int64_t begin = ob_http_now_ms();

	server_narrow(fixture->server);
	server_rule(fixture->server, (ServerRule){.pace = 9000, .status = 200});
	client_init(&client, fixture, "PUT", "/slow");
	client.request.body = body;
	client.request.body_len = len;
	client.request.stall_timeout_ms = 1000;
	start(&client);
	while (ob_http_now_ms() - begin < 1800 && client.done == 0)
		host_drive_for(fixture->http, 20);
	assert_string_equal(client.request.error.cause, "");
	assert_int_equal(client.done, 0);
	server_release(fixture->server);
	host_drive(fixture->http, is_done, &client);
	assert_status(&client, 200);
	client_free(&client);
	test_free(body);
}

/* ---- starting and stopping ---- */

static void
delayed_start(void **state)
{
	Fixture *fixture = *state;
	int64_t begin = ob_http_now_ms();
	Client late;
	Client soon;

	server_rule(fixture->server, (ServerRule){.status = 200});
	client_init(&late, fixture, "GET", "/late");
	client_init(&soon, fixture, "GET", "/soon");
	assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
	ob_http_start(fixture->http, &late.request, 300);
	assert_true(ob_http_running(&late.request));
	assert_in_range(ob_http_timeout_ms(fixture->http), 250, 300);
	ob_http_start(fixture->http, &soon.request, 150);
	assert_in_range(ob_http_timeout_ms(fixture->http), 100, 150);
	host_drive_for(fixture->http, 50);
	assert_int_equal(late.prepared + soon.prepared, 0);

	host_drive(fixture->http, is_done, &late);
	assert_true(ob_http_now_ms() - begin >= 300);
	assert_status(&late, 200);
	assert_status(&soon, 200);
	assert_string_equal(server_request(fixture->server, NULL, NULL, 0)->target,
						"/soon");
	assert_int_equal(late.prepared, 1);
	client_free(&late);
	client_free(&soon);
}

/* Nothing is sent before the first drive. */
static void
starting_only_notes_it(void **state)
{
	Fixture *fixture = *state;
	Client client;

	client_init(&client, fixture, "GET", "/");
	client.refuse = true;
	start(&client);
	assert_int_equal(client.prepared, 0);
	assert_int_equal(ob_http_timeout_ms(fixture->http), 0);
	assert_int_equal(client.done, 0);
	ob_http_cancel(fixture->http, &client.request);
	client_free(&client);
}

static void
prepare_fails(void **state)
{
	Fixture *fixture = *state;
	char *path = test_malloc(20000);
	Client client;

	client_init(&client, fixture, "GET", "/");
	client.refuse = true;
	run(&client);
	assert_error(&client.request.error, OB_ECREDS, "prepare says no");
	assert_true(client.request.final);
	assert_int_equal(client.request.status, 0);

	/* a URL that does not fit */
	client.refuse = false;
	memset(path, 'a', 19999);
	path[0] = '/';
	path[19999] = '\0';
	client.path = path;
	run(&client);
	assert_int_equal(client.request.error.code, OB_ELIMIT);
	assert_true(client.request.final);
	assert_int_equal(server_accepted(fixture->server), 0);

	/* nothing is left of either */
	client.path = "/";
	server_rule(fixture->server, (ServerRule){.status = 200});
	run(&client);
	assert_status(&client, 200);
	client_free(&client);
	test_free(path);
}

/* A value from a file or an environment must not form a header of its own. */
static void
line_breaks_in_headers(void **state)
{
	static const ObPair rows[] = {
		{"X-One", "canary\r\nX-Two: 2"},
		{"X-One", "canary\n"},
		{"X-One", "canary\r"},
		{"X-One\r\nX-Two", "canary"},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Client client;

		client_init(&client, fixture, "GET", "/");
		client.headers = &rows[i];
		client.nheaders = 1;
		run(&client);
		assert_error(&client.request.error, OB_EINVAL, "line break");
		assert_null(strstr(client.request.error.cause, "canary"));
		assert_true(client.request.final);
		client_free(&client);
	}
	assert_int_equal(server_accepted(fixture->server), 0);
}

static void
not_a_url(void **state)
{
	Fixture *fixture = *state;
	Client client;

	client_init(&client, fixture, "GET", ":x/");
	run(&client);
	assert_int_equal(client.request.error.code, OB_EINVAL);
	assert_true(client.request.final);
	client_free(&client);
}

static bool
has_bytes(void *arg)
{
	return ((Client *) arg)->request.response.len > 0;
}

static bool
is_disconnected(void *arg)
{
	return server_connected(((Client *) arg)->fixture->server) == 0;
}

/* Cancels, checks that this has no further effect, and uses the same memory
 * again. */
static void
cancel_and_go_on(Client *client)
{
	Fixture *fixture = client->fixture;
	const ServerRequest *request;

	assert_true(ob_http_running(&client->request));
	ob_http_cancel(fixture->http, &client->request);
	assert_false(ob_http_running(&client->request));
	ob_http_cancel(fixture->http, &client->request);
	/* a connection in use is closed, and "done" is not called */
	server_release(fixture->server);
	host_watch(fixture->http, is_disconnected, client);
	host_drive_for(fixture->http, 20);
	assert_int_equal(client->done, 0);

	client->port = 0;
	client->path = "/again";
	server_rule(fixture->server,
				(ServerRule){.target = "/again", .status = 200, .body = "ok"});
	run(client);
	assert_status(client, 200);
	assert_response(client, "ok");
	request = server_request(fixture->server, NULL, "/again", 0);
	assert_int_equal(request->body_len, client->request.body_len);
	assert_memory_equal(request->body, client->request.body,
						client->request.body_len);
	client_free(client);
}

static void
cancel_while_delayed(void **state)
{
	Fixture *fixture = *state;
	Client client;

	client_init(&client, fixture, "GET", "/");
	ob_http_start(fixture->http, &client.request, 10);
	cancel_and_go_on(&client);
	assert_int_equal(client.prepared, 1);
	assert_int_equal(server_count(fixture->server, NULL, NULL), 1);
}

static void
cancel_while_connecting(void **state)
{
	Fixture *fixture = *state;
	FullSocket full;
	Client client;

	full_socket_open(&full);
	client_init(&client, fixture, "GET", "/");
	client.port = full.port;
	start(&client);
	host_drive_for(fixture->http, 50);
	assert_int_equal(client.prepared, 1);
	cancel_and_go_on(&client);
	full_socket_close(&full);
}

static void
cancel_while_sending(void **state)
{
	Fixture *fixture = *state;
	size_t len = 16 * MIB;
	char *body = make_body(len);
	Client client;

	server_rule(fixture->server, (ServerRule){.target = "/held",
											  .act = SERVER_HOLD,
											  .read = 1000,
											  .status = 200});
	client_init(&client, fixture, "PUT", "/held");
	client.request.body = body;
	client.request.body_len = len;
	start(&client);
	host_watch(fixture->http, is_received, &client);
	host_drive_for(fixture->http, 20);
	/* the body of a cancelled request must not be read any more */
	cancel_and_go_on(&client);
	test_free(body);
}

static void
cancel_while_waiting(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(
		fixture->server,
		(ServerRule){.target = "/held", .act = SERVER_HOLD, .status = 200});
	client_init(&client, fixture, "POST", "/held");
	client.request.body = "abc";
	client.request.body_len = 3;
	start(&client);
	host_watch(fixture->http, is_received, &client);
	cancel_and_go_on(&client);
}

static void
cancel_while_receiving(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server, (ServerRule){.target = "/held",
											  .act = SERVER_HALF,
											  .status = 200,
											  .body = "first second",
											  .cut = 5});
	client_init(&client, fixture, "GET", "/held");
	start(&client);
	host_drive(fixture->http, has_bytes, &client);
	assert_response(&client, "first");
	cancel_and_go_on(&client);
}

/* Freeing a request cancels it. */
static void
free_while_running(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server, (ServerRule){.act = SERVER_HOLD});
	client_init(&client, fixture, "GET", "/held");
	start(&client);
	host_watch(fixture->http, is_received, &client);
	client_free(&client);
	server_release(fixture->server);
	host_watch(fixture->http, is_disconnected, &client);
	assert_int_equal(client.done, 0);
}

/* Freeing the machinery does so, too, in any state. */
static void
free_all_while_running(void **state)
{
	Fixture *fixture = *state;
	char *body = make_body(4 * MIB);
	Client clients[5];
	FullSocket full;

	full_socket_open(&full);
	server_rule(fixture->server,
				(ServerRule){.target = "/1", .act = SERVER_HOLD});
	server_rule(
		fixture->server,
		(ServerRule){.target = "/2", .act = SERVER_HOLD, .read = 1000});
	server_rule(fixture->server, (ServerRule){.target = "/3",
											  .act = SERVER_HALF,
											  .status = 200,
											  .body = "first second",
											  .cut = 5});
	client_init(&clients[0], fixture, "GET", "/0");
	client_init(&clients[1], fixture, "GET", "/1");
	client_init(&clients[2], fixture, "PUT", "/2");
	clients[2].request.body = body;
	clients[2].request.body_len = 4 * MIB;
	client_init(&clients[3], fixture, "GET", "/3");
	client_init(&clients[4], fixture, "GET", "/4");
	clients[4].port = full.port;
	ob_http_start(fixture->http, &clients[0].request, 60000);
	for (int i = 1; i < 5; i++)
		start(&clients[i]);
	host_watch(fixture->http, is_received, &clients[1]);
	host_watch(fixture->http, is_received, &clients[2]);
	host_drive(fixture->http, has_bytes, &clients[3]);
	ob_http_free(fixture->http);
	fixture->http = NULL;
	for (int i = 0; i < 5; i++)
	{
		assert_false(ob_http_running(&clients[i].request));
		assert_int_equal(clients[i].done, 0);
		client_free(&clients[i]);
	}
	full_socket_close(&full);
	test_free(body);
}

/* ---- callbacks that start and cancel ---- */

static void
start_again(Client *client)
{
	if (client->done < 5)
		ob_http_start(client->fixture->http, &client->request,
					  client->done == 3 ? 20 : 0);
}

static void
start_other(Client *client)
{
	start(client->other);
}

static void
cancel_other(Client *client)
{
	ob_http_cancel(client->fixture->http, &client->other->request);
}

static void
free_other(Client *client)
{
	client_free(client->other);
}

static void
callback_starts_itself(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server, (ServerRule){.status = 200, .body = "ok"});
	client_init(&client, fixture, "GET", "/");
	client.then = start_again;
	start(&client);
	host_drive(fixture->http, is_done, &client);
	assert_int_equal(client.done, 5);
	assert_int_equal(client.prepared, 5);
	assert_response(&client, "ok");
	assert_int_equal(server_count(fixture->server, NULL, NULL), 5);
	client_free(&client);
}

static void
callback_starts_another(void **state)
{
	Fixture *fixture = *state;
	Client first;
	Client second;

	server_rule(fixture->server, (ServerRule){.status = 200});
	client_init(&first, fixture, "GET", "/1");
	client_init(&second, fixture, "GET", "/2");
	first.then = start_other;
	first.other = &second;
	first.refuse = true; /* its callback runs where requests are started */
	start(&first);
	host_drive_for(fixture->http, 1);
	assert_int_equal(first.done, 1);
	host_drive(fixture->http, is_done, &second);
	assert_status(&second, 200);
	client_free(&first);
	client_free(&second);
}

/* Two responses are available when the host drives: the first callback ends
 * the other request, whose response must be discarded. */
static void
callback_ends_another(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server, (ServerRule){.status = 200, .body = "ok"});
	for (int i = 0; i < 4; i++)
	{
		Client clients[2];

		for (int c = 0; c < 2; c++)
		{
			client_init(&clients[c], fixture, "GET", c ? "/1" : "/0");
			clients[c].other = &clients[!c];
			clients[c].then = i % 2 ? free_other : cancel_other;
			start(&clients[c]);
		}
		host_drive_for(fixture->http, 1);
		host_watch(fixture->http, is_received, &clients[0]);
		host_watch(fixture->http, is_received, &clients[1]);
		usleep(20 * 1000);
		host_drive_for(fixture->http, 30);
		assert_int_equal(clients[0].done + clients[1].done, 1);
		assert_false(ob_http_running(&clients[0].request));
		assert_false(ob_http_running(&clients[1].request));
		client_free(&clients[0]);
		client_free(&clients[1]);
		server_reset(fixture->server);
		server_rule(fixture->server,
					(ServerRule){.status = 200, .body = "ok"});
	}
}

/* Here the callback runs where stalled requests are failed. */
static void
stalled_callback_ends_another(void **state)
{
	Fixture *fixture = *state;
	Client clients[3];

	server_rule(fixture->server, (ServerRule){.act = SERVER_HOLD});
	for (int i = 0; i < 3; i++)
	{
		client_init(&clients[i], fixture, "GET", "/");
		clients[i].request.stall_timeout_ms = 100;
		start(&clients[i]);
	}
	clients[0].then = cancel_other;
	clients[0].other = &clients[1];
	host_drive(fixture->http, is_done, &clients[2]);
	assert_int_equal(clients[0].done, 1);
	assert_int_equal(clients[1].done, 0);
	assert_int_equal(clients[2].done, 1);
	for (int i = 0; i < 3; i++)
		client_free(&clients[i]);
}

static void
signals_stay_as_they_were(void **state)
{
	Fixture *fixture = *state;
	sigset_t before;
	sigset_t after;
	Client client;

	server_rule(fixture->server, (ServerRule){.status = 200});
	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	client_init(&client, fixture, "GET", "/");
	run(&client);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(sigismember(&after, SIGUSR2), 1);
	assert_int_equal(sigismember(&after, SIGUSR1), 0);
	assert_int_equal(sigismember(&after, SIGINT), 0);
	sigemptyset(&before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	client_free(&client);
}

/* ---- connections ---- */

/* A missed wake-up would cost a second each. */
static void
connections_are_reused(void **state)
{
	Fixture *fixture = *state;
	int64_t begin = ob_http_now_ms();
	Client client;

	server_rule(fixture->server, (ServerRule){.status = 200, .body = "ok"});
	client_init(&client, fixture, "GET", "/");
	for (int i = 0; i < 200; i++)
	{
		static const char *const methods[] = {"GET", "PUT", "HEAD", "DELETE"};

		client.request.method = methods[i % 4];
		run(&client);
		assert_status(&client, 200);
	}
	assert_int_equal(server_accepted(fixture->server), 1);
	assert_true(ob_http_now_ms() - begin < 2000);
	client_free(&client);
}

static void
many_at_a_time(void **state)
{
	Fixture *fixture = *state;
	Client clients[20];

	server_rule(fixture->server, (ServerRule){.status = 200, .body = "ok"});
	for (int round = 0; round < 5; round++)
	{
		for (int i = 0; i < 20; i++)
		{
			client_init(&clients[i], fixture, "GET", "/");
			start(&clients[i]);
		}
		for (int i = 0; i < 20; i++)
		{
			host_drive(fixture->http, is_done, &clients[i]);
			assert_status(&clients[i], 200);
			assert_response(&clients[i], "ok");
			client_free(&clients[i]);
		}
		/* as many connections as allowed are kept */
		assert_true(server_connected(fixture->server) <= 20);
	}
	assert_true(server_accepted(fixture->server) <
				20 + 4 * (20 - CONNECTIONS + 1));
	assert_int_equal(server_unexpected(fixture->server), 0);
}

/* The server closed an idle connection, which no request notices. */
static void
idle_connection_dies(void **state)
{
	static const char *const methods[] = {"GET", "PUT", "POST", "HEAD"};
	Fixture *fixture = *state;
	size_t len = 2 * MIB;
	char *body = make_body(len);

	server_rule(fixture->server, (ServerRule){.status = 200});
	for (int i = 0; i < 4; i++)
	{
		Client client;

		client_init(&client, fixture, "GET", "/first");
		run(&client);
		assert_status(&client, 200);
		server_disconnect(fixture->server);
		host_watch(fixture->http, is_disconnected, &client);
		client.request.method = methods[i];
		client.path = "/second";
		if (i == 1 || i == 2)
		{
			client.request.body = body;
			client.request.body_len = len;
		}
		run(&client);
		assert_status(&client, 200);
		assert_int_equal(server_count(fixture->server, methods[i], "/second"),
						 1);
		client_free(&client);
	}
	test_free(body);
}

/* A reused connection is closed when the request has arrived.  libcurl sends
 * it again, from its first byte, on a new connection. */
static void
reused_connection_dies(void **state)
{
	static const ObPair quiet[] = {{"Expect", NULL}};
	Fixture *fixture = *state;
	size_t len = 3 * MIB;
	char *body = make_body(len);

	for (int i = 0; i < 2; i++)
	{
		const ServerRequest *request;
		Client client;

		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.target = "/second",
												  .times = 1,
												  .act = SERVER_DROP,
												  .read = i ? MIB : 0});
		server_rule(fixture->server, (ServerRule){.status = 200});
		client_init(&client, fixture, "GET", "/first");
		run(&client);
		client.request.method = "PUT";
		client.path = "/second";
		client.headers = quiet;
		client.nheaders = 1;
		client.request.body = body;
		client.request.body_len = len;
		run(&client);
		if (i == 0)
			assert_status(&client, 200);
		if (client.request.error.code == OB_OK)
		{
			request = server_request(fixture->server, "PUT", "/second", 1);
			assert_non_null(request);
			assert_int_equal(request->body_len, len);
			assert_memory_equal(request->body, body, len);
		}
		else
		{
			/* the reset occurred while sending */
			assert_int_equal(client.request.error.code, OB_ECONNECT);
			assert_false(client.request.final);
		}
		client_free(&client);
	}
	test_free(body);
}

/* The server announces that it will close: there is no error, but a new
 * connection. */
static void
connection_close(void **state)
{
	Fixture *fixture = *state;
	Client client;

	server_rule(fixture->server,
				(ServerRule){.status = 200,
							 .headers = "Connection: close\r\n",
							 .body = "ok",
							 .close = true});
	client_init(&client, fixture, "GET", "/");
	for (int i = 0; i < 3; i++)
	{
		run(&client);
		assert_status(&client, 200);
	}
	assert_int_equal(server_accepted(fixture->server), 3);
	client_free(&client);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(verbs_and_their_heads),
		TEST(path_as_it_is),
		TEST(big_bodies_arrive_whole),
		TEST(proxy_settings_are_ignored),
		TEST(proxy_that_was_set),
		TEST(around_the_proxy),
		TEST(proxy_refuses_a_tunnel),
		TEST(certificates_of_requests),
		TEST(certificates_are_read_again),
		TEST(response_headers),
		TEST(responses_as_they_come),
		TEST(connection_that_ends_within_the_head),
		TEST(response_longer_than_allowed),
		TEST(huge_headers),
		TEST(endless_heads),
		TEST(link_local_addresses),
		TEST(addresses_that_are_not_link_local),
		TEST(link_local_addresses_through_a_proxy),
		TEST(link_local_connections_are_not_kept),
		TEST(sockets_are_closed_on_exec),
		TEST(redirects_are_responses),
		TEST(early_refusal_of_a_big_body),
		TEST(early_refusal_that_is_cut),
		TEST(responses_that_are_cut),
		TEST(connection_refused),
		TEST(connecting_takes_too_long),
		TEST(connecting_within_the_requests_own_time),
		TEST(absence_of_the_host_is_no_slow_connect),
		TEST(closed_without_an_response),
		TEST(closed_within_the_body),
		TEST(waiting_is_no_work),
		TEST(silence_is_a_stall),
		TEST(response_that_takes_too_long),
		TEST(absence_of_the_host_is_no_stall),
		TEST(slow_upload_is_no_stall),
		TEST(delayed_start),
		TEST(starting_only_notes_it),
		TEST(prepare_fails),
		TEST(line_breaks_in_headers),
		TEST(not_a_url),
		TEST(cancel_while_delayed),
		TEST(cancel_while_connecting),
		TEST(cancel_while_sending),
		TEST(cancel_while_waiting),
		TEST(cancel_while_receiving),
		TEST(free_while_running),
		TEST(free_all_while_running),
		TEST(callback_starts_itself),
		TEST(callback_starts_another),
		TEST(callback_ends_another),
		TEST(stalled_callback_ends_another),
		TEST(signals_stay_as_they_were),
		TEST(connections_are_reused),
		TEST(many_at_a_time),
		TEST(idle_connection_dies),
		TEST(reused_connection_dies),
		TEST(connection_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
