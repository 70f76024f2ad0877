"""Photos on their way out: previews streamed from the origin; links, uploads and archives later."""
