"""Scorecards, and the tables and findings derived from them."""
