from hermes_acp.llm import catalog
from hermes_acp.llm.catalog import UNKNOWN, ModelInfo
from hermes_acp.llm.providers import PROVIDERS

LIST = '{\n    "a/b": {\n        "max_tokens": 7,\n        "x": {"y": 1}\n    },\n    "b": {}\n}\n'


async def test_a_model_in_the_packaged_list_is_known() -> None:
    assert await catalog.lookup("anthropic/claude-sonnet-4-5") == ModelInfo(
        context_window=200_000,
        max_output=64_000,
        accepts_images=True,
        input_price=3e-06,
        output_price=1.5e-05,
        cached_price=3e-07,
        written_price=3.75e-06,
        thinking="budget",
    )


async def test_a_model_that_nobody_described_gets_cautious_values() -> None:
    assert await catalog.lookup("openai/my-own-model") == UNKNOWN
    assert await catalog.lookup("") == UNKNOWN
    assert UNKNOWN.context_window == 128_000


def test_every_default_model_is_in_the_list() -> None:
    names = [f"{each.name}/{each.default_model}" for each in PROVIDERS if each.default_model]
    names.remove("openrouter/openrouter/auto")
    assert [name for name in names if catalog.read(name) == UNKNOWN] == []


def test_one_entry_is_found_without_parsing_the_rest() -> None:
    assert catalog.entry_of(LIST, "a/b") == {"max_tokens": 7, "x": {"y": 1}}
    assert catalog.entry_of(LIST, "x") is None
    assert catalog.entry_of(LIST[:30], "a/b") is None
    assert catalog.entry_of("", "a/b") is None


def test_cost_counts_cached_tokens_at_their_own_price() -> None:
    info = ModelInfo(input_price=1.0, output_price=10.0, cached_price=0.25, written_price=1.5)
    assert info.cost(100, 10, cached_tokens=40, written_tokens=20) == 40 + 10 + 30 + 100
    assert ModelInfo(input_price=1.0, output_price=10.0).cost(100, 10, 40, 20) == 200
    assert info.without_price().cost(1, 1) is None
    assert info.without_price().context_window == info.context_window
