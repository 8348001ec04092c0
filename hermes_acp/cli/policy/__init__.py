"""The command `policy`: rules, verdicts on commands, suspicious places and secrets in texts."""
