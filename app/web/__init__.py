"""The web: routes, pages, fragments, API, media and sockets. HTTP types stop here."""
