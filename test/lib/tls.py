"""Certificates of all kinds, good and bad, made by openssl.

    authority = Authority(folder)
    with Proxy(rgw.endpoint, tls=authority.context("expired")) as proxy: ...
"""

import os
import ssl

from . import process
from .postgres import faketime

GOOD_NAMES = "IP:127.0.0.1,DNS:localhost,DNS:*.localhost"
# when it is issued, for two days; names; whether the authority has signed it
_KINDS = {
    "good": ("0d", GOOD_NAMES, True),
    "expired": ("-3d", GOOD_NAMES, True),
    "wrong-name": ("0d", "DNS:elsewhere.example", True),
    "self-signed": ("0d", GOOD_NAMES, False),
}
_NEW_KEY = [
    "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
]


class Authority:
    """A certificate authority of our own; ca_file is its certificate.

    It makes its files in folder, which must exist.
    """

    def __init__(self, folder):
        self.folder = folder
        self.ca_file = self._path("ca.pem")
        self._openssl(
            "req", "-x509", "-days", "2", *_NEW_KEY,
            "-subj", "/CN=onboard test authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self._path("ca.key"), "-out", self.ca_file,
        )

    def certificate(self, kind="good"):
        """The files of a certificate and of its key."""
        certificate = self._path(f"{kind}.pem")
        if not os.path.exists(certificate):
            self._make(kind, certificate)
        return certificate, self._path(f"{kind}.key")

    def context(self, kind="good"):
        """An SSL context for a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate(kind))
        return context

    def _make(self, kind, certificate):
        issued, names, signed = _KINDS[kind]
        request, extensions = self._path("request"), self._path("extensions")
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={names}\n")
            if signed:
                file.write("authorityKeyIdentifier=keyid\n")
        self._openssl(
            "req", "-new", *_NEW_KEY, "-subj", "/CN=onboard test server",
            "-keyout", self._path(f"{kind}.key"), "-out", request,
        )
        signer = ["-signkey", self._path(f"{kind}.key")]
        if signed:
            signer = [
                "-CA", self.ca_file, "-CAkey", self._path("ca.key"),
                "-CAcreateserial",
            ]
        self._openssl(
            "x509", "-req", "-days", "2", "-extfile", extensions,
            "-in", request, "-out", certificate, *signer, issued=issued,
        )

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _openssl(self, *arguments, issued="0d"):
        env = process.clean_env()
        if issued != "0d":  # only the tests need faketime, not the demo
            env |= faketime(issued)
        process.run(["openssl", *arguments], cwd=self.folder, env=env)
