"""A repository with one commit, and a session that works in it."""

from pathlib import Path

import pytest

from tests.workspace.checkpoints.trees import Session, copied, new_repository


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_repository(tmp_path_factory.mktemp("template") / "repo")


@pytest.fixture
def repo(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "repo")


@pytest.fixture
def session(repo: Path, tmp_path: Path) -> Session:
    return Session(repo, tmp_path / "data")
