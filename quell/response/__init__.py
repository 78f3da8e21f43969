"""Response, decided: which playbook answers, what exactly it would do, whether it may, and whether it helped.

Reading order: `playbook`, `target`, `plan`; `refusal`, `guardrail`, `approval`; `recovery`; `reconciliation`; `story`.
Everything here is pure: live capacity, stored mitigations and signal values come in as arguments.
"""
