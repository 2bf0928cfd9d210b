// Reads Parquet files with three readers that share no code.
//
// A request is a line of JSON on stdin, its response a line on stdout:
//
//   {"reader": "duckdb", "file": "/tmp/x.parquet"}
//     {"columns": [[name, kind, values], ...]}
//   {"reader": "duckdb", "query": "SELECT ..."}       the same of a query
//   {"sql": "SELECT ... FROM '/tmp/x.parquet'"}       DuckDB; rows of texts
//   {"error": message} if it fails
//
// A kind is "int", "text", "decimal(9,2)", {"list": kind}, {"map": [kind,
// kind]} or {"row": [[name, kind], ...]}; test/lib/parquet.py lists all.  A value is
// null, a text, or an array of values.  In a text, a number is decimal, a date has
// the days since 1970, a timestamp the microseconds since 1970, a time those since
// midnight, and bytes are hexadecimal.
import fs from 'node:fs';
import readline from 'node:readline';

// The default decoder removes byte order marks from texts and names.
globalThis.TextDecoder = class extends TextDecoder {
  constructor(label, options) {
    super(label, { ...options, ignoreBOM: true });
  }
};
const { DuckDBInstance } = await import('@duckdb/node-api');
const { Type, tableFromIPC } = await import('apache-arrow');
const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import('hyparquet');
const { compressors } = await import('hyparquet-compressors');
const { readParquet } = await import('parquet-wasm/node');

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const hex = bytes => Buffer.from(bytes).toString('hex');
const number = value => (Object.is(value, -0) ? '-0' : String(value));

// Decodes a number in two's complement, big-endian.
function integer(bytes) {
  return String(BigInt.asIntN(8 * bytes.length, BigInt('0x' + hex(bytes))));
}

function dashes(digits) {
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

// ---- DuckDB ----

const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
const duckdb = await instance.connect();
await duckdb.run("SET timezone = 'UTC'").catch(() => null);

const DUCKDB_KINDS = {
  BOOLEAN: 'bool', SMALLINT: 'int', INTEGER: 'int', BIGINT: 'int',
  FLOAT: 'float4', DOUBLE: 'float8', VARCHAR: 'text', BLOB: 'bytes',
  UUID: 'uuid', DATE: 'date', TIME: 'time', TIMESTAMP: 'timestamp',
  'TIMESTAMP WITH TIME ZONE': 'timestamptz', JSON: 'text',
};

function duckdbKind(type) {
  if (type.valueType && type.keyType === undefined) return { list: duckdbKind(type.valueType) };
  if (type.keyType) return { map: [duckdbKind(type.keyType), duckdbKind(type.valueType)] };
  if (type.entryTypes) {
    return { row: type.entryTypes.map((entry, i) => [type.entryNames[i], duckdbKind(entry)]) };
  }
  if (type.width !== undefined) return `decimal(${type.width},${type.scale})`;
  return DUCKDB_KINDS[String(type)] ?? String(type);
}

function duckdbValue(kind, value) {
  if (value === null || value === undefined) return null;
  if (kind.list) return value.items.map(item => duckdbValue(kind.list, item));
  if (kind.map) {
    return value.entries.map(entry => [
      duckdbValue(kind.map[0], entry.key), duckdbValue(kind.map[1], entry.value)]);
  }
  if (kind.row) return kind.row.map(([name, inner]) => duckdbValue(inner, value.entries[name]));
  switch (kind) {
    case 'date': return String(value.days);
    case 'time': case 'timestamp': case 'timestamptz': return String(value.micros);
    case 'bytes': return hex(value.bytes);
    case 'float4': case 'float8': return number(value);
    case 'uuid': return value.toString();
    default: return String(kind.startsWith('decimal') ? value.value : value);
  }
}

async function readDuckdb(file, query) {
  const result = await duckdb.runAndReadAll(query ?? `SELECT * FROM read_parquet('${file}')`);
  const kinds = result.columnTypes().map(duckdbKind);
  const columns = result.getColumns();
  return result.columnNames().map((name, i) => [
    name, kinds[i], (columns[i] ?? []).map(value => duckdbValue(kinds[i], value))]);
}

// ---- hyparquet ----

// hyparquet's own conversions lose digits of decimals, and microseconds, so its
// values are read without their logical types and converted here.

function hyparquetKind(node) {
  const { element, children } = node;
  const logical = element.logical_type?.type ?? element.converted_type;
  if (logical === 'LIST') return { list: hyparquetKind(children[0].children[0]) };
  if (logical === 'MAP') return { map: children[0].children.map(hyparquetKind) };
  if (children.length) return { row: children.map(c => [c.element.name, hyparquetKind(c)]) };
  switch (logical) {
    case 'STRING': case 'ENUM': case 'JSON': return 'text';
    case 'DECIMAL': return `decimal(${element.precision},${element.scale})`;
    case 'TIMESTAMP': return element.logical_type.isAdjustedToUTC ? 'timestamptz' : 'timestamp';
    case 'DATE': case 'TIME': case 'UUID': return logical.toLowerCase();
  }
  return { BOOLEAN: 'bool', FLOAT: 'float4', DOUBLE: 'float8', BYTE_ARRAY: 'bytes' }[element.type] ?? 'int';
}

function hyparquetValue(kind, value) {
  if (value === null || value === undefined) return null;
  if (kind.list) return Array.from(value, item => hyparquetValue(kind.list, item));
  if (kind.map) {
    return Object.entries(value).map(([key, item]) => [key, hyparquetValue(kind.map[1], item)]);
  }
  if (kind.row) return kind.row.map(([name, inner]) => hyparquetValue(inner, value[name]));
  switch (kind) {
    case 'text': return typeof value === 'string' ? value : utf8.decode(value);
    case 'bytes': return hex(value);
    case 'uuid': return dashes(hex(value));
    case 'float4': case 'float8': return number(value);
    default: return value instanceof Uint8Array ? integer(value) : String(value);
  }
}

function removeLogicalTypes(node, inMap) {
  const { element, children } = node;
  if (children.length === 0 && !(inMap && element.name === 'key')) {
    delete element.logical_type;
    delete element.converted_type;
  }
  const map = element.converted_type === 'MAP' || inMap && children.length > 0;
  for (const child of children) removeLogicalTypes(child, map);
}

async function readHyparquet(path) {
  const bytes = fs.readFileSync(path);
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  // statistics are left encoded, since they have truncated texts
  const parsers = { jsonFromBytes: value => value };
  const metadata = await parquetMetadataAsync(file, { parsers });
  const tree = parquetSchema(metadata);
  const kinds = tree.children.map(hyparquetKind);
  for (const child of tree.children) removeLogicalTypes(child, false);
  const rows = await parquetReadObjects({ file, metadata, compressors, utf8: false });
  return tree.children.map(({ element: { name } }, i) => [
    name, kinds[i], rows.map(row => hyparquetValue(kinds[i], row[name]))]);
}

// ---- arrow-rs ----

// parquet-wasm returns a stream of Arrow's IPC.  We read its buffers directly, since
// Arrow for JavaScript rounds times.

function arrowKind(type) {
  switch (type.typeId) {
    case Type.Bool: return 'bool';
    case Type.Int: return 'int';
    case Type.Float: return type.precision === 1 ? 'float4' : 'float8';
    case Type.Decimal: return `decimal(${type.precision},${type.scale})`;
    case Type.Utf8: case Type.LargeUtf8: return 'text';
    case Type.Binary: case Type.LargeBinary: case Type.FixedSizeBinary: return 'bytes';
    case Type.Date: return 'date';
    case Type.Time: return 'time';
    case Type.Timestamp: return type.timezone ? 'timestamptz' : 'timestamp';
    case Type.List: return { list: arrowKind(type.children[0].type) };
    case Type.Map: return { map: type.children[0].type.children.map(f => arrowKind(f.type)) };
    case Type.Struct: return { row: type.children.map(f => [f.name, arrowKind(f.type)]) };
    default: return String(type);
  }
}

function arrowBytes(data, i) {
  if (data.typeId === Type.FixedSizeBinary) {
    const width = data.stride;
    return data.values.subarray(i * width, (i + 1) * width);
  }
  return data.values.subarray(Number(data.valueOffsets[i]), Number(data.valueOffsets[i + 1]));
}

function arrowDecimal(data, i) {
  const words = data.values.length / (data.offset + data.length);
  let value = 0n;
  for (let word = words - 1; word >= 0; word--) {
    value = value << 32n | BigInt(data.values[i * words + word]);
  }
  return String(BigInt.asIntN(32 * words, value));
}

function arrowValue(kind, data, i) {
  if (!data.getValid(i)) return null;
  if (kind.list || kind.map) {
    const found = [];
    for (let j = data.valueOffsets[i]; j < data.valueOffsets[i + 1]; j++) {
      if (kind.list) found.push(arrowValue(kind.list, data.children[0], j));
      else found.push(kind.map.map((inner, c) => arrowValue(inner, data.children[0].children[c], j)));
    }
    return found;
  }
  if (kind.row) return kind.row.map(([, inner], c) => arrowValue(inner, data.children[c], i));
  switch (kind) {
    case 'bool': return String((data.values[(data.offset + i) >> 3] >> ((data.offset + i) & 7) & 1) === 1);
    case 'text': return utf8.decode(arrowBytes(data, i));
    case 'bytes': return hex(arrowBytes(data, i));
    case 'float4': case 'float8': return number(data.values[i]);
    default: return kind.startsWith('decimal') ? arrowDecimal(data, i) : String(data.values[i]);
  }
}

function readArrow(path) {
  const stream = readParquet(fs.readFileSync(path)).intoIPCStream();
  const table = tableFromIPC(stream);
  return table.schema.fields.map((field, c) => {
    const kind = arrowKind(field.type);
    const values = [];
    for (const batch of table.batches) {
      const data = batch.data.children[c];
      for (let i = 0; i < batch.numRows; i++) values.push(arrowValue(kind, data, i));
    }
    return [field.name, kind, values];
  });
}

// ---- requests ----

const readers = { duckdb: readDuckdb, hyparquet: readHyparquet, arrow: readArrow };

async function respond(request) {
  if (request.sql) {
    const result = await duckdb.runAndReadAll(request.sql);
    return { rows: result.getRows().map(row => row.map(v => (v === null ? null : String(v)))) };
  }
  return { columns: await readers[request.reader](request.file, request.query) };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  let response;
  try {
    response = await respond(JSON.parse(line));
  } catch (error) {
    response = { error: String(error?.message ?? error) };
  }
  process.stdout.write(JSON.stringify(response) + '\n');
}
