"""Network namespaces: two with a cable between them that can be cut, or one
that has only its own addresses.

PostgreSQL runs in one of them, and reaches servers on the test's loopback at an
address of the other one.  Clients still reach PostgreSQL by its Unix socket.

    with Network() as network, Cluster(within=network.within) as cluster:
        endpoint = network.lead_to(rgw.endpoint)
        ...
        network.cut("far")
        network.mend("far")

    with Sandbox("169.254.100.1") as sandbox:
        listener = sandbox.listen("169.254.100.1", 9001)
        endpoint = sandbox.lead_to(rgw.endpoint)
        sandbox.within("curl", endpoint)

The namespaces end with this program, in whatever way it ends.
"""

import os
import socket
import subprocess
import threading
from urllib.parse import urlsplit

from . import process

# The range for tests of networks (RFC 2544), which no other program uses.
_ADDRESS = {"near": "198.18.0.1", "far": "198.18.0.2"}
_LISTEN = """
import socket
listener = socket.create_server((%r, %d), backlog=128)
socket.send_fds(socket.socket(fileno=0), [b"1"], [listener.fileno()])
"""


def _as_root(*command):
    return [*([] if os.getuid() == 0 else ["sudo", "-n", "-E"]), *command]


class _Namespace:
    """A namespace that lives as long as its process, which waits for our end.
    """

    def __init__(self):
        self._holder = subprocess.Popen(
            _as_root("unshare", "--net", "sh", "-c", "echo $$; exec cat"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )
        self.pid = int(self._holder.stdout.readline())

    def command(self, *command):
        """A command line that runs a command as root in this namespace."""
        return _as_root("nsenter", f"--net=/proc/{self.pid}/ns/net", *command)

    def run(self, *command):
        return process.run(self.command(*command))

    def listen(self, address, port=0):
        """A socket, which belongs to the namespace in which it was made."""
        mine, its = socket.socketpair()
        with mine, its:
            program = ["/usr/bin/python3", "-c", _LISTEN % (address, port)]
            process.run(self.command(*program), stdin=its)
            _, (listener, *_), _, _ = socket.recv_fds(mine, 1, 1)
        return socket.socket(fileno=listener)

    def close(self):
        self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()


class _Relays:
    """Relays that lead out of a namespace."""

    def __init__(self):
        self._relays = []

    def _lead_out(self, space, address, endpoint):
        parts = urlsplit(endpoint)
        relay = _Relay(space.listen(address), (parts.hostname, parts.port))
        self._relays.append(relay)
        return f"{parts.scheme}://{address}:{relay.port}"

    def _close_relays(self):
        for relay in self._relays:
            relay.close()


class Network(_Relays):
    def __init__(self):
        super().__init__()
        self._spaces = {}

    def __enter__(self):
        self._spaces = {end: _Namespace() for end in _ADDRESS}
        self._spaces["near"].run(
            "ip", "link", "add", "near", "type", "veth",
            "peer", "name", "far", "netns", str(self._spaces["far"].pid),
        )
        for end, space in self._spaces.items():
            space.run("ip", "link", "set", "lo", "up")
            space.run("ip", "address", "add", _ADDRESS[end] + "/30",
                      "dev", end)
            self.mend(end)
        return self

    def __exit__(self, *exception):
        self._close_relays()
        for space in self._spaces.values():
            space.close()

    def within(self, *command):
        """A command line that runs a command as root at the near end of the
        cable."""
        return self._spaces["near"].command(*command)

    def cut(self, end):
        """far: packets are lost.  near: there is no route, either."""
        self._spaces[end].run("ip", "link", "set", end, "down")

    def mend(self, end):
        self._spaces[end].run("ip", "link", "set", end, "up")

    def lead_to(self, endpoint):
        """The same endpoint at an address of the far end of the cable."""
        return self._lead_out(self._spaces["far"], _ADDRESS["far"], endpoint)


class Sandbox(_Relays):
    """One namespace, whose loopback also has the given addresses."""

    def __init__(self, *addresses):
        super().__init__()
        self._addresses = addresses

    def __enter__(self):
        self._space = _Namespace()
        self._space.run("ip", "link", "set", "lo", "up")
        for address in self._addresses:
            self._space.run("ip", "address", "add", address + "/32",
                            "dev", "lo")
        return self

    def __exit__(self, *exception):
        self._close_relays()
        self._space.close()

    def within(self, *command):
        """A command line that runs a command as root in the namespace."""
        return self._space.command(*command)

    def listen(self, address, port):
        return self._space.listen(address, port)

    def lead_to(self, endpoint):
        """Our loopback's endpoint, at one of the sandbox's addresses."""
        return self._lead_out(self._space, "127.0.0.1", endpoint)


class _Relay:
    """Copies bytes in both directions."""

    def __init__(self, listener, target):
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._target = target
        self._open = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with self._lock:
            for sock in [self._listener, *self._open]:
                _shut_down(sock, socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            with self._lock:
                self._open += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(
                    target=self._pass, args=pair, daemon=True
                ).start()

    @staticmethod
    def _pass(source, target):
        try:
            while data := source.recv(256 * 1024):
                target.sendall(data)
        except OSError:
            _shut_down(source, socket.SHUT_RDWR)
        _shut_down(target, socket.SHUT_WR)


def _shut_down(sock, how):
    try:
        sock.shutdown(how)
    except OSError:
        pass  # it is already shut down
