"""Quality gate: requirements, tolerances, verdicts, JUnit."""
