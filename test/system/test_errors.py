"""Each error of docs/reference.md, with its SQLSTATE and its hint.

The test reads the entries of the reference, one for each SQLSTATE and case (a
row's cases are separated by semicolons), and their hints.  Each entry must be
produced here, or be named in ELSEWHERE.
"""

import email.utils
import pathlib
import re
import time
from types import SimpleNamespace

import pytest

from faults import (
    ABORT, COMPLETE, CREATE, HEAD, OBJECT, PART, SMALL, ok_with,
)
from lib import process
from lib.exports import (
    Running, call, failure, land, land_all, no_upload_left, rows, select,
    wait_for_event,
)
from lib.postgres import Cluster
from lib.proxy import Response, s3_error

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIG = rows(12)
CODE = re.compile(r"\b(?=[0-9A-Z]*\d)[0-9A-Z]{5}\b")


def documented():
    """{(code, case): hint}. For text outside of tables, the section's title is
    the case.  A hint is a pattern, or None if the reference gives none."""
    text = (ROOT / "docs/reference.md").read_text()
    section = re.search(r"^## Errors\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    title = ""
    found = {}
    for block in section.group(1).strip().split("\n\n"):
        if block.startswith("### "):
            title = block[4:]
        elif block.startswith("|"):
            for row in block.splitlines()[2:]:
                codes, cases, *hint = (cell.strip() for cell in
                                       row.split("|")[1:-1])
                hint = re.escape(hint[0]) if hint and hint[0] else None
                for code in CODE.findall(codes):
                    for case in cases.split(";"):
                        found[code, case.strip()] = hint
        elif block.startswith("- "):
            for entry in re.split("^- ", block, flags=re.M)[1:]:
                codes, case = " ".join(entry.split()).split(": ", 1)
                for code in CODE.findall(codes):
                    found[code, case.rstrip(".")] = None
        else:
            for code in CODE.findall(block):
                found[code, title] = None
    return found


# Errors that need a longer test elsewhere: tests that mention the code.
ELSEWHERE = {
    ("53200", "no memory"):
        ("test/system/test_faults_host.py", "test_42_no_memory_for_a_part"),
    ("08P01", "parts that do not add up to the data produced"):
        ("test/core/test_upload_shared.c", "bytes_are_missing"),
    ("08P01", "`onboard_abort_uploads`: a list that cannot be read, that repeats "
        "itself, or that contains a secret"):
        ("test/system/test_sweep.py", "test_a_list_that_cannot_be_read"),
    ("08P01", "`onboard_verify_manifest`: an object that is not a manifest, or "
        "that contains a secret"):
        ("test/system/test_verify.py", "test_no_manifest"),
    ("42704", "`onboard_verify`: no such run"):
        ("test/system/test_verify.py", "test_unknown_run"),
    ("22023", "`onboard_verify_manifest`: a text that is not a URI"):
        ("test/system/test_verify.py", "test_no_uri"),
    ("38000", '"the run was published in part", see [published together]'
        "(#published-together)"):
        ("test/system/test_publish.py", "test_the_third_complete_is_refused"),
    ("22023", '"a run with a manifest must have one destination"'):
        ("test/system/test_publish.py", "test_two_destinations"),
    ("40P01", "a worker waits for a lock that the session holds"):
        ("test/system/test_run_workers.py", "test_a_lock_of_the_session"),
    ("40P01", "the job could not begin, because it waited for a lock that the session "
        "holds, and was ended"):
        ("test/system/test_jobs.py",
         "test_submitting_what_the_transaction_has_exported"),
    ("40P01", "the run waits for a lock that the session holds. The run goes "
        "on when the transaction has ended"):
        ("test/system/test_jobs.py",
         "test_waiting_for_a_job_that_waits_for_the_session"),
    ("0A000", '"... cannot read what would be landed". The DETAIL says why, and the '
        "HINT names the option that would help"):
        ("test/system/test_ddl.py", "test_errors"),
    ("22023", "an unknown dialect; a key with {run_id} or {part} before its last "
        "slash"):
        ("test/system/test_ddl.py", "test_errors"),
    ("22004", "the dialect is null"): ("test/system/test_ddl.py", "test_errors"),
    ("42611", "a column without a name, or two of one name, in any format"):
        ("test/system/test_ddl.py", "test_errors"),
    ("42701", "a column without a name, or two of one name, in any format"):
        ("test/system/test_ddl.py", "test_errors"),
    ("54011", "parquet: more than 16,384 columns, fields of composite types and "
        "lists"):
        ("test/system/test_parquet_errors.py", "test_too_many_fields"),
    ("55000", "During the export"):
        ("test/system/test_parquet_errors.py", "test_altered_type"),
    ("0A000", "PREPARE TRANSACTION after `onboard_all`"):
        ("test/system/test_run_workers.py", "test_a_run_cannot_be_prepared"),
    ("55000", "the role has changed between two rows of "
        "`SELECT onboard_all()`"):
        ("test/system/test_rows.py", "test_another_role"),
    ("42501", "another role has exported under the run id"):
        ("test/system/test_jobs.py",
         "test_an_id_under_which_another_role_has_landed"),
    ("42P08", "several roles have a run of that id"):
        ("test/system/test_jobs.py",
         "test_an_open_transaction_under_the_same_id_does_not_block"),
    ("55000", "the history or the watermarks have a deferrable trigger or "
        "constraint"):
        ("test/system/test_roles.py",
         "test_a_deferred_trigger_of_the_history_does_not_run"),
    ("55006", "another process works on the run of that id"):
        ("test/system/test_jobs.py", "test_a_run_id_of_ones_own"),
    ("53000", "no background worker is free"):
        ("test/system/test_run_workers.py", "test_no_worker_is_free"),
    ("53400", "the role has as many jobs as it may have, see "
        "`onboard.max_jobs_per_role`"):
        ("test/system/test_workers.py", "test_jobs_of_a_role"),
    ("53400", "the remaining `max_worker_processes` are reserved for others, see "
        "`onboard.reserved_workers`"):
        ("test/system/test_workers.py", "test_workers_for_others"),
    ("42501", "the role may use no server of the wrapper, or not the one that "
        "the call names"):
        ("test/system/test_workers.py", "test_a_job_needs_a_server"),
    ("55000", '"the manifest of run ... names tables that are not exported '
        'now"'):
        ("test/system/test_attempts.py", "test_two_tables_one_by_one"),
    ("55000", '"run ... has tables that are not exported now"'):
        ("test/system/test_attempts.py",
         "test_75_tables_that_only_the_history_has"),
    ("42501", '"what an earlier attempt of run ... has written cannot be '
        'deleted"'):
        ("test/system/test_attempts.py", "test_73_no_right_to_delete"),
    ("42501", '"it cannot be known whether run ... has a _SUCCESS"'):
        ("test/system/test_attempts.py",
         "test_73_no_right_to_look_or_delete"),
    ("01000", "all objects of the run are visible, but it has no manifest"):
        ("test/system/test_faults_given_up.py",
         "test_72_all_objects_are_visible"),
    ("01000", 'the history does not say how the export of "..." ended'):
        ("test/system/test_workers.py",
         "test_a_worker_finds_the_history_locked"),
    ("25006", "it is a standby"):
        ("test/system/test_standby.py", "test_no_jobs"),
}

PRODUCERS = {}


def produces(code, case):
    """Registers a function of a stage that returns the errors, at least one."""

    def note(function):
        assert (code, case) not in PRODUCERS, "twice"
        PRODUCERS[code, case] = function
        return function

    return note


class Stage:
    """Everything that is needed to produce errors."""

    def __init__(self, request):
        self._request = request
        self.db = request.getfixturevalue("db")

    def __getattr__(self, name):
        """Returns a fixture."""
        return self._request.getfixturevalue(name)

    def sql(self, statement, parameters=None, session=None):
        """The error of a statement."""
        return failure(select, session or self.db, statement, parameters)

    def export(self, query=SMALL, bucket=None, session=None, **options):
        """The error of an export."""
        return failure(
            land, session or self.db, "t", query, bucket or self.bucket,
            **options,
        )

    def refused_with(self, response, request=OBJECT, query=SMALL, **options):
        """The error of an export whose requests always get this response."""
        self.impatient()
        self.proxy.rule(*request, times=None, response=response)
        error = self.export(
            query, server=self.proxied, part_size="5MB", **options
        )
        self.proxy.clear()
        return error

    def impatient(self):
        select(self.db, "SET onboard.retry_deadline = '300ms'")

    def rolled_back(self, prepare, statement):
        """The error of a statement in a transaction that is rolled back."""
        select(self.db, "BEGIN")
        try:
            select(self.db, prepare)
            return self.sql(statement)
        finally:
            select(self.db, "ROLLBACK")

    def warning(self, text, end):
        """The WARNING with this text that end() leaves in the log."""
        select(self.db, "SET log_error_verbosity = verbose")
        before = len(self.pg.log_text())
        end()
        found = re.findall(
            rf"WARNING:  ([0-9A-Z]{{5}}): [^\n]*{text}",
            self.pg.log_text()[before:],
        )
        diag = SimpleNamespace(message_hint=None)
        return SimpleNamespace(pgcode=found[-1], diag=diag)


def sweep(stage):
    sql = "SELECT * FROM onboard_abort_uploads(%s, older_than => '0')"
    assert select(stage.db, sql, (stage.bucket,))


@pytest.fixture
def stage(request):
    return Stage(request)


def name(entry):
    return re.sub("[^a-zA-Z0-9]+", "-", " ".join(entry))[:60]


def test_each_is_produced():
    assert set(documented()) == set(PRODUCERS) | set(ELSEWHERE)


@pytest.mark.parametrize("entry", list(ELSEWHERE), ids=name)
def test_elsewhere(entry):
    file, test = ELSEWHERE[entry]
    text = (ROOT / file).read_text()
    assert re.search(rf"\b{test}\(", text)
    # Tests of core use the codes of core instead.
    assert file.endswith(".c") or entry[0] in text


# From S3 and the network


@produces("28000", "wrong key id or secret, expired or invalid token")
def wrong_credentials(stage):
    codes = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken",
             "InvalidToken")
    return [stage.refused_with(s3_error(403, code)) for code in codes]


@produces("28000", "HTTP 401")
def status_401(stage):
    return [stage.refused_with(Response(401))]


@produces(
    "28000", '"could not get credentials for server ...": the source has none, or its '
    'service refuses the request',
)
def no_credentials(stage):
    rgw = stage.rgw
    none = stage.make_server(rgw.endpoint, credentials="environment")
    refused = stage.make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key,
        role_arn="arn:aws:iam::123456789012:role/x",
        sts_endpoint=stage.proxy.endpoint,
    )
    stage.proxy.rule("POST", "^/$", response=s3_error(403, "AccessDenied"))
    errors = [stage.export(server=none), stage.export(server=refused)]
    for error in errors:
        assert "could not get credentials for server" in str(error)
    return errors


@produces("28000", "the clocks differ too much, and S3 did not return its time")
def clocks_differ(stage):
    return [stage.refused_with(s3_error(403, "RequestTimeTooSkewed"))]


@produces("42501", "valid credentials without the permission")
def no_right(stage):
    return [stage.refused_with(s3_error(403, "AccessDenied"))]


@produces("42501", "HTTP 403")
def status_403(stage):
    return [stage.refused_with(Response(403))]


@produces(
    "42501", 'HTTP 403 to the HEAD of the object, for an increment or `"overwrite": '
    '"error"` (not on AWS)'
)
def no_right_to_look(stage):
    response = Response(403)
    return [stage.refused_with(response, ("HEAD", "_data.csv$"), overwrite="error")]


@produces("42501", "a KMS key that must not be used")
def kms_denied(stage):
    response = s3_error(403, "AccessDenied", "may not: kms:GenerateDataKey")
    return [stage.refused_with(response)]


@produces("38000", "a KMS key that cannot be used")
def kms_disabled(stage):
    return [stage.refused_with(s3_error(400, "KMS.DisabledException"))]


@produces("58P01", "no such bucket, key or upload")
def nothing_there(stage):
    codes = ("NoSuchBucket", "NoSuchKey", "NoSuchUpload")
    return [stage.refused_with(s3_error(404, code)) for code in codes]


@produces("58P01", "HTTP 404")
def status_404(stage):
    return [stage.refused_with(Response(404))]


@produces(
    "58P02", 'with `"overwrite": "error"`, an object of that key exists, or another '
    'request was writing one',
)
def exists(stage):
    conflict = s3_error(409, "ConditionalRequestConflict")
    other = stage.refused_with(conflict, overwrite="error")
    land(stage.db, "t", SMALL, stage.bucket)
    return [stage.export(overwrite="error"), other]


@produces("22023", "the bucket is in another region")
def another_region(stage):
    return [stage.refused_with(s3_error(
        301, "PermanentRedirect",
        headers={"x-amz-bucket-region": "eu-north-1"},
    ))]


@produces(
    "22023",
    "the endpoint's address is link-local, or another one of a metadata "
    "service",
)
def link_local(stage):
    server = stage.make_server("http://169.254.1.1", "key", "secret-of-none")
    return [stage.export(server=server)]


@produces("08001", "host not found, not reachable, connection lost")
def no_connection(stage):
    stage.impatient()
    (port,) = process.free_ports(1)
    servers = [
        stage.make_server(endpoint, "key", "secret-of-none")
        for endpoint in
        ("http://nonesuch.invalid", f"http://127.0.0.1:{port}")
    ]
    stage.proxy.rule(times=None, drop="before")
    servers.append(stage.proxied)
    return [stage.export(server=server) for server in servers]


@produces("08001", "TLS: certificate, handshake, unreadable `ca_file`")
def tls(stage):
    rgw = stage.rgw
    ca_file = stage.authority.ca_file

    def export(proxy, ca_file):
        server = stage.make_server(
            proxy.endpoint, rgw.access_key, rgw.secret_key, ca_file=ca_file
        )
        return stage.export(server=server)

    broken = stage.tls_proxy()
    broken.break_connections(100)
    return [
        export(stage.tls_proxy("expired"), ca_file),
        export(broken, ca_file),
        export(stage.tls_proxy(), "/nonesuch/ca.pem"),
    ]


@produces("08001", "an https endpoint whose port does not speak TLS")
def no_tls(stage):
    rgw = stage.rgw
    plain = stage.make_server(
        rgw.endpoint.replace("http:", "https:"), rgw.access_key,
        rgw.secret_key,
    )
    return [stage.export(server=plain)]


@produces("08006", "time-outs")
def time_outs(stage):
    stage.impatient()
    select(stage.db, "SET onboard.stall_timeout = '200ms'")
    stage.proxy.rule(times=None, hold=True)
    return [stage.export(server=stage.proxied)]


@produces("53000", "throttled")
def throttled(stage):
    return [
        stage.refused_with(s3_error(503, "SlowDown")),
        stage.refused_with(Response(429)),
    ]


@produces("53000", "HTTP 503 without a code of S3")
def status_503(stage):
    return [stage.refused_with(Response(503))]


@produces("58030", "HTTP 500 and other server errors")
def server_errors(stage):
    return [
        stage.refused_with(Response(500)),
        stage.refused_with(s3_error(501, "NotImplemented")),
    ]


@produces(
    "38000", "any other refusal (a storage class that is unknown, a quota)"
)
def refusals(stage):
    return [
        stage.refused_with(s3_error(400, "InvalidStorageClass")),
        stage.refused_with(s3_error(403, "QuotaExceeded")),
    ]


@produces("54000", "more than `max_parts` parts, object too large")
def too_large(stage):
    rgw = stage.rgw
    narrow = stage.make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, max_parts="1"
    )
    return [
        stage.export(BIG, server=narrow, part_size="5MB"),
        stage.refused_with(s3_error(400, "EntityTooLarge"), PART, BIG),
    ]


@produces("08P01", "a response that S3 would not send")
def no_s3(stage):
    return [
        stage.refused_with(ok_with("<html></html>")),
        stage.refused_with(ok_with("<html></html>"), CREATE, BIG),
    ]


@produces("08P01", "a response with another checksum than the one sent")
def other_checksum(stage):
    response = Response(200, b"", {
        "ETag": '"0123456789abcdef0123456789abcdef"',
        "x-amz-checksum-crc32": "AAAAAA==",
    })
    return [stage.refused_with(response, checksum="crc32")]


@produces("08007", "it is not clear whether the object was written")
def unclear(stage):
    stage.proxy.rule(*COMPLETE, drop="response")
    stage.proxy.rule(*HEAD, response=Response(403), times=None)
    error = stage.export(BIG, server=stage.proxied, part_size="5MB")
    no_upload_left(stage.rgw, stage.bucket)
    return [error]


# Warnings


@produces("01000", "A warning about the clock")
def clock(stage):
    """The clock is wrong by ten minutes, which S3 would tolerate."""
    when = time.time() + 600
    stage.proxy.rule(*OBJECT, response=s3_error(
        403, "RequestTimeTooSkewed",
        headers={"Date": email.utils.formatdate(when, usegmt=True)},
    ))
    return [stage.warning(
        "the clock of the database server is",
        lambda: land(stage.db, "t", SMALL, stage.bucket, server=stage.proxied),
    )]


@produces("58030", 'could not abort the upload of "..."')
def not_aborted(stage):
    def end():
        stage.proxy.rule(*PART, response=s3_error(403, "AccessDenied"))
        stage.proxy.rule(*ABORT, response=Response(500), times=None)
        stage.export(BIG, server=stage.proxied, part_size="5MB")

    warning = stage.warning("could not abort the upload of", end)
    sweep(stage)
    return [warning]


@produces(
    "08006", "N uploads of the run could not be aborted: for a run that is [published "
    "together](#published-together), after a warning with the first failure",
)
def several_not_aborted(stage):
    for name in "ab":
        stage.registry(name, SMALL, stage.bucket)
    stage.registry("c", "SELECT 1 / 0", stage.bucket)
    select(stage.db, "SET onboard.parallel_tables = 0")

    def end():
        denied = s3_error(403, "AccessDenied")
        stage.proxy.rule("DELETE", times=None, response=denied)
        land_all(stage.db, publish="together", server=stage.proxied)

    warning = stage.warning("2 uploads of the run could not be aborted", end)
    sweep(stage)
    return [warning]


@produces(
    "08006", 'could not abort the upload of "..." in time. The DETAIL has the'
    " upload id. `onboard_abort_uploads()` removes it",
)
def not_aborted_in_time(stage):
    def end():
        stage.proxy.rule(*ABORT, times=None, hold=True, when="request",
                         drop="before")
        query = "SELECT 1 / (g - 11900), repeat('x', 1000)" \
            " FROM generate_series(1, 12000) g"
        stage.export(query, server=stage.proxied, part_size="5MB")

    warning = stage.warning("could not abort the upload of .* in time", end)
    sweep(stage)
    return [warning]


def ended_too_late(stage, text, **action):
    """The warning of an export that is cancelled while its object is being
    completed."""
    observer = stage.pg.connect("onboard")

    def end():
        held = stage.proxy.rule(*OBJECT, hold=True, **action)
        export = call("t", SMALL, stage.bucket, server=stage.proxied)
        with Running(stage.db, *export) as running:
            held.wait()
            select(observer, "SELECT pg_cancel_backend(%s)", (running.pid,))
            assert running.error().pgcode == "57014"

    warning = stage.warning(text, end)
    observer.close()
    return warning


@produces(
    "08007", 'the object "..." may have been written: the export ended while'
    " S3 was completing it",
)
def may_have_been_written(stage):
    return [ended_too_late(
        stage, "may have been written", when="request", drop="before"
    )]


@produces("01000", 'the object "..." was written nevertheless')
def was_written(stage):
    return [ended_too_late(stage, "was written nevertheless")]


# From the call, before anything is sent


@produces("22023", "unknown option, wrong type or value, options that conflict")
def wrong_options(stage):
    return [
        stage.export(**options)
        for options in (
            {"fromat": "csv"}, {"format": 1}, {"format": "cvs"},
            {"format": "json", "delimiter": ";"},
        )
    ]


@produces("22023", "a key template or key that is not valid")
def wrong_keys(stage):
    return [stage.export(key=key) for key in ("{nme}", "{", "}", "a\nb")]


@produces("22023", "a bucket name that is not valid, or none")
def wrong_buckets(stage):
    sql = "SELECT onboard_table('t', 'SELECT 1')"
    return [stage.export(bucket="A_b"), stage.sql(sql)]


@produces(
    "22023", "a query that is empty, not a SELECT, more than one statement,"
    " modifies data, locks rows",
)
def wrong_queries(stage):
    return [
        stage.export(query)
        for query in (
            "", "VACUUM", "SELECT 1; SELECT 2",
            "WITH d AS (DELETE FROM onboard_tables RETURNING 1) TABLE d",
            "SELECT * FROM onboard_tables FOR UPDATE",
        )
    ]


@produces("22023", "a configuration of `onboard_register` that is not valid")
def wrong_configuration(stage):
    return [stage.sql("SELECT onboard_register('{\"tables\": []}')")]


@produces("22023", "a server without region and endpoint")
def no_place(stage):
    server = stage.make_server(
        None, "key", "secret-of-none", region=None
    )
    error = stage.export(server=server)
    assert str(error).startswith(f'server "{server}" has no region\n')
    assert "ADD region" in error.diag.message_hint
    return [error]


@produces("22023", "`older_than` negative")
def negative_age(stage):
    sql = "SELECT onboard_abort_uploads('lake', older_than => '-1 s')"
    return [stage.sql(sql)]


@produces("22023", "`name` empty")
def empty_names(stage):
    return [
        stage.sql("SELECT onboard_table('')"),
        stage.sql("SELECT onboard_submit('')"),
    ]


@produces("22004", "`name`, `config`, `run_id` or `older_than` is null")
def nulls(stage):
    return [
        stage.sql("SELECT onboard_wait(NULL)"),
        stage.sql("SELECT onboard_submit(NULL)"),
        stage.sql("SELECT onboard_table(NULL)"),
        stage.sql("SELECT onboard_register(NULL)"),
        stage.sql("SELECT onboard_abort_uploads('lake', older_than => NULL)"),
    ]


OWN = "PostgreSQL's own errors about the query, with their position in it"


@produces("42601", OWN)
def syntax_error(stage):
    return [stage.export("SELEC 1")]


@produces("42P01", OWN)
def no_such_table(stage):
    return [stage.export("TABLE nonesuch")]


@produces("42703", OWN)
def no_such_column(stage):
    return [stage.export("SELECT nonesuch FROM pg_class")]


@produces("42P02", OWN)
def no_parameter(stage):
    return [stage.export("SELECT $1")]


@produces("42602", "no query is given, and the name is not a valid table name")
def no_name(stage):
    return [stage.sql("SELECT onboard_table('a b', bucket => 'lake')")]


@produces("42704", "no such server")
def no_server(stage):
    return [stage.export(server="nonesuch")]


@produces("42704", "no user mapping")
def no_mapping(stage):
    server = stage.make_server("http://127.0.0.1:1")
    return [stage.export(server=server)]


@produces("42809", "the server is of another wrapper")
def another_wrapper(stage):
    return [stage.rolled_back(
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER w FOREIGN DATA WRAPPER w",
        "SELECT onboard_table('t', 'SELECT 1', 'lake', '{\"server\": \"w\"}')",
    )]


@produces("42809", "a column has a pseudo-type")
def pseudo_type(stage):
    return [stage.export("SELECT pg_sleep(0)")]


@produces("42501", "no USAGE on the server")
def no_usage(stage):
    return [stage.export(session=stage.bob.session)]


@produces("42501", "a default server that belongs to an unrelated role")
def server_of_a_stranger(stage):
    select(stage.db, f"ALTER SERVER s3 OWNER TO {stage.bob.name}")
    try:
        return [stage.export()]
    finally:
        select(stage.db, "ALTER SERVER s3 OWNER TO CURRENT_USER")


@produces(
    "42501", "a setting `onboard.server` of a role that cannot act as the exporting "
    "one"
)
def setting_of_a_stranger(stage):
    select(stage.db, f"SET ROLE {stage.bob.name}")
    select(stage.db, "SET onboard.server = 's3'; RESET ROLE")
    try:
        return [stage.export()]
    finally:
        select(stage.db, "RESET onboard.server")


@produces("42501", "the bucket is not among `buckets`")
def bucket_not_allowed(stage):
    server = stage.make_server(
        "http://127.0.0.1:1", "key", "secret-of-none", buckets="none"
    )
    return [stage.export(server=server)]


@produces("42501", "PostgreSQL's own errors about the query's tables")
def table_not_allowed(stage):
    alice = stage.alice
    return [stage.export(
        "TABLE pg_authid", session=alice.session, server=alice.server
    )]


@produces(
    "28000", "a user mapping lacks a value, or has an invalid one"
)
def half_a_mapping(stage):
    prepare = (
        "ALTER FOREIGN DATA WRAPPER onboard NO VALIDATOR;"
        "CREATE SERVER half FOREIGN DATA WRAPPER onboard"
        " OPTIONS (endpoint 'http://127.0.0.1:1');"
        "CREATE USER MAPPING FOR CURRENT_USER SERVER half OPTIONS ({})"
    )
    sql = "SELECT onboard_table('t', 'SELECT 1', 'lake'," \
        " '{\"server\": \"half\"}')"
    return [
        stage.rolled_back(prepare.format(options), sql)
        for options in (
            "access_key_id 'a'", "access_key_id 'a', secret_access_key 'b c'",
        )
    ]


@produces(
    "28000", "there are no credentials, which is detected before the query runs",
)
def no_credentials_before_the_query(stage):
    server = stage.make_server(
        "http://127.0.0.1:1", credentials="environment"
    )
    return [stage.export("SELECT 1 / 0", server=server)]


@produces("42701", "two columns of the same name, with jsonl, json or parquet")
def two_columns(stage):
    return [
        stage.export("SELECT 1 AS a, 2 AS a", format=format)
        for format in ("jsonl", "json", "parquet")
    ]


@produces("42611", "parquet: a column without a name, or no columns")
def no_column_name(stage):
    return [
        stage.export(query, format="parquet")
        for query in ("SELECT 1", "SELECT FROM pg_class")
    ]


@produces(
    "42804", "parquet: a numeric without precision, or with more than 38 digits,"
    " and without option `numeric`",
)
def no_decimal(stage):
    return [
        stage.export(f"SELECT 1::{type_} AS a", format="parquet")
        for type_ in ("numeric", "numeric(39,2)")
    ]


@produces(
    "42804", "parquet: a column of `bloom_filter` has a type without Bloom filters"
)
def no_filter_of_that_type(stage):
    return [
        stage.export(
            f"SELECT {value} AS a", format="parquet", bloom_filter=["a"]
        )
        for value in ("true", "1.5::float8", "ARRAY[1]")
    ]


@produces(
    "42703", "a column of `force_quote`, `dictionary` or `bloom_filter` is not in"
    " the result",
)
def no_column_of_that_name(stage):
    return [
        stage.export(force_quote=["nonesuch"]),
        stage.export(
            "SELECT 1 AS a", format="parquet", dictionary=["nonesuch"]
        ),
        stage.export(
            "SELECT 1 AS a", format="parquet", bloom_filter=["nonesuch"]
        ),
    ]


@produces(
    "42710", "two registered tables would have the same destination, or the same "
    "`_schema.json`",
)
def one_place(stage):
    for name in ("a", "b"):
        stage.registry(name, SMALL, stage.bucket, key="same")
    return [failure(land_all, stage.db)]


@produces("53000", "too many open files for that many connections")
def too_many_files(stage):
    with Cluster(settings={"max_files_per_process": "64"}) as cluster:
        cluster.psql(
            "CREATE EXTENSION onboard;"
            "CREATE SERVER s3 FOREIGN DATA WRAPPER onboard"
            " OPTIONS (endpoint 'http://127.0.0.1:1');"
            "CREATE USER MAPPING FOR CURRENT_USER SERVER s3"
            " OPTIONS (access_key_id 'a', secret_access_key 'b')"
        )
        session = cluster.connect()
        error = stage.export(session=session, connections=64)
        session.close()
    return [error]


# During the export

ROWS = "During the export"


@produces("22P05", ROWS)
def no_such_character(stage):
    return [stage.export("SELECT '\u20ac'", encoding="LATIN1")]


@produces("42804", ROWS)
def nothing_to_store(stage):
    return [
        stage.export("SELECT date 'infinity' AS a", format="parquet")
    ]


@produces("54000", ROWS)
def too_wide_a_row(stage):
    select(stage.db, "SET onboard.upload_memory = '16MB'")
    error = stage.export(
        "SELECT repeat('x', 30000000) AS a", format="parquet"
    )
    select(stage.db, "RESET onboard.upload_memory")
    return [error]


@produces("22012", ROWS)
def division_by_zero(stage):
    return [stage.export("SELECT 1 / 0")]


@produces("57014", ROWS)
def cancelled(stage):
    select(stage.db, "SET statement_timeout = '200ms'")
    error = stage.export("SELECT pg_sleep(60)::text")
    select(stage.db, "RESET statement_timeout")
    return [error]


@produces("0A000", ROWS)
def locks_rows(stage):
    query = "SELECT * FROM (SELECT * FROM onboard_tables FOR UPDATE) t"
    return [stage.export(query)]


# From onboard_all


@produces(
    "38000", 'with `"on_error": "raise"`, "N of M tables could not be exported"'
)
def some_failed(stage):
    stage.registry("t", "SELECT 1 / 0", stage.bucket)
    return [failure(land_all, stage.db, on_error="raise")]


@produces("22012", 'could not export "...": and why')
def warned_of_a_table(stage):
    stage.registry("t", "SELECT 1 / 0", stage.bucket)
    return [stage.warning(
        'could not export "t": division by zero', lambda: land_all(stage.db)
    )]


@produces("01000", "the run has no manifest")
def no_manifest(stage):
    stage.registry("t", "SELEC 1", stage.bucket)
    return [stage.warning(
        "the run has no manifest", lambda: land_all(stage.db, manifest=True)
    )]


@produces("01000", "nothing of the run was published")
def nothing_published(stage):
    stage.registry("t", "SELECT 1 / 0", stage.bucket)
    return [stage.warning(
        "nothing of the run was published",
        lambda: land_all(stage.db, publish="together"),
    )]


@produces("01000", 'the watermark of "..." is left as it is')
def watermark_is_left(stage):
    register_increment(
        stage, "SELECT 1 AS id, (SELECT pg_advisory_xact_lock(46) IS NULL)"
        " AS held OFFSET 0"
    )
    observer = stage.pg.connect("onboard")
    select(observer, "SELECT pg_advisory_lock(46)")

    def end():
        with Running(stage.db, "SELECT onboard_table('t')") as run:
            wait_for_event(observer, run.pid, "advisory")
            select(observer, "SELECT onboard_reset_watermark('t')")
            select(observer, "SELECT pg_advisory_unlock(46)")
            run.rows()

    warning = stage.warning('the watermark of "t" is left as it is', end)
    observer.close()
    return [warning]


@produces("01000", "what lets rows of an increment come late, see"
          " [increments](#warnings-of-increments)")
def rows_come_late(stage):
    register_increment(stage, "SELECT now()::timestamp AS id")
    select(stage.db, "SET timezone = 'Europe/Berlin'")
    return [stage.warning(
        "which comes twice when the clocks go back",
        lambda: land(stage.db, "t", None, None),
    )]


# From onboard_submit


@produces(
    "42501", "it is within a security-restricted operation, such as REFRESH"
    " MATERIALIZED VIEW",
)
def restricted(stage):
    return [stage.sql(
        "CREATE MATERIALIZED VIEW never AS"
        " SELECT onboard_submit('t', 'SELECT 1', 'lake')"
    )]


@produces(
    "XX000", "the background worker could not begin. The server's log says why:"
    " for example, the database takes no more connections",
)
def worker_could_not_begin(stage):
    sql = "ALTER DATABASE onboard ALLOW_CONNECTIONS {}"
    stage.pg.psql(sql.format(False))
    try:
        return [stage.sql("SELECT onboard_submit('t', 'SELECT 1', 'lake')")]
    finally:
        stage.pg.psql(sql.format(True))


# From increments


def register_increment(stage, query="SELECT 1 AS id", key="{run_id}", **watermark):
    select(stage.db, "DELETE FROM onboard_tables")
    watermark = {"column": "id", **watermark}
    stage.registry("t", query, stage.bucket, key=key, watermark=watermark)


def land_increment(stage, **registered):
    register_increment(stage, **registered)
    assert land(stage.db, "t", None, None)["status"] == "done"


def increment(stage, **registered):
    """The error of the first increment of such a table."""
    register_increment(stage, **registered)
    return stage.sql("SELECT onboard_table('t')")


def next_increment(stage, change):
    """The error of an increment after an earlier one and a change."""
    select(stage.db, change)
    return stage.sql("SELECT onboard_table('t')")


@produces("22023", "a key without {run_id}")
def one_key(stage):
    return [increment(stage, key="{name}/{date}/{time}")]


@produces("22023", "a column that is computed by a volatile function")
def a_volatile_column(stage):
    return [increment(stage, query="SELECT clock_timestamp() AS id")]


@produces(
    "22023",
    "a LIMIT, OFFSET, FETCH or TABLESAMPLE that the column passes through",
)
def a_limit(stage):
    return [increment(stage, query="SELECT 1 AS id LIMIT 1")]


@produces("22023", "a coarse column without an overlap")
def a_coarse_column(stage):
    return [increment(stage, query="SELECT current_date AS id")]


@produces("22023", "a query in the call")
def another_query(stage):
    register_increment(stage)
    return [failure(land, stage.db, "t", SMALL, None)]


@produces(
    "22023", "an overlap that is negative, not finite, or for a type without "
    "differences",
)
def wrong_overlaps(stage):
    text = "SELECT 'a' AS id"
    return [
        increment(stage, overlap=-1), increment(stage, overlap="NaN"),
        increment(stage, query=text, overlap="a"),
    ]


OVERLAP = "an overlap that is not an interval, or not a number"


@produces("22007", OVERLAP)
def no_interval(stage):
    return [increment(stage, query="SELECT now() AS id", overlap="soon")]


@produces("22P02", OVERLAP)
def no_number(stage):
    return [increment(stage, overlap="1 day")]


ITS_COLUMN = "the query has no such column, or two"


@produces("42703", ITS_COLUMN)
def no_such_watermark(stage):
    return [increment(stage, column="nonesuch")]


@produces("42702", ITS_COLUMN)
def two_watermarks(stage):
    return [increment(stage, query="SELECT 1 AS id, 2 AS id")]


@produces("42883", "the column's type has no order")
def no_order(stage):
    return [increment(stage, query="SELECT '{}'::json AS id")]


@produces(
    "42710", "the run has landed an increment of that table, or at that key, which is "
    "no longer in the history, cannot be published together, or would be "
    "replaced by an export that is not an increment",
)
def landed_before(stage):
    land_increment(stage)
    (run_id,) = (
        row["run_id"] for row in select(
            stage.db, "SELECT run_id FROM onboard_watermarks"
        )
    )
    (found,) = select(
        stage.db, "SELECT * FROM onboard_all('t', %s, %s)",
        ('{"publish": "together"}', run_id),
    )
    sql = "SELECT onboard_table('t', run_id => %s)"
    select(stage.db, "SELECT onboard_prune('0')")
    error = stage.sql(sql, (run_id,))
    assert found["error"].startswith(error.diag.message_primary)
    return [error]


@produces("58P02", "there is an object at its key")
def an_object_is_there(stage):
    register_increment(stage)
    return [stage.rolled_back(
        "SELECT onboard_table('t', run_id =>"
        " '11111111-1111-4111-8111-111111111111'); ROLLBACK; BEGIN",
        "SELECT onboard_table('t', run_id =>"
        " '11111111-1111-4111-8111-111111111111')",
    )]


@pytest.fixture
def typed(db):
    """A table whose column may change its type."""
    select(db, "CREATE TABLE typed AS SELECT 1 AS id")
    yield
    select(db, "DROP TABLE typed")


@produces("55000", "the watermark belongs to another column or type")
def another_type(stage):
    assert stage.typed is None
    land_increment(stage, query="TABLE typed")
    return [next_increment(stage, "ALTER TABLE typed ALTER id TYPE bigint")]


@produces("55000", "it was made from something else")
def made_from_something_else(stage):
    land_increment(stage)
    return [next_increment(
        stage, "UPDATE onboard_tables SET query = 'SELECT 2 AS id'"
    )]


@produces(
    "55000", "it is a transaction id that the cluster has not reached, or can no "
    "longer be used, such as an enum's label that was renamed",
)
def not_reached(stage):
    land_increment(stage, query="SELECT '1'::xid8 AS id")
    return [next_increment(
        stage, "UPDATE onboard_watermarks SET value = '4294967296000'"
    )]


@produces(
    "55006", "another process works on that run's increment of the table, or has"
    " landed it since the run began",
)
def another_process(stage):
    register_increment(
        stage, "SELECT 1 AS id, (SELECT pg_advisory_xact_lock(46) IS NULL)"
        " AS held OFFSET 0"
    )
    observer = stage.pg.connect("onboard")
    select(observer, "SELECT pg_advisory_lock(46)")
    sql = (
        "SELECT onboard_table('t', run_id =>"
        " '11111111-1111-4111-8111-111111111112')"
    )
    with Running(stage.db, sql) as run:
        wait_for_event(observer, run.pid, "advisory")
        error = failure(select, observer, sql)
        select(observer, "SELECT pg_advisory_unlock(46)")
        run.rows()
    observer.close()
    return [error]


@produces(
    "22000",
    "the greatest value is infinite or NaN, or no increment could follow it",
)
def nothing_is_greater(stage):
    return [
        increment(stage, query=f"SELECT {value} AS id")
        for value in ("'infinity'::timestamptz", "'NaN'::float8")
    ]


@produces("25006", "the watermark cannot be kept")
def read_only(stage):
    register_increment(stage)
    return [stage.rolled_back(
        "SET TRANSACTION READ ONLY", "SELECT onboard_table('t')"
    )]


# From CREATE or ALTER SERVER and USER MAPPING


def create_server(stage, options, session=None):
    return stage.sql(
        f"CREATE SERVER never FOREIGN DATA WRAPPER onboard OPTIONS ({options})",
        session=session,
    )


@produces("HV00D", "unknown option (the HINT lists the valid ones)")
def unknown_option(stage):
    error = create_server(stage, "endpiont 'http://127.0.0.1'")
    assert "endpoint" in error.diag.message_hint
    return [error]


@produces("HV024", "a value that is not valid")
def wrong_value(stage):
    return [create_server(stage, "endpoint 'ftp://127.0.0.1'")]


@produces("HV024", "a default bucket that `buckets` does not allow")
def wrong_default(stage):
    return [create_server(stage, "bucket 'lake', buckets 'archive'")]


@produces("HV00J", "a user mapping with only one of key id and secret")
def half_a_key(stage):
    server = stage.make_server("http://127.0.0.1:1")
    sql = "CREATE USER MAPPING FOR CURRENT_USER SERVER {} OPTIONS ({} 'x')"
    return [
        stage.sql(sql.format(server, option))
        for option in ("access_key_id", "secret_access_key")
    ]


@produces("42501", "`credentials` other than `mapping`, and not a superuser")
def not_a_superuser(stage):
    stage.bob.may("USAGE ON FOREIGN DATA WRAPPER onboard")
    return [
        create_server(stage, f"credentials '{source}'", stage.bob.session)
        for source in ("environment", "instance", "chain")
    ]


@produces(
    "42501", "`ca_file` without the privileges of `pg_read_server_files`"
)
def no_file(stage):
    stage.bob.may("USAGE ON FOREIGN DATA WRAPPER onboard")
    return [create_server(stage, "ca_file '/etc/passwd'", stage.bob.session)]


@produces("0A000", "a foreign table")
def foreign_table(stage):
    return [stage.sql("CREATE FOREIGN TABLE never (a int) SERVER s3")]


@pytest.mark.parametrize("entry", list(PRODUCERS), ids=name)
def test_error(stage, entry):
    errors = PRODUCERS[entry](stage)
    hint = documented()[entry]
    assert errors
    for error in errors:
        assert error.pgcode == entry[0], error
        if hint:
            pattern = hint.replace(re.escape("..."), ".*")
            assert re.fullmatch(pattern, error.diag.message_hint or "")
