"""Fitted pipelines by subject."""
