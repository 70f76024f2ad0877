"""Where photos live: each source finds locators and opens their bytes as a stream."""
