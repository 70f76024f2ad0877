"""People decide what stays: picks, rejects, best frames, each of which can be undone."""
