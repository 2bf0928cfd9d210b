"""Roles for tests of privileges."""

import secrets

from .exports import select


class Role:
    """A role that may log in, and its session."""

    def __init__(self, cluster, admin, attributes=""):
        self.name = "role_" + secrets.token_hex(4)
        self._admin = admin
        select(admin, f"CREATE ROLE {self.name} LOGIN {attributes}")
        self.session = cluster.connect("onboard", user=self.name)

    def may(self, privilege):
        """Grants a privilege."""
        select(self._admin, f"GRANT {privilege} TO {self.name}")

    def may_not(self, privilege):
        """Revokes a privilege."""
        select(self._admin, f"REVOKE {privilege} FROM {self.name}")

    def drop(self):
        self.session.close()
        select(self._admin, f"DROP OWNED BY {self.name} CASCADE")
        select(self._admin, f"DROP ROLE {self.name}")


def may_land(cluster, rgw, name):
    """Grants USAGE on server s3 and makes a mapping, which no log contains."""
    quiet = cluster.connect("onboard")
    select(quiet, "SET log_statement = none;"
           "SET log_min_error_statement = panic")
    select(
        quiet, f"GRANT USAGE ON FOREIGN SERVER s3 TO {name};"
        f"CREATE USER MAPPING FOR {name} SERVER s3"
        " OPTIONS (access_key_id %s, secret_access_key %s)",
        (rgw.access_key, rgw.secret_key),
    )
    quiet.close()
