"""File name endings of photos. They only choose what to look at; the decoder goes by content."""

PHOTO_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff",
        ".gif", ".bmp", ".dib", ".avif",
        # Not decoded today: better rejected with a reason than passed over in silence.
        ".heic", ".heif",
    }
)  # fmt: skip
LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".json", ".ndjson", ".jsonl", ".list"})
