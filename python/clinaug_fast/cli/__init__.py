"""The commands, a thin one a stage: stdout is for results, stderr for the rest, exit codes tell what went wrong."""
