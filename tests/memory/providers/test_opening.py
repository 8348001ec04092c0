"""Which services sessions get, and who shares them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hermes_acp.config import MemoryService, Settings
from hermes_acp.memory.providers.base import ProviderError
from hermes_acp.memory.providers.opening import SERVICES_BOUND, Services


def service(port: int, name: str = "") -> MemoryService:
    return MemoryService(kind="hindsight", name=name, url=f"http://127.0.0.1:{port}/")


def settings(*services: MemoryService, key: str = "") -> Settings:
    return Settings(memory_services=services, keys={"HINDSIGHT_API_KEY": key}, allow_real_models=False)


async def test_sessions_with_the_same_settings_and_key_share_a_service() -> None:
    services = Services()
    first = await services.of(settings(service(1), service(2, "work"), key="a"))
    assert [(item.name, item.host) for item in first] == [("hindsight", "127.0.0.1"), ("work", "127.0.0.1")]
    assert [tool.name for tool in first[0].tools] == ["recall"]
    again = await services.of(settings(service(1), key="a"))
    other = await services.of(settings(service(1), key="b"))
    assert (again[0] is first[0], other[0] is first[0]) == (True, False)
    await services.aclose()


async def test_no_more_services_are_connected_than_the_bound_says() -> None:
    services = Services()
    [first] = await services.of(settings(service(0)))
    for port in range(1, SERVICES_BOUND):
        await services.of(settings(service(port)))
    assert (await services.of(settings(service(0))))[0] is first
    await services.of(settings(service(9_999)))
    assert (await services.of(settings(service(0))))[0] is first
    for port in range(1, SERVICES_BOUND + 1):
        await services.of(settings(service(port)))
    assert (await services.of(settings(service(0))))[0] is not first


@pytest.mark.programs
def test_without_the_client_a_service_says_how_to_install_it() -> None:
    program = (
        "import asyncio, sys\n"
        "sys.modules['hindsight_client'] = None\n"
        "from hermes_acp.config import MemoryService, Settings\n"
        "from hermes_acp.memory.providers.base import ProviderError\n"
        "from hermes_acp.memory.providers.opening import Services\n"
        "async def main():\n"
        "    named = MemoryService(kind='hindsight', url='http://a')\n"
        "    [service] = await Services().of(Settings(memory_services=(named,)))\n"
        "    try:\n"
        "        await service.warm()\n"
        "    except ProviderError as error:\n"
        "        print(error)\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "`pip install 'hermes-editor[hindsight]'`" in run.stdout


async def test_where_real_models_are_switched_off_no_service_elsewhere_is_told_anything() -> None:
    elsewhere = MemoryService(kind="hindsight", url="https://memory.example.org")
    [refused] = await Services().of(Settings(memory_services=(elsewhere,), allow_real_models=False))
    with pytest.raises(ProviderError) as error:
        await refused.warm()
    assert str(error.value) == (
        "memory.example.org is not this machine, and services elsewhere are switched off together with real "
        "models (HERMES_EDITOR_ALLOW_REAL_MODELS): name one on 127.0.0.1, or set allow_real_models to true"
    )


@pytest.mark.parametrize("url", ["https://[::1", "https://host:port", "https://host:99999"])
def test_a_service_without_a_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        MemoryService(kind="hindsight", url=url)
