"""Content-adaptive allocation: how many levels each patch deserves (Fig. 11, Algorithm 1)."""

from dcs_tok.allocation.allocate import METHODS, AllocationMethod, allocate_levels

__all__ = ["METHODS", "AllocationMethod", "allocate_levels"]
