"""Errors that "make lint" reports for folders of the source and their maps."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def problems(script, folder):
    result = subprocess.run(
        ["/usr/bin/python3", ROOT / "test" / script, folder],
        capture_output=True, text=True, timeout=60,
    )
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert result.returncode == (1 if lines else 0)
    return lines


@pytest.fixture
def tree(tmp_path):
    """A copy of the sources and their maps."""
    for folder in ("src", "docs", "test", "sql", "deploy"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder,
            ignore=shutil.ignore_patterns("*.o", "*.d", "__pycache__"),
        )
    shutil.copy(ROOT / "CONTRIBUTING.md", tmp_path)
    assert problems("layers.py", tmp_path) == []
    assert problems("maps.py", tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    "path, line, message",
    [
        ("src/pg/base/wait.c", '#include "pg/run/run.h"', "after it"),
        ("src/core/text/uri.c", '#include "core/s3/s3.h"', "after it"),
        ("src/core/text/uri.c", '#include "pg/base/wait.h"', "src/pg"),
        ("src/core/text/uri.c", '#include "uri.h"', "no header but its own"),
        ("src/pg/run/run.c", '#include "pg/run.h"', "FOLDER/NAME"),
        ("src/pg/base/wait.c", "#include <curl/curl.h>", "core/http/http.h"),
        ("src/lambda/base/loop.c", '#include "lambda/run/run.h"', "after it"),
    ],
)
def test_an_include_that_is_not_allowed(tree, path, line, message):
    file = tree / path
    file.write_text(f"{line}\n{file.read_text()}")
    (problem,) = problems("layers.py", tree)
    assert problem.startswith(f"{path}:1: ") and message in problem


def test_a_file_outside_of_the_folders(tree):
    (tree / "src/pg/more.c").write_text("int more;\n")
    (problem,) = problems("layers.py", tree)
    assert problem.startswith("src/pg/more.c:1: stands in none of the folders")


def test_a_folder_of_too_many_files(tree):
    for number in range(17):
        (tree / f"src/pg/run/more_{number}.h").write_text("extern int more;\n")
    (problem,) = problems("layers.py", tree)
    assert problem.startswith("src/pg/run: has 2"), problem


def test_a_map_that_names_a_missing_file(tree):
    page = tree / "docs/design.md"
    page.write_text(page.read_text() + "\nSee `pg/run/gone.c`.\n")
    (problem,) = problems("maps.py", tree)
    assert problem.endswith("there is no pg/run/gone.c")


def test_a_glossary_that_is_out_of_order(tree):
    page = tree / "CONTRIBUTING.md"
    page.write_text(page.read_text() + "- **aardvark**: An animal.\n")
    (problem,) = problems("maps.py", tree)
    assert problem.endswith("aardvark comes before worker")


def test_a_folder_that_no_map_names(tree):
    (tree / "src/core/lake").mkdir()
    (problem,) = problems("maps.py", tree)
    assert "core/lake is not named" in problem
