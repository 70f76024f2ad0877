"""A remote address becomes an indexed photo: discover, fetch, decode, derive, embed, store."""
