"""A build without a required library or program stops, and says what is
missing.

Otherwise make would succeed with a module that cannot be loaded.
"""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILDS = {
    "extension": ["make", "-n", "all"],
    "orchestrator": ["/usr/bin/python3", "deploy/package.py", "build"],
}
# These exclude the flags of a make that runs the tests.
ENVIRONMENT = {
    name: value for name, value in os.environ.items()
    if name not in ("MAKEFLAGS", "MAKELEVEL")
}


@pytest.fixture
def build(tmp_path):
    """Builds into a folder with another environment; returns status and output.
    """

    def run(which, *arguments, **environment):
        command = [*BUILDS[which], *arguments]
        if which == "orchestrator":
            command = [*command, str(tmp_path / "built")]
        done = subprocess.run(
            command, cwd=ROOT, env={**ENVIRONMENT, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    return run


def without_pkg_config(folder):
    """A PATH with all programs of the current one except pkg-config."""
    for where in os.get_exec_path():
        for program in pathlib.Path(where).glob("*"):
            link = folder / program.name
            if program.name != "pkg-config" and not link.exists():
                link.symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("which", BUILDS)
def test_no_pkg_config(build, which, tmp_path):
    status, output = build(which, PATH=without_pkg_config(tmp_path))
    assert status != 0
    assert "pkg-config not found" in output


@pytest.mark.parametrize("which", BUILDS)
def test_no_development_files(build, which):
    status, output = build(which, PKG_CONFIG_LIBDIR="/nonexistent")
    assert status != 0
    assert "pkg-config does not know libcurl" in output


@pytest.mark.parametrize("which", BUILDS)
def test_one_is_missing(build, which, tmp_path):
    found = subprocess.run(
        ["pkg-config", "--variable", "pc_path", "pkg-config"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.strip()
    for folder in found.split(":"):
        for file in pathlib.Path(folder).glob("*.pc"):
            link = tmp_path / file.name
            if file.name != "libisal.pc" and not link.exists():
                link.symlink_to(file)
    status, output = build(which, PKG_CONFIG_LIBDIR=str(tmp_path))
    assert status != 0
    assert "pkg-config does not know libisal:" in output


@pytest.mark.parametrize("which", BUILDS)
def test_old_libcurl(build, which, tmp_path):
    (tmp_path / "libcurl.pc").write_text(
        "Name: libcurl\nDescription: old\nVersion: 7.81.0\n"
    )
    status, output = build(which, PKG_CONFIG_PATH=str(tmp_path))
    assert status != 0
    assert "too old: 7.87 or later" in output


def test_nothing_is_missing(build):
    assert build("extension")[0] == 0


def test_clean_needs_nothing():
    """make clean works where a build would fail."""
    done = subprocess.run(
        ["make", "-n", "clean"], cwd=ROOT,
        env={**ENVIRONMENT, "PKG_CONFIG_LIBDIR": "/nonexistent"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
    )
    assert done.returncode == 0


def test_warnings_are_errors_on_request(build):
    """Warnings are not errors in a user's build, whose compiler may be newer.
    """
    assert not re.search(r"-Werror\s", build("extension", "-B", COPT="")[1])
    assert re.search(r"-Werror\s", build("extension", "-B", COPT="-Werror")[1])


def compiled(output):
    """The sources that make would compile."""
    return set(re.findall(r" -c -o \S+\.o \S*?(src/\S+\.c)$", output, re.M))


def test_a_changed_header_recompiles_its_users(build):
    """A changed header recompiles the sources that include it, by the
    compiler's dependency files of the last build."""
    code = sorted((ROOT / "src").rglob("*.[ch]"))
    code = [path for path in code if "src/lambda" not in str(path)]
    includers = {}
    for path in code:
        for name in re.findall(r'#include ".*?(\w+\.h)"', path.read_text()):
            includers.setdefault(name, set()).add(path)
    name, expected = next(
        (name, paths) for name, paths in sorted(includers.items())
        if name.endswith("_intern.h")
        and all(path.suffix == ".c" for path in paths)
    )
    (header,) = [path for path in code if path.name == name]
    status, output = build("extension", "-W", str(header.relative_to(ROOT)))
    assert status == 0
    assert compiled(output) == {str(path.relative_to(ROOT)) for path in expected}


def test_another_folder(tmp_path):
    """The sources may be in another folder, as PostgreSQL's makefiles allow.

    All sources are compiled (-B), since make would find the objects beside
    them.
    """
    done = subprocess.run(
        ["make", "-n", "-B", "-f", ROOT / "Makefile"], cwd=tmp_path,
        env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True,
        timeout=60,
    )
    sources = {
        str(path.relative_to(ROOT)) for folder in ("core", "pg")
        for path in (ROOT / "src" / folder).rglob("*.c")
    }
    assert compiled(done.stdout) == sources
