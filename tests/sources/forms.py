"""Hundreds of ways to write an address that leads to this machine."""

from __future__ import annotations

from collections.abc import Iterator

_CIRCLED = str.maketrans("0123456789.", "⓪①②③④⑤⑥⑦⑧⑨.")
_FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９．")
_IDEOGRAPHIC = str.maketrans(".", "。")


def _spelled(address: tuple[int, int, int, int]) -> Iterator[str]:
    a, b, c, d = address
    whole = (a << 24) | (b << 16) | (c << 8) | d
    numbers = (lambda n: f"{n}", lambda n: f"0x{n:x}", lambda n: f"0X{n:X}", lambda n: f"0{n:o}",
               lambda n: f"00{n:o}", lambda n: f"0x000{n:x}")  # fmt: skip
    for first in numbers:
        yield first(whole)
        yield f"{first(a)}.{first((b << 16) | (c << 8) | d)}"
        yield f"{first(a)}.{first(b)}.{first((c << 8) | d)}"
        for last in numbers:
            yield f"{first(a)}.{first(b)}.{first(c)}.{last(d)}"
    plain = f"{a}.{b}.{c}.{d}"
    for table in (_CIRCLED, _FULL_WIDTH, _IDEOGRAPHIC):
        yield plain.translate(table)
        yield str(whole).translate(table)
    yield from (f"{plain}.", f"{whole}.", f"%3{a % 10}.0.0.1", plain.replace(".", "%2e"))
    low = f"{whole >> 16:x}:{whole & 0xFFFF:x}"
    yield from (
        f"[::ffff:{plain}]", f"[::ffff:{low}]", f"[0:0:0:0:0:ffff:{plain}]", f"[::{low}]",
        f"[::{plain}]", f"[::ffff:0:{low}]", f"[64:ff9b::{low}]", f"[64:ff9b::{plain}]",
        f"[64:ff9b:1::{low}]", f"[2002:{low}::]", f"[2002:{low}::1]", f"[2001::{low}]",
        f"[2606:4700::5efe:{low}]", f"[2606:4700::200:5efe:{low}]",
        f"[2001:0:{low}:0:0:{(~whole >> 16) & 0xFFFF:x}:{~whole & 0xFFFF:x}]",
    )  # fmt: skip


def _all() -> Iterator[str]:
    for address in ((127, 0, 0, 1), (127, 0, 1, 1), (0, 0, 0, 0), (127, 255, 255, 254)):
        yield from _spelled(address)
    yield from ("[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::1%25lo]", "[::1%lo]", "[0::1]",
                "[fe80::1%25lo]", "[fec0::1]", "127.0.0.1%00.example.com", "127.0.0.1%2f",
                "user@127.0.0.1", "example.com@127.0.0.1", "127.0.0.1\\@example.com",
                "example.com\\@127.0.0.1", "127.0.0.1 ", "\t127.0.0.1", "127.0.0.1\u2028",
                "127。0。0。1", "１２７.1", "127.0.0.1\u00ad.")  # fmt: skip


HIDDEN_LOOPBACK = sorted({form for form in _all() if form.strip() == form or "\t" in form})
