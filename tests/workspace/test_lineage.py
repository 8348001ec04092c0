"""Addresses that mean one repository, and the first commits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.workspace.lineage import REMOTE_CHARS, Lineage, normal

SHOP = "forge.example/team/shop"


@pytest.mark.parametrize(
    "address",
    [
        "https://forge.example/team/shop",
        "https://forge.example/team/shop.git",
        "https://forge.example:8443/team/shop.git/",
        "https://someone:secret@forge.example/team/shop?x=1#y",
        "HTTPS://Forge.Example/Team/Shop",
        "ssh://git@forge.example:22/team/shop.git",
        "git://forge.example/team/shop",
        "git@forge.example:team/shop.git",
        "forge.example:/team/shop",
        "someone:secret@forge.example:team/shop",
        " git@forge.example:team/shop.git\n",
    ],
)
def test_all_ways_to_one_repository_are_one(address: str) -> None:
    assert normal(address, "/code") == SHOP


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("../hub/shop.git", "/code/hub/shop"),
        ("/srv/shop/.git", "/srv/shop"),
        ("file:///srv/my%20shop.git/", "/srv/my shop"),
        ("./a:b", "/code/here/a:b"),
        ("[::1]:shop.git", "::1/shop"),
        ("ssh://[::1]:22/shop", "::1/shop"),
        ("https://forge.example/~me/a%20b", "forge.example/~me/a b"),
    ],
)
def test_local_and_unusual_addresses_have_names(address: str, name: str) -> None:
    assert normal(address, "/code/here") == name


@pytest.mark.parametrize(
    "address",
    ["", "  ", "ext::sh -c id", "https://", "https://[bad/x", "a\nb", "a\0b", "x" * (REMOTE_CHARS + 1)],
)
def test_what_is_no_address_has_no_name(address: str) -> None:
    assert normal(address, "/code") == ""


@given(st.text(st.sampled_from("ab:/@[]?#.~% \\"), max_size=30))
def test_no_address_is_too_strange(address: str) -> None:
    normal(address, "/code")


@given(st.from_regex(r"[a-z0-9%.+-]{1,10}", fullmatch=True))
def test_no_password_is_kept(password: str) -> None:
    secret = f"S{password}S".lower()
    assert secret not in normal(f"https://me:{secret}@forge.example/x", "/code")
    assert secret not in normal(f"me:{secret}@forge.example:x", "/code")


def test_first_commits_decide_and_remotes_only_where_those_are_unknown() -> None:
    here = Lineage("a", ("1", "2"))
    assert here.agrees(Lineage("b", ("2", "3")))
    assert not here.agrees(Lineage("a", ("3",)))
    assert here.agrees(Lineage("a"))
    assert not here.agrees(Lineage("b"))
    assert Lineage().agrees(Lineage())


def test_a_relative_address_is_taken_from_the_tree(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert normal("../link/x", str(tmp_path / "tree")) == str(tmp_path / "real" / "x")
