"""Prevention as flows: the post-mortem and the recomputation of thresholds."""
