"""The user's files, parsed once into domain types; every error names file, line and key.

Read `config` (what comes out), `load` (how), `schema` (the shape of each file), `value` (durations, references) and
`check` (what must agree between files); then `source` (files with line numbers), `parse` and `problem` (how errors are
told), `build` (into types) and `query` (the metrics that a query names).
"""
