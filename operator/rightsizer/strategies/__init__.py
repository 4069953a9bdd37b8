"""From the changes that are allowed to the requests that make them, one module per strategy."""
