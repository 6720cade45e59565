"""What runs ask of a cluster, and what they cost."""
