"""TLS: rows 26, 27 and 52 of docs/faults.md."""

import os
import shutil

import pytest

from faults import SMALL
from lib.exports import (
    body, copy, failure, key_of, keys, land, rows, select,
)
from lib.rgw import Rgw
from lib.tls import Authority

BIG = rows(12)
CHECK_CA = "option ca_file"


@pytest.fixture
def server(make_server, rgw, authority):
    """Makes a foreign server behind a proxy that speaks TLS."""

    def make(proxy, ca_file=authority.ca_file):
        return make_server(
            proxy.endpoint, rgw.access_key, rgw.secret_key, ca_file=ca_file
        )

    return make


def refused(db, proxy, server, bucket):
    """Asserts that a bad certificate is final, without a retry; returns the
    DETAIL."""
    error = failure(land, db, "t", SMALL, bucket, server=server)
    assert error.pgcode == "08001", error
    assert CHECK_CA in error.diag.message_hint
    assert "certificate" in error.diag.message_detail
    assert "attempts" not in error.diag.message_detail
    assert proxy.connections == 1
    assert proxy.requests() == []
    return error.diag.message_detail


@pytest.mark.parametrize(
    "kind, cause",
    [
        ("self-signed", "self-signed certificate"),
        ("wrong-name", "no alternative certificate subject name matches"),
        ("expired", "certificate has expired"),
    ],
)
def test_26_bad_certificate(db, s3, bucket, tls_proxy, server, kind, cause):
    proxy = tls_proxy(kind)
    assert cause in refused(db, proxy, server(proxy), bucket)
    assert keys(s3, bucket) == []


@pytest.mark.parametrize(
    "ca_file", [None, "/etc/ssl/certs/ca-certificates.crt"],
    ids=["none", "another"],
)
def test_26_unknown_authority(db, bucket, tls_proxy, server, ca_file):
    """ca_file replaces the system's authorities."""
    proxy = tls_proxy()
    detail = refused(db, proxy, server(proxy, ca_file), bucket)
    assert "unable to get local issuer certificate" in detail


def test_26_ca_file_is_missing(db, bucket, tls_proxy, server):
    proxy = tls_proxy()
    missing = server(proxy, "/nonesuch/ca.pem")
    error = failure(land, db, "t", SMALL, bucket, server=missing)
    assert error.pgcode == "08001"
    assert CHECK_CA in error.diag.message_hint
    assert "/nonesuch/ca.pem" in error.diag.message_detail
    assert proxy.requests() == []


def test_26_ca_file_is_renewed(
    pg, db, bucket, authority, tls_proxy, server
):
    """The store's certificate is renewed with it: the session reads the file
    again."""
    folder = os.path.join(pg.folder, "renewed")
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    renewed = Authority(folder)
    ca_file = os.path.join(folder, "current.pem")
    shutil.copy(authority.ca_file, ca_file)
    os.chmod(ca_file, 0o644)
    proxy = tls_proxy()
    name = server(proxy, ca_file)
    land(db, "t", SMALL, bucket, server=name)
    proxy.refuse()
    proxy.present(renewed.context())
    proxy.listen()
    error = failure(land, db, "t", SMALL, bucket, server=name)
    assert error.pgcode == "08001"
    shutil.copy(renewed.ca_file, ca_file)
    assert land(db, "t", SMALL, bucket, server=name)["status"] == "done"


def test_27_handshake_is_reset_once(db, s3, bucket, tls_proxy, server):
    proxy = tls_proxy()
    proxy.break_connections()
    found = land(db, "t", BIG, bucket, server=server(proxy))
    assert body(s3, bucket, key_of("t")) == copy(db, BIG)
    assert found["status"] == "done"
    assert all(r.status == 200 for r in proxy.requests())


def test_27_handshake_is_always_reset(db, bucket, tls_proxy, server):
    proxy = tls_proxy()
    proxy.break_connections(100)
    error = failure(land, db, "t", SMALL, bucket, server=server(proxy))
    assert error.pgcode == "08001"
    assert proxy.connections == 3
    assert proxy.requests() == []


def test_tls_to_a_plain_server(db, bucket, make_server, rgw):
    plain = make_server(
        rgw.endpoint.replace("http:", "https:"), rgw.access_key,
        rgw.secret_key,
    )
    select(db, "SET onboard.retry_deadline = '300ms'")
    error = failure(land, db, "t", SMALL, bucket, server=plain)
    assert error.pgcode == "08001"
    assert CHECK_CA not in error.diag.message_hint
    assert "does not speak TLS" in error.diag.message_hint


@pytest.mark.parametrize("query", [SMALL, BIG], ids=["small", "big"])
def test_52_bucket_with_dots(db, s3, tls_proxy, server, bucket, query):
    """A certificate for *.host is not valid for two labels, so path style is
    used."""
    dotted = "with.dots." + bucket
    s3.create_bucket(Bucket=dotted)
    try:
        proxy = tls_proxy()
        land(db, "t", query, dotted, server=server(proxy))
        landed = body(s3, dotted, key_of("t"))
        s3.delete_object(Bucket=dotted, Key=key_of("t"))
    finally:
        s3.delete_bucket(Bucket=dotted)
    assert landed == copy(db, query)
    assert all(r.path.startswith(f"/{dotted}/") for r in proxy.requests())


def test_52_upper_case_bucket(db, proxy, proxied):
    """No such bucket can be created any more; the name is refused before any
    request."""
    error = failure(land, db, "t", SMALL, "Upper-Case", server=proxied)
    assert error.pgcode == "22023"
    assert "has only lower-case letters" in str(error)
    assert proxy.requests() == []


# A TLS server other than our proxy


@pytest.fixture(scope="module")
def tls_rgw(pg, canaries):
    with Rgw(memory_gb=1, tls=True) as store:
        canaries.add(store.secret_key)
        store.client().create_bucket(Bucket="over-tls")
        # PostgreSQL's OS user cannot read the rig's own folder.
        ca_file = os.path.join(pg.folder, "ca.pem")
        store.readable_ca = shutil.copy(store.ca_file, ca_file)
        yield store


def test_rgw_over_tls(db, tls_rgw, make_server):
    server = make_server(
        tls_rgw.tls_endpoint, tls_rgw.access_key, tls_rgw.secret_key,
        ca_file=tls_rgw.readable_ca,
    )
    s3 = tls_rgw.client()
    for query in (SMALL, BIG):
        found = land(db, "t", query, "over-tls", server=server)
        assert found["status"] == "done"
        assert body(s3, "over-tls", key_of("t")) == copy(db, query)
    assert tls_rgw.unfinished("over-tls") == []
