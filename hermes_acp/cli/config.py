"""`hermes-editor config`: the settings in force, where each comes from, and our folders."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias, cast

from hermes_acp import config
from hermes_acp.cli.command import SUCCESS, Subparsers, table
from hermes_acp.cli.masked import masked, without_password
from hermes_acp.llm.providers import PROVIDERS
from hermes_acp.records import record

Origin: TypeAlias = Literal["environment", "config.toml", "default"]


@record
class Setting:
    """A setting with its value as text."""

    name: str
    value: str
    origin: Origin


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("config", help="show the settings in force")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Print settings and folders. Raises `config.ConfigError`."""
    paths = config.paths(env)
    settings = config.settings(env, paths.config_file)
    values = _values(settings, env, paths.config_file)
    keys = _keys(settings, env)
    folders = {name: str(folder) for name, folder in asdict(paths).items()}
    if args.json:
        found = {
            "settings": [asdict(item) for item in values],
            "keys": [asdict(item) for item in keys],
            "folders": folders,
        }
        print(json.dumps(found, indent=2))
        return SUCCESS
    print(table([("SETTING", "VALUE", "FROM"), *((item.name, item.value, item.origin) for item in values)]))
    if keys:
        print("\n" + table([("KEY", "VALUE", "FROM"), *((key.name, key.value, key.origin) for key in keys)]))
    print("\n" + table([("FOLDER", "PATH"), *folders.items()]))
    return SUCCESS


def _values(settings: config.Settings, env: Mapping[str, str], file: Path) -> list[Setting]:
    in_file = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    found: list[Setting] = []
    services = ", ".join(f"{item.label} ({item.url})" for item in settings.memory_services)
    values = settings.model_dump(exclude={"keys"}) | {"memory_services": services}
    for name, value in values.items():
        from_env = config.PREFIX + name.upper() in env and name not in config.FILE_ONLY
        origin: Origin = "environment" if from_env else "config.toml" if name in in_file else "default"
        shown = without_password(settings.model_base_url) if name == "model_base_url" else _text(value)
        found.append(Setting(name, shown or "-", origin))
    return found


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, cast("tuple[object, ...]", value)))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _keys(settings: config.Settings, env: Mapping[str, str]) -> list[Setting]:
    """Keys of the file, and of the environment those of the providers that we know."""
    known = (name for provider in PROVIDERS for name in provider.key_variables)
    found: list[Setting] = []
    for name in dict.fromkeys((*settings.keys, *known)):
        if key := config.provider_key(env, settings, name).strip():
            found.append(Setting(name, masked(key), "environment" if env.get(name) else "config.toml"))
    return found
