import pytest

from hermes_acp.llm.sse import EventDecoder, EventTooLong

STREAM = (
    b": a comment\r\n\r\ndata: one\r\n\r\ndata:two\n\nevent: x\nid: 1\ndata: three\ndata:  four\n\n"
    b"\n\nnonsense\ndata: five\r\rdata\ndata: six\r\n\r\n"
)
EVENTS = [b"one", b"two", b"three\n four", b"five", b"six"]


@pytest.mark.parametrize("size", range(1, 20))
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    decoder = EventDecoder()
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS


def test_a_cut_at_every_single_byte_changes_nothing() -> None:
    for place in range(len(STREAM)):
        decoder = EventDecoder()
        assert decoder.feed(STREAM[:place]) + decoder.feed(STREAM[place:]) == EVENTS


def test_whole_events_and_pieces_of_them_may_alternate() -> None:
    whole, (start, end) = b"data: whole\n\n", (b"data: in", b" two\n\n")
    received = [whole, start, end, whole, b"data: one line", whole, b"\r\n\r", whole, b"\n", whole]
    decoder = EventDecoder()
    events = [event for piece in received for event in decoder.feed(piece)]
    assert events == [b"whole", b"in two", b"whole", b"one linedata: whole", b"whole", b"whole"]


def test_the_end_of_the_stream_completes_an_event_without_blank_line() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: one\n\ndata: two") == [b"one"]
    assert decoder.close() == [b"two"]
    assert decoder.close() == []


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 50, b"data: x\n" * 50, b": " + b"x" * 50])
def test_an_event_that_never_ends_is_refused(flood: bytes) -> None:
    decoder = EventDecoder(max_event_bytes=40)
    with pytest.raises(EventTooLong):
        decoder.feed(flood)


def test_many_small_events_are_no_long_event() -> None:
    assert len(EventDecoder(max_event_bytes=40).feed(b"data: x\n\n" * 1000)) == 1000
