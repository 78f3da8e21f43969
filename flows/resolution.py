"""Resolution as a flow: find the bad commit, revert it as a reviewed diff, canary, promote, guard."""
