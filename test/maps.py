#!/usr/bin/python3
"""Checks that the maps of the source name existing files and folders.

    test/maps.py [folder with src/ and docs/ in it]

src/README.md, docs/design.md and CONTRIBUTING.md name files and folders in
backticks.  Each file must exist, under src/ or, as a bare name, anywhere in the
tree; each folder of src/core and src/pg must be named in src/README.md; and the
glossary of CONTRIBUTING.md must be in alphabetical order.  Prints each violation
as file:line and exits 1 if there was one.
"""

import pathlib
import re
import sys

GLOSSARY = "CONTRIBUTING.md"
MAPS = ("src/README.md", "docs/design.md", GLOSSARY)
OUTSIDE = ("curl/curl.h", "postgres.c")  # libcurl's and PostgreSQL's
NAME = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:c|h|py|sh|sql))`")
PLACEHOLDER = re.compile("NAME|--OLD--")
TERM = re.compile(r"^- \*\*(.*?)\*\*")


def exists(root, name, names):
    if "/" not in name:
        return name in names
    return (root / name).exists() or (root / "src" / name).exists()


def check(root):
    names = {
        path.name
        for folder in ("src", "test", "sql", "deploy")
        for path in (root / folder).rglob("*.*")
    }
    for page in MAPS:
        lines = (root / page).read_text().splitlines()
        for number, line in enumerate(lines, 1):
            for name in NAME.findall(line):
                if name in OUTSIDE or PLACEHOLDER.search(name):
                    continue
                if not exists(root, name, names):
                    yield f"{page}:{number}: there is no {name}"
    text = (root / MAPS[0]).read_text()
    for layer in ("core", "pg"):
        for folder in sorted((root / "src" / layer).iterdir()):
            if folder.is_dir() and f"`{layer}/{folder.name}`" not in text:
                yield f"{MAPS[0]}:1: {layer}/{folder.name} is not named"


def check_glossary(root):
    text = (root / GLOSSARY).read_text()
    first = text[: text.index("## Glossary")].count("\n")
    before = ""
    for number, line in enumerate(text.splitlines()[first:], first + 1):
        term = TERM.match(line)
        if term and term[1].lower() < before:
            yield f"{GLOSSARY}:{number}: {term[1]} comes before {before}"
        before = term[1].lower() if term else before


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
    problems = [*check(root), *check_glossary(root)]
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
