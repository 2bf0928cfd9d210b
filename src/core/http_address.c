/*
 * http_address.c
 *		Addresses where metadata services are.
 *
 * src/core/http_address.c
 */
#include "http_intern.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Addresses of the machine's own network.  Clouds have their metadata services
 * there, which give secrets to whoever can make this host ask; no store is
 * there.  (fd00:ec2::/32 is what EC2 uses instead of fe80::/10.)
 */
bool
ob_address_is_link_local(const struct sockaddr *address)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	const unsigned char *byte = v6.sin6_addr.s6_addr;
	uint32_t number;

	if (address->sa_family == AF_INET)
	{
		memcpy(&v4, address, sizeof(v4));
		number = ntohl(v4.sin_addr.s_addr);
		return number >> 16 == 0xA9FE; /* 169.254 */
	}
	if (address->sa_family != AF_INET6)
		return false;
	memcpy(&v6, address, sizeof(v6));
	if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
		return byte[12] == 169 && byte[13] == 254;
	return IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr) ||
		   memcmp(byte, "\xFD\x00\x0E\xC2", 4) == 0;
}
