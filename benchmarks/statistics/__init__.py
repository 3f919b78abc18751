"""Estimators and confidence intervals."""
