"""A private MariaDB server, as the postgres OS user, in a temporary folder."""

import os
import pwd
import shutil
import subprocess
import tempfile

from . import process


class MariaDB:
    """with MariaDB() as server: server.port, server.sql("...")."""

    def __init__(self):
        self.folder = None
        self.port = None
        self._server = None

    def __enter__(self):
        owner = pwd.getpwnam("postgres")
        self.folder = tempfile.mkdtemp(prefix="onboard-mariadb-")
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        process.at_end(self.close)
        datadir = os.path.join(self.folder, "data")
        process.run(
            self._as_owner(
                "mariadb-install-db", "--no-defaults", f"--datadir={datadir}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ),
            timeout=120,
        )
        (self.port,) = process.free_ports(1)
        self._log = open(os.path.join(self.folder, "log"), "w")
        self._server = subprocess.Popen(
            self._as_owner(
                "mariadbd", "--no-defaults", f"--datadir={datadir}",
                f"--socket={self.socket}", "--bind-address=127.0.0.1",
                f"--port={self.port}", "--skip-log-bin",
                f"--pid-file={self.folder}/pid",
            ),
            env=process.clean_env(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        process.wait_until(self._is_up, 60, "MariaDB accepts connections")
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def socket(self):
        return os.path.join(self.folder, "socket")

    def sql(self, text, database=""):
        return process.run(
            ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot",
             "-N", database or "mysql"],
            input=text,
        )

    def close(self):
        process.forget(self.close)
        if self._server is not None:
            self._server.terminate()
            self._server.wait(60)
            self._log.close()
            self._server = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_up(self):
        if self._server.poll() is not None:
            log = process.tail(os.path.join(self.folder, "log"))
            raise process.RigError(f"MariaDB ended:\n{log}")
        try:
            self.sql("SELECT 1")
        except process.RigError:
            return False
        return True

    @staticmethod
    def _as_owner(program, *arguments):
        found = shutil.which(program, path="/usr/sbin:/usr/bin")
        return [
            "setpriv", "--reuid=postgres", "--regid=postgres",
            "--init-groups", "--pdeathsig", "KILL", found, *arguments,
        ]
