"""What measuring costs: Rightsizer beside other ways to ask, on generated clusters and a real Prometheus. See `measure`."""
