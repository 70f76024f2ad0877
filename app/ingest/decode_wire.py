"""What decode pool and decode child say to each other, over a stream socket, in both directions.

u32 length of a JSON header, u32 length of a first and u32 of a second block (big-endian), the
header, the blocks. A request's first block is the photo; an answer's blocks are the pixels and the
encoded picture. Here is the child's end, which waits; the pool's is asynchronous (decode.py).
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

HEAD = struct.Struct(">III")
Blocks = tuple[bytes | memoryview, bytes]


def receive(link: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """A request; None once the other end is closed."""
    head = _exactly(link, HEAD.size)
    if head is None:
        return None
    header_size, data_size, _ = HEAD.unpack(head)
    header, data = _exactly(link, header_size), _exactly(link, data_size)
    if header is None or data is None:
        return None
    return json.loads(header), bytes(data)


def _exactly(link: socket.socket, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        count = link.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return buffer


def send(link: socket.socket, header: dict[str, Any], blocks: Blocks) -> None:
    encoded = json.dumps(header).encode()
    link.sendall(HEAD.pack(len(encoded), len(blocks[0]), len(blocks[1])) + encoded)
    for block in blocks:
        link.sendall(block)
