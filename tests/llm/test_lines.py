import pytest

from hermes_acp.llm.lines import Lines, LineTooLong

SENT = b'{"id":1}\n\n{"text":"\xc3\xbc"}\n'
LINES = [b'{"id":1}', b"", b'{"text":"\xc3\xbc"}']


@pytest.mark.parametrize("size", range(1, len(SENT) + 1))
def test_lines_come_out_however_the_bytes_are_cut(size: int) -> None:
    lines = Lines()
    pieces = [SENT[start : start + size] for start in range(0, len(SENT), size)]
    assert [line for piece in pieces for line in lines.feed(piece)] == LINES


def test_an_unfinished_line_waits() -> None:
    lines = Lines()
    assert lines.feed(b"a\nb") == [b"a"]
    assert lines.feed(b"") == []
    assert lines.feed(b"c\n") == [b"bc"]


def test_a_line_that_never_ends_is_refused() -> None:
    lines = Lines(max_line_bytes=8)
    assert lines.feed(b"12345\n6789") == [b"12345"]
    with pytest.raises(LineTooLong):
        lines.feed(b"01234")
