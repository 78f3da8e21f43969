"""The user's files, parsed once into domain types; every error names file, line and key.

Read `config` (what comes out), then `load` (how), then `check` (what `quell check` says).
"""
