"""The whole output on disk: private, bounded, without secrets."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.policy.secrets.lines import of_environment, redacted
from hermes_acp.workspace.execution import log
from hermes_acp.workspace.execution.base import Launch, Output
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.execution.log import LOG_AGE, SPILL_BYTES, CommandLog
from hermes_acp.workspace.execution.process import LocalProcess
from hermes_acp.workspace.execution.shell_state import ShellState

TOKEN = "ghp_" + "9fK2mQx7Lw4Zt8Rb1Vn6Yc3Hd5Js0Pg4Ua7E"


@pytest_asyncio.fixture
async def execution(tmp_path):
    local = LocalExecution({"PATH": os.defpath}, tmp_path / "state" / "commands")
    yield local
    await local.aclose()


async def run(execution: LocalExecution, command: str, state: ShellState | None = None) -> LocalProcess:
    process = await execution.start(
        Permit(Effect("execute", "", command=command)), Launch(command, "/", shell=state)
    )
    await process.wait()
    await process.output()
    return process


async def written(command_log: CommandLog) -> bytes:
    done = asyncio.Event()
    command_log.close(done.set)
    async with asyncio.timeout(30):
        await done.wait()
    return await asyncio.to_thread(Path(command_log.path).read_bytes) if command_log.path else b""


async def test_a_long_output_is_whole_in_a_private_file(execution, tmp_path):
    process = await run(execution, "seq 1 300000")
    text = await asyncio.to_thread(Path(process.log).read_text)
    assert text == "".join(f"{number}\n" for number in range(1, 300_001))
    assert (Path(process.log).stat().st_mode & 0o777, process.log_problem) == (0o600, "")
    assert (tmp_path / "state" / "commands").stat().st_mode & 0o777 == 0o700


async def test_a_short_output_is_in_no_file(execution, tmp_path):
    assert (await run(execution, "seq 1 1000")).log is None
    assert not (tmp_path / "state").exists()


async def test_the_log_of_a_command_that_is_killed_holds_what_it_printed(execution):
    command = "seq 1 10000; echo end; sleep 300"
    process = await execution.start(Permit(Effect("execute", "", command=command)), Launch(command, "/"))
    async for text in process.chunks():
        if text.endswith("end\n"):
            break
    await process.kill()
    await process.output()
    assert (await asyncio.to_thread(Path(process.log).read_text)).endswith("10000\nend\n")


async def test_secrets_stay_out_of_the_log(execution):
    state = ShellState("/", {"MY_API_KEY": "swordfish-in-the-shell"})
    process = await run(execution, f"seq 1 5000; echo {TOKEN}; echo $MY_API_KEY", state)
    lines = (await asyncio.to_thread(Path(process.log).read_text)).splitlines()
    assert lines[-2:] == ["[redacted: github token]", "[redacted: environment]"]


async def test_a_folder_that_cannot_be_written_costs_only_the_log(tmp_path):
    (tmp_path / "file").touch()
    local = LocalExecution({"PATH": os.defpath}, tmp_path / "file")
    process = await run(local, "seq 1 300000")
    assert "could not be written" in process.log_problem
    assert isinstance(await process.output(), Output)
    await local.aclose()


async def test_old_logs_go_when_a_new_one_is_made(execution, tmp_path):
    folder = tmp_path / "state" / "commands"
    folder.mkdir(parents=True)
    for name, age in (("old.log", LOG_AGE + 60), ("new.log", 60), ("other.txt", LOG_AGE + 60)):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - age,) * 2)
    process = await run(execution, "seq 1 300000")
    names = {path.name for path in folder.iterdir()}
    assert names == {"new.log", "other.txt", Path(process.log).name}


@pytest.fixture
def workers():
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def test_the_oldest_logs_go_when_all_are_too_large(workers, tmp_path):
    for number in range(3):
        path = tmp_path / f"{number}.log"
        with path.open("wb") as file:
            file.truncate(log.FOLDER_BYTES // 2)
        os.utime(path, (time.time() - 60 + number,) * 2)
    command_log = CommandLog(tmp_path / "new.log", workers)
    command_log.add(b"x" * (SPILL_BYTES + 1), lambda: None)
    await written(command_log)
    assert {path.name for path in tmp_path.iterdir()} == {"1.log", "2.log", "new.log"}


async def test_a_log_that_falls_behind_says_so_and_when_it_is_over(workers, tmp_path):
    command_log, relieved = CommandLog(tmp_path / "a.log", workers), asyncio.Event()
    data = b"line\n" * 20_000
    for _ in range(60):
        command_log.add(data, relieved.set)
    assert command_log.full
    async with asyncio.timeout(30):
        await relieved.wait()
    assert await written(command_log) == data * 60
    assert not command_log.full


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_secret_that_comes_in_pieces_is_hidden(workers, tmp_path, size):
    key = "-----BEGIN PRIVATE KEY-----\nAAAA\nBBBB\n-----END PRIVATE KEY-----"
    text = f"{'x' * SPILL_BYTES}\n{TOKEN}\n{key}\nend".encode()
    command_log = CommandLog(tmp_path / "a.log", workers)
    for start in range(0, len(text), size):
        command_log.add(text[start : start + size], lambda: None)
        if size > 1:
            await command_log.settled()
    assert (await written(command_log)).splitlines()[1:] == [
        b"[redacted: github token]",
        b"[redacted: private key]",
        b"end",
    ]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"remote: https://{TOKEN}@example.org", "remote: https://[redacted: github token]@example.org"),
        ("DB_PASSWORD=q7Tz-m2Rw", "DB_PASSWORD=[redacted: password]"),
        ('{"access_token": "x9Kq2Lm7Rt4Wz8"}', '{"access_token": "[redacted: secret]"}'),
        ("postgres://app:q7Tz-m2Rw@db/x", "postgres://app:[redacted: password]@db/x"),
        ("id AKIAZ7QX2M4NR8TWK3LB end", "id [redacted: aws access key] end"),
        ("the secret of a good build", "the secret of a good build"),
        ("tokens: 12 of 40", "tokens: 12 of 40"),
        ("dep@1.2.3: sha512-q7Tzm2RwX9Kq2Lm7Rt4Wz8Ab1Cd3", "dep@1.2.3: sha512-q7Tzm2RwX9Kq2Lm7Rt4Wz8Ab1Cd3"),
        (
            "caf\u00e9 \ud55c\uad6d\uc5b4: password: caf\u00e9-7x9Q",
            "caf\u00e9 \ud55c\uad6d\uc5b4: password: [redacted: password]",
        ),
    ],
)
def test_secrets_are_replaced_in_the_lines_of_an_output(text, hidden):
    assert redacted(f"before\n{text}\nafter".encode()).decode() == f"before\n{hidden}\nafter"


def test_bytes_that_are_no_text_stay_as_they_are():
    data = bytes(range(256)) * 300
    assert redacted(data) == data


def test_the_secrets_of_an_environment_are_known_by_their_names():
    environment = {"A_TOKEN": "long enough", "B_TOKEN": "short", "PATH": "/usr/bin:/bin"}
    assert of_environment(environment) == ("long enough",)
    assert redacted(b"it is long enough", of_environment(environment)) == b"it is [redacted: environment]"
