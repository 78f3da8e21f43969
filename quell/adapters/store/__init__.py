"""The record's store: the same promises on SQLite, PostgreSQL and in memory.

Reading order: `codec` (a record as a row), `query` (what may be asked), `schema` (the tables), `transaction`,
`memory` (the rules without a database), `database` (what the two databases need to keep them), `migrate`,
`records` and `sql`. `migrations/` holds the steps by which an existing database follows the code.

A new field of a record needs a default and nothing else: records are kept as JSON. A new indexed field
(`quell.record_indexes.INDEXES`) needs a migration as well, because it is a column.
"""
