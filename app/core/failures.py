"""Reasons for which a photo may fail, and what a person can do about each."""

CHANGED = "changed"
VANISHED = "vanished"

CURES: dict[str, str] = {
    CHANGED: "The original is not the one that was indexed. Rescan its source to index the new one.",
    VANISHED: "Its source does not list it any more. Keep it, or clear the vanished photos.",
    "bad-address": "Correct the address in the list, then ingest it again.",
    "bad-encoding": "Save the list as UTF-8, then ingest it again.",
    "forbidden-address": "If it is your own server, add its network to CLAIR_ALLOWED_CIDRS; then rescan.",
    "not-found": "The server has no such file. Correct the address, or remove the entry.",
    "gone": "The server removed this file for good. Remove the entry from the list.",
    "unauthorised": "The server asks for a sign-in. Give the source new credentials, or a public link.",
    "forbidden": "The server refuses to send it. Check permissions or credentials, then retry.",
    "rate-limited": "The server asks to slow down. Retry later.",
    "server-error": "The server failed. Retry when it is well again.",
    "unreachable": "The server can't be reached. Check its name and that it is running, then retry.",
    "timeout": "The server was too slow. Retry, or check its connection.",
    "too-slow": "The server was too slow. Retry, or check its connection.",
    "broken-off": "The connection broke off. Retry.",
    "no-such-host": "There is no server of this name. Correct the address, or check the DNS.",
    "bad-certificate": "The server's certificate is not trusted. Renew it there, then retry.",
    "unsupported-encoding": "The server compresses in an unknown way. Use another address.",
    "bad-entry": "Correct the entry in the list, then ingest it again.",
    "bad-listing": "The server's listing can't be read. Check the address, then scan again.",
    "too-deep": "Folders nest too deep, perhaps without end. Give a folder further down.",
    "too-many-folders": "Too many folders for one source. Give its folders one by one.",
    "quota-exceeded": "The service has sent all that it sends in a day. Retry tomorrow.",
    "empty": "The file is empty at its origin. Upload it there again, then retry.",
    "not-a-file": "This is no ordinary file. Remove it from the folder.",
    "outside-folder": "The link leads out of the folder. Put the photo itself there.",
    "closed": "The server stopped while fetching. Retry.",
    "damaged": "The file is damaged at its origin. Upload it there again, then retry.",
    "decoder-start": "The decoder could not be started. Check memory and limits, then retry.",
    "too-many-redirects": "The address redirects without end. Use the final address.",
    "bad-redirect": "The address redirects to somewhere unusable. Use the final address.",
    "too-large": "Larger than the limit. Raise CLAIR_MAX_PHOTO_BYTES or CLAIR_MAX_MEGAPIXELS, or shrink it.",
    "too-many-scans": "This JPEG is built to exhaust decoders. Save it anew with an image editor.",
    "not-an-image": "This is not a picture of a supported format. Remove the entry.",
    "unsupported-format": "No decoder here reads this kind. Save it as JPEG or DNG, then retry.",
    "truncated": "The file is incomplete at its origin. Upload it there again, then retry.",
    "decode-timeout": "Decoding took too long. Save the picture anew with an image editor.",
    "decode-memory": "Decoding took too much memory. Save the picture anew with an image editor.",
    "decoder-died": "The file crashed the decoder. Save the picture anew with an image editor.",
    "unreadable": "The file can't be read. Check its permissions, then retry.",
    "killed-worker": "This photo killed its worker repeatedly. Look at it, then retry or remove it.",
    "robots": "The site asks programs to stay away. If it is your own, set the option “robots” to ignore.",
    "page-limit": "There is more than was read. Give a page further down, or raise the option “pages”.",
    "bad-sitemap": "This sitemap is broken. Correct it on the site, then ingest it again.",
    "bad-manifest": "This is no IIIF manifest. Correct the collection, then ingest it again.",
    "archived": "The storage keeps it in an archive. Restore it there, then retry.",
    "bad-name": "Rename the object: an empty folder name, a dot alone or a control character is in it.",
    "no-identity": "This machine has no cloud identity. Give it a role, or the source keys, then retry.",
    "internal": "This is our fault: the worker's log has the details. Retry, and report it.",
}


def cure_for(reason: str) -> str:
    """What to do about photos that failed for this reason."""
    return CURES.get(reason, "Look at the message, then retry.")
