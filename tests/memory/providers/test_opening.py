"""Which services sessions get, and who shares them."""

from __future__ import annotations

import subprocess
import sys

from hermes_acp.config import MemoryService
from hermes_acp.memory.providers.opening import SERVICES_BOUND, Services


def service(port: int, name: str = "") -> MemoryService:
    return MemoryService(kind="hindsight", name=name, url=f"http://127.0.0.1:{port}/")


async def test_sessions_with_the_same_settings_and_key_share_a_service() -> None:
    services = Services()
    first = await services.of((service(1), service(2, "work")), {"HINDSIGHT_API_KEY": "a"})
    assert [(item.name, item.host) for item in first] == [("hindsight", "127.0.0.1"), ("work", "127.0.0.1")]
    assert [tool.name for tool in first[0].tools] == ["recall"]
    again = await services.of((service(1),), {"HINDSIGHT_API_KEY": "a"})
    other = await services.of((service(1),), {"HINDSIGHT_API_KEY": "b"})
    assert (again[0] is first[0], other[0] is first[0]) == (True, False)
    await services.aclose()


async def test_no_more_services_are_connected_than_the_bound_says() -> None:
    services = Services()
    [first] = await services.of((service(0),), {})
    for port in range(1, SERVICES_BOUND):
        await services.of((service(port),), {})
    assert (await services.of((service(0),), {}))[0] is first
    await services.of((service(9_999),), {})
    assert (await services.of((service(0),), {}))[0] is first
    for port in range(1, SERVICES_BOUND + 1):
        await services.of((service(port),), {})
    assert (await services.of((service(0),), {}))[0] is not first


def test_without_the_client_a_service_says_how_to_install_it() -> None:
    program = (
        "import asyncio, sys\n"
        "sys.modules['hindsight_client'] = None\n"
        "from hermes_acp.config import MemoryService\n"
        "from hermes_acp.memory.providers.base import ProviderError\n"
        "from hermes_acp.memory.providers.opening import Services\n"
        "async def main():\n"
        "    [service] = await Services().of((MemoryService(kind='hindsight', url='http://a'),), {})\n"
        "    try:\n"
        "        await service.warm()\n"
        "    except ProviderError as error:\n"
        "        print(error)\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "`pip install 'hermes-editor[hindsight]'`" in run.stdout
