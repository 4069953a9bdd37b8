"""How good the recommendations are, on recorded usage of others: every rule, by source. `python -m tests.accuracy` prints it."""
