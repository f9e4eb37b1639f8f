"""Pages for a browser, without a server: gallery, tables, curves."""
