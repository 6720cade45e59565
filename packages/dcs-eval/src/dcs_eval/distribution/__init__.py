"""Distances between distributions of features, and figures of one."""
