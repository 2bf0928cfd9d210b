"""Commit subjects that "make lint" accepts or rejects."""

import os
import pathlib
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "commits.sh"
ENVIRONMENT = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
}


class Repository:
    def __init__(self, folder):
        self.folder = folder

    def git(self, *arguments):
        subprocess.run(
            ["git", *arguments], cwd=self.folder, env=ENVIRONMENT, check=True,
            stdout=subprocess.DEVNULL, timeout=60,
        )

    def commit(self, subject):
        self.git("commit", "-q", "--allow-empty", "-m", subject)

    def checked(self):
        """Whether the check passed, and its output."""
        done = subprocess.run(
            ["bash", "test/commits.sh"], cwd=self.folder, env=ENVIRONMENT,
            stdout=subprocess.PIPE, text=True, timeout=60,
        )
        return done.returncode == 0, done.stdout


@pytest.fixture
def repository(tmp_path):
    """A repository with a commit older than the rule, and the commit that added
    the rule."""
    repository = Repository(tmp_path / "a")
    (repository.folder / "test").mkdir(parents=True)
    repository.git("init", "-q", "-b", "main")
    repository.commit("Older than the rule.")
    shutil.copy(SCRIPT, repository.folder / "test")
    repository.git("add", "test")
    repository.commit("The rule")
    return repository


@pytest.mark.parametrize("subject", [
    "core: retry a part whose connection broke",
    "docs, test: process addresses",
    "src/pg: embed",
    'Revert "pg: do this"',
    "pg: name " + "ä" * 63,
])
def test_good(repository, subject):
    repository.commit(subject)
    assert repository.checked() == (True, "")


@pytest.mark.parametrize("subject, reason", [
    ("pg: " + "a" * 69, "73 characters"),
    ("Core: retry", "not of the form"),
    ("core: Retry", "not of the form"),
    ("core retry", "not of the form"),
    ("core: retry.", "period"),
    ("core: a part is sent again", 'says "a"'),
    ("core: retries parts", 'says "retries"'),
    ("core: retrying parts", 'says "retrying"'),
    ("core: retried", 'says "retried"'),
])
def test_bad(repository, subject, reason):
    repository.commit(subject)
    repository.commit("core: follow it")
    passed, output = repository.checked()
    assert not passed
    assert subject in output and reason in output
    assert output.count("\n") == 1


def test_since_the_last_release(repository):
    repository.commit("Bad")
    repository.git("tag", "-a", "-m", "it", "v1.0.0")
    assert repository.checked() == (True, "")
    repository.commit("Worse")
    passed, output = repository.checked()
    assert not passed and "Worse" in output and "Bad" not in output


def test_a_branch_from_before_the_rule(repository):
    repository.git("checkout", "-q", "-b", "other", "HEAD~1")
    repository.commit("Did not know the rule")
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge other", "other")
    assert repository.checked() == (True, "")


def test_a_shallow_clone(repository, tmp_path):
    repository.commit("Bad")
    repository.commit("core: do something")
    clone = Repository(tmp_path / "b")
    clone.folder.mkdir()
    clone.git("clone", "-q", "--depth", "1", f"file://{repository.folder}", ".")
    assert clone.checked() == (True, "")
    clone.commit("Worse")
    passed, output = clone.checked()
    assert not passed and "Worse" in output


def test_no_history(repository):
    shutil.rmtree(repository.folder / ".git")
    passed, output = repository.checked()
    assert passed and "no commit is checked" in output
