"""The drift alarm: whether decisions are still made of what they were made of after the last deliberate change."""
