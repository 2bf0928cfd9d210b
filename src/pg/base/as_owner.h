/*
 * as_owner.h
 *		Acting with the rights of a table's owner.
 *
 * src/pg/base/as_owner.h
 *
 * Some of the extension's tables may be written by their owner only, so that
 * they can be trusted.  What must be written there is written under the
 * owner's id, as foreign key triggers do it; there is no SECURITY DEFINER
 * function that a role could call with rows of its own.
 */
#ifndef OB_AS_OWNER_H
#define OB_AS_OWNER_H

/*
 * step(arg) under the id of the owner of that table in the extension's schema,
 * connected to SPI, with a search_path of pg_catalog alone and row_security
 * on, as a security-restricted operation.  Raises if the table is not there,
 * or if something of it could be deferred to the transaction's end, when the
 * owner's code would run as the caller; whatever is raised in between puts the
 * caller's id and settings back at the (sub)transaction's abort.
 */
extern void ob_as_owner(Oid schema, const char *table,
						void (*step)(Oid schema, void *arg), void *arg);

/* Whether the caller has the owner's rights anyway, as superusers do. */
extern bool ob_owner_is_caller(Oid schema, const char *table);

/* Raises what ob_as_owner() would, before it is too late. */
extern void ob_owner_require(Oid schema, const char *table);

/* The same as the caller, with the caller's rights. */
extern void ob_as_caller(Oid schema, void (*step)(Oid schema, void *arg),
						 void *arg);

#endif
