"""One file per step, numbered; the newest is `migrate.HEAD`."""
