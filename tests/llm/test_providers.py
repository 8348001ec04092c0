import pytest

from hermes_acp.llm import providers
from hermes_acp.llm.providers import is_http, is_loopback, own_base_url, proxy_for

PROXY = {"https_proxy": "http://proxy:3128", "NO_PROXY": "intern.example, .corp,*.lan"}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://api.openai.com/v1", "http://proxy:3128"),
        ("http://api.openai.com/v1", None),
        ("https://127.0.0.1/v1", None),
        ("https://localhost/v1", None),
        ("https://intern.example/v1", None),
        ("https://a.intern.example/v1", None),
        ("https://notintern.example/v1", "http://proxy:3128"),
        ("https://a.corp/v1", None),
        ("https://a.lan/v1", None),
    ],
)
def test_a_proxy_is_used_where_the_environment_says_so(url: str, proxy: str | None) -> None:
    assert proxy_for(url, PROXY) == proxy


def test_proxies_of_other_kinds_and_exceptions_for_all() -> None:
    url = "https://api.openai.com/v1"
    assert proxy_for(url, {"ALL_PROXY": "http://p:1"}) == "http://p:1"
    assert proxy_for(url, {"ALL_PROXY": "socks5://p:1"}) is None
    assert proxy_for(url, PROXY | {"no_proxy": "*"}) is None
    assert proxy_for(url, {}) is None


def test_urls_are_judged_without_surprises() -> None:
    assert [
        is_loopback(url) for url in ("http://[::1]:1/v1", "http://127.0.0.1.evil.org", "", "http://[")
    ] == [
        True,
        False,
        False,
        False,
    ]
    assert [is_http(url) for url in ("https://a", "http:///x", "a.b/c", "http://[", "file:///x")] == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_provider_may_have_moved() -> None:
    ollama, openai, groq = providers.find("ollama_chat"), providers.find("openai"), providers.find("groq")
    assert ollama is not None
    assert openai is not None
    assert groq is not None
    assert own_base_url(ollama, {"OLLAMA_API_BASE": "http://box:11434/"}) == "http://box:11434/v1"
    assert own_base_url(ollama, {}) == "http://127.0.0.1:11434/v1"
    assert own_base_url(openai, {"OPENAI_API_BASE": "https://gate/v1"}) == "https://gate/v1"
    assert own_base_url(groq, {"OPENAI_API_BASE": "https://gate/v1"}) == "https://api.groq.com/openai/v1"
    assert providers.find("frogs") is None
