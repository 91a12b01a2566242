"""Texts that data may have and that somebody on the way to a run could take for more than text.

The same ones each time. If a shell runs one of them, a file `executed` lies where it ran.
"""

import random
import string
from itertools import product
from typing import Final

__all__ = ["EXECUTED", "texts"]

EXECUTED: Final = "executed"
"""The name of the file that a text makes if it is executed."""

_ACTIVE: Final = (
    *("$(touch executed)", "`touch executed`", "$(>executed)", "${x:-$(touch executed)}"),
    *('"; touch executed; "', "'; touch executed; '", "; touch executed #", "\ntouch executed\n"),
    *("|touch executed", "& touch executed", "&& touch executed", "<(touch executed)", ">executed"),
    *(
        "$HOME",
        "${HOME}",
        "$(HOME)",
        "$(METAFLOW_USER)",
        "$$(METAFLOW_USER)",
        "$$",
        "$",
        "$((1+1))",
    ),
    *(
        "{{workflow.name}}",
        "{{ workflow.uid }}",
        "{{=workflow.name}}",
        "{{=1+1}}",
        "{{inputs.parameters.x}}",
    ),
    *(
        "{{tasks.start.outputs.parameters.y}}",
        "{{steps.x}}",
        "{{item}}",
        "{{x",
        "}}",
        "{{",
        "{{=",
        "{%",
    ),
    *(
        "{{workflow.parameters.value}}",
        "{{pod.name}}",
        "{{retries}}",
        "%s",
        "%(x)s",
        "{0}",
        "\\$(id)",
    ),
    *("\\", '"', "'", '\\"', "\\\\", "\\n", "\\u0041", "\\x41", "~", "*", "?", "[a-z]", "!!", "!x"),
    *(
        "\n",
        "\r\n",
        "\t",
        " ",
        "",
        "  x  ",
        "#",
        "a=b",
        "-x",
        "--value=1",
        "null",
        "true",
        "1",
        "1e3",
    ),
    *("NaN", "[1]", '{"a": 1}', "{}", "<b>&amp;</b>", "-0", "0x10", "a,b", "flowproject-1."),
    *("flowproject-1.IngI", "flowproject-1.InRvdWNoIGV4ZWN1dGVkIg=="),
    *("\x00", "\x01", "\x07", "\x1b[31m", "\x7f", "\x80", "\u2028", "\u2029", "\ufeff", "\xad"),
    *("Zürich", "東京", "🙂", "e\u0301", "\U000e0001", "\U0010ffff", "\ud800", "\udfff", "\udc80x"),
)


def texts(many: int) -> list[str]:
    """That many different texts: every sign of ASCII, whatever is active, and mixtures of it."""
    found = dict.fromkeys(
        [
            *map(chr, range(128)),
            *(f"a{chr(code)}b" for code in range(128)),
            *_ACTIVE,
            *(f"x{text}y" for text in _ACTIVE),
            string.printable * 300,
            *(text * (30_000 // len(text.encode("utf-8", "surrogatepass"))) for text in _LARGE),
        ]
    )
    draw = random.Random(20261130)
    pairs = [first + last for first, last in product(_ACTIVE, repeat=2)]
    found |= dict.fromkeys(draw.sample(pairs, min(len(pairs), max(0, many // 2 - len(found)))))
    while len(found) < many:
        parts = draw.choices([*_ACTIVE, *string.printable], k=draw.randint(3, 12))
        found["".join(parts)] = None
    return list(found)[:many]


_LARGE: Final = ("x", "$(touch executed)", "{{workflow.name}}", "é", "\ud800x", "\x7f")
