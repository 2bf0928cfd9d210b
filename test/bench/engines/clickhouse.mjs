// Runs an INSERT in ClickHouse, and checks the number of rows that it writes.
//
//   node clickhouse.mjs STATEMENT ROWS
import { queryAsync } from 'chdb';

const [statement, rows] = process.argv.slice(2);
await queryAsync(statement);
const events = await queryAsync(
  "SELECT value FROM system.events WHERE event = 'InsertedRows' FORMAT TSV");
if (Number(events.text()) !== Number(rows)) {
  throw new Error(`ClickHouse wrote ${events.text().trim()} rows, not ${rows}`);
}
