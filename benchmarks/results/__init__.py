"""The scorecard, and the tables and findings made of it."""
