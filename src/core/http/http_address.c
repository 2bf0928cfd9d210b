/*
 * http_address.c
 *		Addresses where metadata services are.
 *
 * src/core/http/http_address.c
 *
 * Clouds have services there that give secrets to whoever can make this host
 * ask, or that configure it; no store is there.  Most are link-local, but not
 * all: each cloud's documentation of its metadata service has its own.
 */
#include "core/http/http_intern.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

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

/* The IPv4 address that one of IPv6 leads to, by the host itself or by a
 * gateway: mapped, compatible, NAT64's, 6to4's. */
static bool
leads_to_v4(const unsigned char *byte, uint32_t *number)
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
		size_t len; /* so much of it counts */
	} places[] = {
		{{0xFD, 0x00, 0x0E, 0xC2}, 4}, /* AWS, all that it has there */
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

	if (leads_to_v4(address->s6_addr, &number) && is_metadata_v4(number))
		return true;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (memcmp(address->s6_addr, places[i].byte, places[i].len) == 0)
			return true;
	return IN6_IS_ADDR_LINKLOCAL(address);
}

bool
ob_address_is_link_local(const struct sockaddr *address)
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

/* The host of a URL as resolvers take it; false: it is too long for one. */
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
 * A proxy resolves names, and connects.  Numbers it need not resolve, in all
 * the ways in which they may be written; and some names mean the same
 * everywhere.
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
	result = ob_address_is_link_local(found->ai_addr);
	freeaddrinfo(found);
	return result;
}
