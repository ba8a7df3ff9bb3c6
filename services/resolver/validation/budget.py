"""What checking may cost for one client's question: hostile zones make it dear.

A zone can hold many keys of one tag and many signatures, each of which would have
to be tried with each (KeyTrap, CVE-2023-50387), or ask for many rounds of hashing
(CVE-2023-50868).
"""

# Signatures computed for one question, and how many of them may be wrong.
MOST_CHECKS = 100
MOST_FAILURES = 16

# Signatures of one set that are looked at, and keys of one tag that are tried.
MOST_SIGNATURES = 8
MOST_TWINS = 4

# Keys and DS records of one zone that are looked at.
MOST_KEYS = 32

# Rounds of SHA-1 for one question: a long name in a zone of 100 iterations.
MOST_ROUNDS = 8_000


class OverrunError(Exception):
    """Checking has cost too much: what was to be checked counts as bogus."""


class Budget:
    """What is left to spend for one client's question."""

    def __init__(self) -> None:
        self.checks = 0
        self.failures = 0
        self.rounds = 0

    def spend_check(self) -> None:
        """Count one signature that is to be computed."""
        if self.checks >= MOST_CHECKS:
            raise OverrunError(f"gave up after {self.checks} signatures")
        if self.failures >= MOST_FAILURES:
            raise OverrunError(f"gave up after {self.failures} wrong signatures")
        self.checks += 1

    def spend_rounds(self, rounds: int) -> None:
        """Count the rounds of one hash that is to be computed."""
        if self.rounds + rounds > MOST_ROUNDS:
            raise OverrunError(f"gave up after {self.rounds} rounds of hashing")
        self.rounds += rounds
