"""Environments and scripted teachers."""
