"""The keys of the window."""

from __future__ import annotations

from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.keys import Keys

from hermes_acp.cli.attach.bindings import Bindings
from hermes_acp.cli.attach.window import Window


def bindings(window: Window) -> KeyBindings:
    """All keys of a window, besides those that edit a line."""
    keys = KeyBindings()
    draft, choose, fill = (_in_mode(window, mode) for mode in ("draft", "choose", "fill"))
    _always(Bindings(keys), window)
    _draft(Bindings(keys, draft), window)
    _choose(Bindings(keys, choose), window)
    _fill(Bindings(keys, fill), window)
    return keys


def _in_mode(window: Window, mode: str) -> Condition:
    return Condition(lambda: window.mode == mode)


def _always(keys: Bindings, window: Window) -> None:
    nothing_typed = Condition(lambda: window.mode != "draft" or not window.draft.text)
    keys.on("c-c", do=window.interrupt)
    keys.on(Keys.SIGINT, do=window.interrupt)
    keys.on("c-d", do=lambda: window.leave("detach"), when=nothing_typed)
    keys.on("c-t", do=window.desk.show_thoughts)
    keys.on("c-o", do=window.desk.show_folded)


def _draft(keys: Bindings, window: Window) -> None:
    question_waits = Condition(lambda: window.pending is not None and not window.draft.text)
    keys.on("enter", do=window.send)
    keys.on("c-s", do=lambda: window.send(steering=True))
    keys.on("c-j", do=lambda: window.draft.insert_text("\n"))
    keys.on("escape", "enter", do=lambda: window.draft.insert_text("\n"))
    keys.on("tab", do=lambda: window.draft.start_completion(select_first=True), when=~has_completions)
    keys.on("tab", do=lambda: window.type_first(first=False), when=question_waits)


def _choose(keys: Bindings, window: Window) -> None:
    # Whatever is pressed answers the question or is refused: it never gets into the draft.
    keys.on_others(window.take)
    keys.on("enter", do=window.choose_marked)
    keys.on("up", do=lambda: window.mark(-1))
    keys.on("down", do=lambda: window.mark(1))
    keys.on("tab", do=lambda: window.type_first(first=True))
    keys.on(Keys.BracketedPaste, do=lambda: window.hint("What was pasted is not an answer."))


def _fill(keys: Bindings, window: Window) -> None:
    keys.on("enter", do=window.fill)
    keys.on("escape", do=window.decline)
    keys.on("tab", do=lambda: window.type_first(first=True))
