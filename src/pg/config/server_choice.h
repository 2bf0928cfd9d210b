/*
 * server_choice.h
 *		Who has chosen the server: roles that may, for the current user.
 *
 * src/pg/config/server_choice.h
 */
#ifndef OB_SERVER_CHOICE_H
#define OB_SERVER_CHOICE_H

#include "foreign/foreign.h"

/*
 * The name of the server to use: the given one, or that of the setting if
 * NULL.  Raises if the setting is the word of a role that has no say in what
 * the current user exports.  *named tells whether somebody has named it.
 */
extern const char *ob_server_choose(const char *given, bool *named);

/* Raises if a server that nobody has named is not to be trusted by its name
 * alone. */
extern void ob_server_check_default(const ForeignServer *server);

#endif
