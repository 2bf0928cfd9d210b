/*
 * server.c
 *		A scripted HTTP server for tests, and a host that drives the client.
 *
 * test/core/server.c
 *
 * One thread accepts, and each connection has one that reads and writes with
 * blocking calls. server_free() shuts all sockets down, which ends these
 * calls.  One lock guards everything that threads share; no thread holds it
 * while it reads, writes or waits.
 */
#include "testing.h"

#include "server_intern.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX (64 * 1024)
#define CONNECTIONS_MAX 256
#define RULES_MAX 256
#define LINGER_MS 3000
#define HOLD_MS 60000
#define DRIVE_MS 10000
#define PACE_MS 20

typedef struct Connection
{
	Server *server;
	pthread_t thread;
	int number;
	int fd;   /* -1: closed */
	SSL *ssl; /* NULL: none, or not yet */
	char tunnel[256];
	/* bytes that were read beyond the last request */
	char *ahead;
	size_t ahead_len;
} Connection;

typedef struct Record
{
	struct Record *next;
	ServerRequest request;
} Record;

struct Server
{
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t acceptor;
	int fd;
	int port;
	bool stopping;
	bool released;
	int to_break;
	int nconnections;
	Connection connections[CONNECTIONS_MAX];
	int nrules;
	struct
	{
		ServerRule rule;
		int used;
	} rules[RULES_MAX];
	Stored *texts; /* of all rules that ever existed: a thread may be sending
					  one */
	int unexpected;
	Record *records;
	LittleS3 s3;
	SSL_CTX *tls; /* NULL: none */
	char ca_file[64];
};

void *
server_must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

Bytes
server_copy_bytes(const char *data, size_t len)
{
	Bytes copy = {server_must(malloc(len + 1)), len};

	memcpy(copy.data, data, len);
	copy.data[len] = '\0';
	return copy;
}

void
server_sha256(const char *data, size_t len, char *hex)
{
	unsigned char hash[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *) data, len, hash);
	for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
}

/* ---- waiting, interrupted by server_free() ---- */

static struct timespec
after_ms(int ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (ms % 1000) * 1000000L;
	if (at.tv_nsec >= 1000000000L)
	{
		at.tv_sec++;
		at.tv_nsec -= 1000000000L;
	}
	return at;
}

/* Waits until the time is over, or (gate) until the test calls
 * server_release(). */
static void
pause_for(Server *server, int ms, bool gate)
{
	struct timespec at = after_ms(ms);

	pthread_mutex_lock(&server->lock);
	while (!server->stopping && !(gate && server->released))
		if (pthread_cond_timedwait(&server->changed, &server->lock, &at) != 0)
			break;
	pthread_mutex_unlock(&server->lock);
}

/* ---- bytes, with TLS or without ---- */

static bool
send_all(const Connection *connection, const char *data, size_t len)
{
	while (len > 0)
	{
		ssize_t n;

		if (connection->ssl)
			n = SSL_write(connection->ssl, data,
						  len < 65536 ? (int) len : 65536);
		else
			n = send(connection->fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t) n;
	}
	return true;
}

/* Returns false if the client rejected the handshake. */
static bool
begin_tls(Connection *connection)
{
	connection->ssl = SSL_new(connection->server->tls);
	return connection->ssl && SSL_set_fd(connection->ssl, connection->fd) &&
		   SSL_accept(connection->ssl) == 1;
}

static bool
is_to_break(Server *server)
{
	bool result;

	pthread_mutex_lock(&server->lock);
	result = server->to_break > 0;
	if (result)
		server->to_break--;
	pthread_mutex_unlock(&server->lock);
	return result;
}

/* A client that speaks TLS begins with a record of type 22. */
static bool
greet(Connection *connection)
{
	bool breaks = is_to_break(connection->server);
	char first = 0;

	if (!connection->server->tls && !breaks)
		return true;
	if (recv(connection->fd, &first, 1, MSG_PEEK) != 1 || breaks)
		return false;
	return first != 22 || begin_tls(connection);
}

/* Makes this connection a tunnel, as a proxy does: from now on the server acts
 * as the host that the client requested. */
static bool
open_tunnel(Connection *connection, const char *target)
{
	snprintf(connection->tunnel, sizeof(connection->tunnel), "%s", target);
	return send_all(connection, "HTTP/1.1 200 Tunnel\r\n\r\n", 23) &&
		   begin_tls(connection);
}

/* ---- reading a request ---- */

static size_t
receive(Connection *connection, char *to, size_t size)
{
	size_t take = connection->ahead_len < size ? connection->ahead_len : size;
	ssize_t n;

	if (take > 0)
	{
		memcpy(to, connection->ahead, take);
		connection->ahead_len -= take;
		memmove(connection->ahead, connection->ahead + take,
				connection->ahead_len);
		return take;
	}
	if (connection->ssl)
		n = SSL_read(connection->ssl, to, (int) size);
	else
		n = recv(connection->fd, to, size, 0);
	return n > 0 ? (size_t) n : 0;
}

/* Reads up to the empty line; what follows it stays ahead. */
static char *
receive_head(Connection *connection)
{
	char *head = server_must(calloc(1, HEAD_MAX + 1));
	size_t len = 0;
	char *end = NULL;

	while (!end && len < HEAD_MAX)
	{
		size_t n = receive(connection, head + len, HEAD_MAX - len);

		if (n == 0)
			break;
		len += n;
		end = strstr(head, "\r\n\r\n");
	}
	if (!end)
	{
		free(head);
		return NULL;
	}
	end += 4;
	connection->ahead_len = len - (size_t) (end - head);
	memcpy(connection->ahead, end, connection->ahead_len);
	end[-2] = '\0'; /* the last line keeps its CRLF */
	return head;
}

/* Splits "METHOD target HTTP/1.1" and the lines after it. */
static bool
parse_head(char *head, ServerRequest *request)
{
	char *target = strchr(head, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;
	char *lines = version ? strstr(version, "\r\n") : NULL;

	if (!lines)
		return false;
	*target = *version = '\0';
	request->method = server_must(strdup(head));
	request->target = server_must(strdup(target + 1));
	request->head = server_must(strdup(lines + 2));
	return true;
}

/* Returns false if the client closed the connection. */
static bool
receive_body(Connection *connection, ServerRequest *request,
			 const ServerRule *rule, size_t want)
{
	char value[32];

	if (server_header(request, "Expect", value, sizeof(value)) > 0 &&
		!send_all(connection, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		return false;
	request->body = server_must(malloc(want + 1));
	while (request->body_len < want)
	{
		size_t take = want - request->body_len;
		size_t n;

		if (rule && rule->pace > 0)
		{
			pause_for(connection->server, PACE_MS, true);
			if (take > rule->pace)
				take = rule->pace;
		}
		n = receive(connection, request->body + request->body_len, take);
		if (n == 0)
			return false;
		request->body_len += n;
	}
	request->body[want] = '\0';
	if (rule && rule->flip && want > 0)
		request->body[want / 2] ^= 1;
	server_sha256(request->body, want, request->sha256);
	return true;
}

/* ---- rules and records ---- */

static bool
fits(const char *method, const char *target, const ServerRequest *request)
{
	return (!method || strcmp(method, request->method) == 0) &&
		   (!target || strstr(request->target, target));
}

/* Copies the rule that applies to the request. */
static bool
take_rule(Server *server, const ServerRequest *request, ServerRule *rule)
{
	bool found = false;

	pthread_mutex_lock(&server->lock);
	for (int i = 0; i < server->nrules && !found; i++)
	{
		const ServerRule *r = &server->rules[i].rule;

		found = fits(r->method, r->target, request) &&
				(r->times == 0 || server->rules[i].used < r->times);
		if (found)
		{
			server->rules[i].used++;
			*rule = *r;
		}
	}
	if (!found && !server->s3.on)
		server->unexpected++;
	pthread_mutex_unlock(&server->lock);
	return found;
}

/* Takes over the request's memory.  The little S3 runs under the same lock, so
 * a test that sees the record sees its effect. */
static void
record(Server *server, Record *record, bool store, Response *response)
{
	Record **link = &server->records;

	pthread_mutex_lock(&server->lock);
	while (*link)
		link = &(*link)->next;
	*link = record;
	if (store)
		little_s3_respond(&server->s3, &record->request, response);
	pthread_mutex_unlock(&server->lock);
}

static void
free_record(Record *record)
{
	free(record->request.method);
	free(record->request.target);
	free(record->request.head);
	free(record->request.body);
	free(record);
}

/* ---- responding ---- */

static bool
send_response(const Connection *connection, bool has_body,
			  const Response *response, size_t body_len)
{
	char head[4096];
	int len = snprintf(head, sizeof(head), "HTTP/1.1 %d Whatever\r\n%s",
					   response->status, response->headers);

	if (response->status != 204)
		len += snprintf(head + len, sizeof(head) - (size_t) len,
						"Content-Length: %zu\r\n", response->body_len);
	len += snprintf(head + len, sizeof(head) - (size_t) len, "\r\n");
	return send_all(connection, head, (size_t) len) &&
		   (!has_body || send_all(connection, response->body, body_len));
}

/* Waits until the client closes.  If the server closed first, with bytes
 * unread, the client would lose what it has not read yet. */
static void
linger(const Connection *connection)
{
	struct pollfd fd = {connection->fd, POLLRDHUP, 0};

	shutdown(connection->fd, SHUT_WR);
	poll(&fd, 1, LINGER_MS);
}

/* Returns whether the connection can take another request. */
static bool
act(Connection *connection, bool has_body, const ServerRule *rule,
	const Response *response, bool unread)
{
	if (rule && rule->act == SERVER_HOLD)
		pause_for(connection->server, HOLD_MS, true);
	if (rule && rule->delay_ms > 0)
		pause_for(connection->server, rule->delay_ms, false);
	if (rule && rule->act == SERVER_DROP)
		return false;
	if (rule && rule->act == SERVER_RAW)
	{
		send_all(connection, response->body, response->body_len);
		linger(connection);
		return false;
	}
	if (rule && rule->act == SERVER_CUT)
	{
		send_response(connection, has_body, response, rule->cut);
		/* closing now would reset the connection before the client has read
		 * that */
		if (unread)
			pause_for(connection->server, 50, false);
		return false;
	}
	if (rule && rule->act == SERVER_HALF)
	{
		if (!send_response(connection, has_body, response, rule->cut))
			return false;
		pause_for(connection->server, HOLD_MS, true);
		if (!send_all(connection, response->body + rule->cut,
					  response->body_len - rule->cut))
			return false;
	}
	else if (!send_response(connection, has_body, response,
							response->body_len))
		return false;
	if (!unread && !(rule && rule->close))
		return true;
	if (!rule->rude)
		linger(connection);
	return false;
}

static void
prepare_response(const Server *server, const ServerRule *rule,
				 Response *response)
{
	memset(response, 0, offsetof(Response, text));
	response->body = "";
	response->status = server->s3.on ? 0 : 599;
	if (!rule)
		return;
	response->status = rule->status;
	if (rule->headers)
		snprintf(response->headers, sizeof(response->headers), "%s",
				 rule->headers);
	if (rule->body)
	{
		response->body = rule->body;
		response->body_len = rule->body_len;
	}
}

/* Serves one request; returns false when the connection is to be closed. */
static bool
serve(Connection *connection)
{
	Server *server = connection->server;
	char *head = receive_head(connection);
	Record *rec;
	ServerRule rule = {0};
	bool ruled;
	bool has_body;
	Response own;
	Response stored;
	char length[32];
	size_t want;
	size_t take;

	if (!head)
		return false;
	rec = server_must(calloc(1, sizeof(Record)));
	rec->request.connection = connection->number;
	rec->request.tls = connection->ssl != NULL;
	strcpy(rec->request.tunnel, connection->tunnel);
	if (!parse_head(head, &rec->request))
		abort();
	free(head);
	if (connection->server->tls && !connection->ssl &&
		strcmp(rec->request.method, "CONNECT") == 0)
	{
		bool open = open_tunnel(connection, rec->request.target);

		free_record(rec);
		return open;
	}
	server_header(&rec->request, "Content-Length", length, sizeof(length));
	want = take = (size_t) strtoull(length, NULL, 10);
	ruled = take_rule(server, &rec->request, &rule);
	if (rule.read > 0 && rule.read < want)
		take = rule.read;
	if (!receive_body(connection, &rec->request, &rule, take))
	{
		free_record(rec);
		return false;
	}
	has_body = strcmp(rec->request.method, "HEAD") != 0;
	prepare_response(server, ruled ? &rule : NULL, &own);
	prepare_response(server, NULL, &stored);
	/* from here on the record may be freed */
	record(server, rec, ruled ? rule.store : server->s3.on, &stored);
	return act(connection, has_body, ruled ? &rule : NULL,
			   ruled && (rule.status > 0 || !rule.store) ? &own : &stored,
			   take < want);
}

/* ---- connections ---- */

static void
close_connection(Connection *connection)
{
	SSL_free(connection->ssl);
	connection->ssl = NULL;
	pthread_mutex_lock(&connection->server->lock);
	close(connection->fd);
	connection->fd = -1;
	pthread_mutex_unlock(&connection->server->lock);
}

static void *
run_connection(void *arg)
{
	Connection *connection = arg;

	connection->ahead = server_must(malloc(HEAD_MAX));
	if (greet(connection))
		while (serve(connection))
			;
	free(connection->ahead);
	close_connection(connection);
	return NULL;
}

static void *
run_acceptor(void *arg)
{
	Server *server = arg;

	for (;;)
	{
		int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
		int on = 1;
		Connection *connection;

		if (fd < 0)
			return NULL;
		/* head and body go out in two pieces */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		pthread_mutex_lock(&server->lock);
		if (server->stopping || server->nconnections == CONNECTIONS_MAX)
			close(fd);
		else
		{
			connection = &server->connections[server->nconnections];
			connection->server = server;
			connection->number = server->nconnections;
			connection->fd = fd;
			if (pthread_create(&connection->thread, NULL, run_connection,
							   connection) != 0)
				abort();
			server->nconnections++;
		}
		pthread_mutex_unlock(&server->lock);
	}
}

/* Listens on the previous port, or on any at first. */
static void
listen_on_loopback(Server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t) server->port);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->fd < 0 ||
		setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) !=
			0 ||
		bind(server->fd, (struct sockaddr *) &address, len) != 0 ||
		listen(server->fd, 64) != 0 ||
		getsockname(server->fd, (struct sockaddr *) &address, &len) != 0)
		abort();
	server->port = ntohs(address.sin_port);
	if (pthread_create(&server->acceptor, NULL, run_acceptor, server) != 0)
		abort();
}

Server *
server_new(void)
{
	Server *server = server_must(calloc(1, sizeof(Server)));
	pthread_condattr_t attributes;

	pthread_mutex_init(&server->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&server->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	listen_on_loopback(server);
	return server;
}

static void
free_records(Server *server)
{
	while (server->records)
	{
		Record *next = server->records->next;

		free_record(server->records);
		server->records = next;
	}
}

void
server_free(Server *server)
{
	if (!server)
		return;
	pthread_mutex_lock(&server->lock);
	server->stopping = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
	if (server->fd >= 0)
		server_refuse(server);
	server_disconnect(server);
	for (int i = 0; i < server->nconnections; i++)
		pthread_join(server->connections[i].thread, NULL);
	free_records(server);
	stored_free(server->s3.objects);
	stored_free(server->s3.uploads);
	stored_free(server->texts);
	if (server->tls)
		unlink(server->ca_file);
	SSL_CTX_free(server->tls);
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

/* ---- functions for tests ---- */

int
server_port(const Server *server)
{
	return server->port;
}

void
server_narrow(Server *server)
{
	int receive = 8192;
	int segment = 1000;

	/* the client's send buffer depends on the size of segments */
	if (setsockopt(server->fd, SOL_SOCKET, SO_RCVBUF, &receive,
				   sizeof(receive)) != 0 ||
		setsockopt(server->fd, IPPROTO_TCP, TCP_MAXSEG, &segment,
				   sizeof(segment)) != 0)
		abort();
}

/* A copy that lives as long as the server. */
static const char *
keep_text(Server *server, const char *text, size_t len)
{
	Stored *kept;

	if (!text)
		return NULL;
	kept = stored_add(&server->texts, "");
	kept->content = server_copy_bytes(text, len);
	return kept->content.data;
}

void
server_rule(Server *server, ServerRule rule)
{
	if (rule.body && rule.body_len == 0)
		rule.body_len = strlen(rule.body);
	pthread_mutex_lock(&server->lock);
	if (server->nrules == RULES_MAX)
		abort();
	rule.target =
		keep_text(server, rule.target, rule.target ? strlen(rule.target) : 0);
	rule.headers = keep_text(server, rule.headers,
							 rule.headers ? strlen(rule.headers) : 0);
	rule.body = keep_text(server, rule.body, rule.body_len);
	server->rules[server->nrules].rule = rule;
	server->rules[server->nrules].used = 0;
	server->nrules++;
	pthread_mutex_unlock(&server->lock);
}

void
server_reset(Server *server)
{
	pthread_mutex_lock(&server->lock);
	server->nrules = 0;
	server->unexpected = 0;
	server->released = false;
	free_records(server);
	pthread_mutex_unlock(&server->lock);
}

void
server_release(Server *server)
{
	pthread_mutex_lock(&server->lock);
	server->released = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

void
server_disconnect(Server *server)
{
	pthread_mutex_lock(&server->lock);
	for (int i = 0; i < server->nconnections; i++)
		if (server->connections[i].fd >= 0)
			shutdown(server->connections[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&server->lock);
}

void
server_refuse(Server *server)
{
	shutdown(server->fd, SHUT_RDWR); /* ends accept() */
	pthread_join(server->acceptor, NULL);
	close(server->fd);
	server->fd = -1;
	server_disconnect(server);
}

void
server_listen(Server *server)
{
	listen_on_loopback(server);
}

void
server_break(Server *server, int connections)
{
	pthread_mutex_lock(&server->lock);
	server->to_break = connections;
	pthread_mutex_unlock(&server->lock);
	if (connections > 0)
		server_disconnect(server);
}

int
server_accepted(Server *server)
{
	int n;

	pthread_mutex_lock(&server->lock);
	n = server->nconnections;
	pthread_mutex_unlock(&server->lock);
	return n;
}

int
server_connected(Server *server)
{
	int n = 0;

	pthread_mutex_lock(&server->lock);
	for (int i = 0; i < server->nconnections; i++)
		n += server->connections[i].fd >= 0;
	pthread_mutex_unlock(&server->lock);
	return n;
}

int
server_unexpected(Server *server)
{
	int n;

	pthread_mutex_lock(&server->lock);
	n = server->unexpected;
	pthread_mutex_unlock(&server->lock);
	return n;
}

int
server_count(Server *server, const char *method, const char *target)
{
	int n = 0;

	while (server_request(server, method, target, n))
		n++;
	return n;
}

const ServerRequest *
server_request(Server *server, const char *method, const char *target, int n)
{
	const ServerRequest *found = NULL;

	pthread_mutex_lock(&server->lock);
	for (const Record *r = server->records; r && !found; r = r->next)
		if (fits(method, target, &r->request) && n-- == 0)
			found = &r->request;
	pthread_mutex_unlock(&server->lock);
	return found;
}

int
server_header(const ServerRequest *request, const char *name, char *value,
			  size_t size)
{
	size_t len = strlen(name);
	int n = 0;

	value[0] = '\0';
	for (const char *line = request->head; *line;)
	{
		const char *end = strstr(line, "\r\n");

		if (strncasecmp(line, name, len) == 0 && line[len] == ':')
		{
			const char *from = line + len + 1;

			from += strspn(from, " ");
			if (n++ == 0)
				snprintf(value, size, "%.*s", (int) (end - from), from);
		}
		line = end + 2;
	}
	return n;
}

void
server_tls(Server *server)
{
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without asking */
	server->tls = server_tls_new(server->ca_file, sizeof(server->ca_file));
}

const char *
server_ca(const Server *server)
{
	return server->ca_file;
}

void
server_s3(Server *server)
{
	server->s3.on = true;
}

const char *
server_object(Server *server, const char *key, size_t *len)
{
	const Stored *object;

	pthread_mutex_lock(&server->lock);
	object = stored_find(server->s3.objects, key);
	pthread_mutex_unlock(&server->lock);
	*len = object ? object->content.len : 0;
	return object ? object->content.data : NULL;
}

int
server_uploads(Server *server)
{
	int n = 0;

	pthread_mutex_lock(&server->lock);
	for (const Stored *upload = server->s3.uploads; upload;
		 upload = upload->next)
		n++;
	pthread_mutex_unlock(&server->lock);
	return n;
}

/* ---- the host ---- */

static void
drive(ObHttp *http, int wait_ms)
{
	struct pollfd fd = {ob_http_fd(http), POLLIN, 0};
	int timeout = ob_http_timeout_ms(http);
	ObError error;

	if (timeout < 0 || timeout > wait_ms)
		timeout = wait_ms;
	poll(&fd, 1, timeout);
	ob_error_clear(&error);
	assert_int_equal(ob_http_drive(http, &error), OB_OK);
}

static void
drive_until(ObHttp *http, int look_ms, bool (*condition)(void *arg), void *arg)
{
	int64_t end = ob_http_now_ms() + DRIVE_MS;

	while (!condition(arg))
	{
		if (ob_http_now_ms() > end)
			fail_msg("nothing came of it in %d s", DRIVE_MS / 1000);
		drive(http, look_ms);
	}
}

void
host_drive(ObHttp *http, bool (*condition)(void *arg), void *arg)
{
	drive_until(http, DRIVE_MS, condition, arg);
}

void
host_watch(ObHttp *http, bool (*condition)(void *arg), void *arg)
{
	drive_until(http, 5, condition, arg);
}

void
host_drive_for(ObHttp *http, int ms)
{
	int64_t end = ob_http_now_ms() + ms;
	int64_t left;

	while ((left = end - ob_http_now_ms()) > 0)
		drive(http, (int) left);
}

int
host_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(folder);
	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}
