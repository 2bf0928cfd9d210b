// Runs a COPY in DuckDB, and checks the number of rows that it writes.
//
//   node duckdb.mjs STATEMENT ROWS
//
// DuckDB is the package in test/readers.
import { createRequire } from 'node:module';

const readers = createRequire(new URL('../../readers/', import.meta.url));
const { DuckDBInstance } = readers('@duckdb/node-api');

const [statement, rows] = process.argv.slice(2);
const connection = await (await DuckDBInstance.create(':memory:')).connect();
const result = await connection.runAndReadAll(statement);
const written = result.getRows()[0][0];
if (Number(written) !== Number(rows)) {
  throw new Error(`DuckDB wrote ${written} rows, not ${rows}`);
}
