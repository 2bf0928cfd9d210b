"""Roles for tests that are about who may do what."""

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
        """GRANT it."""
        select(self._admin, f"GRANT {privilege} TO {self.name}")

    def may_not(self, privilege):
        """REVOKE it."""
        select(self._admin, f"REVOKE {privilege} FROM {self.name}")

    def drop(self):
        self.session.close()
        select(self._admin, f"DROP OWNED BY {self.name} CASCADE")
        select(self._admin, f"DROP ROLE {self.name}")
