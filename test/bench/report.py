"""The results as Markdown, and as charts drawn by gnuplot."""

import os
import statistics

from lib import process
from peers import (
    CLICKHOUSE, DUCKDB, DUCKDB_ROWS, all_label, copy_label, duckdb_label,
    onboard_label, parquet_label,
)

MB = 1000 * 1000
MIB = 1024 * 1024
RSS_MARGIN = 32 * MIB

_INTRO = """\
# Benchmarks

This page compares the time of exporting a table to S3 with that of
`COPY ... TO '/dev/null'`, in which PostgreSQL produces the same bytes and
discards them, and with other ways to export to S3. The benchmark writes this
page and its charts.

Only ratios are significant, since seconds differ between machines. The
contestants of a group run in turns, each in a new session or process, in
reverse order every second round; the tables are in memory before. All times
are medians, and a ratio is one median divided by another of the same group.

Unless noted otherwise, the objects are sent over HTTP on loopback to a server
that discards them, without TLS and with the SHA-256 of each payload signed. So
the results do not include the effects of a network.
"""

_REPEAT = """\
## Running the benchmarks

On a quiet machine with Debian 12, as root or with sudo:

```sh
# needs root
make bench                                  # csv and text, three minutes
make bench BENCH_OPTS='--full --report docs/benchmarks.md'
```

The second command writes this page, in about half an hour. It needs about 10 GB of
memory and 8 GB on `/tmp`. `test/bench/README.md` describes the programs and options.
"""

_PEERS = """\
- `psql | aws`: `psql -c "COPY ... TO STDOUT" | aws s3 cp - s3://...`; also
  through `gzip -1` and `zstd -1`.
- `COPY TO PROGRAM aws`: the server pipes into `aws s3 cp -`.
- `plpython and boto3`: a function in the server that lets COPY write a
  temporary file and uploads it with boto3's `upload_fileobj` (as
  postgres-aws-s3 does, but without its second pass over the file to count
  lines).

`aws` and boto3 run with their defaults, except for
`AWS_REQUEST_CHECKSUM_CALCULATION=when_required`, with which newer versions do
not compute a CRC of each part.
"""

_ABOUT = {
    "rgw": """\
Ceph RGW on the same machine checks signatures and payload hashes, and keeps the
objects in memory; it uses the same processors. `aws, the finished csv file`
only uploads a file that COPY has written before.
""",
    "peers": _PEERS,
    "parquet-peers": """\
- `psql | DuckDB, aws`: `psql -c "COPY ... TO STDOUT"` pipes csv into DuckDB, which is
  given the columns' types and writes a Parquet file; `aws s3 cp` uploads that.
- `ClickHouse, postgresql() to s3()`: chDB, which is ClickHouse as a library, reads the
  table over TCP and uploads the file: `INSERT INTO FUNCTION s3(...) SELECT * FROM
  postgresql(...)`.

All write the same types with zstd at level 1. DuckDB and chDB run in Node, in the
versions that `test/readers` and `test/bench/engines` pin. Otherwise they have their
defaults, so both use all processors.
""",
    "parquet-sizes": """\
onboard and DuckDB write the same rows with the same types, codec (zstd: level 1) and
number of rows in a row group: DuckDB's default, and onboard's. Times do not matter
here, so there is one round.
""",
    "seed": """\
A Python process reads all rows through SQLAlchemy, converts each value to a
string, serializes `{"Results": [...]}` by `json.dumps`, and uploads it with
boto3. Its memory grows with the table, so the table is small. onboard's `json`
is the same document with real types.
""",
    "forty": """\
`onboard_all()` exports forty tables of 100 rows each to a server that responds
to each request after 100 ms.
""",
    "sizes": """\
The 2 GB are the 50 MB repeated forty times, so only the size differs.
""",
}

_COLUMNS = """\
- from - to: the fastest and the slowest round.
- CPU s: the time of all processes of the contestant: backend, parallel
  workers, clients. server CPU s: that of the S3 server.
- peak MB: the maximum memory of any of those processes, without shared
  buffers, in any round; sampled every 20 ms.
- workers: parallel workers, in addition to the backend.
- MB: size of the objects; parts: number of UploadParts.
"""


# Access to results


def find(results, *labels, store="s3"):
    """The first group that has all these contestants, as label: contestant."""
    for group in results["groups"]:
        found = {c["label"]: c for c in group["contestants"]}
        if group["store"] == store and all(name in found for name in labels):
            return found
    return None


def median(contestant, what="wall"):
    return statistics.median(run[what] for run in contestant["runs"])


def ratio(results, label, base, store="s3"):
    """The time as a multiple of that of base; None if they did not run
    together."""
    found = find(results, label, base, store=store)
    return found and median(found[label]) / median(found[base])


def peak(contestant):
    return max(run["memory"] for run in contestant["runs"])


def _is_export(contestant):
    return contestant["label"].startswith("onboard ")


# The targets

_ONE, _TWO = "off", "1"  # one process; one worker in addition

# The maximum time as a multiple of COPY's to nowhere: (format, compression, the
# COPY, one process, one worker).
_AT_MOST = (
    ("csv", "none", "csv", 0.50, 0.38),
    ("csv", "gzip", "csv", 0.85, 0.52),
    ("csv", "zstd", "csv", 0.80, 0.48),
    ("text", "none", "csv", 0.50, 0.38),
    ("jsonl", "none", "row_to_json", 0.25, None),
)

# The same for Parquet: (compression, encodings, one process, one worker).
_PARQUET_AT_MOST = (
    ("none", "compatible", 0.30, 0.20),
    ("snappy", "compatible", 0.42, 0.28),
    ("zstd", "compatible", 0.45, 0.30),
    ("snappy", "delta", 0.30, 0.20),
    ("zstd", "delta", 0.32, 0.22),
)

# The minimum speed as a multiple of a contestant's: (contestant, compression,
# one process, one worker).
_AT_LEAST = (
    ("psql | aws", "none", 3.5, 4.5),
    ("psql | gzip -1 | aws", "gzip", 4, 6),
    ("psql | zstd -1 | aws", "zstd", 2.4, 4),
    ("plpython and boto3", "none", 4.5, 6),
)

# Files whose size is compared with that of DuckDB's: (compression, rows in a row
# group).
PARQUET_SIZES = tuple(
    (compression, rows)
    for rows in (DUCKDB_ROWS, 1048576)
    for compression in ("none", "snappy", "zstd")
)


def _verdict(value, bar, at_least=False, form="{:.2f}"):
    """Two cells: the target, and the result."""
    sign = "≥" if at_least else "≤"
    cells = [f"{sign} {form.format(bar)}" if bar is not None else "", ""]
    if value is not None:
        cells[1] = form.format(value)
        if bar is not None:
            met = value >= bar if at_least else value <= bar
            cells[1] += " met" if met else " **missed**"
    elif bar is not None:
        cells[1] = "not run"
    return cells


def _growth(results, label):
    """Time per MB of csv at 2 GB, as a multiple of that at 50 MB.

    label: of an export, given the table's name.
    """
    tables = ("lineitem_50mb", "lineitem_2gb")
    times = ratio(results, *map(label, reversed(tables)))
    if times is None:
        return None
    small, large = (
        next(table["csv"] for group in results["groups"]
             for table in group["tables"] if table["name"] == name)
        for name in tables
    )
    return times / (large / small)


def _memory(results, one_process, parquet):
    """The greatest peak of any export, in MiB."""
    peaks = [
        peak(contestant) / MIB
        for group in results["groups"]
        for contestant in group["contestants"]
        if _is_export(contestant)
        and (", parallel" in contestant["label"]) != one_process
        and contestant["label"].startswith("onboard parquet") == parquet
    ]
    return max(peaks, default=None)


def _both(cell):
    """The cells of one process, then those with one worker in addition."""
    return [*cell(_ONE), *cell(_TWO)]


def _csv(compression):
    return "csv" if compression == "none" else f"csv {compression}"


def _csv_at(parallel):
    return lambda table: onboard_label("csv", "none", parallel, table)


def _parquet_at(parallel):
    return lambda table: parquet_label(
        "zstd", parallel=parallel, table=table
    )


def _copy_rows(results):
    for form, compression, base, *bars in _AT_MOST:
        of = copy_label(base)
        cells = []
        for parallel, bar in zip((_ONE, _TWO), bars):
            label = onboard_label(form, compression, parallel)
            cells += _verdict(ratio(results, label, of), bar)
        what = _csv(compression) if form == "csv" else form
        yield f"{what}: time, of {of}'s", *cells


def _peer_rows(results):
    for peer, compression, *bars in _AT_LEAST:
        cells = []
        for parallel, bar in zip((_ONE, _TWO), bars):
            label = onboard_label("csv", compression, parallel)
            value = ratio(results, peer, label)
            cells += _verdict(value, bar, at_least=True, form="{:.1f}")
        yield f"{_csv(compression)}: times as fast as `{peer}`", *cells


def _parquet_rows(results):
    for compression, encodings, *bars in _PARQUET_AT_MOST:
        cells = []
        for parallel, bar in zip((_ONE, _TWO), bars):
            label = parquet_label(compression, encodings, parallel)
            cells += _verdict(ratio(results, label, copy_label("csv")), bar)
        yield f"parquet {compression}, {encodings}: time, of COPY csv's", *cells
    for peer, what, bar in (
        (DUCKDB, f"`{DUCKDB}`", 5),
        (CLICKHOUSE, "ClickHouse's `postgresql()` and `s3()`", None),
    ):
        cells = []
        for parallel, least in ((_ONE, bar), (_TWO, None)):
            value = ratio(results, peer, parquet_label("zstd", parallel=parallel))
            cells += _verdict(value, least, at_least=True, form="{:.1f}")
        yield f"parquet zstd: times as fast as {what}", *cells
    for compression, rows in PARQUET_SIZES:
        ours = parquet_label(compression, group_rows=rows)
        theirs = duckdb_label(compression, rows)
        found = find(results, ours, theirs)
        value = found and (
            median(found[ours], "landed") / median(found[theirs], "landed")
        )
        yield (
            f"parquet {compression}, row groups of {rows:,}: size, of DuckDB's",
            *_verdict(value, 1.01, form="{:.3f}"),
            *_verdict(None, None),
        )


def _rgw_rows(results):
    peer = "aws, the finished csv file"
    for compression in ("none", "zstd"):
        values = [
            ratio(
                results, peer, onboard_label("csv", compression, parallel),
                store="rgw",
            )
            for parallel in (_ONE, _TWO)
        ]
        cells = [_verdict(value, None, form="{:.1f}") for value in values]
        yield (
            f"{_csv(compression)} to RGW: times as fast as `aws s3 cp` of the"
            " finished csv file",
            *cells[0],
            *cells[1],
        )


def _seed_row(results):
    seed, ours = (
        f"{name}, lineitem_50mb"
        for name in ("SQLAlchemy, json, boto3", "onboard json")
    )
    value = ratio(results, seed, ours)
    return (
        "json, 50 MB: times as fast as SQLAlchemy, json.dumps and boto3",
        *_verdict(value, None, form="{:.0f}"),
        *_verdict(None, None),
    )


def _target_rows(results):
    """(name, target, result, target, result)"""
    yield from _copy_rows(results)
    yield from _peer_rows(results)
    yield from _parquet_rows(results)
    yield from _rgw_rows(results)
    yield _seed_row(results)
    value = ratio(results, all_label(1), all_label(4), store="far")
    yield (
        "forty small tables, a far store: times as fast with four workers",
        *_verdict(value, 3, at_least=True, form="{:.1f}"),
        *_verdict(None, None),
    )
    for form, label in (("csv", _csv_at), ("parquet zstd", _parquet_at)):
        yield (
            f"{form}: time per MB of csv at 2 GB, of that at 50 MB",
            *_both(lambda parallel: _verdict(
                _growth(results, label(parallel)), 1.10
            )),
        )
    bar = (results["upload_memory"] + RSS_MARGIN) / MIB
    for what, parquet in (("", False), ("parquet: ", True)):
        yield (
            f"{what}MiB of memory of any process (`onboard.upload_memory` + 32"
            " MiB)",
            *_both(lambda parallel: _verdict(
                _memory(results, parallel == _ONE, parquet), bar,
                form="{:.0f}",
            )),
        )


def _row(cells):
    cells = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(cells)} |"


def target_table(results):
    return [
        _row(("", "one process", "", "one worker beside it", "")),
        "| --- | --: | :-- | --: | :-- |",
        *map(_row, _target_rows(results)),
    ]


# The groups


def _cells(group, contestant):
    runs = contestant["runs"]
    walls = [run["wall"] for run in runs]
    lands = median(contestant, "landed") > 0
    times = ""
    for base in group["contestants"]:
        if base["label"] == contestant["baseline"]:
            times = f"{median(contestant) / median(base):.2f}"
    return (
        contestant["label"],
        f"{median(contestant):.3f}",
        f"{min(walls):.3f} - {max(walls):.3f}",
        times,
        contestant["baseline"],
        f"{median(contestant, 'cpu'):.2f}",
        f"{median(contestant, 'server_cpu'):.2f}" if lands else "",
        f"{peak(contestant) / MB:.0f}",
        f"{max(run['workers'] for run in runs)}",
        f"{median(contestant, 'landed') / MB:.1f}" if lands else "",
        f"{median(contestant, 'parts'):.0f}" if lands else "",
    )


def group_table(group):
    return [
        "| | wall s | from - to | ratio | of | CPU s | server CPU s | peak MB"
        " | workers | MB | parts |",
        "| --- | --: | --: | --: | :-- | --: | --: | --: | --: | --: | --: |",
        *(_row(_cells(group, c)) for c in group["contestants"]),
    ]


def _about(group):
    lines = []
    for table in group["tables"]:
        lines.append(
            f"Table `{table['name']}`, {table['title']}:"
            f" {table['rows']:,} rows,"
            f" {table['csv'] / MB:,.1f} MB as csv"
            f" ({table['csv'] / table['rows']:,.0f} bytes a row),"
            f" {table['bytes'] / MB:,.1f} MB on disk,"
            f" {table['cached']:.0%} of it in shared buffers."
        )
    return lines + [f"Rounds: {group['rounds']}.", ""]


def _others(results):
    """The share of the machine that other processes used during the
    measurements."""
    runs = [
        run
        for group in results["groups"]
        for contestant in group["contestants"]
        for run in contestant["runs"]
    ]
    wall = sum(run["wall"] for run in runs)
    return sum(r["others_cpu"] for r in runs) / (wall * results["cores"])


def _head(results):
    return [f"- {line}" for line in results["head"]] + [
        "- Of the machine's processor time, others used"
        f" {_others(results):.1%} during the runs"
    ]


def tables(results, charts=()):
    """All results as lines of Markdown, without the surrounding text."""
    lines = [*_head(results), "", "## Targets", ""]
    lines += target_table(results)
    for group in results["groups"]:
        lines += ["", f"## {group['title']}", ""]
        if group["name"] in _ABOUT:
            lines += [_ABOUT[group["name"]]]
        lines += _about(group)
        for name, title in charts:
            if name == group["name"]:
                lines += [f"![{title}](bench-{name}.svg)", ""]
        lines += group_table(group)
    return lines


# Charts: horizontal bars.  Each bar is (label, value, kind).

_COLOURS = {
    "COPY": "#9a9a9a",
    "one process": "#1f5fa8",
    "parallel": "#5fb0e6",
    "other": "#e08a2e",
}

_CHART = """
set terminal svg size 800,{height} font "sans-serif,13" background "white"
set output "{path}"
set title "{title}" noenhanced
set xlabel "{axis}" noenhanced
set xrange [0:{most}]
set yrange [{count}.5:0.5]
set ytics nomirror scale 0 noenhanced
set xtics nomirror out
set border 1
set grid xtics lc rgb "#dddddd"
set key tmargin left horizontal Left reverse samplen 1 noenhanced
set style fill solid
set boxwidth 0.7
{mark}
plot {plots}
"""


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def chart(path, title, axis, bars, mark=None):
    """mark: a value at which a vertical line is drawn."""
    blocks, plots = [], []
    ticks = ", ".join(
        f"{_quoted(label)} {y}" for y, (label, _, _) in enumerate(bars, 1)
    )
    kinds = [kind for kind in _COLOURS if any(bar[2] == kind for bar in bars)]
    for n, kind in enumerate(kinds):
        rows = [
            f"{y} {value} {_quoted(f'{value:.2f}')}"
            for y, (_, value, of) in enumerate(bars, 1)
            if of == kind
        ]
        blocks.append("\n".join([f"$kind{n} << END", *rows, "END"]))
        plots.append(
            f"$kind{n} using (0):1:(0):2:($1-0.35):($1+0.35)"
            f" with boxxyerror lc rgb {_quoted(_COLOURS[kind])}"
            f" title {_quoted(kind)}"
        )
        plots.append(
            f"$kind{n} using 2:1:3 with labels left offset 0.4,0 notitle"
        )
    most = max([value for _, value, _ in bars] + [mark or 0]) * 1.12
    line = ""
    if mark is not None:
        line = (
            f"set arrow from {mark}, graph 0 to {mark}, graph 1 nohead front"
            ' dt 2 lc rgb "#555555"'
        )
    script = _CHART.format(
        height=110 + 22 * len(bars), path=path, title=title, axis=axis,
        most=most, count=len(bars), mark=f"set ytics ({ticks})\n{line}",
        plots=", ".join(plots),
    )
    process.run(["gnuplot"], input="\n".join(blocks) + script)


def _kind(contestant):
    label = contestant["label"]
    if label.startswith("COPY ") and not contestant["baseline"]:
        return "COPY"
    if not _is_export(contestant):
        return "other"
    return "parallel" if ", parallel" in label else "one process"


def _wall_bars(group):
    """The bars of wall time, the fastest first."""
    bars = [(c["label"], median(c), _kind(c)) for c in group["contestants"]]
    return sorted(bars, key=lambda bar: bar[1])


def _ratio_bars(group):
    medians = {c["label"]: median(c) for c in group["contestants"]}
    return [
        (
            contestant["label"].removeprefix("onboard "),
            medians[contestant["label"]] / medians[contestant["baseline"]],
            _kind(contestant),
        )
        for contestant in group["contestants"]
        if contestant["baseline"]
    ]


def _size_bars(group):
    sizes = {table["name"]: table for table in group["tables"]}
    bars = []
    for contestant in group["contestants"]:
        words, _, table = contestant["label"].rpartition(", ")
        megabytes = sizes[table]["csv"] / MB
        bars.append(
            (
                f"{words}, {megabytes:,.0f} MB",
                median(contestant) / megabytes * 1000,
                _kind(contestant),
            )
        )
    # The two sizes of each contestant are side by side.
    return sorted(bars, key=lambda bar: bar[0].rpartition(", ")[0])


_DATA = ("integers", "text", "jsonb", "numeric", "bytea")


def _data_bars(results):
    bars = []
    for group in results["groups"]:
        if group["name"] in _DATA:
            table = group["tables"][0]["name"]
            for label, value, kind in _ratio_bars(group):
                bars.append((label.replace(table, group["name"]), value, kind))
    return bars


_OF_COPY = "time, as a multiple of COPY's"
_SECONDS = "seconds"

# (group, title, axis, bars, mark)
_CHARTS = (
    ("quick", "Landing lineitem", _OF_COPY, _ratio_bars, 1),
    ("targets", "Landing lineitem", _OF_COPY, _ratio_bars, 1),
    ("formats", "Formats and compression", _OF_COPY, _ratio_bars, 1),
    ("peers", "Landing lineitem as csv", _SECONDS, _wall_bars, None),
    ("rgw", "Landing lineitem in Ceph RGW", _SECONDS, _wall_bars, None),
    ("seed", "Landing 50 MB, all of it in memory or not", _SECONDS,
     _wall_bars, None),
    ("sizes", "50 MB and 2 GB", "milliseconds per MB of csv", _size_bars,
     None),
)


def write(results, path):
    """Writes the whole page, and a chart beside it for each group that has one.
    """
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    drawn = []

    def draw(name, title, axis, bars, mark):
        file = os.path.join(folder, f"bench-{name}.svg")
        chart(file, title, axis, bars, mark)
        drawn.append((name, title))

    groups = {group["name"]: group for group in results["groups"]}
    for name, title, axis, bars, mark in _CHARTS:
        if name in groups:
            draw(name, title, axis, bars(groups[name]), mark)
    data = _data_bars(results)
    lines = [_INTRO]
    body = tables(results, drawn)
    if data:
        title = "Kinds of data, as csv"
        titles = {f"## {groups[d]['title']}" for d in _DATA if d in groups}
        draw("data", title, _OF_COPY, data, 1)
        at = next(
            n for n, line in enumerate(body)
            if line in titles
        )
        body[at:at] = [
            f"## {title}", "", f"![{title}](bench-data.svg)", ""
        ]
    lines += body
    lines += ["", "## The columns", "", _COLUMNS, _REPEAT.rstrip()]
    with open(path, "w") as page:
        page.write("\n".join(lines) + "\n")
