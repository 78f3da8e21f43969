"""What removes a cause for good: the commit to undo, the guard that would have caught it, and the canary's verdict.

Reading order: `candidate` (which commit), `guard` (what a file must keep to), `proposal` (a guard from a diff),
`canary` (promote, revert or wait). All pure: files, git and metrics come in as values.
"""
