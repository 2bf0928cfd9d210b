/*
 * server_choice.h
 *		The choice of the server, by roles that may act as the current user.
 *
 * src/pg/config/server_choice.h
 */
#ifndef OB_SERVER_CHOICE_H
#define OB_SERVER_CHOICE_H

#include "foreign/foreign.h"

/*
 * Returns the name of the server to use: the given one, or that of the setting
 * if NULL.  Raises if the setting comes from a role that could not act as the
 * current user.  Sets *named to false if the name is only the default.
 */
extern const char *ob_server_choose(const char *given, bool *named);

/* Raises if a server that was found by its default name must not be used. */
extern void ob_server_check_default(const ForeignServer *server);

#endif
