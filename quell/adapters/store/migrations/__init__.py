"""The steps by which an existing database follows the code; `env.py` is Alembic's entry, `versions/` the steps.

A step is frozen when it is released: it says itself what it builds and imports nothing of ours.
"""
