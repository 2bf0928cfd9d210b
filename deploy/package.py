#!/usr/bin/python3
"""Builds the orchestrator, and packs it for AWS Lambda.

    deploy/package.py build FOLDER      FOLDER/bootstrap, for this machine
    deploy/package.py zip FOLDER        FOLDER/onboard-lambda.zip

The package brings all that it needs, the C library and its loader included:
it runs wherever Lambda unpacks it, /var/task, whatever the system there has.
"""

import os
import pathlib
import stat
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TASK = "/var/task"
CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
)
PACKAGES = ("libcurl", "libcrypto", "expat", "zlib", "libisal", "jansson",
            "libpq")
# Files and folders of core that the orchestrator does not use, since it never
# sees a row.
NOT_USED = ("upload", "part")
NOT_USED_FOLDERS = ("parquet", "sink")
FLAGS = (
    "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra",
    "-Wno-unused-parameter", "-Wno-sign-compare", "-fstack-protector-strong",
    "-D_FORTIFY_SOURCE=2", "-fPIE", f"-I{ROOT}/src",
)


def run(*command):
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def pkg_config(option):
    return run("pkg-config", option, *PACKAGES).split()


def check_packages():
    """Ends the program, with the reason, if something is not installed."""
    try:
        known = [
            subprocess.run(["pkg-config", "--exists", package]).returncode == 0
            for package in (*PACKAGES, "libcurl >= 7.87")
        ]
    except FileNotFoundError:
        sys.exit("pkg-config not found: install it")
    lacking = [name for name, there in zip(PACKAGES, known) if not there]
    if lacking:
        sys.exit(
            f"pkg-config does not know {' '.join(lacking)}: install the"
            " development files (Debian: make lambda does)"
        )
    if not known[-1]:
        sys.exit("libcurl is too old: 7.87 or later is needed")


def sources():
    core = [
        path
        for path in sorted((ROOT / "src" / "core").rglob("*.c"))
        if not path.name.startswith(NOT_USED)
        and path.parent.name not in NOT_USED_FOLDERS
    ]
    return core + sorted((ROOT / "src" / "lambda").rglob("*.c"))


def compile_all(folder):
    """The objects; one that is newer than its source and all headers stays."""
    headers = [
        path.stat().st_mtime
        for where in ("core", "lambda")
        for path in (ROOT / "src" / where).rglob("*.h")
    ]
    # COPT is PostgreSQL's variable for it, and .ci/run's.
    extra = [
        flag for name in ("COPT", "ONBOARD_LAMBDA_CFLAGS")
        for flag in os.environ.get(name, "").split()
    ]
    cflags = [*FLAGS, *pkg_config("--cflags"), *extra]
    objects = []
    compilers = []
    for source in sources():
        name = source.relative_to(ROOT / "src").with_suffix(".o")
        target = folder / "objects" / name
        objects.append(str(target))
        newest = max(source.stat().st_mtime, *headers)
        if target.exists() and target.stat().st_mtime > newest:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        compilers.append(
            subprocess.Popen(["cc", *cflags, "-c", source, "-o", target])
        )
        if len(compilers) >= (os.cpu_count() or 1):
            finish(compilers.pop(0))
    for compiler in compilers:
        finish(compiler)
    return objects


def finish(compiler):
    if compiler.wait() != 0:
        sys.exit(f"deploy/package.py: failed: {compiler.args[-3]}")


def link(objects, target, *options):
    extra = os.environ.get("ONBOARD_LAMBDA_CFLAGS", "").split()
    run(
        "cc", "-pie", "-Wl,-z,relro,-z,now", *extra, *options, *objects, "-o",
        str(target), *pkg_config("--libs"),
    )


def libraries(program):
    """What it loads: name to path, the loader too."""
    found = {}
    for line in run("ldd", str(program)).splitlines():
        words = line.split()
        path = next((word for word in words if word.startswith("/")), None)
        if path:
            found[os.path.basename(words[0])] = path
    return found


def build(folder):
    """Makes the program; returns its objects."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = compile_all(folder)
    link(objects, folder / "bootstrap")
    return objects


def add(package, path, name, mode):
    """The same bytes each time: no times, no owners."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = (stat.S_IFREG | mode) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    package.writestr(info, pathlib.Path(path).read_bytes())


def make_zip(folder):
    objects = build(folder)
    found = libraries(folder / "bootstrap")
    (loader,) = [name for name in found if name.startswith("ld-linux")]
    program = folder / "package" / "bootstrap"
    program.parent.mkdir(exist_ok=True)
    link(
        objects, program, f"-Wl,--dynamic-linker={TASK}/lib/{loader}",
        "-Wl,--disable-new-dtags", f"-Wl,-rpath,{TASK}/lib",
    )
    run("strip", str(program))
    target = folder / "onboard-lambda.zip"
    (ca_file,) = [path for path in CA_FILES if os.path.exists(path)][:1]
    with zipfile.ZipFile(target, "w") as package:
        add(package, program, "bootstrap", 0o755)
        add(package, ca_file, "ca.pem", 0o644)
        for name, path in sorted(found.items()):
            add(package, path, f"lib/{name}", 0o755)
        config = ROOT / "examples" / "table_sql.json"
        add(package, config, "config/table_sql.json", 0o644)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB,"
          f" {len(found)} libraries")


def main():
    what, folder = sys.argv[1:]
    folder = pathlib.Path(folder).resolve()
    check_packages()
    {"build": build, "zip": make_zip}[what](folder)


if __name__ == "__main__":
    main()
