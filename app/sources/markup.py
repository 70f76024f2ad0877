"""HTML as a stream of tags and text, in linear time whatever the page.

A page is untrusted. Builders of trees pay for depth: selectolax (lexbor) needed 142 s for 1 MB of
nested <div>, inside C code that nothing can interrupt. What is looked for here needs no tree, so
the text is only cut into tags, after the rules of WHATWG's tokenizer as far as they matter.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_ATTRIBUTES = 100
"""Attributes of one tag that are kept; real ones have a dozen."""

_OPENING = re.compile(r"<(?:!--|[!?]|(/?)([A-Za-z][^\s/>]{0,60}))")
_ATTRIBUTE = re.compile(r"""([^\s/>=][^\s/>=]*)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s>]*))?""")
_BETWEEN = re.compile(r"[\s/=]*")
# What stands in these is no markup.
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
}
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.I)
# Python knows encodings that are none of text (punycode, in quadratic time).
_CHARSET = re.compile(
    r"(?:utf-?8|utf-?16(?:-?[lb]e)?|(?:us-)?ascii|iso-?8859-?\d+|latin-?\d+|windows-\d+|cp\d+"
    r"|gb2312|gbk|gb18030|big5|euc-?(?:jp|kr)|shift[-_]?jis|koi8-[ru]|macintosh|tis-620)"
)


@dataclass(frozen=True, slots=True)
class Tag:
    """A start or end tag. Names are lower case, values without character references."""

    name: str
    closes: bool = False
    attributes: dict[str, str] = field(default_factory=dict)


def tokens(text: str) -> Iterator[Tag | str]:
    """The tags and the text between them, as written (see `plain`). Comments are left out; what a
    script or a title holds comes as one text after its start tag."""
    position = 0
    while True:
        found = _OPENING.search(text, position)
        if found is None:
            yield text[position:]
            return
        if found.start() > position:
            yield text[position : found.start()]
        name = found[2]
        if name is None:
            # "<!-->" is a whole comment, hence the step back into the opening.
            position = _after(text, "-->" if found[0] == "<!--" else ">", found.start() + 2)
        elif found[1]:
            position = _after(text, ">", found.end())
            yield Tag(name.lower(), closes=True)
        else:
            tag, position = _start_tag(text, name.lower(), found.end())
            yield tag
            if tag.name in _RAW:
                end = _RAW[tag.name].search(text, position)
                stop = end.start() if end else len(text)
                yield text[position:stop]
                position = stop


def _after(text: str, mark: str, start: int) -> int:
    found = text.find(mark, start)
    return len(text) if found < 0 else found + len(mark)


def _start_tag(text: str, name: str, position: int) -> tuple[Tag, int]:
    attributes: dict[str, str] = {}
    while True:
        gap = _BETWEEN.match(text, position)
        position = gap.end() if gap else position
        found = _ATTRIBUTE.match(text, position)
        if found is None:
            return Tag(name, attributes=attributes), position + 1  # ">", or the end of the text
        position = found.end()
        if len(attributes) < MOST_ATTRIBUTES:
            value = found[2] or ""
            if value[:1] in ('"', "'") and value[-1:] == value[:1] and len(value) > 1:
                value = value[1:-1]
            attributes.setdefault(found[1].lower(), plain(value))


def plain(text: str) -> str:
    """Text with its character references resolved."""
    if "&" not in text:
        return text
    try:
        return html.unescape(text)
    except ValueError:  # a reference of more than 4,300 digits
        return text


def decoded(body: bytes, charset: str | None) -> str:
    """A page's text. `charset` is what the response's header says.

    In the order of WHATWG's sniffing: byte order mark, header, <meta>; then UTF-8, and
    Windows-1252 where it isn't. Never raises.
    """
    marks = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
             (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip
    for mark, encoding in marks:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    meta = _META_CHARSET.search(body[:2048])
    for name in (charset, meta[1].decode("ascii") if meta else None):
        if name and _CHARSET.fullmatch(name.strip().lower()):
            try:
                return body.decode(name.strip(), "replace")
            except LookupError:
                continue
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("windows-1252", "replace")
