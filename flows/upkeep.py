"""Upkeep as flows: reconcile what a dead process left behind."""
