"""The hands: one effect per task. A task fetches, calls `quell`, and stores; `resources` is where its tools are."""
