"""The only room that composes: resolve a run, execute it, show what this machine can do."""
