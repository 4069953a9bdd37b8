"""From results to the status of the custom resources, and back where the status is what the operator remembers."""
