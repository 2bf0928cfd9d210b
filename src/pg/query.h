/*
 * query.h
 *		What may be exported: one statement that only reads.
 *
 * src/pg/query.h
 */
#ifndef OB_QUERY_H
#define OB_QUERY_H

/*
 * Raises unless the text is one SELECT, VALUES, TABLE or WITH that modifies
 * no data; syntax errors keep their position.  Nothing is looked up yet.
 */
extern void ob_query_check(const char *query);

/* "TABLE name" for a possibly qualified name, quoted anew; palloc'd. */
extern char *ob_query_of_table(const char *name);

#endif
