"""Where the exchangeable parts of a round come from: the package, or the workspace of who runs it."""
