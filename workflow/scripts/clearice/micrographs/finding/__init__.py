"""Which micrographs there are: globs, tables, pairs, links."""
