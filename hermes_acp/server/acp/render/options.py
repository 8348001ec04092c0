"""The options of a session, in an answer and when they change: pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from hermes_acp.events import Option, OptionsChanged
from hermes_acp.server.messages import Json


def config_option(item: Option) -> Json:
    """A session configuration option."""
    option: Json = {
        "id": item.option_id,
        "name": item.name,
        "type": "select",
        "currentValue": item.current,
        "options": [
            {"value": value.value, "name": value.name}
            | ({"description": value.description} if value.description else {})
            for value in item.values
        ],
    }
    if item.description:
        option["description"] = item.description
    if item.category != "other":
        option["category"] = item.category
    return option


def modes(options: tuple[Option, ...]) -> Json:
    """The mode option once more, as the session modes that older clients show."""
    mode = next(item for item in options if item.category == "mode")
    return {
        "currentModeId": mode.current,
        "availableModes": [
            {"id": value.value, "name": value.name, "description": value.description} for value in mode.values
        ],
    }


def changed(event: OptionsChanged) -> Iterator[Json]:
    """All options, and the mode once more for older clients."""
    yield {
        "sessionUpdate": "config_option_update",
        "configOptions": [config_option(item) for item in event.options],
    }
    mode = next(item for item in event.options if item.category == "mode")
    yield {"sessionUpdate": "current_mode_update", "currentModeId": mode.current}
