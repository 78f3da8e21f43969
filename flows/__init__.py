"""The story: one file per phase; order, branches, waiting and undo. A flow computes nothing."""
