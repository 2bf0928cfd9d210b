"""A Parquet file, checked against the specification.

    file = ParquetFile(data)
    file.check()                  raises Broken for any error
    file.leaves[0].values         the values of a column, including nulls

The code follows the specification (github.com/apache/parquet-format), and shares
nothing with the writer.  It is stricter than any reader: redundant data must agree,
and statistics must be those of the values.
"""

import re
import struct
import zlib

import lz4.block
import zstandard

MAGIC = b"PAR1"
TYPES = ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE",
         "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"]
REPETITIONS = ["REQUIRED", "OPTIONAL", "REPEATED"]
PLAIN, RLE, DELTA, DELTA_LENGTH, RLE_DICTIONARY, SPLIT = 0, 3, 5, 6, 8, 9
COMPATIBLE = {PLAIN, RLE, RLE_DICTIONARY}
CODECS = {0: "none", 1: "snappy", 2: "gzip", 6: "zstd", 7: "lz4"}
LOGICAL = {1: "STRING", 2: "MAP", 3: "LIST", 4: "ENUM", 5: "DECIMAL",
           6: "DATE", 7: "TIME", 8: "TIMESTAMP", 10: "INTEGER", 12: "JSON",
           14: "UUID"}
# The converted type of each logical type; None: there is none.
CONVERTED = {"STRING": 0, "MAP": 1, "LIST": 3, "ENUM": 4, "DECIMAL": 5,
             "DATE": 6, "INTEGER": 16, "JSON": 19, "UUID": None, "TIME": None}
TIMESTAMP_MICROS = 10
# parquet-java ignores statistics if it cannot parse this version.
CREATED_BY = re.compile(r"([^(]+?) version (\d+\.\d+\.\d+\S*) \(build ([^()]+)\)")
BOUND = 64


class Broken(AssertionError):
    """The file violates the specification."""


def need(condition, *what):
    if not condition:
        raise Broken(" ".join(map(str, what)))


# ---- Thrift's compact protocol; a struct is a dict by field id ----


class Thrift:
    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def byte(self):
        need(self.at < len(self.data), "a struct ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def zigzag(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def value(self, kind):
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return struct.unpack("b", bytes([self.byte()]))[0]
        if kind in (4, 5, 6):
            return self.zigzag()
        if kind == 8:
            length = self.varint()
            need(self.at + length <= len(self.data), "a text is too long")
            self.at += length
            return bytes(self.data[self.at - length:self.at])
        if kind == 9:
            return self.list()
        need(kind == 12, "unexpected type of thrift", kind)
        return self.struct()

    def list(self):
        head = self.byte()
        size, kind = head >> 4, head & 15
        if size == 15:
            size = self.varint()
        if kind in (1, 2):
            values = [self.byte() for _ in range(size)]
            need(set(values) <= {1, 2}, "invalid boolean", values)
            return [value == 1 for value in values]
        return [self.value(kind) for _ in range(size)]

    def struct(self):
        fields, last = {}, 0
        while True:
            head = self.byte()
            if head == 0:
                return fields
            last = last + (head >> 4) if head >> 4 else self.zigzag()
            need(last not in fields, "duplicate field", last)
            fields[last] = self.value(head & 15)


# ---- codecs ----


def snappy(data, size):
    reader = Thrift(data)
    need(reader.varint() == size, "snappy: wrong size")
    out, at = bytearray(), reader.at
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                more = length - 59
                length = int.from_bytes(data[at:at + more], "little")
                at += more
            out += data[at:at + length + 1]
            at += length + 1
            continue
        if tag & 3 == 1:
            length, offset = 4 + (tag >> 2 & 7), (tag >> 5) << 8 | data[at]
            at += 1
        else:
            more = 2 if tag & 3 == 2 else 4
            length = 1 + (tag >> 2)
            offset = int.from_bytes(data[at:at + more], "little")
            at += more
        need(0 < offset <= len(out), "snappy: invalid offset")
        start = len(out) - offset
        if offset >= length:
            out += out[start:start + length]
        else:
            for i in range(length):
                out.append(out[start + i])
    return bytes(out)


def decompress(codec, data, size):
    if size == 0:
        need(not data, "compressed data of size 0")
        return b""
    if codec == 0:
        out = bytes(data)
    elif codec == 1:
        out = snappy(data, size)
    elif codec == 2:
        reader = zlib.decompressobj(31)
        out = reader.decompress(data)
        need(reader.eof and not reader.unused_data, "gzip: more than one member")
    elif codec == 6:
        out = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=size
        )
    else:
        out = lz4.block.decompress(data, uncompressed_size=size)
    need(len(out) == size, "decompressed to", len(out), "not", size)
    return out


# ---- encodings ----


def unpack(data, at, count, width):
    """Reads bit-packed values, beginning with the least significant bit."""
    if width == 0:
        return [0] * count
    size = (count * width + 7) // 8
    need(at + size <= len(data), "packed values end too early")
    if width == 8:
        return list(data[at:at + count])
    if width in (16, 32, 64):
        code = {16: "H", 32: "I", 64: "Q"}[width]
        return list(struct.unpack_from(f"<{count}{code}", data, at))
    mask = (1 << width) - 1
    values = []
    # The time of a shift grows with the length of the number, so read in pieces.
    for start in range(0, count, 64):
        now = min(64, count - start)
        begin = at + start * width // 8
        whole = int.from_bytes(
            data[begin:begin + (now * width + 7) // 8], "little"
        )
        for _ in range(now):
            values.append(whole & mask)
            whole >>= width
    return values


def hybrid(data, at, end, count, width):
    """Reads the RLE/bit-packing hybrid, which must end at the given offset."""
    reader, values = Thrift(data, at), []
    size = (width + 7) // 8
    while len(values) < count:
        need(reader.at < end, "runs end too early")
        head = reader.varint()
        if head & 1:
            groups = head >> 1
            need(groups > 0, "empty bit-packed run")
            need(reader.at + groups * width <= end, "groups end too early")
            left = count - len(values)
            need(groups * 8 - left < 8, "superfluous groups")
            values += unpack(
                data, reader.at, min(groups * 8, left), width
            )
            reader.at += groups * width
        else:
            value = int.from_bytes(data[reader.at:reader.at + size], "little")
            need(0 < head >> 1 <= count - len(values), "a run is too long")
            need(value < 1 << width, "a value is too wide")
            values += [value] * (head >> 1)
            reader.at += size
    need(reader.at == end, "bytes after the runs:", end - reader.at)
    return values


def delta(data, at, bits):
    """Reads DELTA_BINARY_PACKED values; returns them and the offset of the end."""
    reader = Thrift(data, at)
    block, minis = reader.varint(), reader.varint()
    count, value = reader.varint(), reader.zigzag()
    need(block % 128 == 0 and block % minis == 0, "invalid block size")
    each = block // minis
    need(each % 32 == 0, "invalid miniblock size")
    sign, mask = 1 << bits - 1, (1 << bits) - 1
    values = [value] if count else []
    while len(values) < count:
        least = reader.zigzag()
        need(-sign <= least < sign, "a minimum delta is out of range")
        widths = [reader.byte() for _ in range(minis)]
        for width in widths:
            if len(values) >= count:
                need(width == 0, "width of an unused miniblock")
                continue
            need(width <= bits, "a delta is too wide:", width)
            for more in unpack(data, reader.at, each, width):
                if len(values) < count:
                    value = (value + least + more + sign & mask) - sign
                    values.append(value)
            reader.at += each * width // 8
    return values, reader.at


def plain(leaf, data, count):
    """Reads values in PLAIN encoding, which must fill the data."""
    type, length = leaf.type, leaf.length
    if type == "BOOLEAN":
        need(len(data) == (count + 7) // 8, "booleans take", len(data))
        bits = unpack(data, 0, count, 1) if count else []
        if count % 8:
            need(data[-1] >> count % 8 == 0, "bits after the last boolean")
        return [bit == 1 for bit in bits]
    if type == "BYTE_ARRAY":
        values, at = [], 0
        for _ in range(count):
            (size,) = struct.unpack_from("<I", data, at)
            at += 4 + size
            values.append(data[at - size:at])
        need(at == len(data), "bytes after the values")
        return values
    if type == "FIXED_LEN_BYTE_ARRAY":
        need(len(data) == count * length, "fixed values take", len(data))
        return [data[i:i + length] for i in range(0, len(data), length)]
    code, size = {"INT32": ("i", 4), "INT64": ("q", 8), "FLOAT": ("f", 4),
                  "DOUBLE": ("d", 8)}[type]
    need(len(data) == count * size, "values take", len(data), "not", size)
    return list(struct.unpack(f"<{count}{code}", data))


def values_of(leaf, encoding, data, count, dictionary):
    if encoding == PLAIN:
        return plain(leaf, data, count)
    if encoding == RLE_DICTIONARY:
        need(dictionary is not None, "there is no dictionary")
        need(count > 0, "dictionary indices without values")
        width = data[0]
        need(width <= 32, "dictionary indices are too wide")
        indices = hybrid(data, 1, len(data), count, width)
        need(max(indices) < len(dictionary), "an index beyond the dictionary")
        return [dictionary[index] for index in indices]
    if encoding == DELTA:
        need(leaf.type in ("INT32", "INT64"), "DELTA of", leaf.type)
        values, end = delta(data, 0, int(leaf.type[3:]))
        need(end == len(data), "bytes after the deltas")
    elif encoding == DELTA_LENGTH:
        need(leaf.type == "BYTE_ARRAY", "lengths of", leaf.type)
        lengths, at = delta(data, 0, 32)
        values = []
        for length in lengths:
            need(length >= 0, "negative length")
            values.append(data[at:at + length])
            at += length
        need(at == len(data), "bytes after the texts")
    else:
        need(encoding == SPLIT, "unexpected encoding", encoding)
        size = {"FLOAT": 4, "DOUBLE": 8}[leaf.type]
        need(len(data) == count * size, "streams take", len(data))
        joined = bytearray(len(data))
        for byte in range(size):
            joined[byte::size] = data[byte * count:(byte + 1) * count]
        values = plain(leaf, bytes(joined), count)
    need(len(values) == count, "there are", len(values), "values, not", count)
    return values


# ---- the schema ----


class Node:
    def __init__(self, element, parent):
        self.name = element[4].decode()
        self.parent = parent
        self.children = []
        self.type = TYPES[element[1]] if 1 in element else None
        self.length = element.get(2)
        self.repetition = REPETITIONS[element[3]] if 3 in element else None
        self.converted = element.get(6)
        self.scale = element.get(7)
        self.precision = element.get(8)
        self.field_id = element.get(9)
        self.logical, self.parameters = None, {}
        if 10 in element:
            need(len(element[10]) == 1, "a union of several fields")
            ((number, self.parameters),) = element[10].items()
            self.logical = LOGICAL[number]
        self.path = parent.path + [self.name] if parent else []
        self.definition = self.repeated = 0
        if parent:
            optional = self.repetition != "REQUIRED"
            again = self.repetition == "REPEATED"
            self.definition = parent.definition + optional
            self.repeated = parent.repeated + again
        # A leaf's entries: None is a null or an empty list.
        self.values = []
        self.levels = []  # their (repetition, definition)

    def kind(self):
        """The kind of column, as defined in test/readers/read.mjs."""
        if self.logical == "LIST":
            return {"list": self.children[0].children[0].kind()}
        if self.logical == "MAP":
            return {"map": [c.kind() for c in self.children[0].children]}
        if self.children:
            return {"row": [[c.name, c.kind()] for c in self.children]}
        if self.logical in ("STRING", "ENUM", "JSON"):
            return "text"
        if self.logical == "DECIMAL":
            return f"decimal({self.precision},{self.scale})"
        if self.logical == "TIMESTAMP":
            return "timestamptz" if self.parameters[1] else "timestamp"
        if self.logical in ("DATE", "TIME", "UUID"):
            return self.logical.lower()
        return {"BOOLEAN": "bool", "FLOAT": "float4", "DOUBLE": "float8",
                "BYTE_ARRAY": "bytes"}.get(self.type, "int")

    def order(self, value):
        """A sort key in the order that the type defines."""
        if self.type == "FIXED_LEN_BYTE_ARRAY" and self.logical == "DECIMAL":
            return int.from_bytes(value, "big", signed=True)
        return value

    def bound(self, data):
        """Decodes a bound of statistics: PLAIN without a length."""
        if self.type == "BYTE_ARRAY":
            return data
        if self.type == "BOOLEAN":
            need(data in (b"\0", b"\1"), "invalid bound of booleans", data)
            return data == b"\1"
        return plain(self, data, 1)[0]

    def check(self):
        need(self.name or not self.parent, "a node without a name")
        if not self.parent:
            need(self.name and self.repetition is None, "the root")
            return
        need(self.repetition, "no repetition", self.path)
        need(bool(self.children) != bool(self.type), "leaf or group", self.path)
        need((self.length is not None) == (self.type == "FIXED_LEN_BYTE_ARRAY"),
             "length", self.path)
        need(self.type != "INT96", "INT96")
        self._check_logical_type()
        if self.logical in ("LIST", "MAP"):
            self._check_three_levels()

    def _check_logical_type(self):
        logical = self.logical
        if logical is None:
            need(self.converted is None, "converted type alone", self.path)
            return
        wanted = CONVERTED.get(logical)
        if logical == "TIMESTAMP":
            wanted = TIMESTAMP_MICROS if self.parameters[1] else None
        need(self.converted == wanted, "converted", self.path, self.converted)
        types = {
            "DATE": "INT32", "TIME": "INT64", "TIMESTAMP": "INT64",
            "STRING": "BYTE_ARRAY", "ENUM": "BYTE_ARRAY", "JSON": "BYTE_ARRAY",
            "UUID": "FIXED_LEN_BYTE_ARRAY", "INTEGER": "INT32",
        }
        need(types.get(logical, self.type) == self.type, "type of", self.path)
        if logical in ("TIME", "TIMESTAMP"):
            need(self.parameters[2] == {2: {}}, "unit", self.path)
            need(isinstance(self.parameters[1], bool), "UTC", self.path)
        if logical == "TIME":
            need(self.parameters[1] is False, "times have no zone")
        if logical == "INTEGER":
            need(self.parameters == {1: 16, 2: True}, "width", self.path)
        if logical == "UUID":
            need(self.length == 16, "uuid")
        if logical == "DECIMAL":
            self._check_decimal()

    def _check_decimal(self):
        need(self.parameters == {1: self.scale, 2: self.precision}, "decimal")
        need(0 <= self.scale <= self.precision <= 38, "decimal", self.path)
        if self.precision <= 9:
            need(self.type == "INT32", "decimal", self.path)
        elif self.precision <= 18:
            need(self.type == "INT64", "decimal", self.path)
        else:
            need(self.type == "FIXED_LEN_BYTE_ARRAY", "decimal", self.path)
            top = 10 ** self.precision
            need(2 ** (8 * self.length - 1) >= top, "too short", self.path)
            need(2 ** (8 * self.length - 9) < top, "too long", self.path)

    def _check_three_levels(self):
        need(len(self.children) == 1, "children", self.path)
        (middle,) = self.children
        need(middle.repetition == "REPEATED", "repeated", self.path)
        need(middle.logical is None, "logical type", self.path)
        if self.logical == "LIST":
            names = ["element"]
            need(middle.name == "list", "list", self.path)
        else:
            names = ["key", "value"]
            need(middle.name == "key_value", "map", self.path)
            need(middle.children[0].repetition == "REQUIRED", "key", self.path)
        need([c.name for c in middle.children] == names, "names", self.path)


def read_schema(elements):
    elements = iter(elements)
    nodes = []

    def read(parent):
        element = next(elements, None)
        need(element is not None, "the schema ends too early")
        node = Node(element, parent)
        nodes.append(node)
        node.children = [read(node) for _ in range(element.get(5, 0))]
        return node

    root = read(None)
    need(next(elements, None) is None, "superfluous nodes")
    return root, nodes


# ---- the file ----


class ParquetFile:
    def __init__(self, data):
        self.data = data
        need(data[:4] == MAGIC and data[-4:] == MAGIC, "magic")
        (length,) = struct.unpack("<I", data[-8:-4])
        self.footer_at = len(data) - 8 - length
        need(self.footer_at >= 4, "the footer is too long")
        reader = Thrift(data, self.footer_at)
        self.meta = reader.struct()
        need(reader.at == len(data) - 8, "bytes after the footer")
        self.root, self.nodes = read_schema(self.meta[2])
        self.leaves = [n for n in self.nodes if not n.children and n.parent]
        self.rows = self.meta[3]
        self.groups = self.meta[4]
        # Dicts by the path of a leaf; a list has an entry for each chunk.
        self.encodings = {}  # encodings of data pages
        self.pages = {}  # number of data pages
        self.filters = {}  # list of BloomFilters
        self.boundaries = {}  # list of boundary orders
        self.codecs = set()

    def kinds(self):
        return [[node.name, node.kind()] for node in self.root.children]

    def properties(self):
        return {item[1].decode(): item[2].decode()
                for item in self.meta.get(5, [])}

    def chunks(self, name):
        """The metadata of a column's chunks, in the order of the groups."""
        for group in self.groups:
            for chunk in group[1]:
                if chunk[3][3] == [name.encode()]:
                    yield chunk[3]

    def check(self):
        meta = self.meta
        need(set(meta) <= {1, 2, 3, 4, 5, 6, 7}, "fields", sorted(meta))
        need(meta[1] == 1, "version", meta[1])
        need(CREATED_BY.fullmatch(meta[6].decode()), "created_by", meta[6])
        need(meta[7] == [{1: {}}] * len(self.leaves), "column orders")
        for node in self.nodes:
            node.check()
        self._check_ids()
        for node in self.nodes:
            names = [child.name for child in node.children]
            need(len(names) == len(set(names)), "names", names)
        end = 4
        self.index_spans = []
        for number, group in enumerate(self.groups):
            end = self._check_group(group, number, end)
        self._check_indexes(end)
        need(self.rows == sum(group[3] for group in self.groups), "rows")
        return self

    def _check_ids(self):
        """Checks that field ids are 1 to n; repeated groups have none."""
        wanted = 1
        for node in self.nodes[1:]:
            if node.repetition == "REPEATED":
                need(node.field_id is None, "field id", node.path)
                continue
            need(node.field_id == wanted, "field id", node.path, node.field_id)
            wanted += 1

    def _check_indexes(self, end):
        """Checks that page indexes fill the space up to the footer's metadata."""
        for at, length in sorted(self.index_spans):
            need(at == end, "an index begins at", at, "not", end)
            end += length
        need(end == self.footer_at, "bytes before the footer")

    def _check_group(self, group, number, at):
        need(set(group) <= {1, 2, 3, 4, 6}, "fields of a group", sorted(group))
        rows = group[3]
        need(rows > 0, "a group without a row")
        need(len(group[1]) == len(self.leaves), "chunks")
        begin, uncompressed = at, 0
        before = [len(leaf.levels) for leaf in self.leaves]
        for leaf, chunk in zip(self.leaves, group[1]):
            try:
                at = self._check_chunk(leaf, chunk, rows, at)
            except Broken as error:
                path = ".".join(leaf.path)
                raise Broken(f"group {number}, {path}: {error}") from None
            uncompressed += chunk[3][6]
        need(group[2] == uncompressed, "uncompressed bytes", group[2])
        need(group[6] == at - begin, "compressed bytes", group[6])
        self._check_sorting(group.get(4, []), before)
        for leaf, chunk, start in zip(self.leaves, group[1], before):
            values = leaf.values[start:]
            at = self._check_filter(leaf, chunk[3], values, at)
        return at

    def _check_filter(self, leaf, meta, values, at):
        need((14 in meta) == (15 in meta), "offset or length of a filter")
        if 14 not in meta:
            return at
        need(meta[14] == at, "a filter begins at", meta[14], "not", at)
        need(leaf.type != "BOOLEAN", "Bloom filter of booleans")
        found = BloomFilter(self.data, at, meta[15])
        found.check(leaf, {value for value in values if value is not None})
        self.filters.setdefault(".".join(leaf.path), []).append(found)
        return at + meta[15]

    def _check_sorting(self, keys, before):
        """Checks that the rows of a group are in the order of its sorting columns."""
        columns = []
        for key in keys:
            need(set(key) == {1, 2, 3}, "fields of a sorting column")
            leaf = self.leaves[key[1]]
            need(not leaf.repeated, "sorted by a repeated column", leaf.path)
            need(leaf.type not in ("FLOAT", "DOUBLE"), "sorted by floats")
            columns.append([
                sort_key(leaf, value, key[2], key[3])
                for value in leaf.values[before[key[1]]:]
            ])
        need(len({key[1] for key in keys}) == len(keys), "sorted twice")
        rows = list(zip(*columns))
        need(rows == sorted(rows), "rows are not sorted by", keys)

    def _check_chunk(self, leaf, chunk, rows, at):
        need(set(chunk) <= {2, 3, 4, 5, 6, 7}, "fields", sorted(chunk))
        need(chunk[2] == 0, "file_offset")
        meta = chunk[3]
        need(set(meta) <= {1, 2, 3, 4, 5, 6, 7, 9, *range(11, 16)},
             sorted(meta))
        need(TYPES[meta[1]] == leaf.type, "type")
        need([part.decode() for part in meta[3]] == leaf.path, "path")
        need(meta[4] in CODECS, "codec", meta[4])
        self.codecs.add(CODECS[meta[4]])
        reader = ChunkReader(self.data, leaf, meta, at)
        reader.read()
        reader.check()
        self._check_page_index(leaf, chunk, reader, rows)
        check_statistics(leaf, meta[12], reader.values, reader.nulls)
        need(reader.rows == rows, "rows", reader.rows)
        leaf.values += reader.levelled
        leaf.levels += reader.levels
        name = ".".join(leaf.path)
        self.encodings.setdefault(name, set()).update(reader.used)
        self.pages[name] = self.pages.get(name, 0) + len(reader.pages)
        return reader.at

    def _check_page_index(self, leaf, chunk, reader, rows):
        at, length = chunk[4], chunk[5]
        self.index_spans.append((at, length))
        thrift = Thrift(self.data, at)
        offsets = thrift.struct()
        need(thrift.at == at + length, "length of the offset index")
        need(set(offsets) == {1}, "fields of the offset index")
        found = [(one[1], one[2], one[3]) for one in offsets[1]]
        wanted = [(p.at, p.size, p.first_row) for p in reader.pages]
        need(found == wanted, "offset index", found[:3], wanted[:3])
        if 6 not in chunk:
            need(any(page_has_no_bounds(p.values) for p in reader.pages),
                 "no column index")
            return
        at, length = chunk[6], chunk[7]
        self.index_spans.append((at, length))
        thrift = Thrift(self.data, at)
        index = thrift.struct()
        need(thrift.at == at + length, "length of the column index")
        need(set(index) == {1, 2, 3, 4, 5}, "fields of the column index")
        need(index[4] in (0, 1, 2), "boundary order")
        for field in (1, 2, 3, 5):
            need(len(index[field]) == len(reader.pages), "length", field)
        for i, page in enumerate(reader.pages):
            need(index[1][i] == (not page.values), "null_pages")
            need(index[5][i] == page.nulls, "null_counts")
            if not page.values:
                need(index[2][i] == index[3][i] == b"", "bounds of a null page")
                continue
            check_bounds(leaf, page.values, index[2][i], index[3][i])
        check_boundary_order(leaf, index)
        name = ".".join(leaf.path)
        self.boundaries.setdefault(name, []).append(ORDERS[index[4]])


ORDERS = ["unordered", "ascending", "descending"]


def check_boundary_order(leaf, index):
    """Checks the order of minima and maxima, without those of null pages; equal
    bounds are ascending."""
    lists = [
        [leaf.order(leaf.bound(data))
         for data, null in zip(index[field], index[1]) if not null]
        for field in (2, 3)
    ]
    if all(bounds == sorted(bounds) for bounds in lists):
        want = 1
    elif all(bounds == sorted(bounds, reverse=True) for bounds in lists):
        want = 2
    else:
        want = 0
    need(index[4] == want, "boundary order", index[4], "not", want)


class Descending:
    """A value that sorts in descending order."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other.value

    def __lt__(self, other):
        return other.value < self.value


def sort_key(leaf, value, descending, nulls_first):
    if value is None:
        return (not nulls_first,)
    value = leaf.order(value)
    return (nulls_first, Descending(value) if descending else value)


class Page:
    def __init__(self, at, size, first_row, values, nulls):
        self.at = at
        self.size = size
        self.first_row = first_row
        self.values = values
        self.nulls = nulls


class ChunkReader:
    """Reads the pages of a chunk, which must begin at a given offset."""

    def __init__(self, data, leaf, meta, at):
        self.data, self.leaf, self.meta = data, leaf, meta
        self.begin = self.at = at
        self.end = at + meta[7]
        self.dictionary = None
        self.pages = []
        self.values = []    # without nulls
        self.levelled = []  # with nulls
        self.levels = []
        self.nulls = self.rows = self.uncompressed = 0
        self.counts = {}    # (page type, encoding): pages

    def read(self):
        while self.at < self.end:
            self._page()
        need(self.at == self.end, "pages end at", self.at, "not", self.end)

    def _page(self):
        begin, reader = self.at, Thrift(self.data, self.at)
        header = reader.struct()
        need(set(header) <= {1, 2, 3, 4, 5, 7}, "fields", sorted(header))
        size, compressed = header[2], header[3]
        body = self.data[reader.at:reader.at + compressed]
        self.at = reader.at + compressed
        need(self.at <= self.end, "a page goes beyond its chunk")
        need(header[4] & 0xFFFFFFFF == zlib.crc32(body), "crc")
        self.uncompressed += reader.at - begin + size
        body = decompress(self.meta[4], body, size)
        if header[1] == 2:
            need(begin == self.begin, "the dictionary page is not first")
            self._dictionary(header[7], body)
        else:
            need(header[1] == 0, "type of a page", header[1])
            self._data(header[5], body, begin)

    def _count(self, type, encoding):
        key = (type, encoding)
        self.counts[key] = self.counts.get(key, 0) + 1

    def _dictionary(self, header, body):
        need(set(header) == {1, 2}, "fields of a dictionary")
        need(header[2] == PLAIN, "encoding of a dictionary")
        self.dictionary = plain(self.leaf, body, header[1])
        if self.leaf.type not in ("FLOAT", "DOUBLE"):
            need(len(set(self.dictionary)) == len(self.dictionary), "distinct")
        self._count(2, PLAIN)

    def _level(self, body, at, greatest, count):
        if greatest == 0:
            return [0] * count, at
        (length,) = struct.unpack_from("<I", body, at)
        at += 4
        width = greatest.bit_length()
        levels = hybrid(body, at, at + length, count, width)
        need(max(levels) <= greatest, "a level is too great")
        return levels, at + length

    def _data(self, header, body, begin):
        need(set(header) == {1, 2, 3, 4}, "fields of a data page")
        need(header[3] == header[4] == RLE, "encoding of levels")
        count, encoding, leaf = header[1], header[2], self.leaf
        need(count > 0, "an empty page")
        repetitions, at = self._level(body, 0, leaf.repeated, count)
        definitions, at = self._level(body, at, leaf.definition, count)
        need(repetitions[0] == 0, "a page begins within a row")
        present = definitions.count(leaf.definition)
        values = values_of(leaf, encoding, body[at:], present, self.dictionary)
        page = Page(begin, self.at - begin, self.rows, values, count - present)
        self.pages.append(page)
        self._count(0, encoding)
        self.values += values
        rest = iter(values)
        self.levelled += [
            next(rest) if level == leaf.definition else None
            for level in definitions
        ]
        self.levels += zip(repetitions, definitions)
        self.nulls += page.nulls
        self.rows += repetitions.count(0)

    def check(self):
        meta = self.meta
        need(meta[5] == len(self.levelled), "values", meta[5])
        need(meta[6] == self.uncompressed, "uncompressed", meta[6])
        need(self.pages, "no page")
        need(meta[9] == self.pages[0].at, "data_page_offset")
        if self.dictionary is None:
            need(11 not in meta, "dictionary_page_offset")
        else:
            need(meta[11] == self.begin, "dictionary_page_offset")
            need((0, RLE_DICTIONARY) in self.counts, "unused dictionary")
        self.used = {encoding for type, encoding in self.counts if type == 0}
        listed = {encoding for _, encoding in self.counts}
        # Page headers name the encoding of levels even if there are none.
        listed.add(RLE)
        need(len(meta[2]) == len(set(meta[2])), "encodings twice", meta[2])
        need(set(meta[2]) == listed, "encodings", meta[2], "are", listed)
        stats = {(one[1], one[2]): one[3] for one in meta[13]}
        need(len(stats) == len(meta[13]), "encoding_stats twice")
        need(stats == self.counts, "encoding_stats", stats, self.counts)


# ---- Bloom filters ----


def xxh64(data, mask=(1 << 64) - 1):
    """XXH64 with seed 0 (github.com/Cyan4973/xxHash/doc)."""
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
        0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )

    def rotate(value, bits):
        return (value << bits | value >> 64 - bits) & mask

    def lane(accumulator, word):
        return rotate(accumulator + word * p2 & mask, 31) * p1 & mask

    at, length = 0, len(data)
    if length >= 32:
        lanes = [p1 + p2 & mask, p2, 0, -p1 & mask]
        while at + 32 <= length:
            words = struct.unpack_from("<4Q", data, at)
            lanes = [lane(one, word) for one, word in zip(lanes, words)]
            at += 32
        result = sum(map(rotate, lanes, (1, 7, 12, 18))) & mask
        for one in lanes:
            result = ((result ^ lane(0, one)) * p1 + p4) & mask
    else:
        result = p5
    result = result + length & mask
    while at + 8 <= length:
        (word,) = struct.unpack_from("<Q", data, at)
        result = (rotate(result ^ lane(0, word), 27) * p1 + p4) & mask
        at += 8
    if at + 4 <= length:
        (word,) = struct.unpack_from("<I", data, at)
        result = (rotate(result ^ word * p1 & mask, 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        result = rotate(result ^ byte * p5 & mask, 11) * p1 & mask
    result = (result ^ result >> 33) * p2 & mask
    result = (result ^ result >> 29) * p3 & mask
    return result ^ result >> 32


class BloomFilter:
    SALTS = (0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
             0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31)
    # The aim for the rate of false positives, the number of values by which it is
    # measured, and the rate above which no filter is written.
    RATE, PROBES, WORST = 0.01, 2000, 0.1

    def __init__(self, data, at, length):
        reader = Thrift(data, at)
        header = reader.struct()
        need(set(header) == {1, 2, 3, 4}, "fields of a filter", sorted(header))
        for field in (2, 3, 4):
            need(header[field] == {1: {}}, "unknown kind of filter", field)
        self.size = header[1]
        need(reader.at + self.size == at + length, "length of a filter")
        need(self.size >= 32 and self.size & self.size - 1 == 0, "size of a filter")
        need(self.size <= 128 << 20, "a filter too large to be read")
        self.words = struct.unpack_from(f"<{self.size // 4}I", data, reader.at)

    def has(self, data):
        hash = xxh64(data)
        block = (hash >> 32) * (self.size // 32) >> 32
        low = hash & 0xFFFFFFFF
        return all(
            self.words[8 * block + i] >> ((low * salt & 0xFFFFFFFF) >> 27) & 1
            for i, salt in enumerate(self.SALTS)
        )

    def check(self, leaf, values):
        need(values, "a filter without values")
        for value in values:
            need(self.has(encoded(leaf, value)), "a filter without", value)
        found = sum(self.has(b"not there %d" % i) for i in range(self.PROBES))
        self.rate = found / self.PROBES
        need(self.rate <= self.WORST * 1.3, "a filter of", self.rate)
        # A rate of 1 % takes 10.5 bits for each value, according to the format.
        if self.size * 8 >= 10.5 * len(values):
            need(self.rate <= 2.5 * self.RATE, "a filter of", self.rate)
        need(self.size <= max(32, 4 * len(values)), "a filter of", self.size,
             "bytes for", len(values))


def encoded(leaf, value):
    """A value in PLAIN encoding without a length."""
    if isinstance(value, bytes):
        return value
    return struct.pack(
        {"INT32": "<i", "INT64": "<q", "FLOAT": "<f", "DOUBLE": "<d"}
        [leaf.type], value
    )


# ---- statistics ----


def is_nan(value):
    return value != value


def page_has_no_bounds(values):
    """Whether values have a NaN, or a maximum that cannot be rounded up."""
    if not values:
        return False
    if isinstance(values[0], float):
        return any(map(is_nan, values))
    if isinstance(values[0], bytes):
        top = max(values)
        return len(top) > BOUND and (
            set(top[:BOUND]) == {255} or
            rounded_up(top, True) is None
        )
    return False


def rounded_down(value, text):
    if len(value) <= BOUND:
        return value
    if not text:
        return value[:BOUND]
    return value[:BOUND].decode(errors="ignore").encode()


def rounded_up(value, text):
    """The least upper bound of limited length, which ends with the character, or
    byte, that was incremented; None if there is none."""
    if len(value) <= BOUND:
        return value
    if not text:
        kept = value[:BOUND].rstrip(b"\xff")
        return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
    kept = rounded_down(value, True).decode()
    while kept:
        code = ord(kept[-1]) + 1
        code = 0xE000 if code == 0xD800 else code
        if code < 0x110000 and len(chr(code).encode()) == len(
            kept[-1].encode()
        ):
            return (kept[:-1] + chr(code)).encode()
        kept = kept[:-1]
    return None


def check_bounds(leaf, values, low, high, exact=None):
    """Checks the stored bounds against the values."""
    if leaf.type == "BYTE_ARRAY":
        text = leaf.logical is not None
        least, most = min(values), max(values)
        need(low == rounded_down(least, text), "minimum", low, least)
        need(high == rounded_up(most, text), "maximum", high, most)
        need(low <= least and high >= most, "bounds")
        if text:
            low.decode(), high.decode()
        if exact is not None:
            need(exact == (low == least, high == most), "exact", exact)
        return
    need(not page_has_no_bounds(values), "bounds beside a NaN")
    least, most = min(values, key=leaf.order), max(values, key=leaf.order)
    low, high = leaf.bound(low), leaf.bound(high)
    need(not is_nan(low) and not is_nan(high), "a NaN")
    need(low == least and high == most, "bounds", low, high, least, most)
    if leaf.type in ("FLOAT", "DOUBLE"):
        if low == 0:
            need(str(low) == "-0.0", "a minimum of zero")
        if high == 0:
            need(str(high) == "0.0", "a maximum of zero")
    if exact is not None:
        need(exact == (True, True), "exact", exact)


def check_statistics(leaf, stats, values, nulls):
    need(set(stats) <= {3, 5, 6, 7, 8}, "fields of statistics", sorted(stats))
    need(stats[3] == nulls, "null_count", stats[3], "not", nulls)
    if not {5, 6} & set(stats):
        need(not values or page_has_no_bounds(values), "no bounds")
        need(set(stats) == {3}, "fields of statistics")
        return
    need(set(stats) == {3, 5, 6, 7, 8}, "fields of statistics", sorted(stats))
    check_bounds(leaf, values, stats[6], stats[5], (stats[8], stats[7]))
