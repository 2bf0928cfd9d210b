// Runs statements in ClickHouse, in this process.
//
// A request is a line of JSON on stdin, its response a line on stdout:
//
//   {"sql": "CREATE TABLE ..."}            {"text": ""}
//   {"sql": "SELECT ...", "format": "TSV"} {"text": "1\t2\n"}
//   {"error": message} if it fails
//
// ClickHouse is the one that test/bench/engines has.
import { createRequire } from 'node:module';
import readline from 'node:readline';

const engines = createRequire(new URL('../bench/engines/', import.meta.url));
const { Session } = engines('chdb');

const session = new Session();
session.query("SET session_timezone = 'UTC'");
session.query('CREATE DATABASE landed');
session.query('USE landed');

for await (const line of readline.createInterface({ input: process.stdin })) {
  let response;
  try {
    const { sql, format } = JSON.parse(line);
    response = { text: session.query(sql, format ?? 'TSV') };
  } catch (error) {
    response = { error: String(error?.message ?? error) };
  }
  process.stdout.write(JSON.stringify(response) + '\n');
}
session.close();
