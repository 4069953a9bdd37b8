"""The demo: the whole product on a cluster of this machine, from real traces to rolled-out Deployments.

Uses the product from outside only: its two commands, its manifests, its custom resources.
"""
