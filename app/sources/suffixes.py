"""File name endings of photos. They only choose what to look at; the decoder goes by content."""

RAW_SUFFIXES = frozenset(
    {
        ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq",
        ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".raf", ".rw2",
        ".rwl", ".sr2", ".srf", ".srw", ".x3f",
    }
)  # fmt: skip
HEIC_SUFFIXES = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
PHOTO_SUFFIXES = (
    frozenset(
        {
            ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff",
            ".gif", ".bmp", ".dib", ".avif", ".avifs",
        }
    )
    | HEIC_SUFFIXES
    | RAW_SUFFIXES
)  # fmt: skip
LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".json", ".ndjson", ".jsonl", ".list"})
