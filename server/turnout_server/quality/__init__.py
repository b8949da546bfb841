"""What becomes of decisions: the outcome store, feedback, judge, shadow, drift, alerts, reports."""
