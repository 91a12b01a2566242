"""The last key is found without listing what comes before it."""

import random
from collections.abc import Callable
from random import Random
from urllib.parse import quote, quote_plus
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.sources.s3.pages import ListingClient, ListingPage, last_key, parse_rows
from tests.s3_pages import MemoryBucket, Stored
from tests.unit.sources.s3.bucketfuls import SHAPES, fill

LEGAL = st.characters(exclude_categories=("Cs",))
IN_XML = st.characters(
    exclude_categories=("Cs", "Cc"), include_characters="\t\n\r", exclude_characters="\ufffe\uffff"
)
KEYS = st.text(LEGAL, min_size=1, max_size=40).map(str.encode)
ODD_KEYS = st.sampled_from(
    [
        *(
            b" ",
            b"a b",
            b"a+b",
            b"a%b",
            b"a%20b",
            b"a%253Db",
            b"a&b",
            b"a&amp;b",
            b"<Key>",
            b"a\nb",
        ),
        *(
            b"a\r\nb",
            b"\r",
            b"\n",
            b"a=b",
            b"dir/",
            b"a//b",
            b"/",
            b"..",
            b"./a",
            b"\\",
            b"'\"",
            b"~*",
        ),
        *(
            "ключ/日本 🎉".encode(),
            b"\x01\x1f",
            b"k" * 1024,
            b"</Contents>",
            b"]]>",
            b"%",
            b"%3",
            b"+",
        ),
    ]
)
SOME_KEYS = st.lists(KEYS | ODD_KEYS, unique=True, max_size=12).map(sorted)


def amazon(key: bytes) -> str:
    return quote_plus(key, safe="/*")


def moto(key: bytes) -> str:
    return quote(key)


def go(key: bytes) -> str:
    return quote_plus(key).replace("%27", "&#39;")


def plain(key: bytes) -> str:
    return escape(key.decode(), {"\r": "&#13;", "\n": "&#xA;"})


ENCODINGS = st.sampled_from([amazon, moto, go])


def row(key: str, size: int, *, extras: str = "", shuffle: random.Random | None = None) -> str:
    elements = [
        f"<Key>{key}</Key>",
        f"<LastModified>2026-11-22T10:00:{size % 60:02}.000Z</LastModified>",
        f"<ETag>&quot;{size:032x}-2&quot;</ETag>",
        f"<Size>{size}</Size>",
        "<StorageClass>STANDARD</StorageClass>",
    ]
    if "checksum" in extras:
        elements[3:3] = [
            "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>",
            "<ChecksumType>FULL_OBJECT</ChecksumType>",
        ]
    if "owner" in extras:
        elements.insert(-1, "<Owner><ID>75aa</ID><DisplayName>me</DisplayName></Owner>")
    if shuffle:
        shuffle.shuffle(elements)
    joint = "\n    " if "pretty" in extras else ""
    return f"<Contents>{joint}{joint.join(elements)}{joint}</Contents>{joint}"


def listing(rows: str, *, encoded: bool = True, more: str = "") -> bytes:
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>lake</Name>'
        f"<Prefix></Prefix><MaxKeys>1000</MaxKeys>{kind}<IsTruncated>false</IsTruncated>"
        f"{rows}{more}</ListBucketResult>"
    ).encode()


def of(keys: list[bytes], encode: Callable[[bytes], str] = amazon) -> bytes:
    rows = "".join(row(encode(key), size) for size, key in enumerate(keys))
    return listing(rows, encoded=encode is not plain)


def independently(body: bytes) -> list[tuple[str, str, str, str]]:
    """Size, ETag and time of every row, and its key as the server wrote it."""
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    return [
        (
            found.findtext(f"{space}Key", ""),
            found.findtext(f"{space}Size", ""),
            found.findtext(f"{space}ETag", "").strip('"'),
            found.findtext(f"{space}LastModified", ""),
        )
        for found in ET.fromstring(body).iter(f"{space}Contents")  # noqa: S314  # our own
    ]


def columns(raw: bytes | memoryview, *, encoded: bool = True) -> list[tuple[bytes, ...]]:
    return list(zip(*parse_rows(raw, encoded=encoded), strict=True))


@given(
    SOME_KEYS,
    ENCODINGS,
    st.sets(st.sampled_from(["owner", "checksum", "pretty"])),
    st.randoms() | st.none(),
)
def test_every_key_comes_back_whatever_encodes_it_and_stands_around_it(
    keys: list[bytes],
    encode: Callable[[bytes], str],
    extras: set[str],
    shuffle: random.Random | None,
):
    rows = [
        row(encode(key), size, extras=" ".join(extras), shuffle=shuffle)
        for size, key in enumerate(keys)
    ]
    body = listing("".join(rows))
    page = ListingPage(body)
    found = columns(page.rows)
    assert [key for key, *_ in found] == keys
    assert [tuple(text.decode() for text in rest) for _, *rest in found] == [
        tuple(rest) for _, *rest in independently(body)
    ]
    assert (page.first, page.last) == ((keys[0], keys[-1]) if keys else (b"", b""))


@given(
    st.lists(st.text(IN_XML, min_size=1, max_size=30), unique=True, max_size=8),
    st.randoms() | st.none(),
)
def test_keys_in_plain_xml_are_what_an_xml_parser_reads(
    keys: list[str], shuffle: random.Random | None
):
    # A line break that is not escaped is the parser's to change, and ours to change alike.
    rows = "".join(row(escape(key), size, shuffle=shuffle) for size, key in enumerate(keys))
    body = listing(rows, encoded=False)
    found = columns(ListingPage(body).rows, encoded=False)
    assert [tuple(text.decode() for text in row) for row in found] == independently(body)


@pytest.mark.parametrize(
    "written, key",
    [
        ("a&#x1;b", b"a\x01b"),
        ("a&#13;&#10;b", b"a\r\nb"),
        ("a\r\nb\rc", b"a\nb\nc"),
        ("&lt;&gt;&amp;&apos;&quot;", b"<>&'\""),
        ("&#128512;", "😀".encode()),
    ],
)
def test_references_are_resolved_even_those_that_a_parser_refuses(written: str, key: bytes):
    page = ListingPage(listing(row(written, 1), encoded=False))
    assert (page.first, columns(page.rows, encoded=False)[0][0]) == (key, key)


@given(SOME_KEYS.filter(len), ENCODINGS | st.just(plain), st.data())
def test_no_part_of_an_answer_is_taken_for_the_whole(
    keys: list[bytes], encode: Callable[[bytes], str], data: st.DataObject
):
    body = of(keys, encode)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ValueError, match="no complete listing"):
        ListingPage(body[:cut])


def test_an_answer_cut_anywhere_is_an_error():
    body = of([b"a", b"b c"])
    for cut in range(len(body)):
        with pytest.raises(ValueError, match="no complete listing"):
            ListingPage(body[:cut])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Log in to the network</body></html>",
        b"<!DOCTYPE html><html></html>",
        b'{"error": "no"}',
        b"<Error><Code>SlowDown</Code></Error>",
        b'<!DOCTYPE r [<!ENTITY x "y">]><ListBucketResult>&x;</ListBucketResult>',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_listing_is_an_error_that_shows_how_it_begins(body: bytes):
    with pytest.raises(ValueError, match="no complete listing; it begins with"):
        ListingPage(body)


@given(SOME_KEYS, ENCODINGS | st.just(plain), KEYS | ODD_KEYS)
def test_rows_are_cut_where_a_key_ends(
    keys: list[bytes], encode: Callable[[bytes], str], other: bytes
):
    page = ListingPage(of(keys, encode))
    for key in (*keys, other, b"", b"\xff"):
        offset = page.after(page.rows, key)
        below, above = page.rows[:offset], page.rows[offset:]
        found = [
            [name for name, *_ in columns(rows, encoded=page.encoded)] for rows in (below, above)
        ]
        assert found == [
            [name for name in keys if name <= key],
            [name for name in keys if name > key],
        ]


@pytest.mark.parametrize("encode", [amazon, moto, go])
def test_prefixes_and_the_token_are_decoded(encode: Callable[[bytes], str]):
    names = [b"b c/", b"a+b/", "é%/".encode()]
    folders = "".join(
        f"<CommonPrefixes><Prefix>{encode(name)}</Prefix></CommonPrefixes>" for name in names
    )
    rest = "<NextContinuationToken>1/a+b&amp;=</NextContinuationToken>"
    more = f"<Delimiter>/</Delimiter>{folders}{rest}"
    page = ListingPage(listing(row("x", 1), more=more).replace(b"false", b"true"))
    assert page.prefixes == sorted(names)
    assert (page.token, page.truncated) == ("1/a+b&=", True)


@pytest.mark.parametrize(
    "usual, unusual",
    [
        (b"<Contents>", b'<Contents xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'),
        (b"<Key>", b'<Key xml:space="preserve">'),
        (b"</IsTruncated>", b"</IsTruncated><!-- <IsTruncated>true</IsTruncated> -->"),
        (b"<IsTruncated>false</IsTruncated>", b"<IsTruncated >false</IsTruncated >"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n', b"\xef\xbb\xbf"),
        (b"</ListBucketResult>", b"</ListBucketResult>\r\n\r\n"),
    ],
)
def test_unusual_xml_means_the_same(usual: bytes, unusual: bytes):
    keys = [b"a", "b&é \n".encode(), b"c"]
    page = ListingPage(of(keys).replace(usual, unusual))
    assert [key for key, *_ in columns(page.rows)] == keys
    assert not page.truncated


def test_names_with_a_namespace_mean_the_same():
    body = of([b"a b", b"c"]).decode()
    body = body.replace("</", "</s3:").replace("<s3:", "<").replace("xmlns=", "xmlns:s3=")
    body = "".join(
        f"<s3:{part}" if part[:1].isalpha() and at else f"<{part}" if at else part
        for at, part in enumerate(body.replace("</", "</s3:").replace("s3:s3:", "s3:").split("<"))
    )
    page = ListingPage(body.encode())
    assert [key for key, *_ in columns(page.rows)] == [b"a b", b"c"]


def test_prefixes_between_rows_are_found():
    between = "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>"
    rows = row("a", 1) + between + row("c", 2)
    page = ListingPage(listing(rows, more="<Delimiter>/</Delimiter>"))
    assert page.prefixes == [b"b/"]
    assert [key for key, *_ in columns(page.rows)] == [b"a", b"c"]


@pytest.mark.parametrize(
    "usual, broken, reason",
    [
        ("<Size>1</Size>", "", "no Size"),
        ("<Size>1</Size>", "<Size>one</Size>", "'one' for its size"),
        ("<Size>1</Size>", "<Size>-1</Size>", "'-1' for its size"),
        ("LastModified>", "Modified>", "no LastModified"),
        ("</Key>", "&nbsp;</Key>", "undefined entity|no reference"),
        ("<Key>", "<Name>", "mismatched tag|no complete"),
    ],
)
def test_rows_that_can_not_be_read_are_an_error(usual: str, broken: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_rows(row("a", 1).replace(usual, broken).encode(), encoded=True)


def test_an_object_without_an_etag_has_an_empty_one():
    raw = row("a", 1).replace(f"<ETag>&quot;{1:032x}-2&quot;</ETag>", "").encode()
    assert columns(raw) == [(b"a", b"1", b"", b"2026-11-22T10:00:01.000Z")]


def test_no_rows_have_no_columns():
    assert parse_rows(b"", encoded=True) == ([], [], [], [])


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    count=st.integers(0, 200),
    page_size=st.sampled_from([1, 2, 10]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50)
def test_it_is_the_greatest_of_all_keys(shape: str, count: int, page_size: int, seed: int):
    bucket = MemoryBucket({b"raw2/x": Stored()})
    fill(bucket, Random(seed), b"raw/", shape, count)
    keys = [key for key in bucket.objects if key.startswith(b"raw/")]
    assert last_key(ListingClient(bucket, b"raw/", page_size)) == max(keys, default=None)


@pytest.mark.parametrize(
    "names",
    [
        ["é", "日本", "😀", "z"],
        ["a", "aa", "aaa", "aaaa"],
        ["\ud7ff", "\ue000", "\uffff", "\U0010ffff"],
        ["x" * length for length in range(1, 9)],
    ],
)
def test_it_is_found_among_odd_ones(names: list[str]):
    keys = [name.encode() for name in names]
    bucket = MemoryBucket(dict.fromkeys(keys, Stored()))
    assert last_key(ListingClient(bucket, b"", 1)) == max(keys)


def test_it_is_found_behind_keys_of_full_length():
    keys = [b"x" * 1023 + byte for byte in (b"1", b"2", b"3")]
    bucket = MemoryBucket(dict.fromkeys(keys, Stored()))
    assert last_key(ListingClient(bucket, b"", 1)) == keys[-1]


def test_it_takes_few_requests():
    names = [b"log/2026/%07d.gz" % number for number in range(20_000)]
    bucket = MemoryBucket(dict.fromkeys(names, Stored()))
    assert last_key(ListingClient(bucket, b"log/", 20)) == names[-1]
    assert bucket.requests <= 60


def test_who_may_not_ask_any_more_gets_the_greatest_that_was_seen():
    bucket = MemoryBucket(dict.fromkeys([b"%03d" % n for n in range(100)], Stored()))
    assert last_key(ListingClient(bucket, b"", 10), spend=lambda: False) == b"009"
