"""Framing: the same frames come out however the bytes were cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.server.framing import (
    HEADER_LIMIT,
    BadHeader,
    Frame,
    HeaderFramer,
    LineFramer,
    Oversize,
    sniff,
)

LIMIT = 16
LINES = b'\xef\xbb\xbf{"a":1}\r\n\n \t\r\n{"b":"\xc3\xa9"}\n' + b"x" * 40 + b"\n  [1]  \nlast"
LINE_FRAMES: list[Frame] = [b'{"a":1}', b'{"b":"\xc3\xa9"}', Oversize(LIMIT), b"[1]", b"last"]
HEADERS = (
    b"Content-Length: 2\r\n\r\n{}"
    b"content-length:3\r\nContent-Type: x\r\n\r\n[1]"
    b"Content-Length: 40\r\n\r\n" + b"y" * 40 + b"Content-Length: 0\r\n\r\n"
    b"CONTENT-LENGTH: 4\r\n\r\nnull"
)
HEADER_FRAMES: list[Frame] = [b"{}", b"[1]", Oversize(LIMIT), b"", b"null"]


def frames_of(framer: LineFramer | HeaderFramer, pieces: Sequence[bytes]) -> list[Frame]:
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    return frames + framer.close()


@pytest.mark.parametrize("cut", range(len(LINES) + 1))
def test_lines_are_the_same_wherever_the_input_is_cut(cut: int) -> None:
    assert frames_of(LineFramer(LIMIT), [LINES[:cut], LINES[cut:]]) == LINE_FRAMES


@pytest.mark.parametrize("cut", range(len(HEADERS) + 1))
def test_header_frames_are_the_same_wherever_the_input_is_cut(cut: int) -> None:
    assert frames_of(HeaderFramer(LIMIT), [HEADERS[:cut], HEADERS[cut:]]) == HEADER_FRAMES


def test_frames_come_out_of_single_bytes() -> None:
    assert frames_of(LineFramer(LIMIT), [bytes([byte]) for byte in LINES]) == LINE_FRAMES
    assert frames_of(HeaderFramer(LIMIT), [bytes([byte]) for byte in HEADERS]) == HEADER_FRAMES


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_any_bytes_give_the_same_lines_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(bounds)]
    assert frames_of(LineFramer(LIMIT), pieces) == frames_of(LineFramer(LIMIT), [data])


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_give_the_same_header_frames_in_two_pieces(data: bytes, cut: int) -> None:
    whole = frames_of(HeaderFramer(LIMIT), [data])
    assert frames_of(HeaderFramer(LIMIT), [data[:cut], data[cut:]]) == whole


@given(
    st.lists(
        st.binary(min_size=1, max_size=LIMIT).filter(
            lambda line: line.strip(b" \t\r\n") == line and b"\n" not in line
        )
    )
)
def test_lines_within_the_limit_all_come_out(lines: list[bytes]) -> None:
    frames = frames_of(LineFramer(LIMIT), [b"\n".join(lines)])
    assert frames == [line for line in _without_mark(lines) if line]


def _without_mark(lines: list[bytes]) -> list[bytes]:
    return [lines[0].removeprefix(b"\xef\xbb\xbf"), *lines[1:]] if lines else []


def test_a_line_as_long_as_the_limit_is_taken_and_one_byte_more_is_dropped_once() -> None:
    assert frames_of(LineFramer(4), [b"1234\n12345\n", b"12345", b"678", b"\n1\n"]) == [
        b"1234",
        Oversize(4),
        Oversize(4),
        b"1",
    ]


def test_a_dropped_line_keeps_no_bytes() -> None:
    framer = LineFramer(4)
    assert framer.feed(b"x" * 100) == [Oversize(4)]
    assert framer.feed(b"x" * 100) == []
    assert framer.close() == []


def test_a_header_without_a_length_ends_the_stream() -> None:
    framer = HeaderFramer(LIMIT)
    assert framer.feed(b"Content-Type: x\r\n\r\n{}") == [BadHeader(b"Content-Type: x")]
    assert framer.feed(b"Content-Length: 2\r\n\r\n{}") == []


def test_a_header_without_an_end_is_not_kept_for_ever() -> None:
    frames = HeaderFramer(LIMIT).feed(b"Content-Length: " + b"1" * (2 * HEADER_LIMIT))
    assert [type(frame) for frame in frames] == [BadHeader]


@pytest.mark.parametrize("length", [b"-1", b"1.5", b"", b"x", "²".encode()])
def test_a_length_that_is_no_number_is_a_bad_header(length: bytes) -> None:
    header = b"Content-Length: " + length
    assert HeaderFramer(LIMIT).feed(header + b"\r\n\r\n") == [BadHeader(header)]


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"", None),
        (b" \r\n\t", None),
        (b"\xef", None),
        (b"\xef\xbb\xbf", None),
        (b"\xef\xbb\xbf\n", None),
        (b"Content-Length: 3", "lsp"),
        (b"content-type: x", "lsp"),
        (b"\xef\xbb\xbf  C", "lsp"),
        (b"{", "acp"),
        (b"\n{", "acp"),
        (b"[]", "acp"),
        (b"\xff", "acp"),
        (b"\x00", "acp"),
    ],
)
def test_the_first_byte_decides_the_protocol(data: bytes, protocol: str | None) -> None:
    assert sniff(data) == protocol
