// Runs a COPY of DuckDB's, which must write so many rows.
//
//   node duckdb.mjs STATEMENT ROWS
//
// DuckDB is the one that test/readers has.
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
