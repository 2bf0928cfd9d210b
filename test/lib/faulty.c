/*
 * faulty.c
 *		Faults of the host, for a PostgreSQL that is started with LD_PRELOAD.
 *
 * test/lib/faulty.c
 *
 * A fault is on while the folder $ONBOARD_FAULTS has a symbolic link with its
 * name, whose target is a number.  The link is read whenever the fault could
 * act, which needs no descriptor.
 *
 *		memory	a part gets no buffer, after this many parts have got one
 *		easy	curl_easy_init() fails
 *		files	no descriptor may have this number or a higher one
 *		disk	writing a temporary file of PostgreSQL fails: no space
 *		fork	a child runs for this many milliseconds before its parent does
 *
 * Some host names are resolved by special rules.  (They look like addresses,
 * so that RGW does not parse a bucket's name from them.)
 *
 *		300.0.0.1	there is no such host
 *		300.0.0.2	fails twice, then it is 127.0.0.1
 *		300.0.0.3	the name server never responds
 *		300.0.0.4	has four addresses, of which only 127.0.0.1 works
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define LARGE ((size_t) 4 * 1024 * 1024)

/* The fault's number; -1: it is off. */
static int
fault(const char *name)
{
	const char *folder = getenv("ONBOARD_FAULTS");
	char path[512];
	char number[16] = "";

	if (!folder)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (readlink(path, number, sizeof(number) - 1) < 0)
		return -1;
	return atoi(number);
}

/* ---- memory ---- */

static int
fails(size_t size)
{
	static int seen;
	int allowed;

	if (size < LARGE || (allowed = fault("memory")) < 0)
		return 0;
	return seen++ >= allowed;
}

/* Anonymous pages, in which the buffers of parts are. */
void *
mmap(void *address, size_t size, int protection, int flags, int file,
	 off_t offset)
{
	if ((flags & MAP_ANONYMOUS) && fails(size))
	{
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *) syscall(SYS_mmap, address, size, protection, flags, file,
							offset);
}

void *
mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
	if (fails(size))
	{
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *) syscall(SYS_mremap, old, old_size, size, flags);
}

void *
curl_easy_init(void)
{
	static void *(*real)(void);

	if (fault("easy") >= 0)
		return NULL;
	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "curl_easy_init");
	return real();
}

/* ---- descriptors ---- */

/* Called whenever the process is about to open a descriptor that matters. */
static void
limit_files(void)
{
	static rlim_t usual;
	struct rlimit limit;
	int files = fault("files");

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (usual == 0)
		usual = limit.rlim_cur;
	limit.rlim_cur = files > 0 ? (rlim_t) files : usual;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int
socket(int family, int type, int protocol)
{
	static int (*real)(int, int, int);

	limit_files();
	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "socket");
	return real(family, type, protocol);
}

int
epoll_create1(int flags)
{
	static int (*real)(int);

	limit_files();
	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "epoll_create1");
	return real(flags);
}

/* This is the first descriptor that later versions of libcurl open. */
int
eventfd(unsigned int count, int flags)
{
	static int (*real)(unsigned int, int);

	limit_files();
	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "eventfd");
	return real(count, flags);
}

/* ---- disk ---- */

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);
	char link[64];
	char path[512];
	ssize_t n;

	if (fault("disk") >= 0)
	{
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		if (strstr(path, "pgsql_tmp"))
		{
			errno = ENOSPC;
			return -1;
		}
	}
	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "pwrite");
	return real(fd, data, len, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off_t offset)
{
	return pwrite(fd, data, len, offset);
}

/* ---- processes ---- */

pid_t
fork(void)
{
	static pid_t (*real)(void);
	int ms = fault("fork");
	pid_t pid;

	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "fork");
	pid = real();
	if (pid > 0 && ms > 0)
		usleep((useconds_t) ms * 1000);
	return pid;
}

/* ---- names ---- */

typedef int (*Resolver)(const char *, const char *, const struct addrinfo *,
						struct addrinfo **);

static Resolver
resolver(void)
{
	static Resolver real;

	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real;
}

/* 127.0.0.11 to 127.0.0.13, and 127.0.0.1 */
static int
four_addresses(const char *service, const struct addrinfo *hints,
			   struct addrinfo **found)
{
	struct addrinfo **end = found;

	*found = NULL;
	for (int i = 13; i >= 10; i--)
	{
		char address[16];
		int bad;

		snprintf(address, sizeof(address), "127.0.0.%d", i == 10 ? 1 : i);
		bad = resolver()(address, service, hints, end);
		if (bad)
			return bad;
		while (*end)
			end = &(*end)->ai_next;
	}
	return 0;
}

int
getaddrinfo(const char *name, const char *service,
			const struct addrinfo *hints, struct addrinfo **found)
{
	static int failures;

	if (!name)
		return resolver()(name, service, hints, found);
	if (strcmp(name, "300.0.0.1") == 0)
		return EAI_NONAME;
	if (strcmp(name, "300.0.0.3") == 0)
		for (;;)
			pause();
	if (strcmp(name, "300.0.0.2") == 0)
	{
		if (failures++ < 2)
			return EAI_AGAIN;
		name = "127.0.0.1";
	}
	if (strcmp(name, "300.0.0.4") == 0)
		return four_addresses(service, hints, found);
	return resolver()(name, service, hints, found);
}
