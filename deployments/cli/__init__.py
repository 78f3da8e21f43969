"""The command line: one small module per group of commands.

Reading order: `main` (the commands and how errors end), `terminal` (what is printed how), `record` (what is opened),
then any command. Commands import what they need when they run, so that `quell --help` answers at once.
"""
