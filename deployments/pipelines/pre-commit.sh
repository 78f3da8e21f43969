#!/bin/sh
# Git's own pre-commit hook: copy to .git/hooks/pre-commit and make it executable. It checks what is staged, not what
# lies in the working tree, and the whole of it: a removed file may break another one that refers to it.
set -eu
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
git checkout-index --all --prefix="$tree/"
cd "$tree"
quell guard .
