"""Each example in README.md and docs/, pasted as a reader would.

The README is pasted into the environment that "make demo KEEP=1" leaves, block
by block in the printed order, and each page into the environment that the
README has left: sql into one session of psql, sh into a shell, python into a
program.  No block may fail or raise a WARNING.  A block that cannot run there
names its requirement in its first line:

    -- needs AWS            # needs pandas

NEEDS lists the allowed requirements, and whether they are available here.
"""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test"))

import demo  # noqa: E402
from lib import process  # noqa: E402
from lib.postgres import Cluster  # noqa: E402
from lib.rgw import Rgw  # noqa: E402

# An interpreter with the libraries of the examples, if this one lacks them.
PYTHON = os.environ.get("ONBOARD_DOCS_PYTHON", sys.executable)


def has_module(name):
    if PYTHON == sys.executable:
        return importlib.util.find_spec(name) is not None
    return subprocess.run([PYTHON, "-c", f"import {name}"],
                          capture_output=True).returncode == 0


NEEDS = {
    "AWS": lambda: False,
    "root": lambda: False,
    "pg_cron": lambda: False,  # test_recipes.py runs these
    "another server": lambda: False,  # and these
    "another terminal": lambda: False,
    "the aws command": lambda: shutil.which("aws") is not None,
    "pandas": lambda: has_module("pandas"),
    "duckdb": lambda: has_module("duckdb"),
}

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("docs/*.md"), ROOT / "deploy/README.md"]
)
# Languages of blocks that are not run; "json" must be valid JSON.
TEXTS = {"text", "ini", "json"}
COMMAND = re.compile(
    r"\s*(\$|psql|make|aws|curl|pg_\w+|sh|bash|ONBOARD_\w+=|\\\w+|SELECT|INSERT"
    r"|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT|REVOKE|SET|RESET|BEGIN|LISTEN)\b"
)


class Block:
    def __init__(self, page, line, language, text):
        self.where = f"{page}:{line}"
        self.language = language
        self.text = text
        need = re.match(r"(?:--|#) needs (.+)\n", text)
        self.need = need and need[1]


def blocks_of(page):
    """The fenced blocks, including those in lists; anything else that looks
    like a command is an error, since it would not be run."""
    found = []
    fence = None
    for number, line in enumerate(
        (ROOT / page).read_text().splitlines(keepends=True), 1
    ):
        edge = re.match(r"( *)```(\w*)\n?$", line)
        if edge and fence is None:
            fence = (number, len(edge[1]), edge[2])
            text = []
        elif edge:
            found.append(Block(page, fence[0], fence[2], "".join(text)))
            fence = None
        elif fence is not None:
            text.append(line[fence[1]:] if line.strip() else "\n")
        else:
            assert not re.match("    " + COMMAND.pattern, line), (
                f"{page}:{number}: a command in a block that is not fenced"
            )
    assert fence is None, f"{page}: a fence that is not closed"
    return found


class Session:
    """A session of psql into which blocks are pasted."""

    def __init__(self, env, folder):
        self._output = queue.SimpleQueue()
        self._psql = subprocess.Popen(
            ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-P", "pager=off"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=env, cwd=folder,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._psql.stdout:
            self._output.put(line)
        self._output.put(None)

    def paste(self, block):
        """Pastes a block; returns psql's output."""
        last = re.sub(r"\s*(--.*)?\n", "\n", block.text).rstrip()
        assert re.search(r";$|\\\w[^\n]*$", last), "no ; at its end"
        # The output of \warn is not buffered, and comes after that of all
        # previous commands.
        self._psql.stdin.write(block.text + "\n\\warn pasted\n")
        with contextlib.suppress(BrokenPipeError):
            self._psql.stdin.flush()
        output = []
        while True:
            line = self._output.get(timeout=120)
            if line == "pasted\n":
                return "".join(output)
            assert line is not None, "psql ended:\n" + "".join(output)
            output.append(line)

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self._psql.stdin.close()
        self._psql.wait(60)


class Reader:
    """Reads one page, and runs its blocks."""

    def __init__(self, env, folder):
        self._env = env
        self._folder = folder
        self._psql = None
        self._python = ""
        self.ran = 0
        self.left_out = []

    def read(self, page):
        try:
            for block in blocks_of(page):
                try:
                    self._do(block)
                except (AssertionError, ValueError, queue.Empty) as error:
                    pytest.fail(f"{block.where}: {error!r}\n{block.text}\n"
                                f"{error}", pytrace=False)
        finally:
            if self._psql:
                self._psql.close()

    def _do(self, block):
        if block.need is not None:
            assert block.need in NEEDS, f"{block.need} is not in NEEDS"
            if not NEEDS[block.need]():
                self.left_out.append(block.where)
                return
        if block.language == "json":
            json.loads(block.text)
        if block.language in TEXTS:
            return
        run = {"sql": self._sql, "sh": self._sh, "python": self._run_python}
        assert block.language in run, (
            f"the language is {block.language or 'not given'}"
        )
        output = run[block.language](block)
        assert "WARNING:" not in output, output
        self.ran += 1

    def _sql(self, block):
        if self._psql is None:
            self._psql = Session(self._env, self._folder)
        return self._psql.paste(block)

    def _sh(self, block):
        return self._program(["bash", "-e", "-o", "pipefail", "-c", block.text])

    def _run_python(self, block):
        """Runs the code with the names that earlier blocks have defined."""
        self._python += block.text
        return self._program([PYTHON, "-c", self._python])

    def _program(self, command):
        done = subprocess.run(
            command, env=self._env, cwd=self._folder, text=True, timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, f"{done.returncode}:\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="module")
def kept(canaries):
    """The state after "make demo KEEP=1", but smaller: cluster and environment.
    """
    cluster = Cluster(settings={"max_wal_size": "4GB"})
    rgw = Rgw()
    canaries.add(rgw.secret_key)
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            demo.demonstrate(cluster, rgw, scale=1)
        script = demo.write_environment(cluster, rgw)
        # The environment has the shell commands of the demo's terminal.
        shell = dict(process.clean_env(), PATH=os.environ["PATH"])
        lines = process.run(
            ["bash", "-c", '. "$0" && env -0', script], env=shell
        )
        env = dict(
            line.split("=", 1) for line in lines.split("\0") if "=" in line
        )
        yield cluster, env
    finally:
        cluster.close()
        rgw.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The reader's working directory: a tree with the examples."""
    path = tmp_path_factory.mktemp("reader")
    (path / "examples").symlink_to(ROOT / "examples")
    return path


def database(cluster, sql):
    cluster.psql(sql.format(name=demo.DATABASE))


@pytest.fixture(scope="module")
def readme(kept, folder):
    """Runs the README once; each page begins with the state after it."""
    cluster, env = kept
    reader = Reader(env, folder)
    reader.read("README.md")
    database(cluster, "ALTER DATABASE {name} RENAME TO read")
    return reader


@pytest.fixture
def begun(kept, readme):
    cluster, env = kept
    database(cluster, "CREATE DATABASE {name} TEMPLATE read")
    yield env
    database(cluster, "DROP DATABASE {name} WITH (FORCE)")
    for role in cluster.psql(
        "SELECT quote_ident(rolname) FROM pg_roles"
        " WHERE rolname !~ '^(pg_|postgres$)'"
    ).split():
        cluster.psql(f"DROP OWNED BY {role} CASCADE", "read")
        cluster.psql(f"DROP OWNED BY {role} CASCADE")
        cluster.psql(f"DROP ROLE {role}")


def test_readme(readme):
    assert readme.ran >= 10


@pytest.mark.parametrize("page", PAGES)
def test_page(begun, folder, show, page):
    reader = Reader(begun, folder)
    reader.read(page)
    if reader.left_out:
        show(f"not run: {' '.join(reader.left_out)}")


def anchors(page):
    """The anchors that GitHub makes from headings."""
    found = []
    for title in re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.M):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        again = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one) is not None
                    for one in found)
        found.append(f"{slug}-{again}" if again else slug)
    return found


@pytest.mark.parametrize("page", [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "src/README.md",
    "test/README.md", *PAGES,
])
def test_links(page):
    """Each link leads to an existing file, and to an existing heading."""
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match("https?:", link):
            continue
        file, _, anchor = link.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


@pytest.mark.parametrize("fault, text", [
    ("not in NEEDS", "```sql\n-- needs rain\nSELECT 1;\n```\n"),
    ("psql ended", "```sql\nSELECT 1 / 0;\n```\n"),
    ("WARNING", "```sql\nDO $$ BEGIN RAISE WARNING 'x'; END $$;\n```\n"),
    ("no ; at its end", "```sql\nSELECT 1\n```\n"),
    ("1:", "```sh\nfalse | true\n```\n"),
    ("ValueError", "```python\nraise ValueError\n```\n"),
    ("JSON", "```json\n{'a': 1}\n```\n"),
    ("the language is not given", "```\nSELECT 1;\n```\n"),
    ("the language is perl", "```perl\n1;\n```\n"),
    ("not fenced", "text\n\n    SELECT 1;\n"),
    ("not closed", "```sql\nSELECT 1;\n"),
])
def test_a_page_that_is_wrong(
    kept, readme, folder, monkeypatch, tmp_path, fault, text
):
    """Each kind of error in a page is detected.  These examples change nothing,
    so they need no database of their own."""
    (tmp_path / "page.md").write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    with pytest.raises((pytest.fail.Exception, AssertionError)) as failure:
        Reader(dict(kept[1], PGDATABASE="read"), folder).read("page.md")
    assert fault in str(failure.value)
