"""What a rule would have done: its decisions replayed over the past, scored on what came next, beside other rules."""
