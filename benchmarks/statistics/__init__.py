"""Statistics: estimators, confidence intervals, scores of logits."""
