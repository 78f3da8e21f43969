"""Where `quell` begins: the gate of pipelines at once, everything else with the whole command line.

`quell guard FILE...` runs on every commit, so it does not wait for 25 commands and their option parser to load.
"""

import sys
from pathlib import Path


def run() -> None:
    words = sys.argv[1:]
    if len(words) > 1 and words[0] == "guard" and not any(word.startswith("-") for word in words):
        from deployments.cli.guard import check_files, is_command

        if not is_command(words[1]):
            sys.exit(check_files([Path(word) for word in words[1:]]))
    from deployments.cli.main import app

    app()


if __name__ == "__main__":
    run()
