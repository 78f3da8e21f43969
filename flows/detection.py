"""Detection as flows: the scheduled sweep, and the hourly fit of the baselines."""
