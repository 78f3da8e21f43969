"""Where numbers come from: `prometheus` asks a server over its HTTP API, `files` reads CSV and Parquet.

Read `prometheus` for requests, retries and errors, `answer` for how an answer becomes a matrix, `recent_window` for
how a sweep asks only for what is new, `kept_window` for how the rest lies on disk, then `files`, and `history_file`
for one series as somebody exported it.
"""
