"""Response as flows: plan, approve, mitigate, verify, release."""
