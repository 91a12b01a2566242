from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.sources.s3.responses import BrokenResponseError, HttpResponse, read_response

BODIES = st.binary(max_size=200)


def said(head: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*head.split("\n"), "", ""]).encode("latin-1") + body


def read(raw: bytes, *, to_head: bool = False) -> HttpResponse:
    return read_response(BytesIO(raw), to_head=to_head)


def chunked(body: bytes, sizes: list[int]) -> bytes:
    chunks = []
    for size in [*sizes, len(body) or 1]:
        if chunk := body[:size]:
            chunks.append(b"%X;name=value\r\n%b\r\n" % (len(chunk), chunk))
        body = body[size:]
    return b"".join([*chunks, b"0\r\nx-last: 1\r\n\r\n"])


def test_an_answer_is_its_status_its_headers_and_its_body():
    raw = said("HTTP/1.1 200 OK\nContent-Length: 3\nX-Amz-Id : \t é ", b"abcHTTP")
    assert read(raw) == HttpResponse(
        status=200, headers={"content-length": "3", "x-amz-id": "é"}, body=b"abc", keeps=True
    )


@given(BODIES, st.lists(st.integers(1, 50), max_size=6))
def test_a_body_comes_whole_however_it_is_framed(body: bytes, sizes: list[int]):
    framed = {
        f"Content-Length: {len(body)}": body,
        "Transfer-Encoding: Chunked": chunked(body, sizes),
        "Content-Type: text/xml": body,
    }
    for header, sent in framed.items():
        assert read(said(f"HTTP/1.1 200 OK\n{header}", sent)).body == body


@given(
    BODIES,
    st.lists(st.integers(1, 50), max_size=6),
    st.sampled_from(["chunks", "length"]),
    st.data(),
)
def test_an_answer_that_is_cut_off_is_never_taken_for_whole(
    body: bytes, sizes: list[int], framing: str, data: st.DataObject
):
    if framing == "chunks":
        raw = said("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", chunked(body, sizes))
    else:
        raw = said(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(BrokenResponseError):
        read(raw[:cut])


@pytest.mark.parametrize(
    "head, keeps",
    [
        ("HTTP/1.1 200 OK\nContent-Length: 0", True),
        ("HTTP/1.1 200 OK\nContent-Length: 0\nConnection: Close", False),
        ("HTTP/1.0 200 OK\nContent-Length: 0", False),
        ("HTTP/1.0 200 OK\nContent-Length: 0\nConnection: Keep-Alive", True),
        ("HTTP/1.1 200 OK", False),
        ("HTTP/1.1 204 No Content", True),
    ],
)
def test_a_connection_is_kept_if_both_sides_know_where_the_answer_ends(head: str, *, keeps: bool):
    assert read(said(head)).keeps is keeps


def test_an_answer_to_head_has_no_body_whatever_its_length():
    answer = read(said("HTTP/1.1 200 OK\nContent-Length: 1000000"), to_head=True)
    assert (answer.body, answer.keeps) == (b"", True)


def test_an_answer_may_be_announced():
    raw = said("HTTP/1.1 100 Continue") + said("HTTP/1.1 200 OK\nContent-Length: 1", b"x")
    assert (read(raw).status, read(raw).body) == (200, b"x")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        said("HTTP/1.1 200 OK\nContent-Length: -1"),
        said("HTTP/1.1 200 OK\nContent-Length: 1_0", b"x" * 10),
        said("HTTP/1.1 200 OK\nContent-Length: ten"),
        said("HTTP/1.1 200 OK\nContent-Length: 99999999999", b"x"),
        said("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"zz\r\n"),
        said("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"FFFFFFFFFF\r\nx"),
        said("HTTP/1.1 200 OK\n" + "\n".join(f"x-{number}: 1" for number in range(300))),
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    ],
)
def test_what_is_no_http_is_an_error(raw: bytes):
    with pytest.raises(BrokenResponseError):
        read(raw)
